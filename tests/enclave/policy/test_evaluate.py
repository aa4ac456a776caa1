"""Policy decisions: default deny, deny wins, and every condition alone makes the difference."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from enclave.addresses import solana_address
from enclave.documents import PolicyDocument
from enclave.policy import Policy, Request, evaluate
from tests.enclave.policy.requests import OTHER, TO, allow, decide, decrypt, deny, evm, message
from tests.enclave.samples import ADMIN, AGENT, KEY, NOW, POLICY, an_id

EVM = ["evm_transaction"]
WORD = "0x" + "01" * 32


def test_an_empty_policy_denies_everything() -> None:
    """Without rules nothing is allowed, and the reason says so."""
    for request in (evm(), message(), message("digest"), decrypt(recipient=True)):
        decision = decide(request)
        assert not decision.allowed
        assert decision.rule is None
        assert decision.reason == "no rule allows anything"


def test_the_allowing_rule_is_named() -> None:
    """An allowed request names its rule and explains every rule."""
    decision = decide(evm(), allow("messages", kinds=["message"]), allow("payments", kinds=EVM))
    assert decision.allowed
    assert decision.rule == "payments"
    assert decision.explanation == [
        "messages (allow) does not match: kinds: kind evm_transaction",
        "payments (allow) matches: every condition holds",
    ]
    json.dumps(decision.to_json())


@pytest.mark.parametrize("order", [0, 1])
def test_deny_wins_in_any_order(order: int) -> None:
    """A matching deny rule decides, wherever it stands."""
    rules = [allow(kinds=EVM), deny(agents=[AGENT])]
    decision = decide(evm(), *(rules if order else reversed(rules)))
    assert not decision.allowed
    assert decision.rule == "deny"


@pytest.mark.parametrize(
    "members",
    [
        {"agents": [an_id("agt", 5)]},
        {"keys": [an_id("key", 5)]},
        {"kinds": ["message"]},
        {"kinds": EVM, "evm": {"recipients": [OTHER]}},
        {"kinds": EVM, "evm": {"chain_ids": [5]}},
        {"kinds": EVM, "evm": {"selectors": ["0xa9059cbb"]}},
        {"solana": {"programs": [solana_address(bytes(32))]}},
        {"time": {"not_after": NOW - 1}},
    ],
)
def test_a_deny_rule_about_something_else_does_not_matter(members: dict[str, Any]) -> None:
    """A deny rule applies only when all its conditions hold."""
    assert decide(evm(), allow(kinds=EVM), deny(**members)).allowed


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"agents": [AGENT]},
        {"keys": [KEY]},
        {"kinds": EVM},
        {"evm": {"recipients": [TO]}},
        {"evm": {"chain_ids": [1]}},
        {"evm": {}},
        {"time": {"not_before": NOW}},
    ],
)
def test_a_deny_rule_that_touches_the_request_decides(members: dict[str, Any]) -> None:
    """Each matching condition of a deny rule alone stops the request."""
    assert not decide(evm(), allow(kinds=EVM), deny(**members)).allowed


@pytest.mark.parametrize(
    ("rule", "changes", "leaf"),
    [
        ({"chain_ids": [5, 10]}, {}, "evm.chain_ids"),
        ({"recipients": [OTHER]}, {}, "evm.recipients"),
        ({"value_max": "999"}, {}, "evm.value_max"),
        ({"fee_max": "209999"}, {}, "evm.fee_max"),
        ({}, {"data": "0xa9059cbb"}, "evm.data"),
        ({"data": "none"}, {"data": "0x00"}, "evm.data"),
        ({"selectors": ["0xa9059cbb"]}, {"data": "0x095ea7b3"}, "evm.selectors"),
        ({"selectors": ["0xa9059cbb"]}, {"data": "0xa9059c"}, "evm.selectors"),
        ({"data": "any"}, {"to": None, "data": "0x00"}, "evm.contract_creation"),
        ({"data": "any", "recipients": [TO]}, {"to": None, "data": "0x00"}, "evm.contract_creation"),
    ],
)
def test_one_evm_condition_that_fails_is_named(rule: dict[str, Any], changes: dict[str, Any], leaf: str) -> None:
    """A transaction outside one condition is denied, and exactly that condition is reported."""
    decision = decide(evm(**changes), allow(kinds=EVM, evm=rule))
    assert not decision.allowed
    assert [check.leaf for check in decision.traces[0].checks if not check.holds] == [leaf]
    assert leaf in decision.reason


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ({}, {}),
        ({"chain_ids": [1, 5]}, {}),
        ({"recipients": [TO.upper().replace("0X", "0x")]}, {}),
        ({"value_max": "1000"}, {}),
        ({"fee_max": "210000"}, {}),
        ({"value_max": "1000"}, {"max_fee_per_gas": str(10**30)}),
        ({"data": "any"}, {"data": "0x00"}),
        ({"selectors": ["0xa9059cbb"]}, {"data": "0xa9059cbb" + "00" * 64}),
        ({"selectors": ["0xa9059cbb"]}, {}),
        ({"contract_creation": True}, {"to": None, "data": "0x6001"}),
    ],
)
def test_evm_conditions_hold_at_their_border(rule: dict[str, Any], changes: dict[str, Any]) -> None:
    """Transactions exactly at the caps and on the lists are allowed; value and fee are counted apart."""
    assert decide(evm(**changes), allow(kinds=EVM, evm=rule)).allowed


def test_delegating_an_account_needs_its_own_permission() -> None:
    """A type 4 transaction is denied unless set_code is named, whatever else is allowed."""
    delegation = {
        "chain_id": 1,
        "address": OTHER,
        "nonce": 0,
        "y_parity": 0,
        "r": "0x" + "01" * 32,
        "s": "0x" + "02" * 32,
    }
    request = evm(type=4, authorization_list=[delegation])
    assert not decide(request, allow(kinds=EVM, evm={"data": "any"})).allowed
    assert decide(request, allow(kinds=EVM, evm={"set_code": True})).allowed


def test_a_digest_needs_two_permissions() -> None:
    """Blind signing has to be named as kind and as digest."""
    assert not decide(message("digest"), allow(kinds=["digest"])).allowed
    assert decide(message("digest"), allow(kinds=["digest"], digest="allow")).allowed
    assert not decide(message("digest"), allow(kinds=["message"])).allowed


def test_messages_are_allowed_by_kind() -> None:
    """Opaque messages and personal messages are two kinds."""
    assert decide(message(), allow(kinds=["message"])).allowed
    assert not decide(message("eip191"), allow(kinds=["message"])).allowed
    assert decide(message("eip191"), allow(kinds=["eip191"])).allowed


def test_a_plaintext_for_the_gateway_needs_its_own_permission() -> None:
    """Decryption to a recipient follows the kind; without a recipient it has to be named."""
    assert decide(decrypt(recipient=True), allow(kinds=["decrypt"])).allowed
    assert not decide(decrypt(recipient=False), allow(kinds=["decrypt"])).allowed
    assert decide(decrypt(recipient=False), allow(kinds=["decrypt"], plaintext_to_gateway="allow")).allowed


def test_operators_use_keys_only_where_they_are_named() -> None:
    """A rule without agents means any registered agent, which an operator is not."""
    request = replace(evm(), agent=ADMIN)
    assert not decide(request, allow(kinds=EVM)).allowed
    assert decide(request, allow(kinds=EVM, agents=[ADMIN])).allowed
    assert not decide(request, allow(kinds=EVM, agents=[ADMIN]), deny()).allowed


def test_agents_and_keys_are_compared_exactly() -> None:
    """A rule for other agents or other keys does not allow."""
    assert decide(evm(), allow(kinds=EVM, agents=[AGENT], keys=[KEY])).allowed
    assert not decide(evm(), allow(kinds=EVM, agents=[an_id("agt", 5)])).allowed
    assert not decide(evm(), allow(kinds=EVM, keys=[an_id("key", 5)])).allowed


@pytest.mark.parametrize("kind", ["evm_transaction", "solana_message", "decrypt"])
def test_an_unparsed_payload_is_never_allowed(kind: str) -> None:
    """If the facts are missing the answer is no, also where the rule asks for nothing."""
    request = Request(agent=AGENT, key=KEY, kind=kind, payload=None, now=NOW)
    assert not decide(request, allow(kinds=[kind])).allowed


def test_an_unparsed_payload_counts_as_touched_by_deny_rules() -> None:
    """A deny rule on recipients stops a transaction whose recipients are not known."""
    request = Request(agent=AGENT, key=KEY, kind="evm_transaction", payload=None, now=NOW)
    decision = decide(request, deny(evm={"recipients": [TO]}))
    assert decision.rule == "deny"


# 2026-09-21 is a Monday; NOW is 14:13:20 UTC on it.
@pytest.mark.parametrize(
    ("time", "holds"),
    [
        ({"not_before": NOW}, True),
        ({"not_before": NOW + 1}, False),
        ({"not_after": NOW}, True),
        ({"not_after": NOW - 1}, False),
        ({"days": ["mon"]}, True),
        ({"days": ["tue", "sun"]}, False),
        ({"from": "14:13", "to": "14:14"}, True),
        ({"from": "14:14", "to": "14:13"}, False),
        ({"from": "09:00", "to": "17:00", "days": ["mon", "tue"]}, True),
        ({"from": "22:00", "to": "21:00"}, True),
        ({"from": "22:00", "to": "21:00", "days": ["sun"]}, True),
        ({"from": "22:00", "to": "21:00", "days": ["mon"]}, False),
        ({"from": "13:00", "to": "06:00", "days": ["mon"]}, True),
    ],
)
def test_time_conditions(time: dict[str, Any], holds: bool) -> None:
    """Bounds are inclusive, windows half open and in UTC, and a night belongs to the day it began."""
    assert NOW == 1_790_000_000
    assert decide(message(), allow(kinds=["message"], time=time)).allowed is holds
    assert decide(message(), allow(kinds=["message"]), deny(time=time)).allowed is not holds


def test_without_a_clock_time_conditions_are_answered_cautiously() -> None:
    """A request without a time is not allowed by timed rules, and is stopped by them."""
    timeless = replace(message(), now=None)
    assert not decide(timeless, allow(kinds=["message"], time={"not_before": 0})).allowed
    assert not decide(timeless, allow(kinds=["message"]), deny(time={"not_after": 0})).allowed


def test_a_signed_document_evaluates_like_its_rules() -> None:
    """A policy document can be asked directly."""
    rules = [allow(kinds=EVM)]
    document = PolicyDocument(cluster=bytes(32), policy=POLICY, name="p", version=1, rules=rules, issued_at=NOW)
    assert evaluate(document, evm()).to_json() == evaluate(Policy.of(rules), evm()).to_json()


def test_the_nearest_rule_explains_a_refusal() -> None:
    """When nothing allows a request, the reason names the rule that missed by least."""
    decision = decide(
        evm(),
        allow("far", kinds=EVM, evm={"chain_ids": [5], "recipients": [OTHER], "value_max": "1"}),
        allow("near", kinds=EVM, evm={"value_max": "999"}),
    )
    assert decision.reason == "no rule allows it; nearest is near: evm.value_max: 1000 wei, at most 999"
