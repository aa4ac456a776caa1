"""Tokens and typed data: calls and permits of listed tokens follow their terms, everything else has to be named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from enclave.payload.sign import parse_sign_body
from enclave.policy import Request
from tests.enclave.payload.test_eip712 import CONTRACT, MAIL, PERMITS, SPENDER, TOKEN
from tests.enclave.payload.test_tokens import CALLS, call
from tests.enclave.policy.requests import OTHER, TO, allow, decide, deny, evm
from tests.enclave.samples import AGENT, KEY, NOW

KINDS = ["evm_transaction", "eip712"]
RECEIVER = "0x" + "b2" * 20


def token_call(signature: str, *, amount: int = 7, to: str = TOKEN, **changes: Any) -> Request:
    """A call of a token contract towards RECEIVER."""
    values = [amount if value == 7 and not isinstance(value, bool) else value for value in CALLS[signature][4]]
    return evm(to=to, value="0", data="0x" + call(signature, *values).hex(), **changes)


def typed(data: dict[str, Any]) -> Request:
    """A request to sign typed data."""
    body = json.dumps({"kind": "eip712", "typed_data": data}).encode()
    payload = parse_sign_body(body, "evm", "secp256k1-ecdsa")
    return Request(agent=AGENT, key=KEY, kind=payload.kind, payload=payload, now=NOW)


TRANSFER, APPROVE = "transfer(address,uint256)", "approve(address,uint256)"


@pytest.mark.parametrize(
    ("terms", "request_made"),
    [
        ({}, token_call(TRANSFER)),
        ({"recipients": [RECEIVER]}, token_call(TRANSFER)),
        ({"amount_max": "7"}, token_call(TRANSFER)),
        ({"approvals": True}, token_call(APPROVE)),
        ({}, token_call("transferFrom(address,address,uint256)")),
        ({}, typed(PERMITS["eip3009"])),
        ({"approvals": True, "recipients": [SPENDER], "amount_max": "7"}, typed(PERMITS["erc2612"])),
        ({"approvals": True, "amount_max": "14"}, typed(PERMITS["permit2 batch"])),
    ],
)
def test_moves_within_a_tokens_terms_are_allowed(terms: dict[str, Any], request_made: Request) -> None:
    """Transfers and permits of a listed token inside its terms need no other permission."""
    assert decide(request_made, allow(kinds=KINDS, evm={"tokens": [{"token": TOKEN} | terms]})).allowed


@pytest.mark.parametrize(
    ("terms", "request_made", "leaf"),
    [
        ({"recipients": [OTHER]}, token_call(TRANSFER), "evm.tokens.recipients"),
        ({"amount_max": "6"}, token_call(TRANSFER), "evm.tokens.amount_max"),
        ({}, token_call(APPROVE), "evm.tokens.approvals"),
        ({}, token_call("increaseAllowance(address,uint256)"), "evm.tokens.approvals"),
        ({}, token_call("setApprovalForAll(address,bool)"), "evm.tokens.approvals"),
        ({}, typed(PERMITS["erc2612"]), "evm.tokens.approvals"),
        ({}, typed(PERMITS["permit2 single"]), "evm.tokens.approvals"),
        ({"recipients": [OTHER]}, typed(PERMITS["eip3009"]), "evm.tokens.recipients"),
        ({"amount_max": "6"}, typed(PERMITS["eip3009"]), "evm.tokens.amount_max"),
        ({"approvals": True, "amount_max": "13"}, typed(PERMITS["permit2 batch"]), "evm.tokens.amount_max"),
        ({"approvals": True, "amount_max": "1000"}, typed(PERMITS["dai"]), "evm.tokens.amount_max"),
    ],
)
def test_one_term_that_fails_is_named(terms: dict[str, Any], request_made: Request, leaf: str) -> None:
    """A move outside one term of its token is denied for that term."""
    decision = decide(request_made, allow(kinds=KINDS, evm={"tokens": [{"token": TOKEN} | terms]}))
    assert not decision.allowed
    assert {check.leaf for check in decision.traces[0].checks if not check.holds} == {leaf}


@pytest.mark.parametrize("suffix", ["", "00", "00" * 32])
@pytest.mark.parametrize("signature", [TRANSFER, APPROVE])
def test_padding_a_call_does_not_escape_the_terms(signature: str, suffix: str) -> None:
    """Call data of a listed token that is not exactly a known call is denied, even where any data is allowed."""
    data = "0x" + call(signature, *CALLS[signature][4]).hex() + suffix
    rule = allow(kinds=KINDS, evm={"data": "any", "tokens": [{"token": TOKEN, "amount_max": "6"}]})
    assert not decide(evm(to=TOKEN, value="0", data=data), rule).allowed


def test_an_unlisted_token_is_just_call_data() -> None:
    """Calls and permits of tokens the rule does not list need their own permission."""
    rule = {"tokens": [{"token": OTHER}]}
    assert not decide(token_call(TRANSFER), allow(kinds=KINDS, evm=rule)).allowed
    assert not decide(typed(PERMITS["eip3009"]), allow(kinds=KINDS, evm=rule)).allowed
    assert not decide(typed(PERMITS["permit2 single"]), allow(kinds=KINDS, evm=rule)).allowed
    assert decide(token_call(TRANSFER), allow(kinds=KINDS, evm=rule | {"data": "any"})).allowed


def test_a_tokens_recipients_default_to_the_rules_own() -> None:
    """A rule's recipients also bind its tokens, unless a token has its own."""
    token = {"token": TOKEN}
    assert not decide(token_call(TRANSFER), allow(kinds=KINDS, evm={"recipients": [TO], "tokens": [token]})).allowed
    assert decide(token_call(TRANSFER), allow(kinds=KINDS, evm={"recipients": [RECEIVER], "tokens": [token]})).allowed
    own = token | {"recipients": [RECEIVER]}
    assert decide(token_call(TRANSFER), allow(kinds=KINDS, evm={"recipients": [TO], "tokens": [own]})).allowed


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({}, False),
        ({"data": "any"}, False),
        ({"primary_types": ["Mail"]}, True),
        ({"primary_types": ["Letter"]}, False),
        ({"primary_types": ["Mail"], "contracts": [CONTRACT]}, True),
        ({"primary_types": ["Mail"], "contracts": [OTHER]}, False),
        ({"primary_types": ["Mail"], "chain_ids": [1]}, True),
        ({"primary_types": ["Mail"], "chain_ids": [5]}, False),
    ],
)
def test_other_typed_data_has_to_be_named(rule: dict[str, Any], allowed: bool) -> None:
    """Typed data that is no known permit needs its primary type, contract and chain on the lists."""
    assert decide(typed(MAIL), allow(kinds=KINDS, evm=rule)).allowed is allowed


