"""Who may use this share?  One node: holds a share of each key and decides for itself from bytes it verified itself."""
