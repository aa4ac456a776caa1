"""Addresses agree with eth-keys and solders, and malformed ones are refused."""

from __future__ import annotations

import pytest
from eth_keys import keys
from eth_utils import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from enclave.addresses import checksum_address, evm_address, parse_evm_address, parse_solana_address, solana_address
from enclave.errors import CallerError


@given(st.integers(1, 2**255))
def test_evm_addresses_equal_eth_keys(secret: int) -> None:
    """The address of a compressed key is the one eth-keys computes."""
    public = keys.PrivateKey(secret.to_bytes(32, "big")).public_key
    assert evm_address(public.to_compressed_bytes()) == public.to_checksum_address()


@given(st.binary(min_size=20, max_size=20))
def test_checksums_equal_eth_utils(address: bytes) -> None:
    """Every address is spelt as eth-utils spells it, and reads back."""
    text = checksum_address(address)
    assert text == to_checksum_address(address)
    assert parse_evm_address(text) == parse_evm_address(text.lower()) == address


@given(st.binary(min_size=32, max_size=32) | st.binary(max_size=20).map(lambda tail: tail.rjust(32, b"\x00")))
def test_solana_addresses_equal_solders(key: bytes) -> None:
    """Base58 text equals that of solders, leading zeros included, and reads back."""
    text = solana_address(key)
    assert text == str(Pubkey.from_bytes(key))
    assert parse_solana_address(text) == key


@pytest.mark.parametrize(
    "text",
    [
        None,
        1,
        "",
        "0x",
        "0x" + "0" * 39,
        "0x" + "0" * 41,
        "0X" + "0" * 40,
        "0" * 40,
        "0x" + "g" * 40,
        " 0x" + "0" * 40,
        "0x" + "0" * 40 + "\n",
        "0x" + "\u0660" * 40,
        "0x52908400098527886E0F7030069857D2E4169Ee7",
    ],
)
def test_malformed_evm_addresses_are_refused(text: object) -> None:
    """Wrong length, prefix, digits or checksum raise address.evm."""
    with pytest.raises(CallerError) as caught:
        parse_evm_address(text)
    assert caught.value.code == "address.evm"


@pytest.mark.parametrize(
    "text",
    [
        None,
        1,
        "",
        "1" * 31,
        "1" * 33,
        "1" * 44,
        "z" * 44,
        "0" + "1" * 31,
        "O" + "1" * 31,
        "l" + "1" * 31,
        "1" * 31 + " ",
        "1" * 45,
    ],
)
def test_malformed_solana_addresses_are_refused(text: object) -> None:
    """Wrong alphabet, size or spelling raise address.solana."""
    with pytest.raises(CallerError) as caught:
        parse_solana_address(text)
    assert caught.value.code == "address.solana"


@given(st.text(max_size=50))
def test_hostile_texts_only_raise_caller_errors(text: str) -> None:
    """Any text is an address that spells itself, or raises a CallerError."""
    try:
        assert solana_address(parse_solana_address(text)) == text
    except CallerError as error:
        assert error.code == "address.solana"  # noqa: PT017


@pytest.mark.parametrize("key", [b"", bytes(33), b"\x02" + b"\xff" * 32, b"\x05" + bytes(32)])
def test_a_point_off_the_curve_has_no_address(key: bytes) -> None:
    """Malformed public keys raise address.key."""
    with pytest.raises(CallerError) as caught:
        evm_address(key)
    assert caught.value.code == "address.key"
