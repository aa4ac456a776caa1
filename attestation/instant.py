"""Instants as Unix seconds: RFC 3339 text in and out, always UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from attestation.errors import AttestationError
from attestation.limits import TIME_MAX

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_instant(text: Any) -> int | None:
    """Unix seconds of RFC 3339 text from 1970 to 9999 (fractions dropped), or None if it is not such text."""
    match = _RFC3339.fullmatch(text) if isinstance(text, str) and len(text) <= 40 else None
    if match is None:
        return None
    *fields, offset = match.groups()
    try:
        year, month, day, hour, minute, second = (int(field) for field in fields)
        seconds = int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        return None
    if offset not in "Zz":
        ahead = int(offset[1:3]) * 3600 + int(offset[4:6]) * 60
        seconds += -ahead if offset[0] == "+" else ahead
    return seconds if 0 <= seconds <= TIME_MAX else None


def format_instant(seconds: int) -> str:
    """RFC 3339 text in UTC, whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_now(now: Any) -> int:
    """`now` itself if it is whole Unix seconds of a year X.509 can write.

    Raises AttestationError (`time.invalid`): a float, NaN, boolean or negative time decides nothing.
    """
    if isinstance(now, bool) or not isinstance(now, int) or not 0 <= now <= TIME_MAX:
        raise AttestationError("expected the time as whole, non-negative Unix seconds", code="time.invalid")
    return now
