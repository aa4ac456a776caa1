"""What a key's nodes may have in common: one dimension at a time, by the roster's terms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from enclave.diversity import Dimension, DiversityTerms, NodeFacts, check_diversity, largest
from enclave.errors import RefusedError


def nodes(count: int = 5, **same: str) -> list[NodeFacts]:
    """Nodes that have nothing in common but what `same` says."""
    made = []
    for number in range(1, count + 1):
        own = {name: f"{name}-{number}" for name in ("platform", "operator", "provider", "region", "vendor")}
        made.append(NodeFacts(slot=f"node-{number}", **own | same))
    return made


def code_of(facts: list[NodeFacts], terms: DiversityTerms, shares_needed: int = 3) -> str | None:
    """The code of the refusal, None if there is none."""
    try:
        check_diversity(facts, terms, shares_needed)
    except RefusedError as error:
        return error.code
    return None


def limited(**limits: int) -> DiversityTerms:
    """Terms with these limits."""
    return DiversityTerms(limits={Dimension(name): most for name, most in limits.items()})


def test_nodes_with_nothing_in_common_pass_every_limit() -> None:
    """The strictest terms admit nodes that share nothing."""
    assert code_of(nodes(), limited(platform=1, operator=1, provider=1, region=1, vendor=1), 2) is None


@pytest.mark.parametrize("dimension", ["operator", "provider", "region", "vendor"])
def test_each_limit_is_counted_by_itself(dimension: str) -> None:
    """Two that share a value pass a limit of two and fail one of one, with the code of that dimension."""
    facts = [replace(node, **{dimension: "same"}) if number < 2 else node for number, node in enumerate(nodes())]
    assert code_of(facts, limited(**{dimension: 2})) is None
    assert code_of(facts, limited(**{dimension: 1})) == f"diversity.{dimension}"


def test_one_machine_never_counts_twice() -> None:
    """Two nodes on one machine are refused whatever the roster says or leaves out."""
    everything: Any = frozenset(Dimension)
    for terms in (DiversityTerms(), limited(platform=5), DiversityTerms(accept_common=everything)):
        assert code_of(nodes(2, platform="same"), terms) == "diversity.platform"


@pytest.mark.parametrize("dimension", ["operator", "provider"])
@pytest.mark.parametrize("shares_needed", [2, 3, 4])
def test_no_operator_or_provider_reaches_the_threshold(dimension: str, shares_needed: int) -> None:
    """By default T - 1 nodes may share an operator or a provider, and T may not."""
    for count, expected in ((shares_needed - 1, None), (shares_needed, f"diversity.{dimension}")):
        facts = nodes(6)
        shared = [replace(node, **{dimension: "same"}) for node in facts[:count]] + facts[count:]
        assert code_of(shared, DiversityTerms(), shares_needed) == expected
        # A limit above T - 1 does not loosen it.
        assert code_of(shared, limited(**{dimension: 6}), shares_needed) == expected


@pytest.mark.parametrize("dimension", ["operator", "provider"])
def test_a_common_one_is_accepted_only_openly(dimension: str) -> None:
    """`accept_common` lifts the default for its own dimension, and a stated limit still holds."""
    facts = nodes(5, **{dimension: "same"})
    accepted = frozenset({Dimension(dimension)})
    assert code_of(facts, DiversityTerms(accept_common=accepted)) is None
    assert code_of(facts, replace(limited(**{dimension: 5}), accept_common=accepted)) is None
    assert code_of(facts, replace(limited(**{dimension: 4}), accept_common=accepted)) == f"diversity.{dimension}"
    other = frozenset({Dimension.OPERATOR, Dimension.PROVIDER}) - accepted
    assert code_of(facts, DiversityTerms(accept_common=other)) == f"diversity.{dimension}"


def test_region_and_vendor_are_free_unless_limited() -> None:
    """Most rosters cannot spread over three vendors, so nothing is assumed."""
    assert code_of(nodes(region="same", vendor="same"), DiversityTerms()) is None


def test_what_nobody_states_counts_as_common() -> None:
    """Nodes whose provider no statement names may all stand in one place."""
    assert code_of(nodes(3, provider=""), DiversityTerms(), 3) == "diversity.provider"
    assert code_of(nodes(2, provider=""), DiversityTerms(), 3) is None


def test_the_commonest_value_is_named() -> None:
    """The largest group decides; of equal ones the first by name; of no nodes none."""
    facts = nodes(4)
    facts[3] = replace(facts[3], region="region-2")
    assert largest(facts, Dimension.REGION) == ("region-2", 2)
    assert largest(nodes(3), Dimension.REGION) == ("region-1", 1)
    assert largest([], Dimension.REGION) == ("", 0)
