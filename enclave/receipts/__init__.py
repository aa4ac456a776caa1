"""What does a node write down?  One leaf per decision in a Merkle log of its boot (specs/receipts.md).

`Receipts` (log.py) is the log, `decided` (decisions.py) turns a handled verb into its leaf.
"""
