"""An opaque secret under the scalar that is shared: AES-256-GCM under HKDF(scalar), bound to the secret's id.

Runs where the secret is at home: at the client that uploads it and in the workload it is released to, never at a node.
Nobody can test guesses of the content against what is public, because the scalar is uniform.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from enclave.derive import hkdf_sha256
from enclave.errors import CallerError
from enclave.key_specs import OPAQUE_SECRET
from enclave.secret import Secret
from enclave.wire.message import tagged

NONCE_BYTES, TAG_BYTES = 12, 16


def wrap(scalar: Secret, plaintext: bytes | bytearray, *, cluster: bytes, secret: str, version: int) -> bytes:
    """Nonce, ciphertext and tag."""
    nonce = os.urandom(NONCE_BYTES)
    sealed = bytearray(len(plaintext) + TAG_BYTES)
    with _key(scalar, cluster, secret, version) as key:
        AESGCM(key.view).encrypt_into(nonce, plaintext, _associated(secret, version), sealed)
    return nonce + bytes(sealed)


def unwrap(scalar: Secret, wrapped: bytes, *, cluster: bytes, secret: str, version: int) -> bytearray:
    """The secret in a buffer the caller can overwrite; raises CallerError (`decrypt.failed`)."""
    size = len(wrapped) - NONCE_BYTES - TAG_BYTES
    if size < 0:
        raise CallerError("the wrapped secret is cut off", code="decrypt.failed")
    plaintext = bytearray(size)
    with _key(scalar, cluster, secret, version) as key:
        try:
            AESGCM(key.view).decrypt_into(
                wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _associated(secret, version), plaintext
            )
        except InvalidTag:
            raise CallerError("the wrapped secret does not open", code="decrypt.failed") from None
    return plaintext


def _key(scalar: Secret, cluster: bytes, secret: str, version: int) -> Secret:
    info = tagged("secret-wrap", cluster, secret.encode(), version.to_bytes(4, "big"))
    return hkdf_sha256(scalar, salt=None, info=info)


def _associated(secret: str, version: int) -> bytes:
    return tagged("wrapped-secret", secret.encode(), version.to_bytes(4, "big"), OPAQUE_SECRET.encode())
