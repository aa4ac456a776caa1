"""What the verified nodes have in common, and what the roster allows a key's nodes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from enclave.diversity import BELOW_THRESHOLD, Dimension, DiversityTerms, largest

if TYPE_CHECKING:
    from kms.client.verification import ClusterView

UNSTATED = "(unstated)"


def diversity_rows(view: ClusterView) -> list[dict[str, Any]]:
    """One row per dimension: the commonest value, how many verified nodes share it, all counts, the rule."""
    rows = []
    for dimension in Dimension:
        value, found = largest(view.facts, dimension)
        counts = Counter(facts.value(dimension) or UNSTATED for facts in view.facts)
        rows.append(
            {
                "dimension": str(dimension),
                "most": found,
                "value": value or UNSTATED,
                "counts": dict(sorted(counts.items())),
                "rule": _rule(dimension, view.roster.diversity),
            }
        )
    return rows


def exposures(view: ClusterView) -> Iterator[str]:
    """What one event would reach, as sentences."""
    total = len(view.facts)
    vendor, found = largest(view.facts, Dimension.VENDOR)
    if total:
        yield f"one {vendor} break exposes {found} of {total} verified nodes"
    for dimension in sorted(view.roster.diversity.accept_common):
        value, found = largest(view.facts, dimension)
        if found > 1:
            yield f"the roster accepts a common {dimension}: {value or UNSTATED} has {found} of {total} verified nodes"


def _rule(dimension: Dimension, terms: DiversityTerms) -> str:
    if dimension is Dimension.PLATFORM:
        return "at most 1"
    words = []
    if dimension in BELOW_THRESHOLD:
        accepted = dimension in terms.accept_common
        words.append("common one accepted" if accepted else "fewer than the shares needed")
    if dimension in terms.limits:
        words.append(f"at most {terms.limits[dimension]}")
    return ", ".join(words) or "any number"
