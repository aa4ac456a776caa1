"""Recursive length prefix, Ethereum's encoding of byte strings and lists (Yellow Paper, appendix B).

The encoder writes the only canonical form; the decoder accepts nothing else.
"""

from __future__ import annotations

from typing import NoReturn, TypeAlias

from enclave.errors import CallerError

Item: TypeAlias = "bytes | int | list[Item]"
"""What the encoder takes: an integer stands for its minimal big-endian bytes."""

Decoded: TypeAlias = "bytes | list[Decoded]"
"""What the decoder returns."""

DEPTH_MAX = 8
"""Transactions nest three deep; bounds recursion on hostile input."""


def encode(item: Item) -> bytes:
    """The canonical encoding; integers must not be negative."""
    if isinstance(item, list):
        body = b"".join(map(encode, item))
        return _header(len(body), 0xC0) + body
    data = item.to_bytes((item.bit_length() + 7) // 8, "big") if isinstance(item, int) else item
    if len(data) == 1 and data[0] < 0x80:
        return data
    return _header(len(data), 0x80) + data


def decode(data: bytes) -> Decoded:
    """The one item that `data` encodes canonically; raises CallerError (`payload.rlp`)."""
    item, end = _decode(data, 0, len(data), 0)
    if end != len(data):
        _refuse("bytes after the item")
    return item


def _header(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes([offset + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([offset + 55 + len(size)]) + size


def _decode(data: bytes, start: int, end: int, depth: int) -> tuple[Decoded, int]:
    if start >= end or depth > DEPTH_MAX:
        _refuse("truncated or nested too deeply")
    first = data[start]
    if first < 0x80:
        return data[start : start + 1], start + 1
    is_list = first >= 0xC0
    begin, stop = _extent(data, start, end, first - (0xC0 if is_list else 0x80))
    if not is_list:
        if stop - begin == 1 and data[begin] < 0x80:
            _refuse("a small byte with a needless header")
        return data[begin:stop], stop
    items: list[Decoded] = []
    while begin < stop:
        item, begin = _decode(data, begin, stop, depth + 1)
        items.append(item)
    return items, stop


def _extent(data: bytes, start: int, end: int, short: int) -> tuple[int, int]:
    """Where the content begins and stops."""
    begin = start + 1
    length = short
    if short > 55:
        begin += short - 55
        size = data[start + 1 : begin]
        length = int.from_bytes(size, "big")
        if begin > end or size[0] == 0 or length < 56:
            _refuse("a length that is not minimal")
    if begin + length > end:
        _refuse("truncated")
    return begin, begin + length


def _refuse(detail: str) -> NoReturn:
    raise CallerError(f"expected canonical RLP: {detail}", code="payload.rlp")
