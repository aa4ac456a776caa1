"""Instants: RFC 3339 in and out, and nothing that is no time."""

from __future__ import annotations

import pytest

from attestation.errors import AttestationError
from attestation.instant import check_now, format_instant, parse_instant
from attestation.limits import TIME_MAX


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-15T00:00:00Z", 1_794_700_800),
        ("2026-11-15t00:00:00.999999999z", 1_794_700_800),
        ("2026-11-15T02:00:00+02:00", 1_794_700_800),
        ("2026-11-14T18:30:00-05:30", 1_794_700_800),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59Z", TIME_MAX),
    ],
)
def test_texts(text: str, seconds: int) -> None:
    """Each text names its second, and the second prints as UTC."""
    assert parse_instant(text) == seconds
    assert parse_instant(format_instant(seconds)) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-15",
        "2026-11-15T00:00:00",
        "2026-11-15 00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-15T24:00:00Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-01:00",
        "\u06622026-11-15T00:00:00Z",
        "",
        None,
        1_794_700_800,
    ],
)
def test_other_values(text: object) -> None:
    """Anything else is None."""
    assert parse_instant(text) is None


@pytest.mark.parametrize("now", [0, 1_794_700_800, TIME_MAX])
def test_times_that_decide(now: int) -> None:
    """Whole seconds from 1970 to 9999."""
    assert check_now(now) == now


@pytest.mark.parametrize("now", [-1, TIME_MAX + 1, 0.0, float("nan"), True, None, "0"])
def test_times_that_do_not(now: object) -> None:
    """Everything else raises one typed error."""
    with pytest.raises(AttestationError) as caught:
        check_now(now)
    assert caught.value.code == "time.invalid"
