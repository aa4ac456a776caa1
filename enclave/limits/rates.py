"""How often one agent uses one key: a sliding window in memory, counted once per request."""

from __future__ import annotations

from collections import deque

from enclave.errors import RefusedError
from enclave.limits.terms import Rate

SUBJECTS_MAX = 20_000
"""Agents and keys counted at once."""

ENTRIES_MAX = 500_000
"""Requests remembered in all, about 80 MB at worst; full means refuse."""


class Rates:
    """Times of the latest requests by subject."""

    def __init__(self) -> None:
        self._times: dict[str, deque[tuple[int, bytes]]] = {}
        self._known: dict[str, set[bytes]] = {}
        self._until: dict[str, int] = {}
        """When the newest request of a subject leaves its window."""
        self._entries = 0

    def check(self, subject: str, rate: Rate, request_id: bytes, now: int) -> None:
        """Raise RefusedError (`rate.exceeded`, `rate.full`) unless one more is allowed; a known request is."""
        times = self._times.get(subject)
        if times is not None:
            self._forget(subject, times, now - rate.window_s)
            if request_id in self._known[subject]:
                return
            if len(times) >= rate.max:
                raise RefusedError(
                    f"more than {rate.max} requests within {rate.window_s} s",
                    code="rate.exceeded",
                    hint=f"the next is allowed in {times[len(times) - rate.max][0] + rate.window_s - now} s",
                )
        elif len(self._times) >= SUBJECTS_MAX and not self._sweep(now):
            raise RefusedError("too many agents and keys within one window", code="rate.full")
        if self._entries >= ENTRIES_MAX:
            raise RefusedError("too many requests within one window", code="rate.full")

    def count(self, subject: str, rate: Rate, request_id: bytes, now: int) -> None:
        """Remember a request that `check` let through."""
        known = self._known.setdefault(subject, set())
        if request_id not in known:
            known.add(request_id)
            self._times.setdefault(subject, deque()).append((now, request_id))
            self._entries += 1
            self._until[subject] = now + rate.window_s

    def _sweep(self, now: int) -> bool:
        """Drop subjects whose window is empty; True if that made room."""
        for subject in [subject for subject, until in self._until.items() if until <= now]:
            self._entries -= len(self._times.pop(subject))
            del self._known[subject], self._until[subject]
        return len(self._times) < SUBJECTS_MAX

    def _forget(self, subject: str, times: deque[tuple[int, bytes]], until: int) -> None:
        known = self._known[subject]
        while times and times[0][0] <= until:
            known.discard(times.popleft()[1])
            self._entries -= 1
