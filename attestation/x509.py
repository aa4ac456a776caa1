"""Certificates and revocation lists, read with our own strict parser, verified with `cryptography`'s primitives.

Rules: fixed chains are walked by hand (no path building); names match byte for byte; the
signature algorithm inside and outside the signed part must be equal and on a short list;
a critical extension nobody here understands refuses the certificate.  Vendor leaves with
serial number 0 (AMD) are read like any other.  RFC 5280 sections 4.1, 4.2, 5.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from attestation import der
from attestation.errors import CertificateError
from attestation.limits import CERTIFICATE_BYTES_MAX

BASIC_CONSTRAINTS = "2.5.29.19"
KEY_USAGE = "2.5.29.15"
COMMON_NAME = "2.5.4.3"

KEY_CERT_SIGN = 5
CRL_SIGN = 6
"""Bit numbers of KeyUsage (RFC 5280 section 4.2.1.3)."""

# Standard extensions that restrict nothing we rely on, and those interpreted below.
_UNDERSTOOD = frozenset({BASIC_CONSTRAINTS, KEY_USAGE, "2.5.29.14", "2.5.29.35", "2.5.29.31", "2.5.29.32", "2.5.29.37"})

ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
ECDSA_SHA384 = bytes.fromhex("300a06082a8648ce3d040303")
_PSS_SHA384 = (
    "06092a864886f70d01010a30{:02x}a00f300d06096086480165030402020500"
    "a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130"
)
RSA_PSS_SHA384 = frozenset(
    {bytes.fromhex("3041" + _PSS_SHA384.format(0x34)), bytes.fromhex("3046" + _PSS_SHA384.format(0x39) + "a303020101")}
)
"""AlgorithmIdentifier encodings vendors use: Intel, AWS, AMD (SHA-384, MGF1 SHA-384, salt 48; AMD
writes the default trailer field in its CA certificates and leaves it out in the leaves)."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class Extension(NamedTuple):
    """One certificate extension: the content of its OCTET STRING."""

    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One parsed certificate; nothing about it is verified yet."""

    der: bytes
    tbs: bytes
    serial: int
    algorithm: bytes
    issuer: bytes
    subject: bytes
    common_name: str
    not_before: int
    not_after: int
    spki: bytes
    extensions: Mapping[str, Extension]
    signature: bytes

    @property
    def spki_sha256(self) -> str:
        """SHA-256 (hex) of the subject public key info: the key's name."""
        return hashlib.sha256(self.spki).hexdigest()

    def public_key(self) -> PublicKey:
        """The key, checked to be a valid point or RSA key; raises CertificateError."""
        try:
            key = load_der_public_key(self.spki)
        except Exception:  # the library raises several types for bad keys
            raise CertificateError("public key is not valid", code="certificate.key") from None
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise CertificateError("expected an elliptic curve or RSA key", code="certificate.key")
        return key

    def basic_constraints(self) -> tuple[bool, int | None]:
        """(is a CA, path length or None); (False, None) without the extension."""
        extension = self.extensions.get(BASIC_CONSTRAINTS)
        if extension is None:
            return False, None
        outer = der.Reader(extension.value)
        fields = outer.enter(der.SEQUENCE)
        outer.finish()
        authority = fields.boolean() if fields.peek() == der.BOOLEAN else False
        length = fields.integer() if fields.peek() == der.INTEGER else None
        fields.finish()
        if length is not None and (length < 0 or not authority):
            raise CertificateError("path length is negative or on a leaf")
        return authority, length

    def may(self, usage: int) -> bool:
        """True if KeyUsage grants this bit; a certificate without KeyUsage grants nothing."""
        extension = self.extensions.get(KEY_USAGE)
        if extension is None:
            return False
        reader = der.Reader(extension.value)
        content = reader.read(der.BIT_STRING)
        reader.finish()
        if not 2 <= len(content) <= 3 or content[0] > 7:
            raise CertificateError("key usage is malformed")
        octet, bit = divmod(usage, 8)
        return octet + 1 < len(content) and bool(content[octet + 1] >> (7 - bit) & 1)


def parse_certificate(data: bytes) -> Certificate:
    """Read one DER X.509 v3 certificate; raises CertificateError."""
    if len(data) > CERTIFICATE_BYTES_MAX:
        raise CertificateError(f"expected at most {CERTIFICATE_BYTES_MAX} bytes, found {len(data)}")
    outer = der.Reader(data)
    body = outer.enter(der.SEQUENCE)
    outer.finish()
    start = body.offset
    fields = body.enter(der.SEQUENCE)
    tbs = data[start : body.offset]
    algorithm = body.raw(der.SEQUENCE)
    signature = body.bit_string()
    body.finish()
    version = fields.enter(0xA0)
    if version.integer() != 2:
        raise CertificateError("expected an X.509 version 3 certificate")
    version.finish()
    serial = fields.integer()
    if fields.raw(der.SEQUENCE) != algorithm:
        raise CertificateError("signature algorithm differs inside and outside the signed part")
    issuer = fields.raw(der.SEQUENCE)
    validity = fields.enter(der.SEQUENCE)
    not_before, not_after = validity.time(), validity.time()
    validity.finish()
    subject = fields.raw(der.SEQUENCE)
    spki = fields.raw(der.SEQUENCE)
    extensions = _extensions(fields.enter(0xA3)) if fields.peek() == 0xA3 else {}
    fields.finish()
    return Certificate(
        der=data,
        tbs=tbs,
        serial=serial,
        algorithm=algorithm,
        issuer=issuer,
        subject=subject,
        common_name=common_name(subject),
        not_before=not_before,
        not_after=not_after,
        spki=spki,
        extensions=extensions,
        signature=signature,
    )


