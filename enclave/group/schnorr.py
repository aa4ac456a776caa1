"""BIP-340: tagged hashes and verification of Schnorr signatures over secp256k1."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from coincurve._libsecp256k1 import ffi, lib

from enclave.group.secp256k1 import SECP256K1

KEY_BYTES = 32
"""An x-only public key: the x-coordinate of the point with even y."""
SIGNATURE_BYTES = 64


@lru_cache(maxsize=64)
def tag_prefix(tag: str) -> bytes:
    """The 64 bytes in front of everything hashed under `tag`: SHA-256 of the tag, twice."""
    digest = hashlib.sha256(tag.encode()).digest()
    return digest + digest


def tagged_hash(tag: str, *parts: bytes) -> bytes:
    """32 bytes: SHA-256 of prefix and public parts (BIP-340, section "Tagged hashes")."""
    digest = hashlib.sha256(tag_prefix(tag))
    for part in parts:
        digest.update(part)
    return digest.digest()


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` (64 bytes) over a message of any length holds under an x-only key (32 bytes)."""
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    parsed = _xonly(public_key)
    return parsed is not None and (
        lib.secp256k1_schnorrsig_verify(SECP256K1.context, signature, message, len(message), parsed) == 1
    )


@lru_cache(maxsize=1024)
def _xonly(public_key: bytes) -> Any:
    parsed = ffi.new("secp256k1_xonly_pubkey *")
    return parsed if lib.secp256k1_xonly_pubkey_parse(SECP256K1.context, parsed, public_key) == 1 else None
