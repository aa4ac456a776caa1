"""The expiry timeline: one bar per document, from the report's time to its end, on a logarithmic scale.

Hours and decades stand on one page, so equal distances are equal factors of time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attestation.instant import format_instant
from attestation.report.contents import Validity
from attestation.report.markup import Markup, element

WIDTH = 1000
LABEL_WIDTH = 330
DATE_WIDTH = 110
ROW_HEIGHT = 25
TOP = 26

_HOUR, _DAY, _YEAR = 3600, 86_400, 31_557_600
_TICKS = (
    (_HOUR, "1 hour"),
    (_DAY, "1 day"),
    (7 * _DAY, "1 week"),
    (30 * _DAY, "30 days"),
    (_YEAR, "1 year"),
    (10 * _YEAR, "10 years"),
)
_SHORTEST, _LONGEST = 600, 40 * _YEAR
"""The scale's ends in seconds: ten minutes, and longer than any vendor's root."""


def timeline(validities: Sequence[Validity], now: int) -> Markup:
    """A figure with an SVG of the validities, soonest first, and the same as text for those who do not see it."""
    height = TOP + ROW_HEIGHT * len(validities) + 6
    drawing = element(
        "svg",
        [_tick(seconds, name, height) for seconds, name in _TICKS],
        [_row(item, now, number) for number, item in enumerate(validities)],
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        aria_label="; ".join(f"{item.name} until {format_instant(item.ends)}" for item in validities),
    )
    caption = "When what this verdict rests on runs out, counted from the time of the report (logarithmic scale)."
    return element("figure", element("figcaption", caption), drawing)


def _tick(seconds: int, name: str, height: int) -> Markup:
    x = _x(seconds)
    line = element("line", x1=x, x2=x, y1=TOP - 8, y2=height, class_="grid", stroke_width=1)
    return element("g", line, element("text", name, x=x, y=TOP - 13, class_="tick", text_anchor="middle"))


def _row(item: Validity, now: int, number: int) -> Markup:
    y = TOP + ROW_HEIGHT * number
    left = item.ends - now
    kind = "bar over" if left < 0 else "bar first" if number == 0 else "bar"
    width = max(4.0, round(_x(left) - LABEL_WIDTH, 1)) if left >= 0 else 4
    return element(
        "g",
        element("text", _short(item.name), x=0, y=y + 16),
        element("rect", x=LABEL_WIDTH, y=y + 6, width=width, height=12, rx=3, class_=kind),
        element("text", format_instant(item.ends)[:10], x=WIDTH, y=y + 16, class_="when", text_anchor="end"),
    )


def _x(seconds: int) -> float:
    bounded = min(max(seconds, _SHORTEST), _LONGEST)
    share = math.log(bounded / _SHORTEST) / math.log(_LONGEST / _SHORTEST)
    return round(LABEL_WIDTH + share * (WIDTH - LABEL_WIDTH - DATE_WIDTH), 1)


def _short(name: str) -> str:
    return name if len(name) <= 48 else name[:47] + "…"
