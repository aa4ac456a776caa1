"""Limits as policies write them, the allowance that follows, and calendar windows."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.errors import PolicyError
from enclave.documents import parse_document, sign_document
from enclave.errors import RefusedError
from enclave.limits.allowance import UNIT, Share, check_caps
from enclave.limits.terms import Limits
from enclave.limits.windows import WINDOWS, window_of
from enclave.policy import Policy
from tests.enclave.limits.kit import NATIVE, a_budget
from tests.enclave.policy.requests import allow
from tests.enclave.samples import ADMIN, KEYS, a_roster
from tests.enclave.test_documents import a_policy

MINT = "So11111111111111111111111111111111111111112"
ASSETS = [
    NATIVE,
    {"kind": "evm-token", "chain_id": 8453, "token": "0x" + "52" * 20},
    {"kind": "lamports"},
    {"kind": "spl-token", "mint": MINT},
    {"kind": "requests"},
    {"kind": "requests", "kinds": ["decrypt", "message"]},
]


def test_a_policy_with_limits_reads_back_equal() -> None:
    """Every asset, a rate and the guard survive signing; documents without limits keep their bytes."""
    budgets = [a_budget(name=f"budget-{number}", asset=asset) for number, asset in enumerate(ASSETS)]
    document = a_policy(budgets=budgets, rate={"max": 5, "window_s": 60}, nonce_guard="fee-bump")
    read = parse_document(sign_document(document, KEYS[ADMIN]), a_roster())
    assert read.payload() == document.payload()
    assert [budget.asset.to_json() for budget in document.limits.budgets] == ASSETS
    assert set(a_policy().payload()) == {"type", "cluster", "policy", "name", "version", "rules", "issued_at"}


@pytest.mark.parametrize(
    "budget",
    [
        a_budget(cap="0"),
        a_budget(cap=1000),
        a_budget(cap="1.5"),
        a_budget(window="hour"),
        a_budget(per="operator"),
        a_budget(extra=1),
        a_budget(strict_against=-1),
        a_budget(asset={"kind": "evm-native"}),
        a_budget(asset={"kind": "evm-native", "chain_id": 1, "token": "0x" + "52" * 20}),
        a_budget(asset={"kind": "evm-token", "chain_id": 1, "token": "0x12"}),
        a_budget(asset={"kind": "spl-token", "mint": "x"}),
        a_budget(asset={"kind": "requests", "kinds": ["payments"]}),
        a_budget(asset={"kind": "shares"}),
        {"name": "daily"},
        [],
    ],
)
def test_a_misspelt_budget_is_no_budget(budget: Any) -> None:
    """Whatever does not read makes the policy invalid instead of boundless."""
    with pytest.raises(PolicyError) as caught:
        Limits.of([budget], None, None)
    assert caught.value.code == "policy.malformed"


@pytest.mark.parametrize(
    ("rate", "guard"),
    [({"max": 0, "window_s": 1}, None), ({"max": 1}, None), ({"max": 1, "window_s": 86_401}, None), (None, "maybe")],
)
def test_a_misspelt_rate_or_guard_is_refused(rate: Any, guard: Any) -> None:
    """A rate needs both numbers, the guard one of its words."""
    with pytest.raises(PolicyError):
        Limits.of([], rate, guard)


def test_two_budgets_of_one_name_are_refused() -> None:
    """A name stands for one counter."""
    with pytest.raises(PolicyError):
        Limits.of([a_budget(), a_budget(cap="2")], None, None)


@given(nodes=st.integers(1, 16), quorum=st.integers(1, 16), corrupt=st.integers(0, 15), cap=st.integers(1, 10**30))
def test_the_allowance_is_the_stated_formula(nodes: int, quorum: int, corrupt: int, cap: int) -> None:
    """A = floor(C (s - f) / (n - f)), and exactly that much fits into a counter of C."""
    if not corrupt < quorum <= nodes:
        return
    budget = Limits.of([a_budget(strict_against=corrupt)], None, None).budgets[0]
    share = Share.of(budget, nodes=nodes, quorum=quorum, slots=16)
    allowance = share.allowance(cap)
    assert allowance == cap * (quorum - corrupt) // (nodes - corrupt)
    assert share.charge(allowance) <= cap * UNIT < share.charge(allowance + 1)
    assert math.gcd(UNIT, quorum - corrupt) == quorum - corrupt


def test_keys_that_share_a_budget_spread_it_over_the_roster() -> None:
    """Two keys on disjoint nodes could otherwise each use the whole cap."""
    per_key, per_agent = Limits.of([a_budget(), a_budget(name="all", per="agent")], None, None).budgets
    assert Share.of(per_key, nodes=3, quorum=2, slots=5).allowance(1000) == 666
    assert Share.of(per_agent, nodes=3, quorum=2, slots=5).allowance(1000) == 400


@pytest.mark.parametrize(
    ("evm", "cap", "fits"),
    [
        ({"value_max": "600"}, "1000", True),
        ({"value_max": "601"}, "1000", False),
        ({"value_max": "500", "fee_max": "101"}, "1000", False),
        ({"value_max": "601", "chain_ids": [10]}, "1000", True),
        ({"fee_max": "601"}, "1000", True),
    ],
)
def test_a_cap_per_transaction_above_the_allowance_is_refused(evm: dict[str, Any], cap: str, fits: bool) -> None:
    """A policy must not promise what three of five nodes can never let through at once."""
    budgets = Limits.of([a_budget(cap=cap)], None, None).budgets
    policy = Policy.of([allow(kinds=["evm_transaction"], evm=evm)])
    if fits:
        check_caps(budgets, policy, nodes=5, quorum=3, slots=5)
        return
    with pytest.raises(RefusedError) as caught:
        check_caps(budgets, policy, nodes=5, quorum=3, slots=5)
    assert caught.value.code == "budget.cap"


def test_caps_of_tokens_and_solana_are_compared_too() -> None:
    """Every per-transaction cap a rule can state."""
    token, mint = "0x" + "52" * 20, MINT
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (
            {"kind": "evm-token", "chain_id": 1, "token": token},
            allow(kinds=["evm_transaction"], evm={"tokens": [{"token": token, "amount_max": "601"}]}),
        ),
        ({"kind": "lamports"}, allow(kinds=["solana_message"], solana={"lamports_max": "601"})),
        (
            {"kind": "spl-token", "mint": mint},
            allow(kinds=["solana_message"], solana={"tokens": [{"mint": mint, "amount_max": "601"}]}),
        ),
    ]
    for asset, rule in cases:
        budgets = Limits.of([a_budget(asset=asset)], None, None).budgets
        with pytest.raises(RefusedError):
            check_caps(budgets, Policy.of([rule]), nodes=5, quorum=3, slots=5)


def test_strictness_that_leaves_nothing_is_refused() -> None:
    """Against f >= s corrupt nodes no budget holds, so none is promised."""
    budgets = Limits.of([a_budget(strict_against=3)], None, None).budgets
    with pytest.raises(RefusedError) as caught:
        check_caps(budgets, Policy.of([]), nodes=5, quorum=3, slots=5)
    assert caught.value.code == "budget.cap"


@given(now=st.integers(0, 4_000_000_000), kind=st.sampled_from(WINDOWS))
def test_windows_follow_the_calendar(now: int, kind: str) -> None:
    """A window holds its moment, begins at a UTC midnight, and the next begins where it ends."""
    window = window_of(kind, now)
    assert window.start <= now < window.end
    start = datetime.fromtimestamp(window.start, UTC)
    assert (start.hour, start.minute, start.second) == (0, 0, 0)
    assert start.weekday() == 0 or kind != "week" or window.start < 0
    assert start.day == 1 or kind != "month"
    assert window_of(kind, window.end).start == window.end
    assert window_of(kind, window.end - 1) == window


def test_a_month_ends_with_the_year() -> None:
    """December is followed by January."""
    december = int(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
    assert datetime.fromtimestamp(window_of("month", december).end, UTC) == datetime(2027, 1, 1, tzinfo=UTC)
