"""A cursor over Solana's wire format: fixed bytes and compact-u16 lengths, canonical only."""

from __future__ import annotations

from typing import NoReturn

from enclave.errors import CallerError


class Cursor:
    """Reads forward; raises CallerError (`payload.solana`) at the first byte that does not fit."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._position

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if size > self.remaining:
            self.refuse(f"expected {size} more bytes, found {self.remaining}")
        start = self._position
        self._position += size
        return self._data[start : self._position]

    def peek(self) -> int:
        """The next byte, left where it is; zero at the end."""
        return self._data[self._position] if self.remaining else 0

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def length(self) -> int:
        """A compact-u16: 7 bits per byte, low first, at most three bytes, no needless ones."""
        value = 0
        for place in range(3):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                break
        else:
            self.refuse("a compact length of more than three bytes")
        if place and byte == 0:
            self.refuse("a compact length with a needless byte")
        if value > 0xFFFF:
            self.refuse("a compact length above 65535")
        return value

    def refuse(self, detail: str) -> NoReturn:
        """Raise the error of this format."""
        raise CallerError(f"not a Solana message: {detail}", code="payload.solana")
