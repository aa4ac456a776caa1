"""Verification is quick enough for one per request: floors in processor time, well below what is measured."""

from __future__ import annotations

import time

from attestation.collateral import Collateral
from attestation.verifier import Verifier
from tests.attestation.intel.kit import NOW, Kit

UNCACHED_MS_MAX = 12.0
"""Measured 2.3 ms on one slow core, November 2026."""

CACHED_PER_SECOND_MIN = 1_500
"""Measured 6 500 with one attestation key, 4 300 with a new quote each time."""


def test_uncached(kit: Kit) -> None:
    """A fresh verifier with unread collateral."""
    quote, bundle = kit.quote(), kit.bundle()
    start = time.process_time()
    for _ in range(20):
        Verifier.with_root(kit.root.der).verify(quote, collateral=Collateral.of(bundle), now=NOW)
    assert (time.process_time() - start) / 20 * 1000 < UNCACHED_MS_MAX


def test_cached(kit: Kit) -> None:
    """Different quotes of one machine with collateral and chain seen before."""
    quotes = [kit.quote(report_data=number.to_bytes(64, "big")) for number in range(200)]
    collateral = Collateral.of(kit.bundle())
    verifier = Verifier.with_root(kit.root.der)
    verifier.verify(quotes[0], collateral=collateral, now=NOW)
    start = time.process_time()
    for quote in quotes:
        verifier.verify(quote, collateral=collateral, now=NOW)
    assert len(quotes) / (time.process_time() - start) > CACHED_PER_SECOND_MIN
