"""Typed data: hashes equal those of eth-account, and permits are recognised as what they are."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_keys import keys
from hypothesis import given, settings
from hypothesis import strategies as st

from attestation.envelope import b64url
from enclave.addresses import checksum_address, keccak256
from enclave.errors import CallerError
from enclave.payload.sign import Payload, parse_sign_body
from enclave.payload.token_moves import UINT256_MAX, MoveKind

KEY = keys.PrivateKey(bytes(range(1, 33)))
CONTRACT = "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"
TOKEN = checksum_address(b"\xaa" * 20)
SPENDER = checksum_address(b"\xbb" * 20)
OWNER = checksum_address(b"\xcc" * 20)

DOMAIN_TYPE = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]
DOMAIN = {"name": "Ether Mail", "version": "1", "chainId": 1, "verifyingContract": CONTRACT}
MAIL: dict[str, Any] = {
    "types": {
        "EIP712Domain": DOMAIN_TYPE,
        "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person"},
            {"name": "contents", "type": "string"},
        ],
    },
    "primaryType": "Mail",
    "domain": DOMAIN,
    "message": {
        "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
        "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
        "contents": "Hello, Bob!",
    },
}


def parse(typed_data: Any) -> Payload:
    """Read a sign request over typed data."""
    return parse_sign_body(json.dumps({"kind": "eip712", "typed_data": typed_data}).encode(), "evm", "secp256k1-ecdsa")


def reference(typed_data: dict[str, Any]) -> bytes:
    """The digest by eth-account."""
    signable = encode_typed_data(full_message=typed_data)
    return keccak256(b"\x19" + signable.version + signable.header + signable.body)


def test_the_standards_own_example() -> None:
    """The Ether Mail message hashes to the digest printed in EIP-712, and its signature recovers."""
    payload = parse(MAIL)
    assert payload.digest is not None
    assert payload.digest.hex() == "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"
    signature = KEY.sign_msg_hash(payload.digest).to_bytes()
    assert Account.recover_message(encode_typed_data(full_message=MAIL), signature=signature) == (
        KEY.public_key.to_checksum_address()
    )
    assert payload.facts["primary_type"] == "Mail"
    assert payload.facts["verifying_contract"] == checksum_address(b"\xcc" * 20)


def test_the_domain_type_may_be_left_out() -> None:
    """Without EIP712Domain among the types it follows from the domain's members in the standard's order."""
    types = {name: members for name, members in MAIL["types"].items() if name != "EIP712Domain"}
    assert parse(MAIL | {"types": types}).digest == parse(MAIL).digest


ATOMS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "address": st.binary(min_size=20, max_size=20).map(checksum_address),
    "string": st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12),
    "bytes": st.binary(max_size=40).map(lambda data: "0x" + data.hex()),
    "bytes32": st.binary(min_size=32, max_size=32).map(lambda data: "0x" + data.hex()),
    "bytes4": st.binary(min_size=4, max_size=4).map(lambda data: "0x" + data.hex()),
    "uint8": st.integers(0, 255),
    "uint160": st.integers(0, 2**53 - 1),
    "uint256": st.integers(0, 2**256 - 1).map(str),
    "int8": st.integers(-128, 127),
    "int256": st.integers(-(2**52), 2**52),
}


@st.composite
def typed_messages(draw: st.DrawFn) -> dict[str, Any]:
    """Messages of two nested structs with elementary members and arrays."""
    inner_kinds = draw(st.lists(st.sampled_from(sorted(ATOMS)), min_size=1, max_size=4))
    outer_kinds = draw(st.lists(st.sampled_from(sorted(ATOMS)), max_size=4))

    def inner() -> dict[str, Any]:
        return {f"m{number}": draw(ATOMS[kind]) for number, kind in enumerate(inner_kinds)}

    members = [{"name": f"m{number}", "type": kind} for number, kind in enumerate(outer_kinds)]
    message: dict[str, Any] = {f"m{number}": draw(ATOMS[kind]) for number, kind in enumerate(outer_kinds)}
    members += [
        {"name": "one", "type": "Inner"},
        {"name": "many", "type": "Inner[]"},
        {"name": "two", "type": "uint8[2][]"},
    ]
    message |= {
        "one": inner(),
        "many": [inner() for _ in range(draw(st.integers(0, 3)))],
        "two": draw(st.lists(st.lists(st.integers(0, 255), min_size=2, max_size=2), max_size=2)),
    }
    return {
        "types": {
            "EIP712Domain": DOMAIN_TYPE,
            "Outer": members,
            "Inner": [{"name": f"m{number}", "type": kind} for number, kind in enumerate(inner_kinds)],
        },
        "primaryType": "Outer",
        "domain": DOMAIN,
        "message": message,
    }


@given(typed_messages())
@settings(max_examples=60, deadline=None)
def test_hashes_equal_eth_account(typed_data: dict[str, Any]) -> None:
    """Nested structs, arrays of both kinds and every elementary type hash as eth-account hashes them."""
    assert parse(typed_data).digest == reference(typed_data)


@pytest.mark.parametrize("domain", [{"name": "x"}, {"chainId": 5}, {"salt": "0x" + "11" * 32}, {}])
def test_partial_domains_equal_eth_account(domain: dict[str, Any]) -> None:
    """Domains with any subset of the standard's members hash alike."""
    kinds = {"name": "string", "chainId": "uint256", "salt": "bytes32"}
    types = MAIL["types"] | {"EIP712Domain": [{"name": name, "type": kinds[name]} for name in domain]}
    typed_data = MAIL | {"types": types, "domain": domain}
    assert parse(typed_data).digest == reference(typed_data)


