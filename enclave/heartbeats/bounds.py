"""Numbers of the heartbeat exchange, with their reasons (specs/heartbeats.md section 2)."""

from __future__ import annotations

import time

INTERVAL_S = 2.0
"""Time between two heartbeats of a node: four may be lost before a lease of ten seconds is."""

LEASE_S = 10.0
"""How long a peer's echo keeps a node at work, from when the echoed heartbeat was made, on the node's own clock."""

DRIFT_S_MAX = 5
"""Seconds a node's own clock may be off the cluster's before it refuses: what request tokens tolerate."""

JUMP_S_MAX = 60
"""Largest step of the cluster's time without an operator: the lifetime of a request token."""

LEAVES_UNSIGNED_MAX = 50_000
"""Log entries that may lie beyond the newest countersigned checkpoint: some ten seconds at full load."""

BODY_BYTES_MAX = 32 << 10
"""Largest heartbeat: 63 peers are 8 KiB, documents as much again."""

HEARTBEATS_MAX = 64
"""Most heartbeats in one delivery: one of each slot."""

DOCUMENT_BYTES_MAX = 4 << 10
"""Largest document carried; an agent with eight keys is 1.5 KiB.  Larger ones travel as documents do."""

DOCUMENTS_BYTES_MAX = 8 << 10
"""Most bytes of documents in one heartbeat."""

DOCUMENTS_MAX = 16
"""Most documents in one heartbeat."""

NOTE_BYTES_MAX = 2 << 10
"""Largest signed registry head carried."""

REUSE_S = 0.2
"""A heartbeat this young is given again unless something new was heard: asking often costs no signatures."""

SENT_MAX = 64
"""Own heartbeats whose echo is waited for, newest kept: twelve times what a lease spans."""


def boottime() -> float:
    """Seconds since this machine started; unlike the time of day nobody can set it, and it counts through suspends."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
