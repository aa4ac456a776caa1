"""The TLS key of one boot: self-signed, never on disk, meaningful only through the evidence that names it.

Rules kept: TLS 1.3 only; the certificate proves nothing by itself, a client compares the SHA-256 of its
public key with the one in the node's verified evidence.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALIDITY = datetime.timedelta(days=3650)
"""Freshness comes from the evidence; the certificate only must not run out while a node is up."""


def new_server_context(slot: str) -> tuple[ssl.SSLContext, bytes]:
    """A server context with a fresh P-256 key, and SHA-256 of its SubjectPublicKeyInfo (32 bytes)."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key, slot)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # a resumed session would outlive the evidence check of its client
    _load(context, certificate, key)
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return context, hashlib.sha256(spki).digest()


def _self_signed(key: ec.EllipticCurvePrivateKey, slot: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Holdfast node {slot}")])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _load(context: ssl.SSLContext, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Python's ssl reads keys from files only, so the file is anonymous memory."""
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    handle = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(handle, pem)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
        os.pwrite(handle, bytes(len(pem)), 0)
    finally:
        os.close(handle)
