"""Time conditions of a rule: absolute bounds and daily UTC windows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from enclave.fields import Fields

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_S = 86400

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLeaf:
    """When a rule applies; all in UTC, seconds."""

    not_before: int | None
    not_after: int | None
    days: frozenset[int] | None
    """0 is Monday; the day on which a window over midnight began."""
    window: tuple[int, int] | None
    """Seconds of the day, from (inclusive) to (exclusive); over midnight if from > to."""

    def holds(self, now: int) -> bool:
        """Whether the rule applies at Unix time `now`."""
        if self.not_before is not None and now < self.not_before:
            return False
        if self.not_after is not None and now > self.not_after:
            return False
        second = now % DAY_S
        began_yesterday = False
        if self.window is not None:
            start, end = self.window
            began_yesterday = start > end and second < end
            inside = start <= second < end if start < end else second >= start or second < end
            if not inside:
                return False
        # 1970-01-01 was a Thursday.
        day = (now // DAY_S + 3 - began_yesterday) % 7
        return self.days is None or day in self.days


def read_time(fields: Fields) -> TimeLeaf:
    """The `time` member of a rule; raises the reader's error."""
    leaf = TimeLeaf(
        not_before=fields.integer("not_before") if "not_before" in fields else None,
        not_after=fields.integer("not_after") if "not_after" in fields else None,
        days=_days(fields),
        window=_window(fields),
    )
    fields.done()
    return leaf


def _days(fields: Fields) -> frozenset[int] | None:
    if "days" not in fields:
        return None
    names = fields.texts("days", low=1, high=7)
    if not set(names) <= set(DAYS):
        fields.refuse(f"expected days of {', '.join(DAYS)}", "days")
    return frozenset(DAYS.index(name) for name in names)


def _window(fields: Fields) -> tuple[int, int] | None:
    if "from" not in fields and "to" not in fields:
        return None
    start, end = _clock(fields, "from"), _clock(fields, "to")
    if start == end:
        fields.refuse("expected two different times of day", "to")
    return start, end


def _clock(fields: Fields, name: str) -> int:
    match = _CLOCK.fullmatch(fields.text(name, characters_max=5))
    if not match:
        fields.refuse("expected a UTC time such as 09:30", name)
    return int(match[1]) * 3600 + int(match[2]) * 60
