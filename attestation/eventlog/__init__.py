"""What was measured into the runtime registers?  Event logs replayed against a quote (specs/event-logs.md).

A log is a claim by the machine about itself: it counts only after every register it speaks of has been recomputed
from it and equals the register in verified evidence.
"""
