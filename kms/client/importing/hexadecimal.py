"""A private key as hex digits: 32 bytes, or for Ed25519 also 64 with the public key behind the seed."""

from __future__ import annotations

import hmac

from enclave.secret import Secret
from kms.client.importing.material import Curve, KeyMaterial, MaterialError, material_of, material_of_scalar

_DIGITS = frozenset(b"0123456789abcdefABCDEF")


def from_hex(text: bytes | bytearray, curve: Curve, *, scalar: bool = False) -> KeyMaterial:
    """Read hex digits, with or without 0x and surrounding white space.

    `scalar` takes 32 little-endian bytes as an Ed25519 scalar instead of a seed.  Raises MaterialError:
    `client.import-form`, `client.import-scalar`, `client.import-public-key`.
    """
    digits = bytes(text).strip()
    digits = digits[2:] if digits[:2] in (b"0x", b"0X") else digits
    if len(digits) % 2 or not _DIGITS.issuperset(digits):
        raise MaterialError("expected hex digits, two for each byte", hint="0x in front is allowed, spaces are not")
    key = bytearray.fromhex(digits.decode("ascii"))
    if scalar:
        if curve is not Curve.ED25519 or len(key) != 32:
            raise MaterialError("a bare scalar is 32 bytes of an Ed25519 key", code="client.import-curve")
        return material_of_scalar(Secret.take(key), "hex scalar")
    if curve is Curve.ED25519 and len(key) == 64:
        return with_public_key(key, "hex")
    return material_of(curve, key, "hex")


def with_public_key(pair: bytearray, source: str) -> KeyMaterial:
    """An Ed25519 seed with its public key behind it, which must be the seed's; raises MaterialError."""
    stated = bytes(pair[32:])
    seed = pair[:32]
    pair[:] = bytes(len(pair))
    material = material_of(Curve.ED25519, seed, source)
    if not hmac.compare_digest(material.public_key, stated):
        material.wipe()
        raise MaterialError(
            "the public key behind the seed is not the seed's", code="client.import-public-key", hint="copy it again"
        )
    return material
