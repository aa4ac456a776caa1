"""A strict DER reader (X.690): definite minimal lengths, minimal integers, nothing left over.

Rule: every departure from DER raises CertificateError (`der.malformed`); nothing is guessed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from attestation.errors import CertificateError

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OID = 0x06
ENUMERATED = 0x0A
UTF8_STRING = 0x0C
PRINTABLE_STRING = 0x13
IA5_STRING = 0x16
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31

_LENGTH_OCTETS_MAX = 3
"""16 MiB: larger than anything that passes the size limits."""


class Reader:
    """Reads one TLV after another from `data[start:end]`; offsets stay absolute so that slices are exact."""

    __slots__ = ("data", "end", "offset")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.offset = start
        self.end = len(data) if end is None else end

    @property
    def done(self) -> bool:
        """True when nothing is left."""
        return self.offset >= self.end

    def peek(self) -> int:
        """The next tag, or -1 at the end."""
        return self.data[self.offset] if self.offset < self.end else -1

    def enter(self, tag: int) -> Reader:
        """Consume one TLV with this tag and return a reader over its content."""
        start, end = self._span(tag)
        return Reader(self.data, start, end)

    def read(self, tag: int) -> bytes:
        """Consume one TLV with this tag and return its content."""
        start, end = self._span(tag)
        return self.data[start:end]

    def raw(self, tag: int) -> bytes:
        """Consume one TLV with this tag and return all of it, header included."""
        begin = self.offset
        _, end = self._span(tag)
        return self.data[begin:end]

    def skip(self) -> None:
        """Consume one TLV of any single-byte tag."""
        self._span(self.peek())

    def finish(self) -> None:
        """Raise unless everything was consumed."""
        if self.offset != self.end:
            raise _malformed("trailing bytes in a structure")

    def integer(self, tag: int = INTEGER) -> int:
        """An INTEGER (or ENUMERATED) in minimal two's complement."""
        content = self.read(tag)
        if not content or (len(content) > 1 and (content[0], content[1] >> 7) in ((0x00, 0), (0xFF, 1))):
            raise _malformed("integer is not minimal")
        return int.from_bytes(content, "big", signed=True)

    def boolean(self) -> bool:
        """A BOOLEAN: 0x00 or 0xFF."""
        content = self.read(BOOLEAN)
        if content not in (b"\x00", b"\xff"):
            raise _malformed("boolean is neither 00 nor ff")
        return content == b"\xff"

    def oid(self) -> str:
        """An OBJECT IDENTIFIER in dotted form."""
        return decode_oid(self.read(OID))

    def bit_string(self) -> bytes:
        """A BIT STRING of whole octets."""
        content = self.read(BIT_STRING)
        if not content or content[0] != 0:
            raise _malformed("bit string is not a whole number of octets")
        return content[1:]

    def time(self) -> int:
        """UTCTime or GeneralizedTime in the only form RFC 5280 allows; Unix seconds."""
        tag = self.peek()
        if tag not in (UTC_TIME, GENERALIZED_TIME):
            raise _malformed("expected a time")
        text = self.read(tag)
        if tag == UTC_TIME and len(text) == 13:
            century = b"19" if text[:2] >= b"50" else b"20"  # RFC 5280 section 4.1.2.5.1
            text = century + text
        if len(text) != 15 or text[14:] != b"Z" or not text[:14].isdigit():
            raise _malformed("time is not in RFC 5280 form")
        fields = (text[0:4], text[4:6], text[6:8], text[8:10], text[10:12], text[12:14])
        try:
            year, month, day, hour, minute, second = (int(field) for field in fields)
            return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
        except (ValueError, OverflowError):
            raise _malformed("time does not exist") from None

    def _span(self, tag: int) -> tuple[int, int]:
        data, offset, end = self.data, self.offset, self.end
        if offset + 2 > end:
            raise _malformed("structure ends early")
        if data[offset] != tag or tag & 0x1F == 0x1F:
            raise _malformed(f"expected tag {tag:#04x}, found {data[offset]:#04x}")
        length = data[offset + 1]
        start = offset + 2
        if length >= 0x80:
            octets = length & 0x7F
            if not 0 < octets <= _LENGTH_OCTETS_MAX or start + octets > end:
                raise _malformed("length is indefinite or too large")
            length = int.from_bytes(data[start : start + octets], "big")
            if length < 0x80 or length < 1 << (8 * (octets - 1)):
                raise _malformed("length is not minimal")
            start += octets
        if start + length > end:
            raise _malformed("content ends early")
        self.offset = start + length
        return start, start + length


@lru_cache(maxsize=512)  # the same two dozen identifiers stand in every certificate
def decode_oid(content: bytes) -> str:
    """The dotted form of the content octets of an OBJECT IDENTIFIER."""
    if not content or content[-1] & 0x80 or len(content) > 64:
        raise _malformed("object identifier ends early")
    arcs: list[int] = []
    value = 0
    fresh = True
    for octet in content:
        if fresh and octet == 0x80:
            raise _malformed("object identifier is not minimal")
        value = value << 7 | octet & 0x7F
        fresh = not octet & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))


def _malformed(detail: str) -> CertificateError:
    return CertificateError(detail, code="der.malformed")
