"""One checker per invariant; each sees the observer's truth and shares no code with what it checks.

A checker has `watch(facts)`, called before anything happens, and `finish(facts)`, called at the end.
"""

from __future__ import annotations

from types import ModuleType

from tests.simulation.invariants import (
    i01_authorised,
    i02_nonces,
    i03_counters,
    i04_epochs,
    i05_durable,
    i06_audit,
    i07_replay,
    i08_shares,
    i09_secrets,
    i10_culprits,
    i11_limits,
    i12_trust,
)

CHECKERS: tuple[ModuleType, ...] = (
    i01_authorised,
    i02_nonces,
    i03_counters,
    i04_epochs,
    i05_durable,
    i06_audit,
    i07_replay,
    i08_shares,
    i09_secrets,
    i10_culprits,
    i11_limits,
    i12_trust,
)
