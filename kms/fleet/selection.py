"""Choosing who takes part: reachable, mutually trusted, fewest requests in flight first."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Collection, Sequence

from kms.errors import UnavailableError

SETS_TRIED_MAX = 2000
"""Sets looked at before giving up: all of 7-of-10 and more than any fault pattern needs; bounds the work."""


def choose(
    candidates: Sequence[str],
    needed: int,
    *,
    weight: Callable[[str], tuple[bool, int]],
    compatible: Callable[[str, str], bool],
    preferred: Collection[str] = (),
) -> list[str]:
    """`needed` of `candidates` that are pairwise `compatible`, lightest first; `preferred` ones go before all others.

    Raises UnavailableError (`quorum-unavailable`) if there is no such set.
    """
    ranked = sorted(candidates, key=lambda slot: (slot not in preferred, *weight(slot), random.random()))  # noqa: S311
    chosen = ranked[:needed]
    if len(chosen) == needed and _all_compatible(chosen, compatible):
        return chosen
    for found in itertools.islice(itertools.combinations(ranked, needed), SETS_TRIED_MAX):
        if _all_compatible(found, compatible):
            return list(found)
    raise UnavailableError(
        f"expected {needed} reachable nodes that trust each other, found {_largest(ranked, needed, compatible)}",
        hint="`kms nodes list` shows which nodes are away and who does not trust whom",
    )


def _all_compatible(slots: Sequence[str], compatible: Callable[[str, str], bool]) -> bool:
    return all(compatible(one, other) for one, other in itertools.combinations(slots, 2))


def _largest(ranked: Sequence[str], needed: int, compatible: Callable[[str, str], bool]) -> int:
    for size in range(min(needed - 1, len(ranked)), 0, -1):
        for found in itertools.islice(itertools.combinations(ranked, size), SETS_TRIED_MAX):
            if _all_compatible(found, compatible):
                return size
    return 0
