"""MessagePack, read strictly and only as far as heartbeats use it: maps with text keys, arrays, integers, texts, bytes.

The base install has no MessagePack library, and a verifier of one message needs forty lines of it.
"""

from __future__ import annotations

from typing import Any

from attestation.errors import ReceiptError

DEPTH_MAX = 8
ITEMS_MAX = 4096
"""Most items of one map or array."""

_SIZES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_UNSIGNED = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}


def unpack(data: bytes) -> Any:
    """The one value in `data`; raises ReceiptError (`receipt.malformed`)."""
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise ReceiptError("bytes follow a MessagePack value")
    return value


class _Reader:
    __slots__ = ("_data", "at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def value(self, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise ReceiptError("a MessagePack value is nested too deeply")
        first = self._number(1)
        if first <= 0x7F:
            return first
        if first <= 0x8F:
            return self._map(first & 0x0F, depth)
        if first <= 0x9F:
            return [self.value(depth + 1) for _ in range(first & 0x0F)]
        if first <= 0xBF:
            return self._text(first & 0x1F)
        if first in (0xC2, 0xC3):
            return first == 0xC3
        if first in _UNSIGNED:
            return self._number(_UNSIGNED[first])
        if first not in _SIZES:
            raise ReceiptError("a MessagePack value has a type that heartbeats do not use")
        size = self._number(_SIZES[first])
        if first <= 0xC6:
            return self._take(size)
        if first <= 0xDB:
            return self._text(size)
        if size > ITEMS_MAX:
            raise ReceiptError(f"expected at most {ITEMS_MAX} items in a MessagePack value")
        if first <= 0xDD:
            return [self.value(depth + 1) for _ in range(size)]
        return self._map(size, depth)

    def _map(self, size: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(size):
            key = self.value(depth + 1)
            if not isinstance(key, str) or key in found:
                raise ReceiptError("expected distinct texts as keys of a MessagePack map")
            found[key] = self.value(depth + 1)
        return found

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode("utf-8", "strict")
        except UnicodeDecodeError:
            raise ReceiptError("a MessagePack text is not UTF-8") from None

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._data):
            raise ReceiptError("a MessagePack value is cut off")
        part = self._data[self.at : end]
        self.at = end
        return part
