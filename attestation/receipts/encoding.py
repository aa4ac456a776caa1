"""The bytes behind every signature and leaf: parts with their lengths under a tag (specs/wire.md), read back strictly.

A verifier without enclave code needs the same rule, so it is stated here once more; a test holds both to one result.
"""

from __future__ import annotations

import struct

from attestation.errors import ReceiptError

PARTS_MAX = 4096
"""Most parts of one message: a heartbeat over 64 slots has fewer than 1000."""

_LENGTH = struct.Struct(">I")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


def tag_bytes(tag: str) -> bytes:
    """The first part of everything under `tag`."""
    return f"holdfast/{tag}/v1".encode()


def tagged(tag: str, *parts: bytes) -> bytes:
    """`holdfast/<tag>/v1` and each part, every one behind its big-endian u32 length."""
    return join((tag_bytes(tag), *parts))


def join(parts: tuple[bytes, ...] | list[bytes]) -> bytes:
    """Parts behind their lengths, without a tag of their own."""
    return b"".join([piece for part in parts for piece in (_LENGTH.pack(len(part)), part)])


def split(data: bytes) -> list[bytes]:
    """The parts of `join`; raises ReceiptError (`receipt.malformed`) unless they add up exactly."""
    parts: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        if end - at < _LENGTH.size or len(parts) == PARTS_MAX:
            raise ReceiptError("expected parts behind their lengths")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length > end - at:
            raise ReceiptError("a part is longer than what is left")
        parts.append(data[at : at + length])
        at += length
    return parts


def untagged(data: bytes, tag: str, count: int) -> list[bytes]:
    """Exactly `count` parts of `tagged(tag, ...)`; raises ReceiptError."""
    parts = split(data)
    if not parts or parts[0] != tag_bytes(tag) or len(parts) != count + 1:
        raise ReceiptError(f"expected {count} parts under {tag}")
    return parts[1:]


def u32(value: int) -> bytes:
    """Four bytes, big-endian."""
    return _U32.pack(value)


def u64(value: int) -> bytes:
    """Eight bytes, big-endian."""
    return _U64.pack(value)


def number(part: bytes, size: int = 8) -> int:
    """The integer of a part of exactly `size` bytes; raises ReceiptError."""
    if len(part) != size:
        raise ReceiptError(f"expected a number of {size} bytes, found {len(part)}")
    return int.from_bytes(part, "big")


def text(part: bytes, characters_max: int = 128) -> str:
    """Printable ASCII of bounded length; raises ReceiptError."""
    if len(part) > characters_max or not all(0x20 <= byte < 0x7F for byte in part):
        raise ReceiptError(f"expected at most {characters_max} printable ASCII characters")
    return part.decode("ascii")


def digest(part: bytes, *, or_empty: bool = False) -> bytes:
    """32 bytes, or none where allowed; raises ReceiptError."""
    if len(part) != 32 and not (or_empty and not part):
        raise ReceiptError(f"expected 32 bytes, found {len(part)}")
    return part
