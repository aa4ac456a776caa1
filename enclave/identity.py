"""Who a node is for one boot: fresh keys that its evidence binds and that die with the process.

Rules kept: identity and KEM keys are made at start, never stored, never reused; everything a node signs
has its own tag (enclave.wire.message.tagged), so that no signature counts for anything else.
"""

from __future__ import annotations

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from enclave.secret import Secret
from enclave.threshold.ceremony_kem import CeremonyKey
from enclave.wire.attestation import Identity

KEY_BYTES, SIGNATURE_BYTES = 32, 64
"""Sizes of an Ed25519 public key and signature."""

QUOTING_MAX = 128
"""Quotes asked for and not made: twice what a node lets wait."""

PURPOSE = "serve"
"""Purpose named in the evidence of a node that takes part in operations."""


class BootIdentity:
    """The private keys of this boot; `public` is what the evidence binds."""

    __slots__ = ("_kem", "_quoting", "_signer", "public")

    def __init__(
        self,
        *,
        cluster: bytes,
        slot: str,
        boot_counter: int,
        roster_digest: bytes,
        tls_spki: bytes,
        purpose: str = PURPOSE,
    ) -> None:
        self._signer = Ed25519PrivateKey.generate()
        self._kem = CeremonyKey()
        self._quoting: dict[bytes, Identity] = {}
        self.public = Identity(
            cluster=cluster,
            slot=slot,
            boot_counter=boot_counter,
            identity_key=self._signer.public_key().public_bytes_raw(),
            kem_key=self._kem.public,
            tls_spki=tls_spki,
            roster_digest=roster_digest,
            purpose=purpose,
        )

    def sign(self, message: bytes) -> bytes:
        """64-byte Ed25519 signature; `message` comes from `enclave.wire.message.tagged` and nothing else."""
        return self._signer.sign(message)

    def open(self, sealed: bytes, info: bytes) -> Secret:
        """32 bytes sealed to this boot's KEM key; raises CallerError (`share.unreadable`)."""
        return self._kem.open(sealed, info)

    def quoting(self, root: bytes) -> Identity:
        """The identity a quote over this nonce root is asked for; `quoted` gives it back unchanged."""
        while len(self._quoting) >= QUOTING_MAX:
            del self._quoting[next(iter(self._quoting))]
        self._quoting[root] = self.public
        return self.public

    def quoted(self, root: bytes) -> Identity:
        """The identity that the quote over this nonce root was asked for."""
        return self._quoting.pop(root, self.public)

    def follow(self, roster_digest: bytes) -> None:
        """Name another roster in evidence from now on; the keys of this boot stay."""
        self.public = msgspec.structs.replace(self.public, roster_digest=roster_digest)

    def wipe(self) -> None:
        """Forget the KEM key; the object is unusable afterwards."""
        self._kem.wipe()


def is_same_boot(one: Identity, other: Identity) -> bool:
    """Whether two identities are one boot's: all that is fixed at start; the roster it names may change."""
    return msgspec.structs.replace(one, roster_digest=b"") == msgspec.structs.replace(other, roster_digest=b"")


def is_signed(identity_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` over `message` is of the Ed25519 key `identity_key`."""
    if len(identity_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, identity_key)
    except BadSignatureError:
        return False
    return True
