"""AES-256-GCM under a key that stays in the arena between calls.

An AESGCM object keeps its key in OpenSSL's heap for as long as it lives, where core files and anything else that reads
memory find it.  Here it lives for one call: OpenSSL overwrites its copy when
that ends (specs/secret-memory.md section 4).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from enclave.secret import Secret

Buffer = bytes | bytearray | memoryview


class ArenaAead:
    """The methods of AESGCM over a 32-byte key of its own in the arena; they raise what AESGCM's raise."""

    __slots__ = ("_key",)

    def __init__(self, key: Secret) -> None:
        self._key = key.duplicate()

    def encrypt(self, nonce: bytes, data: bytes, associated: bytes | None) -> bytes:
        """Ciphertext and tag."""
        return AESGCM(self._key.view).encrypt(nonce, data, associated)

    def decrypt(self, nonce: bytes, data: bytes, associated: bytes | None) -> bytes:
        """A plaintext that is no secret; raises InvalidTag."""
        return AESGCM(self._key.view).decrypt(nonce, data, associated)

    def encrypt_into(self, nonce: bytes, data: Buffer, associated: bytes | None, out: Buffer) -> int:
        """Ciphertext and tag, written to `out`."""
        return AESGCM(self._key.view).encrypt_into(nonce, data, associated, out)

    def decrypt_into(self, nonce: bytes, data: Buffer, associated: bytes | None, out: Buffer) -> int:
        """The plaintext, written to `out`; raises InvalidTag."""
        return AESGCM(self._key.view).decrypt_into(nonce, data, associated, out)
