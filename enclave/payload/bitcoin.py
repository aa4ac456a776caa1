"""Bitcoin transactions: strict reading, and the hashes that signatures commit to (BIP-143, BIP-341).

Rules kept: one encoding per value (shortest compact sizes), nothing after the transaction, amounts within the
21 million coins; only signatures over the whole transaction exist here (SIGHASH_DEFAULT or SIGHASH_ALL).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from enclave.errors import CallerError
from enclave.group.schnorr import tagged_hash

TRANSACTION_BYTES_MAX = 400_000
"""What relaying nodes accept: 100 000 vbytes, which is at most this many bytes."""

UNSIGNED_BYTES_MAX = 100_000
"""The same without witnesses, whose bytes alone count a quarter: so many outputs are still judged within 0.1 s."""

SATOSHIS_MAX = 21_000_000 * 100_000_000

SIGHASH_DEFAULT, SIGHASH_ALL = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An amount and the script that may spend it."""

    satoshis: int
    script: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A reference to an earlier output."""

    txid: bytes
    """32 bytes as serialized."""
    index: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction without signatures."""

    version: int
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    lock_time: int
    txid: bytes
    """SHA-256 twice over the serialization without witnesses."""


class Reader:
    """Bounds-checked reading of Bitcoin's encoding; every fault is CallerError (`payload.bitcoin`)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > self.left:
            refuse("it ends too early")
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece

    def number(self, size: int) -> int:
        """A little-endian integer."""
        return int.from_bytes(self.take(size), "little")

    def compact(self) -> int:
        """A compact size in its shortest form."""
        first = self.number(1)
        if first < 0xFD:
            return first
        size, low = {0xFD: (2, 0xFD), 0xFE: (4, 1 << 16), 0xFF: (8, 1 << 32)}[first]
        value = self.number(size)
        if value < low:
            refuse("a size is not in its shortest form")
        return value

    def string(self) -> bytes:
        """Bytes behind their compact size."""
        return self.take(self.compact())

    def count(self, bytes_each: int) -> int:
        """How many items follow, of at least `bytes_each` bytes: bounded before anything is allocated."""
        number = self.compact()
        if number * bytes_each > self.left:
            refuse("it ends too early")
        return number


def compact(value: int) -> bytes:
    """Shortest compact size of a number."""
    if value < 0xFD:
        return bytes([value])
    for marker, size in ((0xFD, 2), (0xFE, 4), (0xFF, 8)):
        if value < 1 << 8 * size:
            return bytes([marker]) + value.to_bytes(size, "little")
    raise ValueError(value)


def string(data: bytes) -> bytes:
    """Bytes behind their compact size."""
    return compact(len(data)) + data


def double_sha256(data: bytes) -> bytes:
    """Bitcoin's hash of transactions and legacy sighashes."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def parse_transaction(data: bytes, *, signed: bool) -> Transaction:
    """Read a transaction; `signed` allows scripts and witnesses, else every input must be bare.

    Raises CallerError (`payload.bitcoin`).
    """
    bytes_max = TRANSACTION_BYTES_MAX if signed else UNSIGNED_BYTES_MAX
    if len(data) > bytes_max:
        refuse(f"expected at most {bytes_max} bytes of transaction")
    reader = Reader(data)
    version = reader.number(4)
    with_witness = signed and data[4:6] == b"\x00\x01"
    if with_witness:
        reader.take(2)
    inputs, scripts = [], []
    for _ in range(reader.count(41)):
        txid, index, script, sequence = reader.take(32), reader.number(4), reader.string(), reader.number(4)
        if script and not signed:
            refuse("expected an unsigned transaction: an input has a script")
        inputs.append(Input(txid=txid, index=index, sequence=sequence))
        scripts.append(script)
    outputs = tuple(_output(reader) for _ in range(reader.count(9)))
    if with_witness:
        for _ in inputs:
            for _ in range(reader.count(1)):
                reader.string()
    lock_time = reader.number(4)
    if reader.left:
        refuse("bytes follow the transaction")
    if not inputs or not outputs:
        refuse("expected at least one input and one output")
    if len({(item.txid, item.index) for item in inputs}) != len(inputs):
        refuse("two inputs spend the same output")
    if sum(output.satoshis for output in outputs) > SATOSHIS_MAX:
        refuse("outputs exceed all coins")
    bare = b"".join(
        item.txid + item.index.to_bytes(4, "little") + string(script) + item.sequence.to_bytes(4, "little")
        for item, script in zip(inputs, scripts, strict=True)
    )
    stripped = b"".join(
        (
            version.to_bytes(4, "little"),
            compact(len(inputs)) + bare,
            compact(len(outputs)) + b"".join(map(encode_output, outputs)),
            lock_time.to_bytes(4, "little"),
        )
    )
    return Transaction(
        version=version,
        inputs=tuple(inputs),
        outputs=outputs,
        lock_time=lock_time,
        txid=double_sha256(stripped),
    )


