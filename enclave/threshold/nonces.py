"""FROST signing nonces: hedged with a secret of this boot, held in memory only, used once.

Rules kept (specs/frost.md section 3, specs/decisions/nonces-without-the-share.md): a pair is spent before anything
is computed with it; nothing here is ever stored, restored or copied.
"""

from __future__ import annotations

from nacl._sodium import ffi, lib

from enclave.derive import sha512
from enclave.errors import RefusedError
from enclave.group.ed25519 import ED25519, WIDE_BYTES
from enclave.secret import Secret
from enclave.threshold.frost_binding import CONTEXT

_H3_PREFIX = CONTEXT + b"nonce"
RANDOM_BYTES = 32


class NoncePair:
    """A hiding and a binding nonce with their commitments; the first use spends it."""

    __slots__ = ("_nonces", "binding", "hiding")

    def __init__(self, d: Secret, e: Secret) -> None:
        self._nonces: tuple[Secret, Secret] | None = (d, e)
        self.hiding = ED25519.base_mult(d)
        self.binding = ED25519.base_mult(e)

    def spend(self) -> tuple[Secret, Secret]:
        """The two nonces, once: the caller wipes them.  Raises RefusedError (`nonce.spent`) ever after."""
        nonces, self._nonces = self._nonces, None
        if nonces is None:
            raise RefusedError("this nonce has been used or dropped", code="nonce.spent")
        return nonces

    def drop(self) -> None:
        """Wipe the nonces unused (expiry, closed connection)."""
        nonces, self._nonces = self._nonces, None
        for nonce in nonces or ():
            nonce.wipe()


class NonceSource:
    """Makes nonce pairs from fresh randomness and one secret of this boot; one per process."""

    __slots__ = ("_secret",)

    def __init__(self) -> None:
        self._secret = Secret.random(32)

    def commit(self) -> tuple[NoncePair, bytes, bytes]:
        """A fresh pair with its hiding and binding commitments (32-byte points), to be published."""
        head, after = len(_H3_PREFIX), len(_H3_PREFIX) + RANDOM_BYTES
        # Twice nonce_generate, side by side: one row of prefix, randomness and secret, hashed and drawn anew.
        with Secret(head + 2 * RANDOM_BYTES) as row, Secret(WIDE_BYTES) as digest:
            ffi.memmove(row.p, _H3_PREFIX, head)
            ffi.memmove(row.p + after, self._secret.p, RANDOM_BYTES)
            nonces = []
            for _ in range(2):
                lib.randombytes(row.p + head, RANDOM_BYTES)
                lib.crypto_hash_sha512(digest.p, row.p, row.size)
                nonces.append(ED25519.scalar_from_wide(digest))
        pair = NoncePair(*nonces)
        return pair, pair.hiding, pair.binding


def nonce_generate(secret: Secret, randomness: Secret) -> Secret:
    """H3(randomness || secret) of RFC 9591 section 4.1, where the RFC's `secret` is the signer's share.

    Both are 32 bytes; the hash runs from arena to arena.
    """
    with sha512(_H3_PREFIX, randomness, secret) as digest:
        return ED25519.scalar_from_wide(digest)
