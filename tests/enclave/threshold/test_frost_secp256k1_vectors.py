"""FROST(secp256k1, SHA-256) of RFC 9591: the ciphersuite exists here only, over the production group and shares.

Nodes sign secp256k1 Schnorr by BIP-445 (specs/bip340.md), so this ciphersuite is not part of the enclave.  Its figures
still check what is: scalar and point arithmetic, interpolation, and the form of the signing equation.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from enclave.group.secp256k1 import ORDER, SECP256K1
from enclave.secret import Secret
from enclave.threshold.shamir import combine, lagrange
from tests.enclave.threshold.support import reveal, secret_of, vectors
from tests.enclave.threshold.test_frost_vectors import from_file

CONTEXT = b"FROST-secp256k1-SHA256-v1"
BLOCK_BYTES, SCALAR_HASH_BYTES = 64, 48


def expand(message: bytes, tag: bytes) -> bytes:
    """expand_message_xmd of RFC 9380 section 5.3.1 with SHA-256, 48 bytes."""
    suffix = tag + bytes([len(tag)])
    head = bytes(BLOCK_BYTES) + message + SCALAR_HASH_BYTES.to_bytes(2, "big") + b"\0" + suffix
    first = hashlib.sha256(head).digest()
    block = hashlib.sha256(first + b"\x01" + suffix).digest()
    mixed = bytes(a ^ b for a, b in zip(first, block, strict=True))
    return (block + hashlib.sha256(mixed + b"\x02" + suffix).digest())[:SCALAR_HASH_BYTES]


def scalar(name: bytes, message: bytes) -> int:
    """H1, H2 and H3 of RFC 9591 section 6.5."""
    return int.from_bytes(expand(message, CONTEXT + name), "big") % ORDER


def digest(name: bytes, message: bytes) -> bytes:
    """H4 and H5."""
    return hashlib.sha256(CONTEXT + name + message).digest()


def check(figures: dict[str, Any]) -> None:
    """Every intermediate value and the signature; the arithmetic on shares and nonces is the group layer's."""
    key, message = bytes.fromhex(figures["public_key"]), bytes.fromhex(figures["message"])
    signers = dict(sorted(figures["signers"].items()))
    encoded = b"".join(i.to_bytes(32, "big") + bytes.fromhex(s["hiding"] + s["binding"]) for i, s in signers.items())
    prefix = key + digest(b"msg", message) + digest(b"com", encoded)
    factors = {i: scalar(b"rho", prefix + i.to_bytes(32, "big")) for i in signers}
    terms = {}
    for i, signer in signers.items():
        assert factors[i].to_bytes(32, "big").hex() == signer["factor"]
        bound = SECP256K1.mult_public(factors[i], bytes.fromhex(signer["binding"]))
        terms[i] = SECP256K1.point_add(bytes.fromhex(signer["hiding"]), bound)
    R = SECP256K1.point_add(*terms.values())
    challenge = scalar(b"chal", R + key + message)
    total = 0
    for i, signer in signers.items():
        share = secret_of(SECP256K1, signer["share"])
        d, e = (nonce(signer, kind) for kind in ("hiding", "binding"))
        weight = lagrange(list(signers), i, ORDER) * challenge
        z = SECP256K1.add(SECP256K1.add(d, SECP256K1.mul_public(e, factors[i])), SECP256K1.mul_public(share, weight))
        part = reveal(SECP256K1, z)
        assert part.hex() == signer["signature_share"]
        expected = SECP256K1.point_add(terms[i], SECP256K1.mult_public(weight, SECP256K1.base_mult(share)))
        assert SECP256K1.base_mult(z) == expected
        total += int.from_bytes(part, "big")
    assert (R + (total % ORDER).to_bytes(32, "big")).hex() == figures["signature"]


def nonce(signer: dict[str, str], kind: str) -> Secret:
    """nonce_generate of section 4.1; the test's share and randomness are public."""
    value = scalar(b"nonce", bytes.fromhex(signer[f"{kind}_randomness"] + signer["share"]))
    secret = SECP256K1.scalar_from_public(value)
    assert reveal(SECP256K1, secret).hex() == signer[f"{kind}_nonce"]
    assert SECP256K1.base_mult(secret).hex() == signer[kind]
    return secret


@pytest.mark.parametrize(
    "name", ["frost_rfc9591/frost-secp256k1-sha256.json", "frost_zf/frost-secp256k1__vectors.json"]
)
def test_published_files(name: str) -> None:
    """Nonces, commitments, binding factors, signature shares and signature, and the key joined from the shares."""
    data = vectors(name)
    check(from_file(data))
    inputs = data["inputs"]
    shares = {s["identifier"]: secret_of(SECP256K1, s["participant_share"]) for s in inputs["participant_shares"]}
    joined = combine(SECP256K1, {i: shares[i] for i in inputs["participant_list"]})
    assert reveal(SECP256K1, joined).hex() == inputs["group_secret_key"]
