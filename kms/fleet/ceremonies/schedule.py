"""Refreshes that the roster orders by itself, spread so that they do not come all at once (specs/ceremonies.md).

A key is due at `since + interval - spread * f`, where f in [0, 1) follows from its id: nodes accept any time after
`since + interval - spread`.
"""

from __future__ import annotations

import asyncio
import hashlib

from enclave.ceremonies.facts import Kind
from enclave.roster_terms import RefreshTerms
from kms.fleet.ceremonies.conductor import Conductor
from kms.fleet.fleet import Fleet
from kms.keyring import Keyring
from kms.keys import Key
from kms.observe import logger

LOOK_S = 60.0
"""How often due keys are looked for, in seconds: the shortest interval is an hour."""

AT_ONCE = 512
"""Most keys renewed per look: the rest is due a minute later."""

PAGE = 500


async def keep_fresh(fleet: Fleet, keyring: Keyring, conductor: Conductor) -> None:
    """Look for due keys again and again."""
    while True:
        await asyncio.sleep(LOOK_S)
        terms = fleet.roster.refresh
        if terms is not None:
            await refresh_due(terms, keyring, conductor, fleet.clock())


async def refresh_due(terms: RefreshTerms, keyring: Keyring, conductor: Conductor, now: int) -> int:
    """Renew what is due, at most AT_ONCE keys; how many were."""
    due: list[Key] = []
    after = ""
    while len(due) < AT_ONCE and (page := await keyring.page(after=after, limit=PAGE)):
        after = page[-1].key
        due += [key for key in page if due_at(key, terms) <= now]
    due = due[:AT_ONCE]
    if not due:
        return 0
    result = await conductor.renew(Kind.REFRESH, None, b"", due)
    logger().info("scheduled-refresh", count=len(result.done))
    return len(result.done)


def due_at(key: Key, terms: RefreshTerms) -> int:
    """When the key is to be refreshed, Unix seconds."""
    fraction = int.from_bytes(hashlib.sha256(key.key.encode()).digest()[:4], "big")
    return key.certificate.since + terms.interval_s - (terms.spread_s * fraction >> 32)