def test_naming_a_permits_type_does_not_lift_its_terms() -> None:
    """A permit is judged as a token move even if its primary type is listed."""
    rule = allow(kinds=KINDS, evm={"primary_types": ["Permit"], "tokens": [{"token": TOKEN}]})
    assert not decide(typed(PERMITS["erc2612"]), rule).allowed


@pytest.mark.parametrize("request_made", [token_call(TRANSFER), token_call(APPROVE), evm(to=RECEIVER)])
def test_deny_lists_see_through_token_calls(request_made: Request) -> None:
    """A denied recipient is stopped whether it is paid directly or by a token call."""
    open_rule = allow(kinds=KINDS, evm={"data": "any"})
    assert decide(request_made, open_rule).allowed
    assert not decide(request_made, open_rule, deny(evm={"recipients": [RECEIVER]})).allowed


def test_deny_lists_see_through_permits() -> None:
    """A denied spender, or a denied contract of typed data, is stopped."""
    rule = allow(kinds=KINDS, evm={"primary_types": ["Mail"], "tokens": [{"token": TOKEN, "approvals": True}]})
    assert decide(typed(PERMITS["permit2 single"]), rule).allowed
    assert not decide(typed(PERMITS["permit2 single"]), rule, deny(evm={"recipients": [SPENDER]})).allowed
    assert not decide(typed(MAIL), rule, deny(evm={"recipients": [CONTRACT]})).allowed


