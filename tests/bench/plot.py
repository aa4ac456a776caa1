"""Operations per second over requests in flight, as a small self-contained SVG."""

from __future__ import annotations

import math
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 400, 70, 50, 30, 210
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df", "#9a6700")


def plot(result: dict[str, Any], names: dict[str, str]) -> str:
    """An SVG document with one line per kind of work; logarithmic x axis."""
    series: dict[str, list[tuple[int, float]]] = {}
    for item in result["figures"]:
        series.setdefault(item["work"], []).append((item["in_flight"], item["rate"]))
    levels = sorted({level for points in series.values() for level, _ in points})
    highest = max(rate for points in series.values() for _, rate in points) * 1.1

    def x(level: int) -> float:
        span = math.log2(levels[-1]) - math.log2(levels[0]) or 1.0
        return LEFT + (math.log2(level) - math.log2(levels[0])) / span * (WIDTH - LEFT - RIGHT)

    def y(rate: float) -> float:
        return HEIGHT - BOTTOM - rate / highest * (HEIGHT - BOTTOM - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">operations per second over requests in flight</text>',
    ]
    for step in range(6):
        rate = highest * step / 5
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(rate):.1f}" y2="{y(rate):.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate:.0f}</text>'
        )
    parts += [f'<text x="{x(level):.1f}" y="{HEIGHT - 28}" text-anchor="middle">{level}</text>' for level in levels]
    for number, (work, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x(level):.1f},{y(rate):.1f}" for level, rate in sorted(points))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(level):.1f}" cy="{y(rate):.1f}" r="3" fill="{colour}"/>' for level, rate in points]
        parts.append(
            f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 20 + 18 * number}" fill="{colour}">{escape(names[work])}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
