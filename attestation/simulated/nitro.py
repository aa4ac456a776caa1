"""The Nitro side of the simulated authority: a root, and documents with a fresh chain each.

Chain as on AWS: root, regional, zonal, instance, leaf of three hours; COSE_Sign1 under ES384.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from attestation.simulated import cbor_writer as cbor
from attestation.simulated import storage
from attestation.simulated.certificates import MARKER, MARKER_OID, NOT_AFTER, NOT_BEFORE, ORGANISATION, Issuer

ROOT_NAME = "Holdfast Simulated Nitro Root"
LEAF_LIFETIME = timedelta(hours=3)
PROTECTED = cbor.encode({1: -35})
"""ES384 (RFC 9053 table 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NitroFields:
    """What a document says; `None` fields are absent values, as the hypervisor writes them."""

    pcrs: Mapping[int, bytes]
    user_data: bytes | None = None
    nonce: bytes | None = None
    public_key: bytes | None = None
    module_id: str = "i-0123456789abcdef0-enc0123456789abcdef"


class NitroVendor:
    """The root kept in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def root(self) -> Issuer:
        """The root, made if it does not exist yet."""
        if not (self.directory / "root.pem").exists():
            storage.private_directory(self.directory)
            key = ec.generate_private_key(ec.SECP384R1())
            builder = _builder(ROOT_NAME, ROOT_NAME, key, NOT_BEFORE, NOT_AFTER, path_length=3)
            marker = x509.UnrecognizedExtension(x509.ObjectIdentifier(MARKER_OID), MARKER)
            certificate = builder.add_extension(marker, critical=False).sign(key, hashes.SHA384())
            storage.save_issuer(self.directory, "root", Issuer(certificate=certificate, key=key))
        return storage.load_issuer(self.directory, "root")

    def roots(self) -> list[bytes]:
        """DER of the root if it was made."""
        return [self.root().der] if (self.directory / "root.pem").exists() else []

    def document(self, fields: NitroFields, *, now: int) -> bytes:
        """A signed document dated `now` (Unix seconds), with its own chain."""
        chain = _chain(self.root(), now)
        leaf = chain[-1]
        payload = cbor.encode(
            {
                "module_id": fields.module_id,
                "digest": "SHA384",
                "timestamp": now * 1000,
                "pcrs": dict(fields.pcrs),
                "certificate": leaf.der,
                "cabundle": [issuer.der for issuer in chain[:-1]],
                "public_key": fields.public_key,
                "user_data": fields.user_data,
                "nonce": fields.nonce,
            }
        )
        signed = cbor.encode(["Signature1", PROTECTED, b"", payload])
        r, s = decode_dss_signature(leaf.key.sign(signed, ec.ECDSA(hashes.SHA384())))
        return cbor.encode([PROTECTED, {}, payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")])


def registers(image: bytes) -> dict[int, bytes]:
    """Sixteen PCRs with `image` (48 bytes) in 0 to 2; all zero stands for a debug enclave."""
    return {index: image if index < 3 else bytes(48) for index in range(16)}


def _chain(root: Issuer, now: int) -> list[Issuer]:
    """Root to leaf; the leaf is valid for three hours around `now`."""
    start = datetime.fromtimestamp(now, UTC) - timedelta(minutes=5)
    chain = [root]
    for name, path_length, lifetime in (
        ("regional", 2, timedelta(days=20)),
        ("zonal", 1, timedelta(days=7)),
        ("instance", 0, timedelta(days=1)),
        ("enclave", None, LEAF_LIFETIME),
    ):
        key = ec.generate_private_key(ec.SECP384R1())
        issuer = chain[-1]
        issuer_name = issuer.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        builder = _builder(f"simulated {name}", str(issuer_name), key, start, start + lifetime, path_length=path_length)
        chain.append(Issuer(certificate=builder.sign(issuer.key, hashes.SHA384()), key=key))
    assert all(child.certificate.issuer == parent.certificate.subject for parent, child in itertools.pairwise(chain))
    return chain


def _builder(
    name: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    start: datetime,
    end: datetime,
    *,
    path_length: int | None,
) -> x509.CertificateBuilder:
    authority = path_length is not None
    usage = x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
        ]
    )
