"""The SEV-SNP attestation report, parsed strictly: 1184 bytes, every reserved area zero.

Source: AMD SEV-SNP ABI (56860), table "ATTESTATION_REPORT", versions 2, 3 and 5.  All integers are little-endian.
Only bytes 0 to 0x2A0 are signed; what follows the signature is required to be zero because anyone can change it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from attestation.errors import EvidenceError

REPORT_BYTES = 0x4A0
SIGNED_BYTES = 0x2A0
SCALAR_BYTES = 48
"""Significant bytes of R and S (P-384); each field has 72."""

VERSIONS = frozenset({2, 3, 5})
"""Assigned report versions; 4 never was."""

ECDSA_P384_SHA384 = 1
VMPL_HOST = 0xFFFFFFFF
"""VMPL of a report the host asked for: it says nothing about the guest's own request."""

_RESERVED = ((0x4C, 0x50), (0x18B, 0x1A0), (0x1EB, 0x1EC), (0x1EF, 0x1F0), (0x208, 0x2A0), (0x330, 0x4A0))
_RESERVED_BEFORE_3 = ((0x188, 0x18B),)
_RESERVED_BEFORE_5 = ((0x1F8, 0x208),)

_MILAN_MODELS = range(0x10)
_GENOA_MODELS = (*range(0x10, 0x20), *range(0xA0, 0xB0))
"""Genoa, and Bergamo and Siena which share its roots."""
_TURIN_MODELS = range(0x12)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbVersion:
    """Firmware security levels as one of the four 8-byte TCB fields carries them; `fmc` on Turin only."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int | None

    @classmethod
    def parse(cls, data: bytes, product: str) -> TcbVersion:
        """Read 8 bytes in the layout of `product`; raises EvidenceError (`snp.tcb`) on non-zero reserved bytes."""
        if product == "Turin":
            level = cls(fmc=data[0], bootloader=data[1], tee=data[2], snp=data[3], microcode=data[7])
            reserved = data[4:7]
        else:
            level = cls(fmc=None, bootloader=data[0], tee=data[1], snp=data[6], microcode=data[7])
            reserved = data[2:6]
        if any(reserved):
            raise EvidenceError(f"TCB version has reserved bytes set for {product}", code="snp.tcb")
        return level

    @property
    def parts(self) -> tuple[int, ...]:
        """Components in a fixed order, for component-wise comparison."""
        return (self.fmc or 0, self.bootloader, self.tee, self.snp, self.microcode)

    def at_least(self, other: TcbVersion) -> bool:
        """Whether every component is as high as in `other`."""
        return all(mine >= theirs for mine, theirs in zip(self.parts, other.parts, strict=True))

    def to_json(self) -> dict[str, int]:
        """Component names to levels."""
        levels = {"bootloader": self.bootloader, "tee": self.tee, "snp": self.snp, "microcode": self.microcode}
        return levels if self.fmc is None else {"fmc": self.fmc, **levels}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpReport:
    """The fields of one report; byte fields raw, counters as integers."""

    raw: bytes
    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    platform_info: int
    key_info: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    cpuid: tuple[int, int, int] | None
    """(family, model, stepping); None in version 2, which does not carry it."""
    chip_id: bytes
    current_tcb: bytes
    reported_tcb: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    firmware: tuple[int, int, int]
    """(major, minor, build) of the running firmware."""
    signature: tuple[int, int]
    """(r, s) as integers; they are public."""

    @classmethod
    def parse(cls, data: bytes) -> SnpReport:
        """Read a report; raises EvidenceError with codes `snp.*` for anything but the stated form."""
        if len(data) != REPORT_BYTES:
            raise EvidenceError(f"expected {REPORT_BYTES} bytes, found {len(data)}", code="snp.length")
        version = _u32(data, 0x00)
        if version not in VERSIONS:
            raise EvidenceError(f"expected report version 2, 3 or 5, found {version}", code="snp.version")
        if _u32(data, 0x34) != ECDSA_P384_SHA384:
            raise EvidenceError("expected signature algorithm 1 (ECDSA P-384)", code="snp.algorithm")
        _check_reserved(data, version)
        return cls(
            raw=data,
            version=version,
            guest_svn=_u32(data, 0x04),
            policy=_u64(data, 0x08),
            family_id=data[0x10:0x20],
            image_id=data[0x20:0x30],
            vmpl=_u32(data, 0x30),
            platform_info=_u64(data, 0x40),
            key_info=_u32(data, 0x48),
            report_data=data[0x50:0x90],
            measurement=data[0x90:0xC0],
            host_data=data[0xC0:0xE0],
            id_key_digest=data[0xE0:0x110],
            author_key_digest=data[0x110:0x140],
            report_id=data[0x140:0x160],
            report_id_ma=data[0x160:0x180],
            cpuid=(data[0x188], data[0x189], data[0x18A]) if version >= 3 else None,
            chip_id=data[0x1A0:0x1E0],
            current_tcb=data[0x38:0x40],
            reported_tcb=data[0x180:0x188],
            committed_tcb=data[0x1E0:0x1E8],
            launch_tcb=data[0x1F0:0x1F8],
            firmware=(data[0x1EA], data[0x1E9], data[0x1E8]),
            signature=(_scalar(data, 0x2A0), _scalar(data, 0x2E8)),
        )

    @property
    def signed_region(self) -> bytes:
        """The bytes the signature covers; their SHA-256 is the evidence id."""
        return self.raw[:SIGNED_BYTES]

    @property
    def evidence_id(self) -> str:
        """SHA-256 (hex) of the signed region."""
        return hashlib.sha256(self.signed_region).hexdigest()

    @property
    def signing_key(self) -> int:
        """0 VCEK, 1 VLEK, 7 none (KEY_INFO bits 4:2)."""
        return self.key_info >> 2 & 0b111

    @property
    def chip_masked(self) -> bool:
        """MASK_CHIP_KEY: the host asked for the chip id to be hidden."""
        return bool(self.key_info >> 1 & 1)

    @property
    def product(self) -> str | None:
        """Milan, Genoa or Turin by CPUID; None where version 2 leaves it to the certificate chain.

        Raises EvidenceError (`snp.product`) for a processor without known roots.
        """
        if self.cpuid is None:
            return None
        family, model, _ = self.cpuid
        if family == 0x19 and model in _MILAN_MODELS:
            return "Milan"
        if family == 0x19 and model in _GENOA_MODELS:
            return "Genoa"
        if family == 0x1A and model in _TURIN_MODELS:
            return "Turin"
        raise EvidenceError(f"no roots are known for family {family:#x} model {model:#x}", code="snp.product")


def _check_reserved(data: bytes, version: int) -> None:
    areas = [*_RESERVED]
    areas += _RESERVED_BEFORE_3 if version < 3 else ()
    areas += _RESERVED_BEFORE_5 if version < 5 else ()
    for start, end in areas:
        if any(data[start:end]):
            raise EvidenceError(f"reserved bytes {start:#x} to {end:#x} are not zero", code="snp.reserved")


def _scalar(data: bytes, offset: int) -> int:
    """A 72-byte little-endian field of which 48 bytes are significant."""
    if any(data[offset + SCALAR_BYTES : offset + 72]):
        raise EvidenceError("signature component longer than 48 bytes", code="snp.signature-format")
    return int.from_bytes(data[offset : offset + SCALAR_BYTES], "little")


def _u32(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def _u64(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 8], "little")
