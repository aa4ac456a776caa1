"""How often a node makes a quote: a token bucket, because a quote is milliseconds to seconds of the platform's work."""

from __future__ import annotations

PER_SECOND = 20
BURST = 40
"""Enough for every peer, client and auditor of a busy second once nonces are batched; one flooder cannot stall it."""


class QuoteBudget:
    """A bucket of `BURST` quotes that refills at `PER_SECOND`."""

    def __init__(self) -> None:
        self._left = BURST
        self._refilled_at = 0

    def take(self, now: int) -> bool:
        """Whether one more quote may be made at `now` (Unix seconds)."""
        if now > self._refilled_at:
            self._left = min(BURST, self._left + (now - self._refilled_at) * PER_SECOND)
            self._refilled_at = now
        if self._left == 0:
            return False
        self._left -= 1
        return True
