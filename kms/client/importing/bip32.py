"""From a seed along a path to one private key: BIP-32 for secp256k1, SLIP-10 for Ed25519.

Rules kept: private keys and seeds stay in the arena; chain codes are handled as public, as everywhere in this project.
"""

from __future__ import annotations

import re

from enclave.errors import AbortError, CallerError
from enclave.group.secp256k1 import SECP256K1
from enclave.imports.scalars import hmac_sha512
from enclave.secret import Secret, declassify
from kms.client.importing.material import Curve, KeyMaterial, MaterialError, material_of_secret

HARDENED = 1 << 31
DEPTH_MAX = 16
"""Most steps of a path; wallets use five."""

SEED_BYTES_MIN, SEED_BYTES_MAX = 16, 64

DEFAULT_PATHS = {"evm": "m/44'/60'/0'/0/0", "solana": "m/44'/501'/0'/0'", "bitcoin": "m/86'/0'/0'/0/0"}
"""Where wallets keep the first account of a usage (BIP-44, Solana's wallets, BIP-86)."""

_MASTER = {Curve.SECP256K1: b"Bitcoin seed", Curve.ED25519: b"ed25519 seed"}
_STEP = re.compile(r"(0|[1-9][0-9]{0,9})(['hH]?)")


def parse_path(text: str) -> tuple[int, ...]:
    """Child numbers of a path such as m/44'/60'/0'/0/0; raises MaterialError (`client.import-path`)."""
    head, *steps = text.split("/")
    numbers = []
    for step in steps:
        found = _STEP.fullmatch(step)
        if found is None or int(found[1]) >= HARDENED:
            break
        numbers.append(int(found[1]) + (HARDENED if found[2] else 0))
    if head != "m" or len(numbers) != len(steps) or len(steps) > DEPTH_MAX:
        raise MaterialError(
            "expected a path such as m/44'/60'/0'/0/0", code="client.import-path", hint="' or h marks hardened steps"
        )
    return tuple(numbers)


def derive(seed: Secret, path: str, curve: Curve, source: str) -> KeyMaterial:
    """The key at `path` below a seed of 16 to 64 bytes, which is used up.

    Raises MaterialError (`client.import-curve`, `client.import-path`, `client.import-scalar`).
    """
    numbers = parse_path(path)
    if curve not in _MASTER:
        raise MaterialError("seeds lead to secp256k1 and Ed25519 keys only", code="client.import-curve")
    if curve is Curve.ED25519 and any(number < HARDENED for number in numbers):
        raise MaterialError(
            "Ed25519 paths have hardened steps only (SLIP-10)",
            code="client.import-path",
            hint="write m/44'/501'/0'/0' for a Solana wallet",
        )
    with seed:
        key, chain_code = _halves(hmac_sha512(_MASTER[curve], seed))
    try:
        for number in numbers:
            with key as parent:
                key, chain_code = _child(parent, chain_code, number, curve)
        if curve is Curve.SECP256K1:
            SECP256K1.scalar_check_secret(key)
    except (AbortError, CallerError):
        key.wipe()
        raise MaterialError("the key at this path does not exist", code="client.import-scalar") from None
    kept = chain_code if curve is Curve.SECP256K1 else None
    return material_of_secret(curve, key, f"{source} at {path}", chain_code=kept)


def _child(parent: Secret, chain_code: bytes, number: int, curve: Curve) -> tuple[Secret, bytes]:
    """BIP-32 CKDpriv and SLIP-10's form of it; raises AbortError, CallerError where the child does not exist."""
    suffix = number.to_bytes(4, "big")
    if number >= HARDENED:
        made = hmac_sha512(chain_code, b"\x00", parent, suffix)
    else:
        made = hmac_sha512(chain_code, SECP256K1.base_mult(parent), suffix)
    left, right = _halves(made)
    if curve is Curve.ED25519:
        return left, right
    with left:
        SECP256K1.scalar_check_secret(left)
        return SECP256K1.add(left, parent), right


def _halves(made: Secret) -> tuple[Secret, bytes]:
    with made, made.part(32, 32) as right:
        return made.part(0, 32), declassify(right)
