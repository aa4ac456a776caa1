"""Hashes and key derivation whose inputs and outputs stay in the arena: SHA-256, SHA-512 and HKDF-SHA256.

`hashlib` digests are immutable `bytes` that nobody can erase, so secrets are hashed here instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl._sodium import ffi, lib

from enclave.secret import Secret

SHA256_BYTES = 32
SHA512_BYTES = 64


def sha256(*parts: Secret | bytes) -> Secret:
    """SHA-256 of the concatenated parts, secret and public, as a 32-byte secret; limits as `sha512`."""
    out = Secret(SHA256_BYTES)
    with joined(parts) as row:
        lib.crypto_hash_sha256(out.p, row.p, row.size)
    return out


def sha512(*parts: Secret | bytes) -> Secret:
    """SHA-512 of the concatenated parts, secret and public, as a 64-byte secret.

    At least one byte and at most SECRET_BYTES_MAX in all: hash a long public message first.
    """
    out = Secret(SHA512_BYTES)
    with joined(parts) as row:
        lib.crypto_hash_sha512(out.p, row.p, row.size)
    return out


def joined(parts: Sequence[Secret | bytes]) -> Secret:
    """The parts, secret and public, one behind another; limits as `sha512`."""
    sizes = [part.size if isinstance(part, Secret) else len(part) for part in parts]
    row = Secret(sum(sizes))
    at = 0
    for part, size in zip(parts, sizes, strict=True):
        ffi.memmove(row.p + at, part.p if isinstance(part, Secret) else part, size)
        at += size
    return row


def hkdf_sha256(secret: Secret, *, salt: bytes | None, info: bytes, size: int = 32) -> Secret:
    """HKDF-SHA256 (RFC 5869) of a secret into a new secret of `size` bytes."""
    out = Secret(size)
    HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive_into(secret.view, out.view)
    return out
