"""Private channels on one 32-byte key per direction, for tests and benchmarks that run the protocol without nodes."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from enclave.errors import CallerError
from enclave.secret import Secret

NONCE_BYTES = 12
TAG_BYTES = 16


class PairwiseKeys:
    """AES-256-GCM under one key per direction and peer, random nonces (fewer than 2^32 messages per key)."""

    def __init__(self, *, sending: Mapping[int, Secret], receiving: Mapping[int, Secret]) -> None:
        self._sending = {i: AESGCM(key.view) for i, key in sending.items()}
        self._receiving = {i: AESGCM(key.view) for i, key in receiving.items()}

    def seal(self, receiver: int, secret: Secret, associated: bytes) -> bytes:
        """Nonce, ciphertext and tag."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = bytearray(secret.size + TAG_BYTES)
        self._sending[receiver].encrypt_into(nonce, secret.view, associated, sealed)
        return nonce + sealed

    def open(self, sender: int, sealed: bytes, associated: bytes) -> Secret:
        """The sealed secret; raises CallerError (`share.unreadable`)."""
        size = len(sealed) - NONCE_BYTES - TAG_BYTES
        if size < 1:
            raise CallerError("sealed message is too short", code="share.unreadable")
        secret = Secret.zero(size)
        try:
            self._receiving[sender].decrypt_into(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated, secret.view)
        except InvalidTag:
            secret.wipe()
            raise CallerError("sealed message does not open", code="share.unreadable") from None
        return secret
