"""Proof that two public points have the same secret scalar over two bases (Chaum-Pedersen, made non-interactive).

Asked for only when something failed: it shows whose partial result was wrong (specs/threshold-decryption.md
section 6).
"""

from __future__ import annotations

from enclave.errors import AbortError, CallerError
from enclave.group import Group
from enclave.secret import Secret
from enclave.threshold.scalars import decode_public, encode_public

_TAG = "same-exponent"


def prove(group: Group, secret: Secret, base: bytes, context: bytes) -> bytes:
    """64-byte proof (challenge, response) that `secret` relates B to secret*B as it relates `base` to secret*base."""
    with group.random_scalar() as nonce:
        commitments = group.base_mult(nonce), group.mult(nonce, base)
        results = group.base_mult(secret), group.mult(secret, base)
        challenge = group.hash_to_scalar(_TAG, context, base, *results, *commitments)
        with group.mul_public(secret, challenge) as product, group.add(nonce, product) as response:
            published = group.scalar_to_public_bytes(response)
    return encode_public(group, challenge) + published


def verify(group: Group, public: bytes, base: bytes, result: bytes, context: bytes, proof: bytes) -> bool:
    """Whether `result` is to `base` as `public` is to B; hostile proofs and points outside the group give False."""
    size = group.scalar_bytes
    try:
        challenge, response = (decode_public(group, part) for part in (proof[:size], proof[size:]))
        commitments = (
            group.point_sub(group.base_mult_public(response), group.mult_public(challenge, public)),
            group.point_sub(group.mult_public(response, base), group.mult_public(challenge, result)),
        )
    except (AbortError, CallerError):
        return False
    return group.hash_to_scalar(_TAG, context, base, public, result, *commitments) == challenge
