"""What the nodes logged, kept where it can be asked for: entries, checkpoints, countersignatures, receipts."""