def check_issued(
    certificate: Certificate, issuer: Certificate, issuer_key: PublicKey, *, cas_below: int, now: int
) -> None:
    """Check one link: names, CA bit, key usage, path length, signature, and the certificate's own validity.

    `cas_below` is how many CA certificates stand between the issuer and the end of the chain.
    Raises CertificateError (`certificate.issuer`, `.signature`, `.expired`, `.not-yet-valid`, `.extension`).
    """
    if certificate.issuer != issuer.subject:
        raise CertificateError(
            f"{certificate.common_name!r} does not name {issuer.common_name!r} as its issuer",
            code="certificate.issuer",
        )
    authority, length = issuer.basic_constraints()
    if not authority or not issuer.may(KEY_CERT_SIGN) or (length is not None and length < cas_below):
        raise CertificateError(
            f"{issuer.common_name!r} may not issue {certificate.common_name!r}", code="certificate.issuer"
        )
    verify_signature(issuer_key, certificate.algorithm, certificate.signature, certificate.tbs)
    check_window(certificate, now)


def check_window(certificate: Certificate, now: int) -> None:
    """Raise CertificateError (`certificate.expired`, `certificate.not-yet-valid`) unless valid at `now`."""
    if now < certificate.not_before:
        raise CertificateError(
            f"{certificate.common_name!r} is not valid yet at {now}", code="certificate.not-yet-valid"
        )
    if now > certificate.not_after:
        raise CertificateError(f"{certificate.common_name!r} has expired before {now}", code="certificate.expired")


def check_critical_extensions(certificate: Certificate, also: frozenset[str] = frozenset()) -> None:
    """Raise CertificateError (`certificate.extension`) on a critical extension that is not understood."""
    for oid, extension in certificate.extensions.items():
        if extension.critical and oid not in _UNDERSTOOD and oid not in also:
            raise CertificateError(
                f"{certificate.common_name!r} carries the unknown critical extension {oid}",
                code="certificate.extension",
            )


def verify_signature(key: PublicKey, algorithm: bytes, signature: bytes, message: bytes) -> None:
    """Verify under one of the three known algorithms; raises CertificateError (`certificate.signature`)."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            if algorithm == ECDSA_SHA256 and key.key_size == 256:
                key.verify(signature, message, _SHA256)
                return
            if algorithm == ECDSA_SHA384 and key.key_size == 384:
                key.verify(signature, message, _SHA384)
                return
        elif algorithm in RSA_PSS_SHA384:
            key.verify(signature, message, padding.PSS(padding.MGF1(hashes.SHA384()), 48), hashes.SHA384())
            return
    except (InvalidSignature, ValueError):
        raise CertificateError("signature is not the issuer's", code="certificate.signature") from None
    raise CertificateError("signature algorithm does not fit the issuer's key", code="certificate.signature")


def common_name(name: bytes) -> str:
    """The single common name in a DER Name; empty if there is none or more than one."""
    found = []
    outer = der.Reader(name)
    sets = outer.enter(der.SEQUENCE)
    outer.finish()
    while not sets.done:
        attributes = sets.enter(der.SET)
        while not attributes.done:
            attribute = attributes.enter(der.SEQUENCE)
            oid = attribute.oid()
            tag = attribute.peek()
            value = attribute.read(tag)
            attribute.finish()
            if oid == COMMON_NAME:
                if tag not in (der.UTF8_STRING, der.PRINTABLE_STRING, der.IA5_STRING):
                    raise CertificateError("common name has an unexpected string type")
                found.append(value)
    if len(found) != 1:
        return ""
    try:
        return found[0].decode("utf-8")
    except UnicodeDecodeError:
        raise CertificateError("common name is not UTF-8") from None


def _extensions(explicit: der.Reader) -> dict[str, Extension]:
    listed = explicit.enter(der.SEQUENCE)
    explicit.finish()
    extensions: dict[str, Extension] = {}
    while not listed.done:
        fields = listed.enter(der.SEQUENCE)
        oid = fields.oid()
        critical = fields.boolean() if fields.peek() == der.BOOLEAN else False
        value = fields.read(der.OCTET_STRING)
        fields.finish()
        if oid in extensions:
            raise CertificateError(f"extension {oid} appears twice")
        extensions[oid] = Extension(critical, value)
    return extensions


_SHA256 = ec.ECDSA(hashes.SHA256())
_SHA384 = ec.ECDSA(hashes.SHA384())
