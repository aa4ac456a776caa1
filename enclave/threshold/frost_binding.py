"""The public half of FROST(Ed25519, SHA-512): hashes, binding factors, group commitment, challenge.

Source: RFC 9591 sections 4.3 to 4.6 and 6.1.  Everything here is public data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from enclave.errors import AbortError, CallerError, PeerError
from enclave.group.ed25519 import ED25519, ORDER
from enclave.threshold.shamir import COMMITTEE_MAX, INDEX_MAX

CONTEXT = b"FROST-ED25519-SHA512-v1"
SIGNERS_MIN = 2
"""RFC 9591 section 5: fewer than two signers is not a threshold signature."""

_IDENTITY = b"\x01" + bytes(31)

Commitment = tuple[int, bytes, bytes]
"""Signer's index, hiding commitment, binding commitment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a message, a group key and a commitment list determine together."""

    commitments: tuple[Commitment, ...]
    factors: dict[int, int]
    """Signer's index -> binding factor."""
    factor_inputs: dict[int, bytes]
    """Signer's index -> hash input of its factor, for test vectors."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Signers' indices in increasing order."""
        return tuple(index for index, _, _ in self.commitments)

    def term(self, index: int) -> bytes:
        """Signer's part of the group commitment: D + rho E."""
        hiding, binding = next((d, e) for i, d, e in self.commitments if i == index)
        return ED25519.point_add(hiding, ED25519.mult_public(self.factors[index], binding))

    def group_commitment(self, *, own_index: int | None = None, own_term: bytes | None = None) -> bytes:
        """R: the sum of all terms; a signer passes its own term, which it gets cheaper from its nonces.

        Every binding commitment is checked where it is multiplied.  Hiding commitments enter R only through their
        sum, so their subgroup is checked once, on R (specs/frost.md, "Validation").  Raises CallerError
        (`point.invalid`).
        """
        terms = [own_term if i == own_index and own_term is not None else self.term(i) for i in self.ids]
        R = ED25519.point_add(*terms)
        ED25519.validate_point(R)
        return R


def bind(
    public_key: bytes, message: bytes, commitments: Sequence[Commitment], *, signers_min: int = SIGNERS_MIN
) -> Binding:
    """Binding factors of a signing attempt.

    Raises CallerError: `signers.order` unless the indices strictly increase, `signers.too-few`, `point.invalid`.
    """
    indices = [index for index, _, _ in commitments]
    if any(not 1 <= i <= INDEX_MAX for i in indices) or any(a >= b for a, b in pairwise(indices)):
        raise CallerError("signer indices must be in range and strictly increasing", code="signers.order")
    if not signers_min <= len(indices) <= COMMITTEE_MAX:
        raise CallerError(f"expected {signers_min} to {COMMITTEE_MAX} signers", code="signers.too-few")
    if any(hiding == _IDENTITY for _, hiding, _ in commitments):
        raise CallerError("a hiding commitment is the identity", code="point.invalid")
    encoded = b"".join(_identifier(i) + hiding + binding for i, hiding, binding in commitments)
    prefix = public_key + _hash(b"msg", message) + _hash(b"com", encoded)
    inputs = {i: prefix + _identifier(i) for i in indices}
    factors = {i: int.from_bytes(_hash(b"rho", data), "little") % ORDER for i, data in inputs.items()}
    if 0 in factors.values():
        raise AbortError("a binding factor is zero")
    return Binding(commitments=tuple(commitments), factors=factors, factor_inputs=inputs)


def check_commitments(commitments: Sequence[Commitment]) -> None:
    """Raises PeerError (`nonce.invalid`) naming, as text, the indices with a commitment that is no point of the group.

    For whoever put the list together, once signers have refused it: they themselves check cheaper and name nobody.
    """
    culprits = [str(i) for i, *points in commitments if not all(map(_is_point, points))]
    if culprits:
        raise PeerError("a nonce commitment is no point of the group", culprits=culprits, code="nonce.invalid")


def challenge(group_commitment: bytes, public_key: bytes, message: bytes) -> int:
    """The Ed25519 challenge (RFC 8032 section 5.1.6)."""
    digest = hashlib.sha512(group_commitment + public_key + message).digest()
    return int.from_bytes(digest, "little") % ORDER


def _is_point(point: bytes) -> bool:
    try:
        ED25519.validate_point(point)
    except CallerError:
        return False
    return True


def _hash(name: bytes, data: bytes) -> bytes:
    return hashlib.sha512(CONTEXT + name + data).digest()


def _identifier(index: int) -> bytes:
    return index.to_bytes(32, "little")
