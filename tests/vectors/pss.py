"""RSASSA-PSS with a salt that follows from the message (RFC 8017 section 9.1.1), for repeatable test certificates.

Only published test keys are ever used with it: the arithmetic is Python's, and the salt is not random.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import rsa

SALT_BYTES = 48


def sign(key: rsa.RSAPrivateKey, message: bytes) -> bytes:
    """A signature under SHA-384, MGF1 SHA-384 and a 48-byte salt."""
    numbers = key.private_numbers()
    modulus = numbers.public_numbers.n
    bits = modulus.bit_length() - 1
    size = (bits + 7) // 8
    digest = hashlib.sha384(message).digest()
    salt = hashlib.sha384(b"salt" + digest).digest()
    hashed = hashlib.sha384(bytes(8) + digest + salt).digest()
    block = bytes(size - SALT_BYTES - len(hashed) - 2) + b"\x01" + salt
    mask = _mask(hashed, len(block))
    masked = bytearray(a ^ b for a, b in zip(block, mask, strict=True))
    masked[0] &= 0xFF >> (8 * size - bits)
    encoded = int.from_bytes(bytes(masked) + hashed + b"\xbc", "big")
    return pow(encoded, numbers.d, modulus).to_bytes((modulus.bit_length() + 7) // 8, "big")


def _mask(seed: bytes, size: int) -> bytes:
    blocks = (hashlib.sha384(seed + counter.to_bytes(4, "big")).digest() for counter in range(size // 48 + 1))
    return b"".join(blocks)[:size]
