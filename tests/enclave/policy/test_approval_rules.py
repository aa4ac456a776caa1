"""Rules that want people to approve: read strictly, from an amount on, never widened by what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from attestation.errors import PolicyError
from enclave.policy import Policy, Request
from enclave.policy.cases import run_cases
from enclave.policy.schema import policy_schema
from tests.enclave.payload.test_eip712 import MAIL, PERMITS, TOKEN
from tests.enclave.policy.requests import allow, decide, decrypt, deny, evm, message
from tests.enclave.policy.test_token_rules import TRANSFER, token_call, typed

VALIDATOR = Draft202012Validator(policy_schema())
TWO = {"group": "treasury", "minimum": 2}
ETHER = {"kind": "evm-native", "chain_id": 1}
FEE = 21000 * 10
KINDS = ["evm_transaction", "eip712", "eip191", "digest", "message", "decrypt"]

GOOD: list[dict[str, Any]] = [
    TWO,
    TWO | {"lasts_s": 60},
    TWO | {"above": {"asset": ETHER, "amount": "0"}},
    TWO | {"above": {"asset": {"kind": "evm-token", "chain_id": 1, "token": TOKEN}, "amount": "5"}},
    TWO | {"above": {"asset": {"kind": "lamports"}, "amount": "5"}},
]

WRONG: list[Any] = [
    {},
    {"group": "treasury"},
    {"minimum": 1},
    TWO | {"group": "Treasury"},
    TWO | {"group": ""},
    TWO | {"minimum": 0},
    TWO | {"minimum": 17},
    TWO | {"minimum": True},
    TWO | {"minimum": "2"},
    TWO | {"lasts_s": 59},
    TWO | {"lasts_s": 604801},
    TWO | {"above": {}},
    TWO | {"above": {"asset": ETHER}},
    TWO | {"above": {"amount": "1"}},
    TWO | {"above": {"asset": ETHER, "amount": 1}},
    TWO | {"above": {"asset": ETHER, "amount": "-1"}},
    TWO | {"above": {"asset": {"kind": "requests"}, "amount": "1"}},
    TWO | {"above": {"asset": ETHER, "amount": "1", "more": 1}},
    TWO | {"groups": ["treasury"]},
    "treasury",
    None,
]


@pytest.mark.parametrize("leaf", GOOD, ids=repr)
def test_good_leaves(leaf: dict[str, Any]) -> None:
    """Reader and schema accept them."""
    rule = allow(kinds=KINDS, approvals=leaf)
    Policy.of([rule])
    assert VALIDATOR.is_valid([rule])


@pytest.mark.parametrize("leaf", WRONG, ids=lambda leaf: repr(leaf)[:60])
def test_wrong_leaves(leaf: Any) -> None:
    """Reader and schema refuse them."""
    rule = allow(kinds=KINDS, approvals=leaf)
    with pytest.raises(PolicyError):
        Policy.of([rule])
    assert not VALIDATOR.is_valid([rule])


@pytest.mark.parametrize(
    "rule",
    [
        deny(kinds=["decrypt"], approvals=TWO),
        allow(kinds=["decrypt", "data_key"], approvals=TWO),
        allow(kinds=["release"], workload={"measurements": {"mrtd": ["ab" * 48]}}, approvals=TWO),
        allow(kinds=["decrypt"], plaintext_to_gateway="allow", approvals=TWO),
    ],
)
def test_what_cannot_wait_has_no_approvals(rule: dict[str, Any]) -> None:
    """A deny rule allows nothing; evidence grows old; a plaintext would have to be kept for somebody."""
    with pytest.raises(PolicyError):
        Policy.of([rule])


def test_without_an_amount_everything_waits() -> None:
    """The rule allows nothing by itself; whoever reads only `allowed` refuses."""
    decision = decide(evm(value="0"), allow(kinds=KINDS, approvals=TWO))
    assert not decision.allowed
    assert decision.approvals is not None
    assert (decision.rule, decision.approvals.group, decision.approvals.minimum) == ("allow", "treasury", 2)
    assert decision.to_json()["approvals"] == TWO | {"lasts_s": 86400}


@pytest.mark.parametrize(
    ("made", "waits"),
    [
        (evm(value="1000"), False),
        (evm(value="1001"), True),
        (evm(value="1000", gas=21001), True),
        (evm(value="0", chain_id=10), True),
        (typed(PERMITS["erc2612"]), False),
        (message("eip191"), True),
        (message("digest"), True),
        (message(), True),
        (decrypt(recipient=True), True),
    ],
)
def test_amount_counts_value_and_fee_on_its_chain(made: Request, waits: bool) -> None:
    """Up to the amount nobody is asked; another chain, and whatever has no amount, is above every amount."""
    above = {"asset": ETHER, "amount": str(1000 + FEE)}
    rule = allow(
        kinds=KINDS, digest="allow", approvals=TWO | {"above": above},
        evm={"data": "any", "tokens": [{"token": TOKEN, "approvals": True}]},
    )  # fmt: skip
    decision = decide(made, rule)
    assert (decision.allowed, decision.approvals is not None) == (not waits, waits)


@pytest.mark.parametrize(
    ("made", "waits"),
    [
        (token_call(TRANSFER, amount=7), False),
        (token_call(TRANSFER, amount=8), True),
        (evm(value="999999"), False),
        (evm(to=TOKEN, data="0x12345678"), True),
        (typed(PERMITS["erc2612"]), False),
        (typed(PERMITS["permit2 batch"]), True),
        (typed(MAIL), False),
    ],
)
def test_amount_of_a_token(made: Request, waits: bool) -> None:
    """Transfers and permits count; a call of the token that cannot be read is above every amount."""
    above = {"asset": {"kind": "evm-token", "chain_id": 1, "token": TOKEN}, "amount": "7"}
    leaf = {"data": "any", "primary_types": ["Mail"]}
    if made.payload is not None and getattr(made.payload, "token_moves", ()):
        leaf["tokens"] = [{"token": TOKEN, "approvals": True}]
    decision = decide(made, allow(kinds=KINDS, approvals=TWO | {"above": above}, evm=leaf))
    assert (decision.allowed, decision.approvals is not None) == (not waits, waits)


def test_deny_wins_over_approvals() -> None:
    """What is forbidden cannot be approved."""
    decision = decide(evm(), allow(kinds=KINDS, approvals=TWO), deny(kinds=["evm_transaction"]))
    assert (decision.allowed, decision.approvals, decision.rule) == (False, None, "deny")


def test_rules_add_up_in_any_order() -> None:
    """What one rule allows freely another does not send to people; so taking rules away never allows more."""
    small = allow("small", kinds=["evm_transaction"], evm={"value_max": "1000"})
    large = allow("large", kinds=["evm_transaction"], approvals=TWO)
    assert decide(evm(value="1000"), small, large).allowed
    assert decide(evm(value="1001"), small, large).approvals is not None
    assert decide(evm(value="1000"), large, small).allowed
    assert decide(evm(value="1000"), large).approvals is not None


def test_the_first_rule_that_asks_says_whom() -> None:
    """Of several that ask, the order decides."""
    one = allow("one", kinds=["evm_transaction"], approvals=TWO)
    other = allow("other", kinds=["evm_transaction"], approvals={"group": "board", "minimum": 1})
    assert decide(evm(), one, other).rule == "one"
    assert decide(evm(), other, one).rule == "other"


def test_unmatched_rule_asks_nobody() -> None:
    """Conditions of the rule hold for what waits, too."""
    decision = decide(evm(chain_id=5), allow(kinds=KINDS, evm={"chain_ids": [1]}, approvals=TWO))
    assert (decision.allowed, decision.approvals) == (False, None)


def test_cases_tell_waiting_from_denied() -> None:
    """A policy's test file can expect `approve`."""
    policy = Policy.of([allow(kinds=["message"], approvals=TWO)])
    case = b'{"name":"a","sign":{"kind":"message","message":"aGk"},"expect":"%s"}'
    text = b'{"type":"holdfast/policy-cases/v1","usage":"generic","spec":"ed25519","cases":[%s]}'
    results = {
        word: run_cases(policy, text % (case % word.encode()))[0].passed for word in ("approve", "deny", "allow")
    }
    assert results == {"approve": True, "deny": False, "allow": False}
