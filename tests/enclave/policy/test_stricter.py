"""Two versions of a policy in force together: what both of them allow, and whom both of them ask."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from enclave.policy import Decision
from enclave.policy.widening import stricter
from tests.enclave.policy.requests import allow, decide, evm

KINDS = ["evm_transaction"]


def decision(**approvals: Any) -> Decision:
    """What a policy says that asks for these approvals."""
    return decide(evm(), allow("asks", kinds=KINDS, approvals={"group": "a", "minimum": 1} | approvals))


YES, NO = decide(evm(), allow("yes", kinds=KINDS)), decide(evm())


@pytest.mark.parametrize("other", [YES, NO, decision()], ids=["yes", "no", "asks"])
def test_a_refusal_stands_whatever_the_other_says(other: Decision) -> None:
    """Nothing is allowed that one of two versions refuses."""
    for found in (stricter(NO, other), stricter(other, NO)):
        assert (found.allowed, found.approvals) == (False, None)


def test_who_asks_comes_before_who_does_not() -> None:
    """A plain yes does not spare the approvals of the other version; two plain yes are one."""
    for found in (stricter(YES, decision(minimum=2)), stricter(decision(minimum=2), YES)):
        assert found.approvals is not None
        assert (found.allowed, found.approvals.minimum) == (False, 2)
    assert stricter(YES, YES).allowed


@pytest.mark.parametrize(
    ("one", "other"),
    list(itertools.permutations([{"minimum": 2, "lasts_s": 7200}, {"minimum": 3, "lasts_s": 9000}])),
)
def test_the_larger_number_and_the_shorter_time_count(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Where both ask one group, whoever satisfies the terms satisfies both versions, whichever is in force."""
    found = stricter(decision(**one), decision(**other))
    assert found.approvals is not None
    assert (found.approvals.group, found.approvals.minimum, found.approvals.lasts_s) == ("a", 3, 7200)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("b", "a")])
def test_two_groups_are_not_asked_at_once(one: str, other: str) -> None:
    """Approvals of one group never stand for those of the other: nothing is allowed, and the reason names both."""
    found = stricter(decision(group=one), decision(group=other))
    assert (found.allowed, found.approvals) == (False, None)
    assert f"group {one} and group {other}" in found.reason
