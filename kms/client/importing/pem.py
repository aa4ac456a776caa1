"""PEM private keys: PKCS #8 (plain or encrypted), and SEC 1 as OpenSSL writes it for elliptic curves."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from enclave.imports.scalars import swallow
from enclave.secret import Secret
from kms.client.importing.material import Curve, KeyMaterial, MaterialError, material_of, material_of_secret

FILE_BYTES_MAX = 64 << 10

_SEC1 = bytes.fromhex("0201010420")
"""RFC 5915: version 1, then the octet string of the private key; behind tag and length of the sequence."""

_CURVES = {"secp256r1": Curve.P256, "secp256k1": Curve.SECP256K1}


def from_pem(data: bytes | bytearray, password: bytes | bytearray | None = None) -> KeyMaterial:
    """Read one private key; the file says its curve.

    Raises MaterialError: `client.import-form`, `client.import-password`, `client.import-curve`.
    """
    if len(data) > FILE_BYTES_MAX or b"-----BEGIN " not in data:
        raise MaterialError("expected a PEM private key", code="client.import-form")
    is_encrypted = b"ENCRYPTED" in data
    if is_encrypted != bool(password):
        raise MaterialError(
            "the key is encrypted: it needs a password" if is_encrypted else "the key is not encrypted: no password",
            code="client.import-password",
        )
    try:
        loaded = load_pem_private_key(bytes(data), bytes(password) if password else None)
    except UnsupportedAlgorithm:
        raise _curve() from None
    except (ValueError, TypeError):
        if is_encrypted:
            raise MaterialError("the password does not open the key", code="client.import-password") from None
        raise MaterialError("not a readable private key", code="client.import-form") from None
    if isinstance(loaded, Ed25519PrivateKey):
        return material_of_secret(Curve.ED25519, swallow(loaded.private_bytes_raw()), "PEM")
    if isinstance(loaded, X25519PrivateKey):
        return material_of(Curve.X25519, bytearray(loaded.private_bytes_raw()), "PEM")
    if isinstance(loaded, ec.EllipticCurvePrivateKey) and loaded.curve.name in _CURVES:
        return material_of_secret(_CURVES[loaded.curve.name], _private_bytes(loaded), "PEM")
    raise _curve()


def _private_bytes(key: ec.EllipticCurvePrivateKey) -> Secret:
    """The 32 bytes out of the SEC 1 document: the library's own accessor would make a Python integer of them."""
    with swallow(key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())) as document:
        with document.part(2, len(_SEC1)) as head, Secret.take(bytearray(_SEC1)) as expected:
            if not head.same(expected):
                raise MaterialError("not a private key of 32 bytes", code="client.import-form")
        return document.part(2 + len(_SEC1), 32)


def _curve() -> MaterialError:
    return MaterialError("expected a key of Ed25519, X25519, P-256 or secp256k1", code="client.import-curve")
