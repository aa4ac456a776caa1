"""Typed data as eth-account's test suite has it (tests/eip712_messages): the same hashes, or a refusal with a code.

The messages are transcribed in short form.  Where libraries disagree with each other or the standard, nodes refuse.
"""

from __future__ import annotations

from typing import Any

import pytest
from eth_account.messages import encode_typed_data

from enclave.errors import CallerError
from tests.enclave.payload.test_eip712 import CONTRACT, DOMAIN, DOMAIN_TYPE, MAIL, parse, reference, struct

PERSON = "string name,address wallet"
COW = {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"}
BOB = {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"}
ALICE = {"name": "Alice", "wallet": "0x" + "aa" * 20}
DOT = {"name": "Dot", "wallet": "0x" + "dd" * 20}
HELLO = {"from": COW, "to": BOB, "contents": "Hello, Bob!"}


def typed(primary: str, types: dict[str, Any], message: Any, **changes: Any) -> dict[str, Any]:
    """Typed data under the Ether Mail domain."""
    made = {name: struct(members) if isinstance(members, str) else members for name, members in types.items()}
    return {
        "types": {"EIP712Domain": DOMAIN_TYPE} | made,
        "primaryType": primary,
        "domain": DOMAIN,
        "message": message,
    } | changes


def mail(members: str, message: Any, *, person: str = PERSON, **changes: Any) -> dict[str, Any]:
    """A Mail of other members."""
    return typed("Mail", {"Person": person, "Mail": members}, message, **changes)


def contract(first: str, *children: Any) -> dict[str, Any]:
    """A contract that contains others."""
    return {"address": "0x" + first * 20, "childContracts": list(children)}


ADDRESSES = ["0xAb8483F64d9C6d1EcF9b849Ae677dD3315835cb2"] * 2
TEST_DOMAIN = {"name": "Test", "version": "1", "chainId": 1, "verifyingContract": "0x" + "00" * 20}
COMPANY_PERSON = "string name,Company company,string[] aliases,address wallet"


def employee(name: str, company: str, number: int, aliases: list[str], wallet: str) -> dict[str, Any]:
    """A person with a company."""
    return {"name": name, "company": {"name": company, "id": number}, "aliases": aliases, "wallet": wallet}


def letter(tags: str, values: Any) -> dict[str, Any]:
    """A Mail between companies with arrays of everything."""
    return typed(
        "Mail",
        {
            "Company": "string name,uint256 id",
            "Person": COMPANY_PERSON,
            "Mail": f"uint256[] ids,Person from,Person to,Person[] cc,Person[][] bcc,string contents,{tags} tags",
        },
        {
            "ids": [2, 3, 5, 7, 11, 13, 17, 19],
            "from": employee("Cow", "farm", 1, ["Vaca", "\u041a\u043e\u0440\u043e\u0432\u0430", "Koe"], COW["wallet"]),
            "to": employee("Bob", "fishery", 2, ["Bib", "Bab"], BOB["wallet"]),
            "cc": [
                employee("Alice", "theme-park", 3, [], ALICE["wallet"]),
                employee("Dot", "ice-cream", 4, ["Dash"], DOT["wallet"]),
            ],
            "bcc": [
                [
                    employee("Earnest", "eatery", 5, [], "0x" + "ee" * 20),
                    employee("Felicia", "fine dining", 6, ["Fiona"], "0x" + "ff" * 20),
                ]
            ],
            "contents": "Hello, Bob!",
            "tags": values,
        },
    )


PUBLISHED: dict[str, dict[str, Any]] = {
    "valid_eip712_example": MAIL,
    "valid_eip712_example_addresses_not_checksummed": mail(
        "Person from,Person to,string contents",
        {
            "from": COW | {"wallet": COW["wallet"].lower()},
            "to": BOB | {"wallet": BOB["wallet"].lower()},
            "contents": "Hello, Bob!",
        },
        domain=DOMAIN | {"verifyingContract": CONTRACT.lower()},
    ),
    "valid_eip712_example_with_array": mail(
        "Person from,Person to,Person[] cc,string contents", HELLO | {"cc": [ALICE, DOT]}
    ),
    "valid_multi_no_fixed_len_array": letter(
        "string[][][]",
        [
            [["ab", "cd"], ["ef", "gh"], ["ij", "kl"], ["mn", "op"]],
            [["ch", "de"], ["gb", "cn"], ["mx", "cz"], ["jp", "co"]],
        ],
    ),
    "valid_multi_array": letter(
        "string[3][4][2]",
        [
            [["ab", "cd", "ss"], ["ef", "gh", "ss"], ["ij", "kl", "ss"], ["mn", "op", "ss"]],
            [["ch", "de", "ss"], ["gb", "cn", "ss"], ["mx", "cz", "ss"], ["jp", "co", "ss"]],
        ],
    ),
    "valid_issue_201_with_array": typed(
        "Person", {"Person": "address[] name"}, {"name": ADDRESSES}, domain=TEST_DOMAIN
    ),
    "valid_issue_201_no_array": typed("Person", {"Person": "address name"}, {"name": ADDRESSES[0]}, domain=TEST_DOMAIN),
    "valid_nested_structs_ethers_does_not_accept_recursive_custom_type_arrays": typed(
        "Owners",
        {
            "Owners": "Person[] owners",
            "Person": "string name,Contract contract",
            "Contract": "address address,Contract[] childContracts",
        },
        {
            "owners": [
                {
                    "name": "Alice",
                    "contract": contract(
                        "aa",
                        contract(
                            "bb",
                            contract(
                                "cc", contract("ab"), contract("ac"), contract("ad", contract("ba")), contract("ae")
                            ),
                        ),
                    ),
                },
                {"name": "Bob", "contract": contract("fe")},
            ]
        },
        domain=DOMAIN | {"name": "Contract Owners", "version": "2", "chainId": 1337},
    ),
    "valid_missing_eip712_type_metamask_encodes_differently": MAIL
    | {"types": {name: members for name, members in MAIL["types"].items() if name != "EIP712Domain"}},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_hashes_are_those_of_eth_account(name: str) -> None:
    """Arrays of structs, structs in structs, types that contain themselves through arrays: one hash for both."""
    assert parse(PUBLISHED[name]).digest == reference(PUBLISHED[name])


SPACED = [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}]
STRICTER: dict[str, tuple[dict[str, Any], str]] = {
    "valid_space_in_custom_type_fieldname": (
        mail("Person from", {"from": COW, "cont ents": "x"})
        | {
            "types": MAIL["types"]
            | {"Mail": [{"name": "from", "type": "Person"}, {"name": "cont ents", "type": "string"}]}
        },
        "payload.eip712",
    ),
    "valid_space_in_custom_type": (
        typed(
            "Mail",
            {"Per son": SPACED, "Mail": [{"name": "from", "type": "Per son"}, {"name": "contents", "type": "string"}]},
            {"from": COW, "contents": "x"},
        ),
        "payload.eip712",
    ),
    "valid_int_value_for_string_type": (
        mail("Person from,Person to,string contents", HELLO | {"contents": 12345}),
        "payload.eip712",
    ),
    "valid_null_value_for_custom_type": (
        mail("Person from,Person to,string contents", HELLO | {"to": None}),
        "payload.eip712",
    ),
    "valid_eip712_example_ethers_does_not_accept_recursive_custom_types": (
        mail(
            "Person from,Person to,string contents",
            HELLO | {"from": COW | {"friend": {"name": "Esther", "wallet": "0x" + "ab" * 20}}},
            person=PERSON + ",Person friend",
        ),
        "payload.eip712",
    ),
    "valid_missing_primary_type_key": (
        {name: value for name, value in MAIL.items() if name != "primaryType"},
        "payload.malformed",
    ),
    "valid_primary_type_is_empty_string": (
        typed(
            "Mail",
            {"": PERSON, "Mail": [{"name": name, "type": ""} for name in ("from", "to")] + struct("string contents")},
            HELLO,
        ),
        "payload.malformed",
    ),
}


@pytest.mark.parametrize("name", STRICTER)
def test_what_libraries_disagree_on_is_refused(name: str) -> None:
    """eth-account hashes these, ethers or MetaMask do not, or hash them otherwise: nobody knows what is signed."""
    data, code = STRICTER[name]
    encode_typed_data(full_message=data)
    with pytest.raises(CallerError) as caught:
        parse(data)
    assert caught.value.code == code


BALANCE = "string name,uint256 balance"
INVALID: dict[str, dict[str, Any]] = {
    "invalid_data_field_name_does_not_match_type_field_name": mail(
        "Person from,Person to,string contents", HELLO, person="string name,address hello_wallet"
    ),
    "invalid_char_string_invalid_for_int_type": mail(
        "Person from",
        {"from": {"name": "Bob", "balance": "how do you do?"}},
        person=BALANCE,
    ),
    "invalid_single_array_value_for_nested_array_type": mail(
        "Person from,Person[2][][4] to,string contents", HELLO | {"to": [BOB]}
    ),
    "invalid_bad_uint_field_type_in_types_passed_an_int": mail(
        "Person from", {"from": {"name": "Cow", "balance": 123}}, person="string name,uint25689 balance"
    ),
    "invalid_bad_uint_field_type_in_types_passed_a_string": mail(
        "Person from", {"from": {"name": "Cow", "balance": "123"}}, person="string name,uint25689 balance"
    ),
    "invalid_undefined_field_type_in_types": mail("Hello from,Person to,string contents", HELLO),
    "invalid_custom_typed_used_but_not_defined": mail(
        "Person from,Person to,string contents,Attachment[] attachments", HELLO | {"attachments": []}
    ),
    "invalid_string_array_value_for_nested_string_array_type": mail(
        "Person from",
        {"from": COW | {"nicknames": ["bovine", "Bessie", "Daisy"]}},
        person=PERSON + ",string[][] nicknames",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_what_eth_account_refuses_is_refused(name: str) -> None:
    """Undefined types, absent members, values of other types, arrays of other dimensions."""
    with pytest.raises(Exception, match=r".*"):
        encode_typed_data(full_message=INVALID[name])
    with pytest.raises(CallerError) as caught:
        parse(INVALID[name])
    assert caught.value.code == "payload.eip712"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"domain": None}, "payload.eip712"),
        ({"domain": []}, "payload.eip712"),
        ({"domain": {}}, "payload.eip712"),
        ({"domain": {"name": "Ether Mail"}}, "payload.eip712"),
        ({"domain": DOMAIN | {"salt": "0x" + "00" * 32}}, "payload.eip712"),
        ({"types": MAIL["types"] | {"Person": SPACED, "string": SPACED}}, "payload.eip712"),
        ({"types": MAIL["types"] | {"EIP712Domain": SPACED}}, "payload.eip712"),
    ],
)
def test_domains_and_shadowed_types(change: dict[str, Any], code: str) -> None:
    """A domain that is absent or other than declared; structs with the name of an elementary type or the domain's."""
    with pytest.raises(CallerError) as caught:
        parse(MAIL | change)
    assert caught.value.code == code
    without = {name: value for name, value in MAIL.items() if name != "domain"}
    with pytest.raises(CallerError) as caught:
        parse(without)
    assert caught.value.code == "payload.malformed"
