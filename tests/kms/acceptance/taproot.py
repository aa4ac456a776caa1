"""Key-path spends in plain Python, from BIP-341 alone: unsigned transactions, their sighash, the output key.

For public data and tests; shares no code with the enclave.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from kms.dev.demo_steps import schnorr

DEFAULT, ALL = 0, 1
"""The hash types that cover everything; the former is not written into the witness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An amount in satoshi and the script that guards it."""

    amount: int
    script: bytes

    def encode(self) -> bytes:
        """As in a transaction."""
        return self.amount.to_bytes(8, "little") + prefixed(self.script)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An output to spend: its transaction's id in byte order of the wire, its number, the sequence."""

    transaction: bytes
    number: int
    sequence: int
    spent: Output

    @property
    def outpoint(self) -> bytes:
        """36 bytes."""
        return self.transaction + self.number.to_bytes(4, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """A transaction whose inputs all go through their key path."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    version: int = 2
    lock_time: int = 0

    def sighash(self, position: int, hash_type: int = DEFAULT) -> bytes:
        """What input `position` signs (BIP-341, "Common signature message"; extension 0, no annex)."""
        assert hash_type in (DEFAULT, ALL)
        message = b"".join(
            (
                bytes([0, hash_type]),
                self.version.to_bytes(4, "little"),
                self.lock_time.to_bytes(4, "little"),
                _sha256(b"".join(item.outpoint for item in self.inputs)),
                _sha256(b"".join(item.spent.amount.to_bytes(8, "little") for item in self.inputs)),
                _sha256(b"".join(prefixed(item.spent.script) for item in self.inputs)),
                _sha256(b"".join(item.sequence.to_bytes(4, "little") for item in self.inputs)),
                _sha256(b"".join(output.encode() for output in self.outputs)),
                bytes([0]),
                position.to_bytes(4, "little"),
            )
        )
        return schnorr.tagged("TapSighash", message)


def read(data: bytes, spent: list[Output]) -> Spend:
    """An unsigned transaction in its stripped form, with the outputs it spends."""
    version, rest = int.from_bytes(data[:4], "little"), memoryview(data)[4:]
    inputs, rest = rest[0], rest[1:]
    found = []
    for number in range(inputs):
        assert rest[36] == 0
        found.append(
            Input(
                transaction=bytes(rest[:32]),
                number=int.from_bytes(rest[32:36], "little"),
                sequence=int.from_bytes(rest[37:41], "little"),
                spent=spent[number],
            )
        )
        rest = rest[41:]
    outputs, rest = rest[0], rest[1:]
    made = []
    for _ in range(outputs):
        size = rest[8]
        made.append(Output(amount=int.from_bytes(rest[:8], "little"), script=bytes(rest[9 : 9 + size])))
        rest = rest[9 + size :]
    lock = int.from_bytes(rest, "little")
    return Spend(inputs=tuple(found), outputs=tuple(made), version=version, lock_time=lock)


def pay_to(output_key: bytes) -> bytes:
    """The script of an output of witness version 1."""
    return b"\x51\x20" + output_key


def output_key(internal: bytes) -> bytes:
    """The 32-byte output key of a 32-byte internal key without scripts (BIP-341, "Constructing and spending")."""
    tweak = int.from_bytes(schnorr.tagged("TapTweak", internal), "big")
    point = schnorr.add(schnorr.lift(int.from_bytes(internal, "big")), schnorr.multiply(tweak, schnorr.G))
    assert point is not None
    return point[0].to_bytes(32, "big")


def prefixed(data: bytes) -> bytes:
    """Bytes behind their length; below 253 that is one byte."""
    assert len(data) < 253
    return bytes([len(data)]) + data


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
