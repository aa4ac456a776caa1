"""Token calls and raw transactions: what a library encodes is read alike, and near misses are not."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from eth_abi import encode
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.addresses import checksum_address
from enclave.errors import CallerError
from enclave.payload import rlp
from enclave.payload.evm_raw import parse_unsigned
from enclave.payload.sign import parse_sign_body
from enclave.payload.token_moves import UINT256_MAX, MoveKind, decode_call
from tests.enclave.payload.test_against_others import body, transactions

TOKEN, A, B = (bytes([number]) * 20 for number in (0xAA, 0xB1, 0xB2))
WORD = b"\x01" * 32


def call(signature: str, *values: Any) -> bytes:
    """Call data encoded by eth-abi."""
    types = signature[signature.index("(") + 1 : -1].split(",")
    return bytes(keccak(text=signature)[:4]) + encode(types, values)


CALLS = {
    "transfer(address,uint256)": (MoveKind.TRANSFER, None, B, 7, (B, 7)),
    "transferFrom(address,address,uint256)": (MoveKind.TRANSFER, A, B, 7, (A, B, 7)),
    "approve(address,uint256)": (MoveKind.APPROVAL, None, B, 7, (B, 7)),
    "increaseAllowance(address,uint256)": (MoveKind.APPROVAL, None, B, 7, (B, 7)),
    "setApprovalForAll(address,bool)": (MoveKind.APPROVAL, None, B, UINT256_MAX, (B, True)),
    "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)": (
        MoveKind.APPROVAL,
        A,
        B,
        7,
        (A, B, 7, 1, 27, WORD, WORD),
    ),
    "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)": (
        MoveKind.TRANSFER,
        A,
        B,
        7,
        (A, B, 7, 0, 1, WORD, 27, WORD, WORD),
    ),
    "receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)": (
        MoveKind.TRANSFER,
        A,
        B,
        7,
        (A, B, 7, 0, 1, WORD, 27, WORD, WORD),
    ),
}


@pytest.mark.parametrize("signature", CALLS)
def test_token_calls_are_read_as_a_library_writes_them(signature: str) -> None:
    """Selector and arguments of every known function are those of eth-abi."""
    kind, source, recipient, amount, values = CALLS[signature]
    move = decode_call(TOKEN, call(signature, *values))
    assert move is not None
    assert (move.kind, move.token, move.source, move.recipient, move.amount) == (kind, TOKEN, source, recipient, amount)


@pytest.mark.parametrize("signature", CALLS)
def test_near_misses_are_not_read(signature: str) -> None:
    """Extra or missing bytes, dirty address words and other selectors are not understood."""
    data = call(signature, *CALLS[signature][4])
    dirty = data[:4] + b"\x01" + data[5:]
    for wrong in (data + b"\x00", data[:-1], data[:4], dirty, b"\x00" + data[1:], b"", data + bytes(32)):
        assert decode_call(TOKEN, wrong) is None


@given(st.binary(max_size=100))
def test_any_call_data_is_read_or_not(data: bytes) -> None:
    """No call data raises."""
    for selector in ("a9059cbb", "d505accf"):
        decode_call(TOKEN, bytes.fromhex(selector) + data)


@given(transactions())
@settings(max_examples=60, deadline=None)
def test_a_raw_transaction_is_the_transaction(transaction: dict[str, Any]) -> None:
    """The unsigned bytes of any transaction read back to the same payload."""
    fields = parse_sign_body(body(transaction), "evm", "secp256k1-ecdsa")
    assert fields.transaction is not None
    unsigned = fields.transaction.unsigned()
    raw = json.dumps({"kind": "evm_transaction", "raw": "0x" + unsigned.hex()}).encode()
    assert parse_sign_body(raw, "evm", "secp256k1-ecdsa") == fields


TRANSFER: list[rlp.Item] = [1, 0, 1, 9, 21000, TOKEN, 5, b"", []]


def typed(*changes: tuple[int, rlp.Item], kind: int = 2) -> bytes:
    """A type 2 transaction with changed items."""
    items = list(TRANSFER)
    for index, value in changes:
        items[index] = value
    return bytes([kind]) + rlp.encode(items)


def test_the_untouched_raw_example_is_accepted() -> None:
    """The example the refusals below start from is a valid transaction."""
    found = parse_unsigned(typed())
    assert (found.chain_id, found.gas, found.value, found.to) == (1, 21000, 5, TOKEN)
    assert found.facts()["to"] == checksum_address(TOKEN)


LEGACY: list[rlp.Item] = [0, 1, 21000, TOKEN, 5, b"", 1, 0, 0]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "payload.evm-raw"),
        (typed((0, 0)), "payload.evm-raw"),
        (typed((2, 10)), "payload.evm-raw"),
        (typed((4, 20999)), "payload.evm-raw"),
        (typed((5, TOKEN[:19])), "payload.evm-raw"),
        (typed((5, b"")), "payload.evm-raw"),
        (typed((5, [])), "payload.evm-raw"),
        (typed((6, b"\x00\x05")), "payload.evm-raw"),
        (typed((6, b"\x01" * 33)), "payload.evm-raw"),
        (typed((8, b"")), "payload.evm-raw"),
        (typed((8, [[TOKEN]])), "payload.evm-raw"),
        (typed((8, [[TOKEN, [b"\x01"]]])), "payload.evm-raw"),
        (b"\x02" + rlp.encode([*TRANSFER, 0, 1, 1]), "payload.evm-raw"),
        (b"\x02" + rlp.encode(TRANSFER[:8]), "payload.evm-raw"),
        (b"\x02" + rlp.encode(b"x"), "payload.evm-raw"),
        (b"\x04" + rlp.encode([*TRANSFER, []]), "payload.evm-raw"),
        (typed((7, bytes(128 * 1024 + 1))), "payload.evm-raw"),
        (typed((7, bytes(256 * 1024))), "payload.evm-raw"),
        (typed() + b"\x00", "payload.rlp"),
        (typed()[:-1], "payload.rlp"),
        (typed(kind=3), "payload.evm-type"),
        (typed(kind=0), "payload.evm-type"),
        (typed(kind=0x7F), "payload.evm-type"),
        (b"\x80", "payload.evm-type"),
        (rlp.encode(LEGACY[:6]), "payload.evm-raw"),
        (rlp.encode([*LEGACY[:7], 1, 1]), "payload.evm-raw"),
        (rlp.encode([*LEGACY[:6], 0, 0, 0]), "payload.evm-raw"),
    ],
)
def test_a_wrong_raw_transaction_is_refused(raw: bytes, code: str) -> None:
    """Signed, unprotected, truncated, padded and out-of-range encodings have their own refusals."""
    assert parse_unsigned(rlp.encode(LEGACY)).type == 0
    with pytest.raises(CallerError) as caught:
        parse_unsigned(raw)
    assert caught.value.code == code


@given(st.integers(0, 60), st.integers(1, 255))
def test_changed_raw_transactions_read_back_or_are_refused(position: int, change: int) -> None:
    """Whatever parses encodes back to the very same bytes."""
    data = bytearray(typed((7, b"\xa9\x05\x9c\xbb"), (8, [[TOKEN, [WORD]]])))
    data[position % len(data)] ^= change
    with contextlib.suppress(CallerError):
        assert parse_unsigned(bytes(data)).unsigned() == bytes(data)
