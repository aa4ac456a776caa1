"""Sealing a share to one participant of one ceremony, under a hybrid key pair that dies with the ceremony.

Rules kept (specs/dkg.md section 5): ML-KEM-768 + X25519 through OpenSSL; the share itself goes from arena slot to
ciphertext and back without ever being a Python object.  HPKE here returns only `bytes`, so it carries a one-use
AEAD key instead of the share, and that key is overwritten in place after use.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl._sodium import ffi, lib

from enclave.errors import CallerError
from enclave.group import Group
from enclave.secret import Secret

MLKEM_KEY_BYTES = 1184
KEM_KEY_BYTES = MLKEM_KEY_BYTES + 32
"""ML-KEM-768 encapsulation key, then X25519 public key."""

SHARE_BYTES = 32
TAG_BYTES = 16
WRAPPED_KEY_BYTES = 1088 + 32 + 32 + TAG_BYTES
"""HPKE output: ML-KEM-768 ciphertext, X25519 public key, one-use AEAD key, tag."""
SEALED_BYTES = WRAPPED_KEY_BYTES + SHARE_BYTES + TAG_BYTES

KEYS_KEPT_MAX = 128
"""Public keys kept decoded, about 3 kB each: every participant's is checked and then sealed to."""

_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_ONE_USE_NONCE = bytes(12)
"""Every AEAD key seals exactly one share."""


class CeremonyKey:
    """A fresh key pair for one ceremony."""

    __slots__ = ("_mlkem", "_x25519", "public")

    def __init__(self) -> None:
        self._mlkem: MLKEM768PrivateKey | None = MLKEM768PrivateKey.generate()
        self._x25519: X25519PrivateKey | None = X25519PrivateKey.generate()
        self.public = self._mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()

    def open(self, sealed: bytes, associated: bytes) -> Secret:
        """The 32 secret bytes sealed to this key; raises CallerError (`share.unreadable`)."""
        if len(sealed) != SEALED_BYTES:
            self._private()
            raise CallerError("sealed share has the wrong length", code="share.unreadable")
        with self.unwrap(sealed[:WRAPPED_KEY_BYTES], associated) as key:
            cipher = AESGCM(key.view)
        share = Secret.zero(SHARE_BYTES)
        try:
            cipher.decrypt_into(_ONE_USE_NONCE, sealed[WRAPPED_KEY_BYTES:], associated, share.view)
        except InvalidTag:
            share.wipe()
            raise CallerError("sealed share does not open", code="share.unreadable") from None
        return share

    def unwrap(self, wrapped: bytes, info: bytes) -> Secret:
        """The 32-byte key that `wrap_key` wrapped to this key; raises CallerError (`share.unreadable`)."""
        try:
            key = _SUITE.decrypt(wrapped, self._private(), info=info)
        except (InvalidTag, ValueError):
            raise CallerError("sealed share does not open", code="share.unreadable") from None
        secret = Secret.zero(len(key))
        with secret.view as target:
            target[:] = key
        _erase(key)
        return secret

    def _private(self) -> hpke.MLKEM768X25519PrivateKey:
        if self._mlkem is None or self._x25519 is None:
            raise CallerError("the ceremony key has been wiped", code="ceremony.order")
        return hpke.MLKEM768X25519PrivateKey(self._mlkem, self._x25519)

    def reveal(self) -> bytes:
        """DANGER: the private seeds (64 + 32 bytes), for a complaint after the ceremony is dead."""
        if self._mlkem is None or self._x25519 is None:
            raise CallerError("the ceremony key has been wiped", code="ceremony.order")
        return self._mlkem.private_bytes_raw() + self._x25519.private_bytes_raw()

    @classmethod
    def from_revealed(cls, seeds: bytes | memoryview) -> CeremonyKey:
        """The key pair of a complaint or of seeds in the arena; raises CallerError (`complaint.malformed`)."""
        if len(seeds) != 96:
            raise CallerError("a complaint reveals 96 bytes of seeds", code="complaint.malformed")
        key = cls.__new__(cls)
        key._mlkem = MLKEM768PrivateKey.from_seed_bytes(seeds[:64])
        key._x25519 = X25519PrivateKey.from_private_bytes(seeds[64:])
        key.public = key._mlkem.public_key().public_bytes_raw() + key._x25519.public_key().public_bytes_raw()
        return key

    def wipe(self) -> None:
        """Drop the private keys; OpenSSL cleanses them when it frees them."""
        self._mlkem = None
        self._x25519 = None


def check_key(public: bytes) -> None:
    """Raises CallerError (`kem.malformed`) unless `public` is a well-formed hybrid public key."""
    _public_key(public)


def seal(public: bytes, share: Secret, associated: bytes) -> bytes:
    """`share` (32 bytes) sealed to a hybrid public key, bound to `associated`; raises CallerError (`kem.malformed`)."""
    with Secret.random(32) as key:
        wrapped = wrap_key(public, key, associated)
        sealed = bytearray(SHARE_BYTES + TAG_BYTES)
        AESGCM(key.view).encrypt_into(_ONE_USE_NONCE, share.view, associated, sealed)
    return wrapped + sealed


def wrap_key(public: bytes, key: Secret, info: bytes) -> bytes:
    """A one-use 32-byte key wrapped to a hybrid public key (1 168 bytes); raises CallerError (`kem.malformed`)."""
    recipient = _public_key(public)
    try:
        return _SUITE.encrypt(key.view, recipient, info=info)
    except ValueError:
        raise CallerError("public key gives no shared secret", code="kem.malformed") from None


def open_scalar(group: Group, key: CeremonyKey, sealed: bytes, associated: bytes) -> Secret:
    """A sealed share, checked to be a canonical non-zero scalar before any use.

    Some point operations ignore bits that a scalar sum does not, so an unreduced share could pass the
    commitment check and still spoil the key.  Raises CallerError (`share.unreadable`, `scalar.invalid`).
    """
    share = key.open(sealed, associated)
    try:
        group.scalar_check_secret(share)
    except CallerError:
        share.wipe()
        raise
    return share


@lru_cache(maxsize=KEYS_KEPT_MAX)
def _public_key(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    if len(public) != KEM_KEY_BYTES:
        raise CallerError(f"a ceremony key has {KEM_KEY_BYTES} bytes", code="kem.malformed")
    try:
        return hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:MLKEM_KEY_BYTES]),
            X25519PublicKey.from_public_bytes(public[MLKEM_KEY_BYTES:]),
        )
    except ValueError:
        raise CallerError("not a hybrid public key", code="kem.malformed") from None


def _erase(data: bytes) -> None:
    """Overwrite a `bytes` object nobody else refers to: OpenSSL's bindings hand secrets out only in that form."""
    lib.sodium_memzero(ffi.from_buffer(data), len(data))
