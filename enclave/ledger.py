"""What a node remembers of requests: how often each was attempted.

Rules kept: a request id (SHA-256 of the token) is executed at most three times, because a retry after
somebody else's bad share needs one and an oracle needs many; memory is bounded and full means refuse,
never forget; an entry lives exactly as long as its token could still verify.
"""

from __future__ import annotations

from enclave.errors import RefusedError, TokenError

ATTEMPTS_MAX = 3
"""Executions of one request id per purpose: the first and two retries without a culprit."""

ENTRIES_MAX = 200_000
"""Remembered requests: 3000 per second for the 60 s a token lives, about 25 MB."""


class Ledger:
    """Attempts by (purpose, request id), in one bucket per second of token expiry."""

    def __init__(self, *, entries_max: int = ENTRIES_MAX) -> None:
        self._buckets: dict[int, dict[bytes, int]] = {}
        self._entries = 0
        self._entries_max = entries_max

    def take(self, purpose: bytes, request_id: bytes, *, expires_at: int, now: int) -> int:
        """Count one attempt before it is executed; returns its number (1 to 3).

        Raises TokenError (`token.replayed`) after the third and RefusedError (`ledger.full`) when full.
        """
        self._expire(now)
        bucket = self._buckets.setdefault(expires_at, {})
        name = purpose + request_id
        attempts = bucket.get(name, 0)
        if attempts >= ATTEMPTS_MAX:
            raise TokenError(
                f"request was executed {ATTEMPTS_MAX} times already",
                code="token.replayed",
                hint="sign a fresh token for a new request",
            )
        if attempts == 0:
            if self._entries >= self._entries_max:
                raise RefusedError("too many requests within one minute", code="ledger.full", hint="retry shortly")
            self._entries += 1
        bucket[name] = attempts + 1
        return attempts + 1

    def __len__(self) -> int:
        return self._entries

    def _expire(self, now: int) -> None:
        # At most 66 buckets exist: a token lives 60 s and may be issued 5 s in the future.
        for second in [second for second in self._buckets if second < now]:
            self._entries -= len(self._buckets.pop(second))
