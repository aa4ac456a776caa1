"""An ECDSA signature as nodes deliver it, checked before anybody sees it."""

from __future__ import annotations

from dataclasses import dataclass

import coincurve

from enclave.threshold.p256 import verifies

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Order of secp256k1 (SEC 2 version 2.0, section 2.4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EcdsaSignature:
    """A verified low-s signature and who made it."""

    r: int
    s: int
    y_parity: int
    signers: tuple[str, ...]
    assembler: str | None = None
    """Where the key was put together; None for threshold custody, where it never is."""
    culprits: tuple[str, ...] = ()


def verified(signature: bytes, recovery_id: int, public_key: bytes, digest: bytes) -> tuple[int, int, int] | None:
    """(r, s, parity), low-s, if `signature` (r || s) recovers the key; else None."""
    if len(signature) != 64 or recovery_id not in (0, 1):
        return None
    try:
        recovered = coincurve.PublicKey.from_signature_and_message(
            signature + bytes([recovery_id]), digest, hasher=None
        )
    except Exception:  # the wrapper raises bare Exception for a signature of no point
        return None
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if recovered.format() != public_key or s > ORDER // 2:
        return None
    return r, s, recovery_id


def verified_p256(signature: bytes, recovery_id: int, public_key: bytes, digest: bytes) -> tuple[int, int, int] | None:
    """(r, s, 0), low-s, if `signature` (r || s) is of the P-256 key; else None."""
    if recovery_id != 0 or not verifies(public_key, signature, digest):
        return None
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"), 0
