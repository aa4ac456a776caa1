"""People who approve: which requests wait for them, what they sign, and when a node acts on it."""
