"""What did the nodes decide, and who can show it later?  Entries, checkpoints, receipts, checked offline."""
