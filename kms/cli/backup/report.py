"""How coverage is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kms.cli.output import emit_table, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kms.client.backup.sets import Coverage

SHOWN_MAX = 40
"""Keys listed for people; `--json` has all."""


def coverage_json(covered: Mapping[tuple[str, int], Coverage]) -> list[dict[str, Any]]:
    """For programs."""
    return [item.to_json() for item in covered.values()]


def show_coverage(covered: Mapping[tuple[str, int], Coverage]) -> None:
    """For people; what is not covered comes first."""
    items = sorted(covered.values(), key=lambda item: (item.is_complete, item.is_recoverable, item.key))
    emit_table(
        ("key", "epoch", "shares", "needed", "covered"),
        [
            (
                f"{item.key}/{item.version}",
                item.epoch,
                f"{len(item.slots)} of {item.holders}",
                item.shares_needed,
                "completely" if item.is_complete else "enough" if item.is_recoverable else "NOT",
            )
            for item in items[:SHOWN_MAX]
        ],
        empty="no keys",
    )
    if len(items) > SHOWN_MAX:
        say(f"and {len(items) - SHOWN_MAX} more, covered no worse")