PERSON = MAIL["types"]["Person"]


def with_type(**types: Any) -> dict[str, Any]:
    """The mail with other struct types."""
    return MAIL | {"types": MAIL["types"] | types}


def with_message(**members: Any) -> dict[str, Any]:
    """The mail with other members."""
    return MAIL | {"message": MAIL["message"] | members}


@pytest.mark.parametrize(
    "typed_data",
    [
        MAIL | {"primaryType": "Letter"},
        MAIL | {"primaryType": "EIP712Domain"},
        MAIL | {"primaryType": None},
        MAIL | {"message": []},
        MAIL | {"domain": None},
        MAIL | {"domain": DOMAIN | {"chainId": 2, "extra": 1}},
        MAIL | {"domain": {name: DOMAIN[name] for name in ("name", "version", "chainId")}},
        MAIL | {"domain": DOMAIN | {"chainId": -1}},
        MAIL | {"domain": DOMAIN | {"chainId": str(1 << 256)}},
        with_message(contents=None),
        with_message(contents=5),
        with_message(extra="x"),
        with_message(to={"name": "Bob"}),
        with_message(to={"name": "Bob", "wallet": "bob.eth"}),
        with_message(to={"name": "Bob", "wallet": "0x00"}),
        with_type(Person=[*PERSON, {"name": "age", "type": "uint"}]),
        with_type(Person=[*PERSON, {"name": "age", "type": "uint7"}]),
        with_type(Person=[*PERSON, {"name": "age", "type": "bytes33"}]),
        with_type(Person=[*PERSON, {"name": "age", "type": "Age"}]),
        with_type(Person=[*PERSON, {"name": "age", "type": "uint8[0]"}]),
        with_type(Person=[*PERSON, {"name": "name", "type": "uint8"}]),
        with_type(Person=[*PERSON, {"name": "a b", "type": "uint8"}]),
        with_type(Person=[{"name": "name"}]),
        with_type(Person={}),
        with_type(address=PERSON),
        with_type(uint256=PERSON),
        with_type(**{"Mail(evil": PERSON}),
        with_type(EIP712Domain=[*DOMAIN_TYPE, {"name": "chain", "type": "uint256"}]),
        with_type(EIP712Domain=[{"name": "chainId", "type": "uint8"}]),
    ],
)
def test_wrong_typed_data_is_refused(typed_data: dict[str, Any]) -> None:
    """Undefined, aliased or forged types, missing or extra members and values out of range are refused."""
    with pytest.raises(CallerError) as caught:
        parse(typed_data)
    assert caught.value.code == "payload.eip712"


def struct(text: str) -> list[dict[str, str]]:
    """Members from `type name, type name`."""
    return [dict(zip(("type", "name"), part.split(), strict=True)) for part in text.split(",")]


def message(primary: str, types: dict[str, str], values: dict[str, Any], contract: str = TOKEN) -> dict[str, Any]:
    """Typed data for a contract on chain 1."""
    return {
        "types": {name: struct(text) for name, text in types.items()},
        "primaryType": primary,
        "domain": {"name": "x", "chainId": 1, "verifyingContract": contract},
        "message": values,
    }


PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
PERMIT = "address owner,address spender,uint256 value,uint256 nonce,uint256 deadline"
AUTHORIZATION = "address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce"
DETAILS = "address token,uint160 amount,uint48 expiration,uint48 nonce"
PERMISSIONS = "address token,uint256 amount"
TRANSFER_TERMS = "TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline"
DOMAIN_MEMBERS = "string name,uint256 chainId,address verifyingContract"
WORD = "0x" + "01" * 32
DETAIL = {"token": TOKEN, "amount": "7", "expiration": 1, "nonce": 0}
PERMITTED = {"token": TOKEN, "amount": "0x07"}

