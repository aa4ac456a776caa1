"""An imported P-256 key under the scalar that is shared in its place: AES-256-GCM under HKDF(scalar).

No library offers constant-time P-256 scalars, so the key itself is not shared (specs/p256.md); it is unwrapped where
the shares are joined: in a named assembler, and at a client that exports it.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from enclave.derive import hkdf_sha256
from enclave.errors import AbortError
from enclave.secret import Secret
from enclave.wire.message import tagged

NONCE_BYTES, KEY_BYTES, TAG_BYTES = 12, 32, 16
WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES


def wrap(scalar: Secret, private: Secret, *, key: str, version: int) -> bytes:
    """Nonce, ciphertext and tag of 32 bytes."""
    nonce = os.urandom(NONCE_BYTES)
    sealed = bytearray(KEY_BYTES + TAG_BYTES)
    with hkdf_sha256(scalar, salt=None, info=_name("imported-key", key, version)) as under:
        AESGCM(under.view).encrypt_into(nonce, private.view, _name("wrapped-key", key, version), sealed)
    return nonce + bytes(sealed)


def unwrap(scalar: Secret, wrapped: bytes, *, key: str, version: int) -> Secret:
    """The private key; raises AbortError if it does not open."""
    if len(wrapped) != WRAPPED_BYTES:
        raise AbortError("the wrapped key has the wrong length")
    private = Secret.zero(KEY_BYTES)
    with hkdf_sha256(scalar, salt=None, info=_name("imported-key", key, version)) as under:
        try:
            AESGCM(under.view).decrypt_into(
                wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _name("wrapped-key", key, version), private.view
            )
        except InvalidTag:
            private.wipe()
            raise AbortError("the wrapped key does not open") from None
    return private


def _name(tag: str, key: str, version: int) -> bytes:
    return tagged(tag, key.encode(), version.to_bytes(4, "big"))
