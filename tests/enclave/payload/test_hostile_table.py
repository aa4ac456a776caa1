"""What was not understood, said by code: one row per way to write a payload that two readers could read differently."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from attestation.envelope import b64url
from enclave.errors import CallerError
from enclave.payload import rlp
from enclave.payload.sign import parse_sign_body
from tests.enclave.payload.messages import transfer_message
from tests.enclave.payload.psbts import OWN, PAYEE, Psbt, built, output
from tests.enclave.payload.test_sign import TRANSACTION
from tests.enclave.payload.test_solana import versioned

EVM, SOLANA, BITCOIN, GENERIC = (
    ("evm", "secp256k1-ecdsa"),
    ("solana", "ed25519"),
    ("bitcoin", "secp256k1-ecdsa"),
    ("generic", "ed25519"),
)


def text(**members: Any) -> bytes:
    """A body."""
    return json.dumps(members).encode()


def transaction(**changes: Any) -> bytes:
    """A transaction by its fields."""
    return text(kind="evm_transaction", transaction=TRANSACTION | changes)


def raw(encoding: bytes) -> bytes:
    """A transaction by its bytes."""
    return text(kind="evm_transaction", raw="0x" + encoding.hex())


FIELDS: list[Any] = [1, 7, 1, 10, 21000, b"\x11" * 20, 5, b"", []]
"""An unsigned type 2 transaction, as RLP has it."""
GOOD_RAW = b"\x02" + rlp.encode(FIELDS)


def solana(data: bytes) -> bytes:
    """A Solana message."""
    return text(kind="solana_message", message=b64url(data))


def looked_up_program() -> bytes:
    """A message whose instruction calls a program from a lookup table."""
    data = bytearray(versioned(lookup=True))
    # The program's index is the byte before the accounts, data and lookups of the only instruction.
    position = data.index(b"\x02\x00\x00\x00" + (1000).to_bytes(8, "little")) - 5
    data[position] = 3
    return bytes(data)


def psbt(change: Callable[[Psbt], None] | None = None) -> bytes:
    """A PSBT of two inputs, with a lie."""
    made = built([(OWN.p2wpkh, 90_000), (PAYEE, 50_000)], [(PAYEE, 60_000)])
    if change is not None:
        change(made)
    return text(kind="bitcoin_psbt", psbt=b64url(made.serialize()), input=0)


def lower_amount(made: Psbt) -> None:
    """An amount other than the spent transaction says: the difference would go to fees."""
    made.inputs[0][b"\x01"] = bytes(output(OWN.p2wpkh, 60_001).serialize())


ROWS: dict[str, tuple[tuple[str, str], bytes, str]] = {
    "unknown member": (EVM, text(kind="eip191", message=b64url(b"x"), note="x"), "payload.malformed"),
    "a question in place of a request": (
        EVM,
        text(kind="eip191", message=b64url(b"x"), dry_run=True),
        "payload.malformed",
    ),
    "unknown field": (EVM, transaction(gasLimit=21000), "payload.malformed"),
    "two payloads in one": (EVM, text(kind="eip191", message=b64url(b"x"), typed_data={}), "payload.malformed"),
    "fields and bytes": (
        EVM,
        text(kind="evm_transaction", transaction=TRANSACTION, raw="0x" + GOOD_RAW.hex()),
        "payload.malformed",
    ),
    "two kinds": (EVM, text(kind=["eip191", "digest"], message=b64url(b"x")), "payload.kind"),
    "kind of another usage": (SOLANA, transaction(), "payload.usage"),
    "repeated member": (EVM, b'{"kind":"eip191","kind":"digest","message":"eA"}', "json.duplicate-key"),
    "repeated field": (
        EVM,
        transaction().replace(b'"nonce"', b'"nonce": 1, "nonce"', 1),
        "json.duplicate-key",
    ),
    "number beyond 2^53": (EVM, transaction(value=2**53), "json.number"),
    "fraction": (EVM, transaction(value=1.0), "json.number"),
    "exponent": (EVM, transaction(value=0).replace(b'"value": 0', b'"value": 1e3'), "json.number"),
    "too deep": (EVM, b"[" * 10_000 + b"]" * 10_000, "json.too-deep"),
    "too large": (EVM, text(kind="eip191", message="A" * (10 << 20)), "json.too-large"),
    "no JSON": (EVM, b"\xff\xfe", "json.malformed"),
    "RLP: long form of a short string": (EVM, raw(b"\x02\xf8\x01\x80"), "payload.rlp"),
    "RLP: leading zero": (EVM, raw(b"\x02" + rlp.encode([1, b"\x00\x07", *FIELDS[2:]])), "payload.evm-raw"),
    "RLP: header of a single byte": (EVM, raw(b"\x02\xc2\x81\x01"), "payload.rlp"),
    "RLP: bytes behind": (EVM, raw(GOOD_RAW + b"\x00"), "payload.rlp"),
    "RLP: a signed one": (EVM, raw(b"\x02" + rlp.encode([*FIELDS, 0, 1, 1])), "payload.evm-raw"),
    "type of a blob transaction": (EVM, transaction(type=3), "payload.evm-type"),
    "EIP-712: no domain": (
        EVM,
        text(kind="eip712", typed_data={"types": {}, "primaryType": "A", "message": {}}),
        "payload.malformed",
    ),
    "EIP-712: undefined type": (
        EVM,
        text(kind="eip712", typed_data={"types": {}, "primaryType": "A", "domain": {}, "message": {}}),
        "payload.eip712",
    ),
    "Solana: program from a lookup table": (SOLANA, solana(looked_up_program()), "payload.solana"),
    "Solana: a table that is looked up for nothing": (
        SOLANA,
        solana(versioned(lookup=False)[:-1] + b"\x01" + b"\x44" * 32 + b"\x00\x00"),
        "payload.solana",
    ),
    "Solana: bytes behind": (SOLANA, solana(transfer_message() + b"\x00"), "payload.solana"),
    "Solana: a transaction as text": (
        SOLANA,
        text(kind="message", message=b64url(transfer_message())),
        "payload.looks-like-transaction",
    ),
    "PSBT: another amount than the output has": (BITCOIN, psbt(lower_amount), "payload.bitcoin"),
    "PSBT: an input that is not there": (
        BITCOIN,
        psbt().replace(b'"input": 0', b'"input": 5'),
        "payload.bitcoin",
    ),
    "token as text": (
        GENERIC,
        text(kind="message", message=b64url(b"eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJ4In0")),
        "payload.looks-like-token",
    ),
}

GOOD: list[tuple[tuple[str, str], bytes]] = [
    (EVM, text(kind="eip191", message=b64url(b"x"))),
    (EVM, transaction()),
    (EVM, raw(GOOD_RAW)),
    (SOLANA, solana(versioned(lookup=True))),
    (SOLANA, solana(versioned(lookup=False))),
    (BITCOIN, psbt()),
]


@pytest.mark.parametrize("name", ROWS)
def test_each_way_has_its_code(name: str) -> None:
    """The node's reader refuses it, and says which kind of thing it did not understand."""
    (usage, spec), body, code = ROWS[name]
    with pytest.raises(CallerError) as caught:
        parse_sign_body(body, usage, spec)
    assert caught.value.code == code


@pytest.mark.parametrize(("key", "body"), GOOD)
def test_what_the_rows_change_is_good_without(key: tuple[str, str], body: bytes) -> None:
    """So that the refusals above are about what they name."""
    assert parse_sign_body(body, *key)
