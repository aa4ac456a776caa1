"""Bitcoin transactions and addresses against the published examples of BIP-143, BIP-173 and BIP-350."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.bech32 import read_segwit_address, segwit_address
from enclave.errors import CallerError
from enclave.payload.bitcoin import (
    SATOSHIS_MAX,
    Output,
    Reader,
    compact,
    encode_output,
    parse_transaction,
    segwit_sighash,
)
from enclave.payload.bitcoin_address import is_data, parse_bitcoin_address, script_text

BIP143_UNSIGNED = (
    "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffffef51e1b804cc89d182d2"
    "79655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378db99f66f85c9"
    "5a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac11000000"
)
BIP143_SCRIPT = "00141d0f172a0ecb48aee1be1f2687d2963ae33f71a1"
BIP143_SIGHASH = "c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670"


def refused(data: bytes, *, signed: bool = False) -> str:
    """The code for a transaction."""
    with pytest.raises(CallerError) as caught:
        parse_transaction(data, signed=signed)
    return caught.value.code


def test_the_native_p2wpkh_example_of_bip143() -> None:
    """Its second input is P2WPKH over 6 coins."""
    transaction = parse_transaction(bytes.fromhex(BIP143_UNSIGNED), signed=False)
    spent = Output(satoshis=600_000_000, script=bytes.fromhex(BIP143_SCRIPT))
    assert segwit_sighash(transaction, spent, 1).hex() == BIP143_SIGHASH


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"\0",
        lambda data: data[:-1],
        lambda data: data[:4] + b"\x00" + data[5:],
        lambda data: data[:4] + b"\xfd\x02\x00" + data[5:],
        lambda data: data[:4] + b"\xff" + b"\xff" * 8 + data[5:],
        lambda data: data[:41] + b"\x01\x51" + data[42:],
        lambda _data: b"",
        lambda _data: bytes(400_001),
    ],
)
def test_damaged_transactions_are_refused(change: object) -> None:
    """Trailing and missing bytes, no inputs, long and absurd sizes, a script in an unsigned input."""
    assert callable(change)
    assert refused(change(bytes.fromhex(BIP143_UNSIGNED))) == "payload.bitcoin"


def test_one_output_cannot_be_spent_twice() -> None:
    """Two inputs with one outpoint would count one amount twice."""
    outpoint = bytes(32) + bytes(4) + b"\x00" + b"\xff" * 4
    output = encode_output(Output(satoshis=1, script=b"\x51"))
    assert refused(bytes(4) + b"\x02" + outpoint * 2 + b"\x01" + output + bytes(4)) == "payload.bitcoin"


@pytest.mark.parametrize("satoshis", [SATOSHIS_MAX + 1, 1 << 63])
def test_more_than_all_coins_is_refused(satoshis: int) -> None:
    """Neither one output nor their sum exceeds what exists."""
    outpoint = bytes(32) + bytes(4) + b"\x00" + b"\xff" * 4
    one = encode_output(Output(satoshis=satoshis, script=b"\x51"))
    half = encode_output(Output(satoshis=SATOSHIS_MAX // 2 + 1, script=b"\x51"))
    assert refused(bytes(4) + b"\x01" + outpoint + b"\x01" + one + bytes(4)) == "payload.bitcoin"
    assert refused(bytes(4) + b"\x01" + outpoint + b"\x02" + half * 2 + bytes(4)) == "payload.bitcoin"


@given(st.integers(0, (1 << 64) - 1))
def test_compact_sizes_read_back(value: int) -> None:
    """The shortest form is the only one."""
    encoded = compact(value)
    assert Reader(encoded).compact() == value
    for marker, size in ((0xFD, 2), (0xFE, 4), (0xFF, 8)):
        longer = bytes([marker]) + value.to_bytes(8, "little")[:size]
        if len(longer) > len(encoded):
            with pytest.raises(CallerError):
                Reader(longer).compact()


ADDRESSES = [
    ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "0014751e76e8199196d454941c45d1b3a323f1433bd6"),
    (
        "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
        "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
    ),
    (
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
        "5128751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
    ),
    ("BC1SW50QGDZ25J", "6002751e"),
    ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "5210751e76e8199196d454941c45d1b3a323"),
    (
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
    ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "76a91477bff20c60e522dfaa3350c39b030a5d004e839a88ac"),
    ("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "a914b472a266d0bd89c13706a4132ccfb16f7c3b9fcb87"),
]


@pytest.mark.parametrize(("address", "script"), ADDRESSES)
def test_addresses_stand_for_the_published_scripts(address: str, script: str) -> None:
    """Examples of BIP-173, BIP-350 and well-known old addresses."""
    assert parse_bitcoin_address(address).hex() == script
    if address.lower().startswith("bc1") or address[0] in "13":
        expected = address.lower() if address.lower().startswith("bc1") else address
        assert script_text(bytes.fromhex(script)) == expected


REFUSED = [
    "tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty",  # unknown prefix
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",  # checksum
    "BC13W508D6QEJXTDG4Y5R3ZARVARY0C5XW7KN40WF2",  # witness version 17
    "bc1rw5uspcuh",  # program of one byte
    "bc10w508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kw5rljs90",  # program of 41 bytes
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",  # version 0 with 16 bytes
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sL5k7",  # mixed case
    "bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du",  # padding of more than four bits
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3pjxtptv",  # non-zero padding
    "bc1gmk9yu",  # empty program
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",  # bech32 instead of bech32m
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KEMEAWH",  # bech32m instead of bech32
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3",
    "1111111111111111111111",
    "0x8ba1f109551bD432803012645Ac136ddd64DBA72",
    "bc1",
    "",
    None,
    7,
]


@pytest.mark.parametrize("text", REFUSED)
def test_other_texts_are_no_addresses(text: object) -> None:
    """Published bad examples, wrong checksums, and what is no text at all."""
    with pytest.raises(CallerError) as caught:
        parse_bitcoin_address(text)
    assert caught.value.code == "address.bitcoin"


@given(st.integers(0, 16), st.binary(min_size=2, max_size=40))
def test_segwit_addresses_read_back(version: int, program: bytes) -> None:
    """Whatever can be written reads back equal."""
    try:
        text = segwit_address("bc", version, program)
    except CallerError:
        assert version == 0
        return
    assert read_segwit_address("bc", text) == (version, program)


def test_scripts_without_address_are_shown_as_they_are() -> None:
    """Data outputs and bare scripts have no address."""
    assert is_data(b"\x6a\x01a")
    assert script_text(b"\x6a\x01a") == "script:6a0161"
