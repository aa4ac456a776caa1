"""CBOR in its shortest form (RFC 8949 section 4.2), for the documents the simulated authority signs."""

from __future__ import annotations

from typing import Any


def encode(value: Any) -> bytes:
    """The encoding of None, int, bytes, str, list and dict (in the order given)."""
    match value:
        case None:
            return b"\xf6"
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            data = value.encode()
            return _head(3, len(data)) + data
        case list():
            return _head(4, len(value)) + b"".join(encode(item) for item in value)
        case dict():
            members = (encode(key) + encode(item) for key, item in value.items())
            return _head(5, len(value)) + b"".join(members)
    raise TypeError(f"cannot write a {type(value).__name__} as CBOR")


def _head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    size, info = next((size, info) for size, info in ((1, 24), (2, 25), (4, 26), (8, 27)) if value < 1 << 8 * size)
    return bytes([major << 5 | info]) + value.to_bytes(size, "big")