def test_typed_data_without_a_chain_is_on_every_denied_chain() -> None:
    """A signature without a chain id is valid everywhere, so deny rules on chains stop it and allow rules miss it."""
    types = {name: members for name, members in MAIL["types"].items() if name != "EIP712Domain"}
    timeless = MAIL | {"types": types, "domain": {"name": "x"}}
    rule = allow(kinds=KINDS, evm={"primary_types": ["Mail"]})
    assert decide(typed(timeless), rule).allowed
    assert not decide(typed(timeless), rule, deny(evm={"chain_ids": [5]})).allowed
    assert not decide(typed(timeless), allow(kinds=KINDS, evm={"primary_types": ["Mail"], "chain_ids": [1]})).allowed


def delegation(chain_id: int = 1) -> Request:
    """A request to delegate the account to code at OTHER."""
    authorization = {"chain_id": chain_id, "address": OTHER, "nonce": 0}
    body = json.dumps({"kind": "eip7702_authorization", "authorization": authorization}).encode()
    payload = parse_sign_body(body, "evm", "secp256k1-ecdsa")
    return Request(agent=AGENT, key=KEY, kind=payload.kind, payload=payload, now=NOW)


@pytest.mark.parametrize(
    ("rule", "chain_id", "allowed"),
    [
        ({}, 1, False),
        ({"set_code": True, "data": "any"}, 1, False),
        ({"delegates": [TO]}, 1, False),
        ({"delegates": [OTHER]}, 1, True),
        ({"delegates": [OTHER]}, 0, True),
        ({"delegates": [OTHER], "chain_ids": [1]}, 1, True),
        ({"delegates": [OTHER], "chain_ids": [5]}, 1, False),
        ({"delegates": [OTHER], "chain_ids": [1]}, 0, False),
    ],
)
def test_delegating_the_account_names_the_code(rule: dict[str, Any], chain_id: int, allowed: bool) -> None:
    """An EIP-7702 authorization is allowed only for named code; one for every chain is on no list of chains."""
    open_rule = allow(kinds=["eip7702_authorization", "evm_transaction"], evm=rule)
    assert decide(delegation(chain_id), open_rule).allowed is allowed
    if chain_id == 0:
        assert not decide(delegation(0), open_rule, deny(evm={"chain_ids": [9]})).allowed


def test_deny_lists_see_delegations() -> None:
    """Denied code stops the delegation to it."""
    rule = allow(kinds=["eip7702_authorization"], evm={"delegates": [OTHER]})
    assert decide(delegation(), rule, deny(evm={"recipients": [TO]})).allowed
    assert not decide(delegation(), rule, deny(evm={"recipients": [OTHER]})).allowed


@pytest.mark.parametrize(
    "rule",
    [
        allow(kinds=["evm_transaction"], evm={"delegates": [TO]}),
        allow(kinds=["evm_transaction"], evm={"primary_types": ["Mail"]}),
        allow(kinds=["evm_transaction"], evm={"contracts": [TO]}),
        allow(kinds=KINDS, evm={"tokens": []}),
        allow(kinds=KINDS, evm={"tokens": [{"token": TO}, {"token": TO}]}),
        allow(kinds=KINDS, evm={"tokens": [{"recipients": [TO]}]}),
        allow(kinds=KINDS, evm={"tokens": [{"token": TO, "amount": "1"}]}),
        allow(kinds=KINDS, evm={"tokens": [{"token": TO, "approvals": "allow"}]}),
        allow(kinds=KINDS, evm={"tokens": "any"}),
        deny(evm={"tokens": [{"token": TO}]}),
        deny(evm={"primary_types": ["Mail"]}),
    ],
)
def test_wrong_token_rules_are_refused(rule: dict[str, Any]) -> None:
    """Pointless, repeated and mistyped terms make a policy invalid."""
    from attestation.errors import PolicyError
    from enclave.policy import Policy

    with pytest.raises(PolicyError):
        Policy.of([rule])
