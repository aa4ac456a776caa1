"""The key pair a slot's bundles are sealed to: derived from 32 secret bytes, which custodians hold in parts.

Rules kept (specs/backup.md section 3): seed and private key stay in the arena; what is sealed to the key is one
content key per bundle.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from enclave.derive import hkdf_sha256
from enclave.errors import BackupError, CallerError
from enclave.imports.scalars import swallow
from enclave.secret import Secret
from enclave.threshold import ceremony_kem
from enclave.threshold.hpke import seal_secret
from enclave.wire.message import tagged

SEED_BYTES = 32

X25519_BYTES = 32

_EXPANDED_BYTES = 64 + 32
"""Seed of ML-KEM-768, then X25519 private key."""

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class BackupKey:
    """The private half."""

    __slots__ = ("_expanded", "_hybrid", "public", "public_x25519")

    def __init__(self, seed: Secret) -> None:
        """`seed` stays the caller's."""
        self._expanded = hkdf_sha256(seed, salt=None, info=tagged("backup-recipient"), size=_EXPANDED_BYTES)
        self._hybrid = ceremony_kem.CeremonyKey.from_revealed(self._expanded.view)
        self.public = self._hybrid.public
        """ML-KEM-768 and X25519, 1216 bytes: what `kms backup setup` proposes for the roster."""
        self.public_x25519 = self.public[-X25519_BYTES:]
        """The X25519 half alone, which a roster may name instead."""

    def unwrap(self, wrapped: bytes, info: bytes) -> Secret:
        """The content key of a bundle; raises BackupError (`backup.sealed-to-other`)."""
        try:
            if len(wrapped) == ceremony_kem.WRAPPED_KEY_BYTES:
                return self._hybrid.unwrap(wrapped, info)
            private = X25519PrivateKey.from_private_bytes(self._expanded.view[-X25519_BYTES:])
            return swallow(_SUITE.decrypt(wrapped, private, info=info))
        except (CallerError, InvalidTag, ValueError):
            raise BackupError(
                "the bundle does not open with this key", code="backup.sealed-to-other", hint="is it of another slot?"
            ) from None

    def is_for(self, recipient: bytes) -> bool:
        """Whether `recipient` is the fingerprint of this key, in either form."""
        return recipient in (fingerprint(self.public), fingerprint(self.public_x25519))

    def wipe(self) -> None:
        """Forget the private key."""
        self._hybrid.wipe()
        self._expanded.wipe()


def wrap(public: bytes, key: Secret, info: bytes) -> bytes:
    """A bundle's content key, sealed to the key a roster names; raises CallerError (`kem.malformed`)."""
    if len(public) == X25519_BYTES:
        return seal_secret(public, key, info)
    return ceremony_kem.wrap_key(public, key, info)


def fingerprint(public: bytes) -> bytes:
    """32 bytes that name a public key."""
    return hashlib.sha256(tagged("backup-recipient-key", public)).digest()