PERMITS = {
    "erc2612": message(
        "Permit",
        {"Permit": PERMIT},
        {"owner": OWNER, "spender": SPENDER, "value": "7", "nonce": 0, "deadline": 1},
    ),
    "dai": message(
        "Permit",
        {"Permit": "address holder,address spender,uint256 nonce,uint256 expiry,bool allowed"},
        {"holder": OWNER, "spender": SPENDER, "nonce": 0, "expiry": 0, "allowed": True},
    ),
    "eip3009": message(
        "TransferWithAuthorization",
        {"TransferWithAuthorization": AUTHORIZATION},
        {"from": OWNER, "to": SPENDER, "value": 7, "validAfter": 0, "validBefore": 1, "nonce": WORD},
    ),
    "permit2 single": message(
        "PermitSingle",
        {"PermitSingle": "PermitDetails details,address spender,uint256 sigDeadline", "PermitDetails": DETAILS},
        {"details": DETAIL, "spender": SPENDER, "sigDeadline": 1},
        PERMIT2,
    ),
    "permit2 batch": message(
        "PermitBatch",
        {"PermitBatch": "PermitDetails[] details,address spender,uint256 sigDeadline", "PermitDetails": DETAILS},
        {"details": [DETAIL, DETAIL], "spender": SPENDER, "sigDeadline": 1},
        PERMIT2,
    ),
    "permit2 transfer": message(
        "PermitTransferFrom",
        {
            "PermitTransferFrom": TRANSFER_TERMS,
            "TokenPermissions": PERMISSIONS,
        },
        {"permitted": PERMITTED, "spender": SPENDER, "nonce": 1, "deadline": 1},
        PERMIT2,
    ),
    "permit2 witness": message(
        "PermitWitnessTransferFrom",
        {
            "PermitWitnessTransferFrom": f"{TRANSFER_TERMS},Order witness",
            "TokenPermissions": PERMISSIONS,
            "Order": "address swapper",
        },
        {"permitted": PERMITTED, "spender": SPENDER, "nonce": 1, "deadline": 1, "witness": {"swapper": OWNER}},
        PERMIT2,
    ),
}


@pytest.mark.parametrize("name", PERMITS)
def test_permits_are_recognised_as_token_moves(name: str) -> None:
    """Each kind of permit shows token, spender and amount, and hashes like eth-account's."""
    payload = parse(PERMITS[name])
    move = payload.token_moves[0]
    assert move.kind is (MoveKind.TRANSFER if name == "eip3009" else MoveKind.APPROVAL)
    assert checksum_address(move.token) == TOKEN
    assert checksum_address(move.recipient) == SPENDER
    assert move.amount == (UINT256_MAX if name == "dai" else 7)
    assert len(payload.token_moves) == (2 if name == "permit2 batch" else 1)
    assert payload.facts["token_moves"][0]["token"] == TOKEN
    with_domain = PERMITS[name]["types"] | {"EIP712Domain": struct(DOMAIN_MEMBERS)}
    if name != "permit2 transfer" and name != "permit2 witness":
        assert payload.digest == reference(PERMITS[name] | {"types": with_domain})


def test_look_alikes_of_permits_are_not_taken_for_them() -> None:
    """Another member order, another contract for Permit2 or another inner type is plain typed data."""
    other_order = message(
        "Permit",
        {"Permit": "address spender,address owner,uint256 value,uint256 nonce,uint256 deadline"},
        {"owner": OWNER, "spender": SPENDER, "value": "7", "nonce": 0, "deadline": 1},
    )
    other_contract = PERMITS["permit2 single"] | {
        "domain": PERMITS["permit2 single"]["domain"] | {"verifyingContract": OWNER}
    }
    inner = PERMITS["permit2 transfer"]
    other_inner = inner | {
        "types": inner["types"] | {"TokenPermissions": struct("address coin,uint256 amount")},
        "message": inner["message"] | {"permitted": {"coin": TOKEN, "amount": 7}},
    }
    for typed_data in (other_order, other_contract, other_inner, MAIL):
        assert parse(typed_data).token_moves == ()


NAMES = st.sampled_from(["name", "type", "to", "Mail", "x"])


