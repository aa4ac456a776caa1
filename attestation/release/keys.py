"""Files with Ed25519 keys of release makers: public keys to verify with, private keys to sign with."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from attestation.envelope import b64url_decode
from attestation.errors import DocumentError

KEY_BYTES = 32


def read_public_key(data: bytes) -> bytes:
    """A raw public key from PEM (SubjectPublicKeyInfo) or base64url text; raises DocumentError (`release.key`)."""
    if data.lstrip()[:5] == b"-----":
        try:
            key = load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm):
            raise _refused("expected a PEM public key") from None
        if not isinstance(key, Ed25519PublicKey):
            raise _refused("expected an Ed25519 key")
        return key.public_bytes_raw()
    try:
        raw = b64url_decode(data.decode("ascii").strip())
    except (UnicodeDecodeError, DocumentError):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise _refused("expected a PEM public key or 32 bytes in base64url")
    return raw


def read_private_key(data: bytes) -> Ed25519PrivateKey:
    """A private key from unencrypted PKCS #8 PEM; raises DocumentError (`release.key`)."""
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _refused("expected an unencrypted PEM private key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _refused("expected an Ed25519 key")
    return key


def _refused(detail: str) -> DocumentError:
    return DocumentError(detail, code="release.key")
