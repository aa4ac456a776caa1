"""Rules on decoded arguments of calls: each condition alone decides, and what does not decode is denied."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi import encode
from eth_utils import function_signature_to_4byte_selector

from attestation.errors import PolicyError
from enclave.policy import Policy, Request
from tests.enclave.policy.requests import OTHER, TO, allow, decide, deny, evm

KINDS = ["evm_transaction"]
ROUTER = "0x" + "7a" * 20
USDC, WETH, SELF = "0x" + "a1" * 20, "0x" + "b2" * 20, "0x" + "c3" * 20
SWAP = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))"
BATCH = "pay(address[],uint256[],string,bool,int64,bytes4,bytes)"


def calldata(signature: str, *values: Any) -> str:
    """A call as any library writes it."""
    kinds = _split(signature[signature.index("(") + 1 : -1])
    return "0x" + (function_signature_to_4byte_selector(signature) + encode(kinds, values)).hex()


def _split(text: str) -> list[str]:
    found, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    return found


def swap(*, sell: str = USDC, buy: str = WETH, to: str = SELF, amount: int = 1000, least: int = 5) -> Request:
    """A swap through the router."""
    return evm(to=ROUTER, value="0", data=calldata(SWAP, (sell, buy, 3000, to, amount, least, 0)))


def batch(**changes: Any) -> Request:
    """Many payments at once."""
    values = {
        "to": [SELF, WETH], "amounts": [3, 4], "note": "rent", "final": True, "offset": -5, "tag": b"abcd", "data": b"",
    } | changes  # fmt: skip
    return evm(to=ROUTER, value="0", data=calldata(BATCH, *values.values()))


def rule(function: str, *args: dict[str, Any], **evm_members: Any) -> dict[str, Any]:
    """A rule about one function of the router."""
    call = {"contract": ROUTER, "function": function} | ({"args": list(args)} if args else {})
    return allow("calls", kinds=KINDS, evm={"calls": [call]} | evm_members)


ONE_DEX = rule(
    SWAP,
    {"at": [0, 0], "in": [USDC]},
    {"at": [0, 1], "in": [WETH, OTHER]},
    {"at": [0, 3], "in": [SELF]},
    {"at": [0, 4], "max": "1000"},
    {"at": [0, 5], "min": "5"},
    value_max="0",
)


def test_a_swap_within_its_terms_is_allowed() -> None:
    """Members of the tuple at their borders, without the contract on any list of recipients."""
    assert decide(swap(), ONE_DEX).allowed
    assert decide(swap(buy=OTHER, amount=1), ONE_DEX | {"evm": ONE_DEX["evm"] | {"recipients": [TO]}}).allowed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sell": WETH}, "argument 0.0 is not in the list"),
        ({"buy": USDC}, "argument 0.1 is not in the list"),
        ({"to": OTHER}, "argument 0.3 is not in the list"),
        ({"amount": 1001}, "argument 0.4 is 1001, at most 1000"),
        ({"least": 4}, "argument 0.5 is 4, at least 5"),
    ],
)
def test_one_argument_outside_its_terms_is_named(changes: dict[str, Any], words: str) -> None:
    """Tokens, receiver and amounts: each alone denies the swap, and the explanation says which."""
    decision = decide(swap(**changes), ONE_DEX)
    assert not decision.allowed
    assert [(check.leaf, check.detail) for check in decision.traces[0].checks if not check.holds] == [
        ("evm.calls.args", words)
    ]


@pytest.mark.parametrize(
    ("terms", "changes", "allowed"),
    [
        ({"at": [0], "in": [SELF, WETH]}, {}, True),
        ({"at": [0], "in": [SELF]}, {}, False),
        ({"at": [0], "in": [SELF]}, {"to": []}, True),
        ({"at": [1], "max": "7"}, {}, True),
        ({"at": [1], "max": "6"}, {}, False),
        ({"at": [1], "min": "3"}, {}, True),
        ({"at": [1], "min": "4"}, {}, False),
        ({"at": [1], "max": "0"}, {"amounts": []}, True),
        ({"at": [1], "max": str(2**256 - 1)}, {"amounts": [2**256 - 1, 1]}, False),
        ({"at": [2], "in": ["rent", ""]}, {}, True),
        ({"at": [2], "in": ["Rent"]}, {}, False),
        ({"at": [3], "in": [True]}, {}, True),
        ({"at": [3], "in": [False]}, {}, False),
        ({"at": [4], "in": ["-5"]}, {}, True),
        ({"at": [4], "min": "-5", "max": "-5"}, {}, True),
        ({"at": [4], "min": "-4"}, {}, False),
        ({"at": [4], "max": "-6"}, {}, False),
        ({"at": [5], "in": ["0x61626364"]}, {}, True),
        ({"at": [5], "in": ["0x61626365"]}, {}, False),
        ({"at": [6], "in": ["0x"]}, {}, True),
        ({"at": [6], "in": ["0x"]}, {"data": b"x"}, False),
    ],
)
def test_conditions_of_every_type(terms: dict[str, Any], changes: dict[str, Any], allowed: bool) -> None:
    """Lists hold for every element of an array, the largest sum for all of them together."""
    assert decide(batch(**changes), rule(BATCH, terms)).allowed is allowed


def test_only_listed_functions_of_a_listed_contract() -> None:
    """Another function is denied even where any data is allowed."""
    for members in ({}, {"data": "any"}):
        assert decide(batch(), rule(BATCH, **members)).allowed
        assert not decide(swap(), rule(BATCH, **members)).allowed


@pytest.mark.parametrize("data", ["0x", "0x01020304"])
def test_a_rule_about_calls_pays_nobody_else(data: str) -> None:
    """Without recipients of its own it reaches the contracts it names; others have to be listed."""
    elsewhere = evm(to=OTHER, value="0", data=data)
    assert not decide(elsewhere, rule(BATCH, data="any")).allowed
    assert decide(elsewhere, rule(BATCH, data="any", recipients=[OTHER])).allowed
    assert decide(evm(to=ROUTER, value="5", data="0x"), rule(BATCH)).allowed
    assert not decide(evm(to=USDC, value="5", data="0x"), rule(BATCH)).allowed
    assert decide(evm(to=USDC, value="5", data="0x"), rule(BATCH, tokens=[{"token": USDC}])).allowed


@pytest.mark.parametrize("data", ["0x04e45aaf", "padded", "cut", "dirty"])
def test_call_data_that_is_no_encoding_is_denied(data: str) -> None:
    """Nothing but the one encoding of the arguments: no bytes behind, none missing, no dirty padding."""
    good = calldata(SWAP, (USDC, WETH, 3000, SELF, 1000, 5, 0))
    made = {"padded": good + "00" * 32, "cut": good[:-2], "dirty": good[:10] + "01" + good[12:]}.get(data, data)
    found = decide(evm(to=ROUTER, value="0", data=made), ONE_DEX)
    assert not found.allowed
    assert "not an encoding of exactInputSingle" in found.reason


def test_other_conditions_stay() -> None:
    """Value, chain and denials count for decoded calls too."""
    assert not decide(evm(to=ROUTER, value="1", data=calldata(SWAP, (USDC, WETH, 1, SELF, 1, 5, 0))), ONE_DEX).allowed
    assert not decide(swap(), ONE_DEX | {"evm": ONE_DEX["evm"] | {"chain_ids": [5]}}).allowed
    assert not decide(swap(), ONE_DEX, deny(evm={"recipients": [ROUTER]})).allowed
    assert not decide(swap(), ONE_DEX, deny(evm={"selectors": ["0x04e45aaf"]})).allowed


CALL = {"contract": ROUTER, "function": BATCH}


@pytest.mark.parametrize(
    "calls",
    [
        [],
        "any",
        [{"contract": ROUTER}],
        [{"function": BATCH}],
        [CALL | {"contract": ROUTER[:-1]}],
        [CALL | {"function": "pay(uint)"}],
        [CALL | {"function": "pay"}],
        [CALL | {"selector": "0x00000000"}],
        [CALL, CALL],
        [CALL | {"args": []}],
        [CALL | {"args": [{"at": [0]}]}],
        [CALL | {"args": [{"in": [SELF]}]}],
        [CALL | {"args": [{"at": [], "in": [SELF]}]}],
        [CALL | {"args": [{"at": [7], "in": [SELF]}]}],
        [CALL | {"args": [{"at": [-1], "in": [SELF]}]}],
        [CALL | {"args": [{"at": [True], "in": [SELF]}]}],
        [CALL | {"args": [{"at": [0, 0], "in": [SELF]}]}],
        [CALL | {"args": [{"at": 0, "in": [SELF]}]}],
        [CALL | {"args": [{"at": [0], "in": []}]}],
        [CALL | {"args": [{"at": [0], "in": SELF}]}],
        [CALL | {"args": [{"at": [0], "in": ["5"]}]}],
        [CALL | {"args": [{"at": [0], "max": "5"}]}],
        [CALL | {"args": [{"at": [1], "in": [5]}]}],
        [CALL | {"args": [{"at": [1], "in": ["-1"]}]}],
        [CALL | {"args": [{"at": [1], "in": ["0x05"]}]}],
        [CALL | {"args": [{"at": [1], "max": 5}]}],
        [CALL | {"args": [{"at": [1], "max": "05"}]}],
        [CALL | {"args": [{"at": [1], "min": "-1"}]}],
        [CALL | {"args": [{"at": [2], "in": [5]}]}],
        [CALL | {"args": [{"at": [3], "in": ["true"]}]}],
        [CALL | {"args": [{"at": [4], "in": [str(2**63)]}]}],
        [CALL | {"args": [{"at": [5], "in": ["0x6162"]}]}],
        [CALL | {"args": [{"at": [5], "in": ["abcd"]}]}],
        [CALL | {"args": [{"at": [5], "max": "1"}]}],
        [CALL | {"args": [{"at": [6], "in": ["0xAB"]}]}],
        [CALL | {"args": [{"at": [1], "max": "5"}, {"at": [1], "min": "1"}]}],
        [CALL | {"args": [{"at": [1], "max": "5", "sum": True}]}],
        [{"contract": ROUTER, "function": SWAP, "args": [{"at": [0], "in": [SELF]}]}],
        [{"contract": ROUTER, "function": "f(int8[])", "args": [{"at": [0], "max": "5"}]}],
        [CALL | {"args": [{"at": [0], "in": [SELF[:-1] + "z"]}]}],
    ],
    ids=repr,
)
def test_wrong_calls_make_a_policy_invalid(calls: Any) -> None:
    """Arguments that do not exist, values of other types and pointless conditions are refused at load."""
    with pytest.raises(PolicyError):
        Policy.of([allow(kinds=KINDS, evm={"calls": calls})])


def test_calls_stand_where_they_can_matter() -> None:
    """Not in deny rules, not for other kinds, not beside the same contract as a token."""
    assert Policy.of([allow(kinds=KINDS, evm={"calls": [CALL]})])
    for wrong in (
        deny(evm={"calls": [CALL]}),
        allow(kinds=["eip712"], evm={"calls": [CALL]}),
        allow(kinds=KINDS, evm={"calls": [CALL], "tokens": [{"token": ROUTER}]}),
    ):
        with pytest.raises(PolicyError):
            Policy.of([wrong])