def parse_output(data: bytes) -> Output:
    """One serialized output that fills `data`; raises CallerError (`payload.bitcoin`)."""
    reader = Reader(data)
    output = _output(reader)
    if reader.left:
        refuse("bytes follow an output")
    return output


def encode_output(output: Output) -> bytes:
    """Serialization of an output."""
    return output.satoshis.to_bytes(8, "little") + string(output.script)


def taproot_sighash(transaction: Transaction, spent: Sequence[Output], number: int, hash_type: int) -> bytes:
    """The hash a key-path signature of input `number` is made over (BIP-341, without annex)."""
    if hash_type not in (SIGHASH_DEFAULT, SIGHASH_ALL):
        refuse("only signatures over the whole transaction exist")
    parts = (
        b"\x00",  # epoch
        bytes([hash_type]),
        transaction.version.to_bytes(4, "little"),
        transaction.lock_time.to_bytes(4, "little"),
        hashlib.sha256(_outpoints(transaction)).digest(),
        hashlib.sha256(b"".join(output.satoshis.to_bytes(8, "little") for output in spent)).digest(),
        hashlib.sha256(b"".join(string(output.script) for output in spent)).digest(),
        hashlib.sha256(_sequences(transaction)).digest(),
        hashlib.sha256(b"".join(map(encode_output, transaction.outputs))).digest(),
        b"\x00",  # key path, no annex
        number.to_bytes(4, "little"),
    )
    return tagged_hash("TapSighash", b"".join(parts))


def segwit_sighash(transaction: Transaction, spent: Output, number: int) -> bytes:
    """The hash an ECDSA signature of a P2WPKH input is made over with SIGHASH_ALL (BIP-143)."""
    own = transaction.inputs[number]
    script_code = b"\x76\xa9\x14" + spent.script[2:] + b"\x88\xac"
    return double_sha256(
        b"".join(
            (
                transaction.version.to_bytes(4, "little"),
                double_sha256(_outpoints(transaction)),
                double_sha256(_sequences(transaction)),
                own.txid + own.index.to_bytes(4, "little"),
                string(script_code),
                spent.satoshis.to_bytes(8, "little"),
                own.sequence.to_bytes(4, "little"),
                double_sha256(b"".join(map(encode_output, transaction.outputs))),
                transaction.lock_time.to_bytes(4, "little"),
                SIGHASH_ALL.to_bytes(4, "little"),
            )
        )
    )


def refuse(detail: str) -> NoReturn:
    """Raise CallerError (`payload.bitcoin`)."""
    raise CallerError(detail, code="payload.bitcoin", hint="build the transaction again with a current wallet library")


def _output(reader: Reader) -> Output:
    satoshis = reader.number(8)
    if satoshis > SATOSHIS_MAX:
        refuse("an output exceeds all coins")
    return Output(satoshis=satoshis, script=reader.string())


def _outpoints(transaction: Transaction) -> bytes:
    return b"".join(item.txid + item.index.to_bytes(4, "little") for item in transaction.inputs)


def _sequences(transaction: Transaction) -> bytes:
    return b"".join(item.sequence.to_bytes(4, "little") for item in transaction.inputs)
