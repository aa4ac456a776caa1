"""Private keys in their usual encodings, and the scalars that are shared in their place; used by clients, not nodes.

Rules kept: constant-time arithmetic in the arena; what an encoding carries beside the scalar is not kept: of an
Ed25519 seed neither the seed nor the prefix for deterministic nonces (specs/import-export.md section 2).
"""

from __future__ import annotations

from nacl._sodium import ffi, lib

from enclave.derive import sha512
from enclave.errors import AbortError, CallerError
from enclave.group.ed25519 import ED25519, ORDER
from enclave.secret import Secret, declassify

KEY_BYTES = 32
BLOCK_BYTES = 128
"""Block of SHA-512, which HMAC pads its key to."""

_INVERSE_OF_8 = pow(8, -1, ORDER)
_BIT_254 = (1 << 254).to_bytes(KEY_BYTES, "little")
_SWALLOWED_BYTES_MIN = 16
"""Shorter `bytes` objects may be shared within the interpreter."""


def swallow(data: bytes) -> Secret:
    """Moves a `bytes` object that nobody else refers to into the arena and overwrites it in place.

    For libraries that hand secrets out in no other form.  Raises AbortError on one short enough to be shared.
    """
    if len(data) < _SWALLOWED_BYTES_MIN:
        raise AbortError("too short to be nobody else's")
    secret = Secret(len(data))
    ffi.memmove(secret.p, data, len(data))
    lib.sodium_memzero(ffi.from_buffer(data), len(data))
    return secret


def hmac_sha512(key: bytes, *parts: Secret | bytes) -> Secret:
    """HMAC-SHA512 under a public key of at most 128 bytes, as a 64-byte secret (RFC 2104)."""
    padded = key.ljust(BLOCK_BYTES, b"\x00")
    with sha512(bytes(byte ^ 0x36 for byte in padded), *parts) as inner:
        return sha512(bytes(byte ^ 0x5C for byte in padded), inner)


def ed25519_scalar(seed: Secret) -> Secret:
    """The scalar of an RFC 8032 private key (section 5.1.5, steps 1 to 3), reduced: it has the same public key."""
    if seed.size != KEY_BYTES:
        raise CallerError("an Ed25519 private key has 32 bytes", code="scalar.invalid")
    # The library reads the seed from the front of a 64-byte key, hashes it and clamps.
    with Secret(2 * KEY_BYTES) as padded, Secret(KEY_BYTES) as clamped:
        ffi.memmove(padded.p, seed.p, KEY_BYTES)
        lib.crypto_sign_ed25519_sk_to_curve25519(clamped.p, padded.p)
        return _reduced(clamped)


def x25519_scalar(clamped: Secret) -> Secret:
    """An eighth of an X25519 private key that is clamped already: the key of eight times the shared scalar."""
    if clamped.size != KEY_BYTES:
        raise CallerError("an X25519 private key has 32 bytes", code="scalar.invalid")
    with _reduced(clamped) as whole:
        return ED25519.mul_public(whole, _INVERSE_OF_8)


def x25519_private(scalar: Secret, public_key: bytes) -> Secret:
    """A clamped X25519 private key with this public key, `scalar` being the shared one.

    Clamped keys are 2^254 + 8j with j < 2^251: of s and -s, whose public keys have one u-coordinate, one has such a
    j.  Which one shows in the time this takes.  Raises AbortError if neither has the public key.
    """
    with ED25519.negate(scalar) as negative, ED25519.scalar_from_public(1 << 251) as half:
        for candidate in (scalar, negative):
            with ED25519.sub(candidate, half) as j:
                private = _clamped(j)
            if _public_x25519(private) == public_key:
                return private
            private.wipe()
    raise AbortError("the scalar is not that of the public key")


def _clamped(j: Secret) -> Secret:
    private = j.duplicate()
    for _ in range(3):
        lib.sodium_add(private.p, private.p, KEY_BYTES)
    lib.sodium_add(private.p, _BIT_254, KEY_BYTES)
    return private


def _public_x25519(private: Secret) -> bytes:
    with Secret(KEY_BYTES) as out:
        if lib.crypto_scalarmult_base(out.p, private.p) != 0:
            raise AbortError("the product is the identity")
        return declassify(out)


def _reduced(value: Secret) -> Secret:
    with Secret(2 * KEY_BYTES) as wide:
        ffi.memmove(wide.p, value.p, KEY_BYTES)
        return ED25519.scalar_from_wide(wide)
