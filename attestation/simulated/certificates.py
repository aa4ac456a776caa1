"""The simulated authority's own chain: root, Platform CA, TCB signing, and their revocation lists.

The role names below the root are the ones Intel uses, because the verifier checks roles by
name; the root's name says what it is, and carries a marker no vendor root carries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from attestation.simulated import der_writer as der

ROOT_NAME = "Holdfast Simulated Root CA"
PLATFORM_CA_NAME = "Intel SGX PCK Platform CA"
TCB_SIGNING_NAME = "Intel SGX TCB Signing"
ORGANISATION = "Holdfast Simulated Authority"

MARKER_OID = "2.16.840.1.113730.1.13"
"""Netscape certificate comment: the one registered extension that every tool prints as text."""

MARKER = der.tlv(der.IA5_STRING, b"simulated: development only, trust nothing under this root")

NOT_BEFORE = datetime(2025, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(2049, 12, 31, tzinfo=UTC)
CRL_LIFETIME = timedelta(days=30)
"""As Intel's PCK CRLs; short enough that a forgotten refresh shows up in a long-running cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A certificate with the private key of its subject."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate as PEM text."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


def new_root() -> Issuer:
    """A fresh self-signed P-256 root with the marker extension."""
    key = ec.generate_private_key(ec.SECP256R1())
    marker = x509.UnrecognizedExtension(x509.ObjectIdentifier(MARKER_OID), MARKER)
    builder = _builder(_name(ROOT_NAME), _name(ROOT_NAME), key.public_key(), key.public_key())
    builder = _as_authority(builder, path_length=1).add_extension(marker, critical=False)
    return Issuer(certificate=builder.sign(key, hashes.SHA256()), key=key)


def new_platform_ca(root: Issuer) -> Issuer:
    """A fresh Platform CA under `root`."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(PLATFORM_CA_NAME), root.certificate.subject, key.public_key(), root.key.public_key())
    return Issuer(certificate=_as_authority(builder, path_length=0).sign(root.key, hashes.SHA256()), key=key)


def new_tcb_signer(root: Issuer) -> Issuer:
    """A fresh signer of TCB info and QE identities, issued directly by `root`."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Issuer(certificate=end_entity(root, TCB_SIGNING_NAME, key.public_key()), key=key)


def end_entity(
    issuer: Issuer, name: str, public_key: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType
) -> x509.Certificate:
    """A leaf for `public_key`; `extensions` are added non-critical."""
    builder = _builder(_name(name), issuer.certificate.subject, public_key, issuer.key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_data=True), critical=True)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer.key, hashes.SHA256())


def revocation_list(issuer: Issuer, serials: Iterable[int], *, issued_at: int) -> bytes:
    """A DER CRL of `issuer` listing `serials`, valid from `issued_at` (Unix seconds) for 30 days."""
    start = datetime.fromtimestamp(issued_at, UTC)
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=issuer.certificate.subject, last_update=start, next_update=start + CRL_LIFETIME
    )
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    builder = builder.add_extension(x509.CRLNumber(1), critical=False)
    for serial in sorted(set(serials)):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _as_authority(builder: x509.CertificateBuilder, *, path_length: int) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    return builder.add_extension(_usage(signs_data=False), critical=True)


def _usage(*, signs_data: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs_data,
        content_commitment=signs_data,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs_data,
        crl_sign=not signs_data,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
        ]
    )
