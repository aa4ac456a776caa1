"""A bounded memory of verified answers that never outlives what the answer rests on.

Rule: an entry is returned only for a `now` inside its window, so a cached answer equals the
one a fresh verification would give.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from typing import Generic, TypeVar

from attestation.limits import CACHE_ENTRIES_MAX

V = TypeVar("V")


class WindowCache(Generic[V]):
    """Least-recently-used map of answers, each valid for one closed interval of Unix seconds."""

    __slots__ = ("_entries", "_entries_max")

    def __init__(self, entries_max: int = CACHE_ENTRIES_MAX) -> None:
        self._entries: OrderedDict[Hashable, tuple[int, int, V]] = OrderedDict()
        self._entries_max = entries_max

    def get(self, key: Hashable, now: int) -> V | None:
        """The answer stored for `key` if `now` lies in its window."""
        entry = self._entries.get(key)
        if entry is None or not entry[0] <= now <= entry[1]:
            return None
        with suppress(KeyError):  # another thread evicted it: the answer in hand is still right
            self._entries.move_to_end(key)
        return entry[2]

    def put(self, key: Hashable, value: V, *, valid_from: int, valid_until: int) -> None:
        """Store an answer, evicting the one unused longest if full."""
        self._entries[key] = (valid_from, valid_until, value)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)
