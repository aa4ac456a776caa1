"""A token bucket per principal: bursts pass, a runaway loop does not starve the others."""

from __future__ import annotations

from collections import OrderedDict

from kms.errors import RateLimitError

PRINCIPALS_MAX = 100_000
"""Buckets kept; the longest idle goes first, which at worst gives it a full bucket again."""


class RateLimiter:
    """Buckets by name; `now` is any monotone clock in seconds."""

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def policy(self) -> str:
        """The limit as header RateLimit-Policy."""
        return f'"requests";q={self._burst:.0f};w={max(1, round(self._burst / self._per_second))}'

    def left(self, name: str, now: float) -> str:
        """What is left of it for `name`, as header RateLimit."""
        level, since = self._buckets.get(name, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._per_second)
        full_in = round((self._burst - level) / self._per_second)
        return f'"requests";r={max(0, int(level))};t={max(0, full_in)}'

    def take(self, name: str, now: float) -> None:
        """Take one token; raises RateLimitError if the bucket is empty."""
        level, since = self._buckets.pop(name, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._per_second)
        allowed = level >= 1
        self._buckets[name] = (level - 1 if allowed else level, now)
        if len(self._buckets) > PRINCIPALS_MAX:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = max(1, round((1 - level) / self._per_second))
            raise RateLimitError(f"expected at most {self._per_second:g} requests per second", retry_after_s=wait)

    def charge(self, name: str, count: int) -> None:
        """Count `count` more for a request just taken; a bucket below zero refuses until it is filled again."""
        level, since = self._buckets.get(name, (self._burst, 0.0))
        self._buckets[name] = (level - count, since)