def one(kind: str, value: Any, **types: Any) -> dict[str, Any]:
    """Typed data of one member."""
    made = message("One", {"One": f"{kind} value"}, {"value": value})
    return made | {"types": made["types"] | types}


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (one("uint8", 1), one("uint8", True)),
        (one("uint8", 255), one("uint8", 256)),
        (one("int8", -128), one("int8", -129)),
        (one("bool", True), one("bool", 1)),
        (one("bytes4", "0x00000000"), one("bytes4", "0x000000")),
        (one("bytes4", "0x00000000"), one("bytes4", "0x0000000000")),
        (one("bytes", "0x00"), one("bytes", "0xzz")),
        (one("bytes", "0x00"), one("bytes", 5)),
        (one("bytes", "0x00"), one("bytes", None)),
        (one("uint8[2]", [1, 2]), one("uint8[2]", [1])),
        (one("uint8[]", []), one("uint8[]", {})),
        (one("uint8[][][][]", []), one("uint8[][][][][]", [])),
        (one("Address", {}, Address=[]), one("address", {}, address=[])),
        (one("Uint9", {}, Uint9=[]), one("uint9", {}, uint9=[])),
        (one("string", "x"), one("string", "x", Twice=[*PERSON, *PERSON])),
        (
            one("string", "x", Wide=[{"name": f"m{n}", "type": "bool"} for n in range(64)]),
            one("string", "x", Wide=[{"name": f"m{n}", "type": "bool"} for n in range(65)]),
        ),
        (one("string", "x", Other=[]), one("string", "x", Other=[{"name": "age", "type": "Age"}])),
        (one("string", "x", Other=[]), one("string", "x", Other=[{"name": 5, "type": "bool"}])),
        (one("string", "x", Other=[]), one("string", "x", Other=[{"name": "a", "type": 5}])),
        (one("string", "x", Other=[]), one("string", "x", Other=[{"name": "a b", "type": "bool"}])),
        (one("bool[]", [True] * 4096), one("bool[]", [True] * 4097)),
        (one("Empty", {}, Empty=[]), one("Empty", [], Empty=[])),
        (MAIL, MAIL | {"primaryType": "EIP712Domain", "message": DOMAIN}),
        (
            MAIL | {"domain": {"chainId": 1}, "types": MAIL["types"] | {"EIP712Domain": struct("uint256 chainId")}},
            MAIL | {"domain": {"chainId": 1}, "types": MAIL["types"] | {"EIP712Domain": struct("uint8 chainId")}},
        ),
        (
            MAIL | {"domain": {"name": "1"}, "types": MAIL["types"] | {"EIP712Domain": struct("string name")}},
            MAIL | {"domain": {"nick": "1"}, "types": MAIL["types"] | {"EIP712Domain": struct("string nick")}},
        ),
    ],
)
def test_a_near_miss_of_good_typed_data_is_refused(good: dict[str, Any], bad: dict[str, Any]) -> None:
    """Each pair differs in one fact: the first is accepted, the second refused."""
    assert parse(good).digest
    with pytest.raises(CallerError) as caught:
        parse(bad)
    assert caught.value.code == "payload.eip712"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.sampled_from(["", "0x", "uint8", "Person", "Mail[]", TOKEN]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=8,
)
PARTS = st.sampled_from(["types", "message", "domain"])
PERMIT_MEMBERS = st.sampled_from(["Permit", "details", "permitted", "spender", "verifyingContract", "TokenPermissions"])


@given(st.sampled_from(sorted(MAIL)), json_values)
def test_hostile_typed_data_only_raises_caller_errors(name: str, value: Any) -> None:
    """Typed data with any value in any place hashes or raises a CallerError."""
    with contextlib.suppress(CallerError):
        parse(MAIL | {name: value})


@given(st.sampled_from(sorted(PERMITS)), PARTS, PERMIT_MEMBERS, json_values)
def test_hostile_permits_only_raise_caller_errors(name: str, part: str, member: str, value: Any) -> None:
    """Permits with any value in any member are read or raise a CallerError."""
    with contextlib.suppress(CallerError):
        parse(PERMITS[name] | {part: PERMITS[name][part] | {member: value}})


def test_a_type_that_contains_itself_ends() -> None:
    """Recursive types are hashed as deep as the message goes, and no deeper."""
    node = struct("uint8 value,Node[] children")
    leaf = {"value": 2, "children": []}
    typed_data = message("Node", {"Node": "uint8 value"}, {"value": 1, "children": [leaf]}) | {"types": {"Node": node}}
    payload = parse(typed_data)
    with_domain = {"Node": node, "EIP712Domain": struct(DOMAIN_MEMBERS)}
    assert payload.digest == reference(typed_data | {"types": with_domain})


def test_a_message_kind_that_is_not_typed_data_is_still_refused() -> None:
    """Typed data needs its own member."""
    with pytest.raises(CallerError):
        parse_sign_body(json.dumps({"kind": "eip712", "message": b64url(b"x")}).encode(), "evm", "secp256k1-ecdsa")
