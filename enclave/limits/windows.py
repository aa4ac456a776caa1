"""Calendar windows in UTC: a day, a week from Monday, a month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

WINDOWS = ("day", "week", "month")

DAY_S = 86_400

_MONDAY_S = 4 * DAY_S
"""1970-01-05, the first Monday of Unix time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One window: from `start` up to, not including, `end` (Unix seconds)."""

    start: int
    end: int


def window_of(kind: str, now: int) -> Window:
    """The window of `kind` that holds `now` (Unix seconds)."""
    if kind == "day":
        start = now - now % DAY_S
        return Window(start=start, end=start + DAY_S)
    if kind == "week":
        start = now - (now - _MONDAY_S) % (7 * DAY_S)
        return Window(start=start, end=start + 7 * DAY_S)
    today = datetime.fromtimestamp(now, UTC)
    first = datetime(today.year, today.month, 1, tzinfo=UTC)
    years, month = divmod(today.month, 12)
    following = datetime(today.year + years, month + 1, 1, tzinfo=UTC)
    return Window(start=int(first.timestamp()), end=int(following.timestamp()))
