"""Schnorr proof of possession of a secret scalar: stops a dealer from cancelling the others' keys.

Source: SimplPedPoP (Crites, Komlo, Maller, CRYPTO 2021/1375), section on key generation; domain separation and
bound context are ours (specs/dkg.md section 4).
"""

from __future__ import annotations

import msgspec

from enclave.errors import AbortError, CallerError
from enclave.group import Group
from enclave.secret import Secret
from enclave.threshold.scalars import decode_public

_TAG = "dkg-proof-of-possession"


class Proof(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Commitment point and response scalar in the group's encoding."""

    commitment: bytes
    response: bytes


def prove(group: Group, secret: Secret, public: bytes, context: bytes) -> Proof:
    """Proof that the maker knows `secret` with public point `public`, bound to `context`."""
    with group.random_scalar() as nonce:
        commitment = group.base_mult(nonce)
        challenge = group.hash_to_scalar(_TAG, context, public, commitment)
        with group.mul_public(secret, challenge) as product, group.add(nonce, product) as response:
            return Proof(commitment, group.scalar_to_public_bytes(response))


def verify(group: Group, public: bytes, context: bytes, proof: Proof) -> bool:
    """Whether the proof holds and `public` is a valid point.  Hostile proofs give False."""
    try:
        # The multiplication refuses points outside the group, and the equation puts the proof's point into it: that is
        # a multiple of the base less one of a valid point.
        challenge = group.hash_to_scalar(_TAG, context, public, proof.commitment)
        product = group.mult_public(challenge, public)
        expected = group.point_add(proof.commitment, product)
        # A proof whose point is the identity has no randomness in it, and gives its secret away.
        is_random = expected != product
        return is_random and group.base_mult_public(decode_public(group, proof.response)) == expected
    except (AbortError, CallerError):
        return False
