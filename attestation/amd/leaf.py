"""VCEK and VLEK leaf certificates: the vendor extensions that tie a key to a chip and a firmware level.

Source: AMD VCEK Certificate and KDS Interface Specification (57230), section 3.1.  Leaves carry serial number 0
and no basic constraints, so they are read with our own parser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attestation import der
from attestation.amd.report import TcbVersion
from attestation.errors import CertificateError
from attestation.x509 import Certificate, Extension

_ARC = "1.3.6.1.4.1.3704.1."
_NAME, _HARDWARE_ID, _PROVIDER = _ARC + "2", _ARC + "4", _ARC + "5"
_BOOTLOADER, _TEE, _SNP, _MICROCODE, _FMC = (_ARC + "3." + suffix for suffix in ("1", "2", "3", "8", "9"))

KINDS = {"SEV-VCEK": "vcek", "SEV-VLEK": "vlek"}
"""Subject common name to kind of key."""

_PRODUCTS = {"Milan": "Milan", "Genoa": "Genoa", "Bergamo": "Genoa", "Siena": "Genoa", "Turin": "Turin"}
"""Processor names that appear in productName, and whose roots they belong to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpLeaf:
    """What one leaf certificate says."""

    certificate: Certificate
    kind: str
    """"vcek" or "vlek"."""
    product: str
    tcb: TcbVersion
    hardware_id: bytes | None
    """Chip id, 64 bytes or 8 on Turin; VCEK only."""
    provider: str | None
    """Cloud provider's name for itself; VLEK only."""

    @classmethod
    def parse(cls, certificate: Certificate) -> SnpLeaf:
        """Read the extensions; raises CertificateError (`snp.leaf`)."""
        kind = KINDS.get(certificate.common_name)
        if kind is None:
            raise CertificateError("expected a VCEK or VLEK certificate", code="snp.leaf")
        extensions = certificate.extensions
        name = _text(extensions, _NAME).split("-")[0]
        if name not in _PRODUCTS:
            raise CertificateError(f"unknown processor {name[:32]!r} in certificate", code="snp.leaf")
        product = _PRODUCTS[name]
        tcb = TcbVersion(
            bootloader=_level(extensions, _BOOTLOADER),
            tee=_level(extensions, _TEE),
            snp=_level(extensions, _SNP),
            microcode=_level(extensions, _MICROCODE),
            fmc=_level(extensions, _FMC) if product == "Turin" else None,
        )
        hardware = extensions.get(_HARDWARE_ID)
        if (kind == "vcek") != (hardware is not None) or (hardware and len(hardware.value) not in (8, 64)):
            raise CertificateError("a VCEK has a hardware id of 8 or 64 bytes, a VLEK has none", code="snp.leaf")
        return cls(
            certificate=certificate,
            kind=kind,
            product=product,
            tcb=tcb,
            hardware_id=hardware.value if hardware else None,
            provider=_text(extensions, _PROVIDER) if kind == "vlek" else None,
        )


def _required(extensions: Mapping[str, Extension], oid: str) -> bytes:
    extension = extensions.get(oid)
    if extension is None:
        raise CertificateError(f"certificate lacks extension {oid}", code="snp.leaf")
    return extension.value


def _level(extensions: Mapping[str, Extension], oid: str) -> int:
    reader = der.Reader(_required(extensions, oid))
    value = reader.integer()
    reader.finish()
    if not 0 <= value <= 255:
        raise CertificateError("firmware level outside one byte", code="snp.leaf")
    return value


def _text(extensions: Mapping[str, Extension], oid: str) -> str:
    reader = der.Reader(_required(extensions, oid))
    data = reader.read(der.IA5_STRING)
    reader.finish()
    if not data.isascii() or len(data) > 256:
        raise CertificateError("name in certificate is not short ASCII text", code="snp.leaf")
    return data.decode("ascii")
