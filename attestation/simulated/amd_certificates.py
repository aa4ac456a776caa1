"""AMD-shaped certificates: ARK, ASK and ASVK (RSA, PSS), VCEK and VLEK leaves with serial number 0.

The role names are AMD's, because the verifier reads product and role from them; the organisation says whose they are.
Leaves are written byte by byte: certificate builders refuse the serial number 0 that every real leaf carries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from attestation.simulated import der_writer as der
from attestation.simulated.certificates import (
    CRL_LIFETIME,
    MARKER,
    MARKER_OID,
    NOT_AFTER,
    NOT_BEFORE,
    ORGANISATION,
)

RSA_BITS = 2048
"""AMD's keys have 4096 bits; three of those take ten seconds to make on a small machine, and nothing else differs."""

ARC = "1.3.6.1.4.1.3704.1"

_PSS = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
_SHA384 = der.sequence(der.oid("2.16.840.1.101.3.4.2.2"), b"\x05\x00")
_PSS_ALGORITHM = der.sequence(
    der.oid("1.2.840.113549.1.1.10"),
    der.sequence(
        der.tlv(0xA0, _SHA384),
        der.tlv(0xA1, der.sequence(der.oid("1.2.840.113549.1.1.8"), _SHA384)),
        der.tlv(0xA2, der.integer(48)),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareLevels:
    """One TCB version: component levels, `fmc` on Turin only."""

    bootloader: int = 4
    tee: int = 0
    snp: int = 24
    microcode: int = 220
    fmc: int | None = None

    def encode(self) -> bytes:
        """The 8 bytes of a report's TCB field."""
        if self.fmc is None:
            return bytes([self.bootloader, self.tee, 0, 0, 0, 0, self.snp, self.microcode])
        return bytes([self.fmc, self.bootloader, self.tee, self.snp, 0, 0, 0, self.microcode])


def new_key() -> rsa.RSAPrivateKey:
    """A fresh RSA key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def authority_certificate(
    name: str, public_key: rsa.RSAPublicKey, issuer: str, issuer_key: rsa.RSAPrivateKey
) -> x509.Certificate:
    """A CA certificate: the root when `name` is `issuer`."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None if name == issuer else 0), critical=True)
        .add_extension(_USAGE, critical=True)
    )
    if name == issuer:
        marker = x509.UnrecognizedExtension(x509.ObjectIdentifier(MARKER_OID), MARKER)
        builder = builder.add_extension(marker, critical=False)
    return builder.sign(issuer_key, hashes.SHA384(), rsa_padding=_PSS)


def leaf_certificate(
    public_key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate,
    issuer_key: rsa.RSAPrivateKey,
    *,
    product: str,
    levels: FirmwareLevels,
    chip_id: bytes | None,
    provider: str = "CN=cc-simulated.example",
) -> bytes:
    """The DER of a VCEK for `chip_id`, or of a VLEK of `provider` when there is no chip id."""
    kind = "SEV-VLEK" if chip_id is None else "SEV-VCEK"
    parts = [
        _extension("1", der.integer(1)),
        _extension("2", der.tlv(der.IA5_STRING, product.encode())),
        _extension("3.1", der.integer(levels.bootloader)),
        _extension("3.2", der.integer(levels.tee)),
        _extension("3.3", der.integer(levels.snp)),
        _extension("3.8", der.integer(levels.microcode)),
    ]
    if levels.fmc is not None:
        parts.append(_extension("3.9", der.integer(levels.fmc)))
    if chip_id is None:
        parts.append(_extension("5", der.tlv(der.IA5_STRING, provider.encode())))
    else:
        parts.append(_extension("4", chip_id))  # raw, as AMD writes it: not wrapped in another DER string
    tbs = der.sequence(
        der.tlv(0xA0, der.integer(2)),
        der.integer(0),
        _PSS_ALGORITHM,
        issuer.subject.public_bytes(),
        der.sequence(_utc_time(NOT_BEFORE), _utc_time(NOT_AFTER)),
        _name(kind).public_bytes(),
        public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        der.tlv(0xA3, der.sequence(*parts)),
    )
    signature = issuer_key.sign(tbs, _PSS, hashes.SHA384())
    return der.sequence(tbs, _PSS_ALGORITHM, der.tlv(0x03, b"\x00" + signature))


def revocation_list(
    issuer: x509.Certificate, key: rsa.RSAPrivateKey, serials: Iterable[int], *, issued_at: int
) -> bytes:
    """A DER CRL of the root, listing intermediate serials."""
    start = datetime.fromtimestamp(issued_at, UTC)
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=issuer.subject, last_update=start, next_update=start + CRL_LIFETIME
    ).add_extension(x509.CRLNumber(1), critical=False)
    for serial in sorted(set(serials)):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA384(), rsa_padding=_PSS).public_bytes(Encoding.DER)


def _extension(suffix: str, value: bytes) -> bytes:
    return der.sequence(der.oid(f"{ARC}.{suffix}"), der.octets(value))


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
        ]
    )


def _utc_time(moment: datetime) -> bytes:
    return der.tlv(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())


_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
