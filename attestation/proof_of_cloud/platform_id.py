"""Typed identifiers of physical machines, and the commitments that stand for them in public.

Rules: an identifier names hardware, so it survives TCB recovery and certificate re-issue; an
identifier that is absent, masked or blank is `None`, never a row of zeros and never a hash of
nothing; the text form is canonical, so equal machines compare equal.
Specification: specs/proof-of-cloud.md section 2.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from attestation.errors import StatementError

COMMITMENT_DOMAIN = b"holdfast/platform-id/v1\x00"
"""Prefix of every hashed identifier: a commitment can never be mistaken for a bare SHA-256 of an id."""

COMMITMENT_BYTES = 32

INTEL_PPID = "intel:ppid"
INTEL_PIID = "intel:piid"
AMD_CHIP_ID = "amd:chipid"

INTEL_ID_BYTES = 16
"""PPID and platform instance id (PCK certificate extension 1.2.840.113741.1.13.1, members 1 and 6)."""

AMD_CHIP_ID_FIELD_BYTES = 64
"""CHIP_ID field of an attestation report; Milan and Genoa fill all of it (AMD 56860, table ATTESTATION_REPORT)."""

AMD_TURIN_CHIP_ID_BYTES = 8
"""Significant bytes of CHIP_ID on family 1Ah; the rest of the field is zero."""

_LENGTHS = {
    INTEL_PPID: (INTEL_ID_BYTES,),
    INTEL_PIID: (INTEL_ID_BYTES,),
    AMD_CHIP_ID: (AMD_TURIN_CHIP_ID_BYTES, AMD_CHIP_ID_FIELD_BYTES),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformId:
    """One machine: a `kind` from the specification and its raw `value`.

    Raises StatementError (`proof-of-cloud.malformed`) for an unknown kind, a wrong length or a blank value.
    """

    kind: str
    value: bytes

    def __post_init__(self) -> None:
        lengths = _LENGTHS.get(self.kind)
        if lengths is None:
            raise StatementError(f"expected a known kind of platform id, found {self.kind[:32]!r}")
        if len(self.value) not in lengths:
            raise StatementError(f"expected {self.kind} of {lengths} bytes, found {len(self.value)}")
        if _is_blank(self.value):
            raise StatementError(f"a blank {self.kind} names no machine")
        if self.kind == AMD_CHIP_ID and len(self.value) == AMD_CHIP_ID_FIELD_BYTES and not any(self.value[8:]):
            # One machine must have one text form: the eight-byte one.
            raise StatementError("expected 8 bytes for a chip id whose other 56 bytes are zero")

    @classmethod
    def intel_ppid(cls, ppid: bytes) -> PlatformId | None:
        """From the 16-byte PPID of a PCK certificate; `None` when blank or of another length."""
        return cls._or_none(INTEL_PPID, ppid)

    @classmethod
    def intel_piid(cls, instance_id: bytes | None) -> PlatformId | None:
        """From the 16-byte platform instance id (Platform CA certificates only); `None` when absent or blank."""
        return None if instance_id is None else cls._or_none(INTEL_PIID, instance_id)

    @classmethod
    def amd_chip_id(cls, field: bytes) -> PlatformId | None:
        """From the 64-byte CHIP_ID field of a report; `None` when masked (VLEK, MASK_CHIP_KEY).

        Eight significant bytes followed by zeros (Turin) become the eight-byte form.
        """
        if len(field) == AMD_CHIP_ID_FIELD_BYTES and not any(field[AMD_TURIN_CHIP_ID_BYTES:]):
            field = field[:AMD_TURIN_CHIP_ID_BYTES]
        return cls._or_none(AMD_CHIP_ID, field)

    @classmethod
    def parse(cls, text: str) -> PlatformId:
        """Read the canonical text form `kind:lowercase hex`; raises StatementError."""
        kind, separator, digits = text.rpartition(":")
        if not separator or len(digits) > 2 * AMD_CHIP_ID_FIELD_BYTES or not _is_lower_hex(digits):
            raise StatementError("expected a platform id like intel:ppid:<32 lower-case hex digits>")
        return cls(kind=kind, value=bytes.fromhex(digits))

    @property
    def commitment(self) -> bytes:
        """SHA-256(domain || text form), 32 bytes: stands for the id where the id itself need not be published.

        It binds and does not hide: eight-byte chip ids can be searched.
        """
        return hashlib.sha256(COMMITMENT_DOMAIN + str(self).encode("ascii")).digest()

    def __str__(self) -> str:
        return f"{self.kind}:{self.value.hex()}"

    @classmethod
    def _or_none(cls, kind: str, value: bytes) -> PlatformId | None:
        if len(value) not in _LENGTHS[kind] or _is_blank(value):
            return None
        return cls(kind=kind, value=bytes(value))


def _is_blank(value: bytes) -> bool:
    """All zeros (masked, absent) or all ones (unprogrammed fuses)."""
    return not any(value) or all(byte == 0xFF for byte in value)


def _is_lower_hex(text: str) -> bool:
    return len(text) % 2 == 0 and all(digit in "0123456789abcdef" for digit in text)
