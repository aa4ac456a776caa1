"""Proof that whoever uploads a key has it: bound to the upload's transcript, checked by every node.

Schnorr over the shared scalar's group; for P-256, whose scalar is not shared, a signature of the key itself.
"""

from __future__ import annotations

import hashlib

from enclave.group import GROUPS
from enclave.key_specs import P256, SPECS
from enclave.secret import Secret
from enclave.threshold import pop
from enclave.threshold.p256 import sign_once, verifies
from enclave.wire.message import tagged

POINT_BYTES_MAX, RESPONSE_BYTES = 33, 32
PROOF_BYTES_MAX = POINT_BYTES_MAX + RESPONSE_BYTES
"""A point and a scalar; an ECDSA signature has 64 bytes."""


def prove_possession(spec: str, secret: Secret, point: bytes, transcript: bytes) -> bytes:
    """The proof; `secret` is the shared scalar with public `point`, or the P-256 private key."""
    context = tagged("import-possession", transcript)
    if spec == P256:
        return sign_once(secret, hashlib.sha256(context).digest())
    proof = pop.prove(GROUPS[SPECS[spec].group], secret, point, context)
    return proof.commitment + proof.response


def possesses(spec: str, point: bytes, public_key: bytes, transcript: bytes, proof: bytes) -> bool:
    """Whether the proof holds; `point` is the first commitment, already validated."""
    context = tagged("import-possession", transcript)
    if spec == P256:
        return verifies(public_key, proof, hashlib.sha256(context).digest())
    group = GROUPS[SPECS[spec].group]
    if len(proof) != group.point_bytes + RESPONSE_BYTES:
        return False
    stated = pop.Proof(proof[: group.point_bytes], proof[group.point_bytes :])
    return pop.verify(group, point, context, stated)
