"""A strict CBOR reader for attestation documents (RFC 8949, deterministic subset).

Refused: non-shortest integers and lengths, duplicate map keys, floats, simple values other than false, true
and null, tags (the caller strips the one it expects), strings in chunks, trailing bytes, deep nesting.
Maps and arrays of indefinite length are read, under the same limits, because genuine hypervisors write them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attestation.errors import EvidenceError

DEPTH_MAX = 8
"""Documents nest three levels; anything deeper is an attack on the parser."""

ITEMS_MAX = 1024
"""Most entries in one array or map; real ones have at most 32."""

_BREAK = b"\xff"

NULL = b"\xf6"
"""CBOR null."""


def decode(data: bytes) -> Any:
    """One CBOR item that fills `data`: int, bytes, str, list, dict, bool or None.

    Raises EvidenceError (`cbor.*`).
    """
    reader = _Reader(data)
    value = reader.item(0)
    if reader.position != len(data):
        raise EvidenceError("bytes follow the CBOR item", code="cbor.trailing")
    return value


def encode_bytes(data: bytes) -> bytes:
    """A CBOR byte string."""
    return _head(2, len(data)) + data


def encode_text(text: str) -> bytes:
    """A CBOR text string."""
    data = text.encode()
    return _head(3, len(data)) + data


def encode_array_head(length: int) -> bytes:
    """The head of a CBOR array of `length` items."""
    return _head(4, length)


def encode_map_head(length: int) -> bytes:
    """The head of a CBOR map of `length` pairs."""
    return _head(5, length)


def _head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << 8 * size:
            return bytes([major << 5 | info]) + value.to_bytes(size, "big")
    raise EvidenceError("length beyond 64 bits", code="cbor.malformed")


class _Reader:
    """Position in the input; every read is bounds-checked before anything is allocated."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.position + count
        if end > len(self.data):
            raise EvidenceError("CBOR item is cut short", code="cbor.truncated")
        chunk = self.data[self.position : end]
        self.position = end
        return chunk

    def head(self) -> tuple[int, int | None]:
        """Major type and argument in its shortest form; None for a map or array of indefinite length."""
        first = self.take(1)[0]
        major, info = first >> 5, first & 0x1F
        if info < 24:
            return major, info
        if info == 31 and major in (4, 5):
            return major, None
        if info > 27:
            raise EvidenceError("strings in chunks and reserved lengths are not used here", code="cbor.indefinite")
        size = 1 << info - 24
        value = int.from_bytes(self.take(size), "big")
        if major == 7:
            raise EvidenceError("expected no floats or extended simple values", code="cbor.type")
        if value < (24 if size == 1 else 1 << 4 * size):
            raise EvidenceError("integer or length not in its shortest form", code="cbor.not-shortest")
        return major, value

    def item(self, depth: int) -> Any:
        """The next item."""
        if depth > DEPTH_MAX:
            raise EvidenceError(f"nested deeper than {DEPTH_MAX}", code="cbor.too-deep")
        major, value = self.head()
        if value is None or major in (4, 5):
            return self.array(value, depth) if major == 4 else self.map(value, depth)
        if major == 0:
            return value
        if major == 1:
            return -1 - value
        if major == 2:
            return self.take(value)
        if major == 3:
            return self.text(value)
        if major == 7 and value in (20, 21, 22):
            return {20: False, 21: True, 22: None}[value]
        raise EvidenceError("tags, floats and other simple values are not used here", code="cbor.type")

    def text(self, length: int) -> str:
        """A UTF-8 string of `length` bytes."""
        try:
            return self.take(length).decode("utf-8", "strict")
        except UnicodeDecodeError:
            raise EvidenceError("text is not UTF-8", code="cbor.malformed") from None

    def entries(self, length: int | None) -> Iterator[int]:
        """Counts through `length` entries, or up to the break byte."""
        count = 0
        while count != length:
            if length is None and self.data[self.position : self.position + 1] == _BREAK:
                self.position += 1
                return
            if count >= ITEMS_MAX:
                raise EvidenceError(f"more than {ITEMS_MAX} entries", code="cbor.too-large")
            yield count
            count += 1

    def array(self, length: int | None, depth: int) -> list[Any]:
        """An array of `length` items."""
        return [self.item(depth + 1) for _ in self.entries(length)]

    def map(self, length: int | None, depth: int) -> dict[Any, Any]:
        """A map of `length` entries with distinct integer or text keys."""
        entries: dict[Any, Any] = {}
        for _ in self.entries(length):
            key = self.item(depth + 1)
            if not isinstance(key, int | str) or isinstance(key, bool):
                raise EvidenceError("map keys are integers or text", code="cbor.type")
            if key in entries:
                raise EvidenceError("a map repeats a key", code="cbor.duplicate-key")
            entries[key] = self.item(depth + 1)
        return entries
