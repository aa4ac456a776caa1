"""RFC 9180 from a Diffie-Hellman result to plaintext: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, base mode.

Libraries offer HPKE only with a whole private key; here the key is shared and only the Diffie-Hellman value
exists.  Source: RFC 9180 sections 4, 4.1, 5.1 and 5.2.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import IntEnum

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

KEM_ID = 0x0020
KDF_ID = 0x0001
_BASE_MODE = b"\x00"
_VERSION = b"HPKE-v1"
_HASH_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


class Aead(IntEnum):
    """AEAD identifiers of RFC 9180 section 7.3."""

    AES_128_GCM = 1
    AES_256_GCM = 2
    CHACHA20_POLY1305 = 3

    @property
    def key_bytes(self) -> int:
        """Nk."""
        return 16 if self is Aead.AES_128_GCM else 32

    def cipher(self, key: bytes) -> AESGCM | ChaCha20Poly1305:
        """The AEAD under `key`."""
        return ChaCha20Poly1305(key) if self is Aead.CHACHA20_POLY1305 else AESGCM(key)


def shared_secret(dh: bytes, enc: bytes, public_key: bytes) -> bytes:
    """The KEM's 32-byte shared secret: ExtractAndExpand(dh, enc || pkR)."""
    suite = b"KEM" + KEM_ID.to_bytes(2, "big")
    prk = _extract(suite, b"", b"eae_prk", dh)
    return _expand(suite, prk, b"shared_secret", enc + public_key, _HASH_BYTES)


def key_schedule(secret: bytes, info: bytes, aead: Aead) -> tuple[bytes, bytes]:
    """AEAD key and base nonce of a base-mode context."""
    suite, context = base_context(info, aead)
    prk = _extract(suite, secret, b"secret", b"")
    key = _expand(suite, prk, b"key", context, aead.key_bytes)
    return key, _expand(suite, prk, b"base_nonce", context, NONCE_BYTES)


def base_context(info: bytes, aead: Aead) -> tuple[bytes, bytes]:
    """Suite id and key schedule context of base mode: public, whoever computes the secret half."""
    suite = b"HPKE" + KEM_ID.to_bytes(2, "big") + KDF_ID.to_bytes(2, "big") + aead.to_bytes(2, "big")
    psk_id_hash = _extract(suite, b"", b"psk_id_hash", b"")
    info_hash = _extract(suite, b"", b"info_hash", info)
    return suite, _BASE_MODE + psk_id_hash + info_hash


def labelled(suite: bytes, label: bytes, material: bytes) -> bytes:
    """Input keying material of LabeledExtract (RFC 9180 section 4)."""
    return _VERSION + suite + label + material


def labelled_info(suite: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """Info of LabeledExpand for `size` bytes."""
    return size.to_bytes(2, "big") + _VERSION + suite + label + info


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt, labelled(suite, label, material), "sha256")


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes, size: int) -> bytes:
    # No output here is longer than one hash block, so HKDF-Expand is a single HMAC.
    assert size <= hashlib.sha256().digest_size
    return hmac.digest(prk, labelled_info(suite, label, info, size) + b"\x01", "sha256")[:size]
