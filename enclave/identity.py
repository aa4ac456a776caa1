"""Who a node is for one boot: fresh keys that its evidence binds and that die with the process.

Rules kept: identity and KEM keys are made at start, never stored, never reused; everything a node signs
has its own tag (enclave.wire.message.tagged), so that no signature counts for anything else.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from enclave.secret import Secret
from enclave.threshold.ceremony_kem import CeremonyKey
from enclave.wire.attestation import Identity

KEY_BYTES, SIGNATURE_BYTES = 32, 64
"""Sizes of an Ed25519 public key and signature."""

PURPOSE = "serve"
"""Purpose named in the evidence of a node that takes part in operations."""


class BootIdentity:
    """The private keys of this boot; `public` is what the evidence binds."""

    __slots__ = ("_kem", "_signer", "public")

    def __init__(self, *, cluster: bytes, slot: str, boot_counter: int, roster_digest: bytes, tls_spki: bytes) -> None:
        self._signer = Ed25519PrivateKey.generate()
        self._kem = CeremonyKey()
        self.public = Identity(
            cluster=cluster,
            slot=slot,
            boot_counter=boot_counter,
            identity_key=self._signer.public_key().public_bytes_raw(),
            kem_key=self._kem.public,
            tls_spki=tls_spki,
            roster_digest=roster_digest,
            purpose=PURPOSE,
        )

    def sign(self, message: bytes) -> bytes:
        """64-byte Ed25519 signature; `message` comes from `enclave.wire.message.tagged` and nothing else."""
        return self._signer.sign(message)

    def open(self, sealed: bytes, info: bytes) -> Secret:
        """32 bytes sealed to this boot's KEM key; raises CallerError (`share.unreadable`)."""
        return self._kem.open(sealed, info)

    def wipe(self) -> None:
        """Forget the KEM key; the object is unusable afterwards."""
        self._kem.wipe()


def is_signed(identity_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` over `message` is of the Ed25519 key `identity_key`."""
    if len(identity_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, identity_key)
    except BadSignatureError:
        return False
    return True
