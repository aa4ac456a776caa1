"""Nonces that workloads answer with evidence: of one secret, for one principal, once, for a minute.

Rules kept: a nonce is taken out before the evidence is looked at, so that evidence of a workload that has stopped is
worth nothing; memory is bounded per principal, so that nobody can push out another's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

NONCE_BYTES = 32
LIFETIME_S = 60
"""How long evidence may take: a quote takes seconds."""

PER_PRINCIPAL_MAX = 64
"""Nonces one principal has at once; the oldest goes first."""

PRINCIPALS_MAX = 4096
"""Principals with live nonces; each passed token and key checks, so more means a fault.  About 20 MB in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    secret: str
    version: int
    expires_at: int


class ReleaseNonces:
    """All live nonces of one node."""

    def __init__(self) -> None:
        self._given: dict[str, dict[bytes, _Given]] = {}

    def give(self, principal: str, secret: str, version: int, now: int) -> tuple[bytes, int]:
        """A fresh nonce and the last second it is good."""
        self._expire(now)
        theirs = self._given.setdefault(principal, {})
        if len(theirs) >= PER_PRINCIPAL_MAX:
            del theirs[next(iter(theirs))]
        if len(self._given) > PRINCIPALS_MAX:
            del self._given[next(iter(self._given))]
        nonce, expires_at = os.urandom(NONCE_BYTES), now + LIFETIME_S
        theirs[nonce] = _Given(secret=secret, version=version, expires_at=expires_at)
        return nonce, expires_at

    def take(self, principal: str, secret: str, version: int, nonces: list[bytes], now: int) -> bool:
        """Whether one of `nonces` was given for this; every one of them is spent either way."""
        theirs = self._given.get(principal, {})
        found = [given for nonce in nonces if (given := theirs.pop(nonce, None)) is not None]
        return any((item.secret, item.version) == (secret, version) and now <= item.expires_at for item in found)

    def _expire(self, now: int) -> None:
        for principal in list(self._given):
            theirs = self._given[principal]
            for nonce in [nonce for nonce, given in theirs.items() if given.expires_at < now]:
                del theirs[nonce]
            if not theirs:
                del self._given[principal]
