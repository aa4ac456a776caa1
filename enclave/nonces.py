"""One-use signing nonces: published to one connection, popped before use, gone with the process.

Rules kept (RFC 9591 section 5.1, specs/node.md): a nonce lives in memory only, at most 60 s, for the
connection it was published to and for this boot; it is removed before anything is computed with it, so
that no failure path can lead to a second use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from enclave.errors import CallerError, RefusedError
from enclave.wire.signing import NonceCommitment

OUTSTANDING_MAX = 1024
"""Unused nonces per connection: twelve seconds of a busy gateway; bounds locked memory to 64 KiB per ciphersuite."""

BATCH_MAX = 256
"""Nonces per call: about 10 ms of work, so that other requests are not held up."""

LIFETIME_S = 60
"""Seconds an unused nonce stays valid."""


class Pair(Protocol):
    """A secret nonce pair of any ciphersuite."""

    def drop(self) -> None:
        """Wipe it unused."""


P = TypeVar("P", bound=Pair)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonce(Generic[P]):
    """A published nonce: the secret pair with its commitments, and when it expires (Unix seconds)."""

    pair: P
    expires_at: int


class NoncePool(Generic[P]):
    """The unused nonces of one connection for one ciphersuite; `commit` makes a pair and its two commitments."""

    def __init__(self, boot_counter: int, commit: Callable[[], tuple[P, bytes, bytes]]) -> None:
        self._prefix = boot_counter.to_bytes(8, "big")
        self._commit = commit
        self._nonces: dict[bytes, Nonce[P]] = {}

    def publish(self, count: int, now: int) -> list[NonceCommitment]:
        """Up to `count` fresh commitments, fewer when the pool is nearly full.

        Raises CallerError (`nonces.count`) for a senseless count, RefusedError (`nonces.full`) when full.
        """
        if not 1 <= count <= OUTSTANDING_MAX:
            raise CallerError(f"expected a count of 1 to {OUTSTANDING_MAX}", code="nonces.count")
        self._expire(now)
        room = min(count, BATCH_MAX, OUTSTANDING_MAX - len(self._nonces))
        if room <= 0:
            raise RefusedError(
                f"{OUTSTANDING_MAX} nonces of this connection are unused", code="nonces.full", hint="use them first"
            )
        published = []
        for _ in range(room):
            pair, hiding, binding = self._commit()
            name = self._prefix + os.urandom(16)
            self._nonces[name] = Nonce(pair=pair, expires_at=now + LIFETIME_S)
            published.append(NonceCommitment(name, hiding, binding))
        return published

    def pop(self, name: bytes, now: int) -> P:
        """Remove and return a nonce; raises CallerError (`nonces.unknown`) if it is not here or has expired."""
        nonce = self._nonces.pop(name, None)
        if nonce is not None and nonce.expires_at < now:
            nonce.pair.drop()
            nonce = None
        if nonce is None:
            raise CallerError(
                "nonce is used, expired, or of another connection or boot",
                code="nonces.unknown",
                hint="fetch fresh nonces and retry",
            )
        return nonce.pair

    def __len__(self) -> int:
        return len(self._nonces)

    def wipe(self) -> None:
        """Drop every nonce: the connection is gone."""
        for nonce in self._nonces.values():
            nonce.pair.drop()
        self._nonces.clear()

    def _expire(self, now: int) -> None:
        # Insertion order is expiry order, so the scan stops at the first that is still valid.
        while self._nonces:
            name = next(iter(self._nonces))
            if self._nonces[name].expires_at >= now:
                return
            self._nonces.pop(name).pair.drop()
