"""Takes the world away from the process: clocks, chance, TLS keys, files; done once per process, before anything else.

Rules kept: production code is not changed, only what it stands on; every replacement is named here.
"""

from __future__ import annotations

import gc
import sqlite3
from typing import Any

import enclave.boots
import enclave.identity
import enclave.presentation
import enclave.secret
import enclave.signing_key
import enclave.state
import enclave.verdicts
import kms.fleet.admittance
import kms.fleet.connection
import kms.fleet.heartbeats
import kms.fleet.nonces
import kms.receipts.collector
import kms.receipts.schema
import kms.receipts.store
from attestation.roots import Roots
from enclave.roster import Roster
from enclave.roster_terms import WitnessTerms
from kms.observe import configure
from tests.simulation import randomness, standins
from tests.simulation.clocks import Clock
from tests.simulation.loop import SimLoop
from tests.simulation.quotes import StandInVerifier

MADV_NORMAL = 0
"""Timelines are forked from a prepared world, whose secrets they need: pages are not wiped at a fork here."""

SOON_S = 0.5
"""Pause between heartbeat rounds while a node is not at work: 0.2 s in production."""

LOG_EVERY_S = 4.0
"""Pause between two fetches of nodes' logs: a second in production, where time costs nothing between two."""

NONCES = 8
"""Commitments per fetch: a timeline has a dozen signatures, and pools that run low are a case worth having."""

_MODULES: tuple[Any, ...] = (
    enclave.presentation,
    enclave.verdicts,
    enclave.state,
    kms.fleet.admittance,
)


def believe(terms: WitnessTerms) -> None:
    """Let rosters have witness numbers that they refuse to have, to see why they refuse."""
    roster: Any = Roster
    roster.witness_terms = property(lambda _self: terms)


def install(loop: SimLoop, *, real: bool) -> None:
    """Replace; `real` keeps genuine groups and signatures."""
    secret: Any = enclave.secret
    secret._MADV_WIPEONFORK = MADV_NORMAL
    secret._pool = secret._Pool()
    configure("error")
    import structlog

    structlog.configure(processors=[_drop])
    Clock(loop).install()
    randomness.install()
    connection: Any = kms.fleet.connection
    connection._spki = lambda transport: transport.get_extra_info("sim_spki")
    schema: Any = kms.receipts.store
    schema.open_file = _log_file
    kms.receipts.store.LogStore.reader = lambda self: self  # type: ignore[method-assign]
    nonces: Any = kms.fleet.nonces
    nonces.BATCH, nonces.LOW = NONCES, NONCES // 2
    heartbeats: Any = kms.fleet.heartbeats
    heartbeats.SOON_S = SOON_S
    collector: Any = kms.receipts.collector
    collector.EVERY_S = LOG_EVERY_S
    for module in _MODULES:
        module.verifier_for = stand_in_verifier
    if real:
        identity: Any = enclave.identity
        identity.Ed25519PrivateKey = _Keys
    else:
        standins.install()


class _Keys:
    """Ed25519 keys from the seeded generator."""

    generate = staticmethod(randomness.private_key)


def stand_in_verifier(roster: Roster) -> Any:
    """In the place of enclave.presentation.verifier_for."""
    return StandInVerifier(Roots.of(roster.simulated_roots))


def settle() -> None:
    """Before forking: what exists now is shared and not looked at again by the collector."""
    gc.collect()
    gc.freeze()


def _drop(_: Any, __: str, ___: Any) -> Any:
    import structlog

    raise structlog.DropEvent


def _log_file(_path: Any) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    tables = kms.receipts.schema._TABLES
    connection.executescript(
        f"BEGIN IMMEDIATE; {tables} PRAGMA user_version={kms.receipts.schema.SCHEMA_VERSION}; COMMIT;"
    )
    return connection
