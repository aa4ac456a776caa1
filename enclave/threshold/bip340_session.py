"""The public half of FROST for BIP-340 keys: signer sets, Taproot tweaks, aggregate nonces, session values.

Source: BIP-445, sections "Signers Context" to "Session Context".  Its participant identifiers count from 0, our share
indices from 1: identifier = index - 1, on the wire of the hashes only.  Everything here is public data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from enclave.errors import AbortError, CallerError, PeerError
from enclave.group.schnorr import tagged_hash
from enclave.group.secp256k1 import ORDER, POINT_BYTES, SECP256K1
from enclave.threshold.shamir import COMMITTEE_MAX, lagrange

NONCE_BYTES = 2 * POINT_BYTES
"""A public nonce, own or aggregate: two compressed points."""

INFINITY = bytes(POINT_BYTES)
"""How an aggregate nonce spells the point at infinity; nothing else may."""

_HALVES = slice(POINT_BYTES), slice(POINT_BYTES, None)

GENERATOR = SECP256K1.base_mult_public(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """Who signs: `members` are (share index, public share) in any order, out of `total` holders of `public_key`."""

    total: int
    threshold: int
    members: tuple[tuple[int, bytes], ...]
    public_key: bytes
    """33 bytes, compressed."""

    ids: tuple[int, ...] = field(init=False, compare=False, repr=False)
    """Share indices in the order given."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(index for index, _ in self.members))

    def public_share(self, index: int) -> bytes:
        """The public share of a member; raises CallerError (`signers.absent`)."""
        for member, point in self.members:
            if member == index:
                return point
        raise CallerError(f"index {index} is not among the signers", code="signers.absent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tweak:
    """One step from a key to a derived one: `xonly` for Taproot outputs (BIP-341), plain for BIP-32 children."""

    value: bytes
    xonly: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TweakedKey:
    """A key after tweaks: point Q, accumulated sign (1 or -1) and accumulated tweak."""

    point: bytes
    sign: int
    tweak: int

    @property
    def xonly(self) -> bytes:
        """The BIP-340 public key, 32 bytes."""
        return self.point[1:]

    @property
    def parity_sign(self) -> int:
        """1 if Q has even y, else -1."""
        return parity_sign(self.point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What signers, message, aggregate nonce and tweaks determine together."""

    signers: Signers
    key: TweakedKey
    coefficient: int
    """b, which binds both nonces to everything else."""
    nonce_point: bytes
    """R."""
    challenge: int

    @property
    def nonce_sign(self) -> int:
        """1 if R has even y, else -1."""
        return parity_sign(self.nonce_point)

    def weight(self, index: int) -> int:
        """What a signer multiplies its share by: challenge, interpolation and both signs."""
        factor = self.challenge * lagrange(self.signers.ids, index, ORDER)
        return factor * self.key.parity_sign * self.key.sign % ORDER


def open_session(signers: Signers, message: bytes, aggregate_nonce: bytes, tweaks: Sequence[Tweak] = ()) -> Session:
    """The session of one signing attempt.

    Raises CallerError: `signers.*` or `point.invalid` for an impossible signer set, `tweak.invalid`, and
    `nonce.invalid` when the aggregate nonce is not two points.
    """
    check_signers(signers)
    key = tweaked_key(signers.public_key, tweaks)
    halves = _split_aggregate(aggregate_nonce)
    # No two sessions share this input: identifiers are small, so the nonce that follows them starts unlike one more
    # identifier (specs/bip340.md section 6).
    digest = tagged_hash("BIP0445/noncecoef", _identifiers(signers.ids), aggregate_nonce, key.xonly, message)
    coefficient = int.from_bytes(digest, "big") % ORDER
    nonce_point = weighted_sum((1, halves[0]), (coefficient, halves[1]))
    if nonce_point == INFINITY:
        # Only a cheating signer gets here.  Going on with G lets the others' shares show which one.
        nonce_point = GENERATOR
    c = challenge(nonce_point, key, message)
    if coefficient == 0 or c == 0:
        raise AbortError("a hash is zero")
    return Session(signers=signers, key=key, coefficient=coefficient, nonce_point=nonce_point, challenge=c)


def challenge(nonce_point: bytes, key: TweakedKey, message: bytes) -> int:
    """e of BIP-340, reduced."""
    return int.from_bytes(tagged_hash("BIP0340/challenge", nonce_point[1:], key.xonly, message), "big") % ORDER


@lru_cache(maxsize=4096)
def check_signers(signers: Signers) -> None:
    """Raises CallerError unless the set can sign for its key.

    Codes: `signers.too-few` (fewer than the threshold or more than there are), `signers.range`,
    `signers.duplicate`, `point.invalid`, `signers.key` when the public shares do not interpolate to the key.
    """
    total, threshold, ids = signers.total, signers.threshold, signers.ids
    if not 1 <= threshold <= total <= COMMITTEE_MAX or not threshold <= len(ids) <= total:
        raise CallerError(f"expected {threshold} to {total} signers, found {len(ids)}", code="signers.too-few")
    if not all(1 <= index <= total for index in ids):
        raise CallerError(f"signer indices must be from 1 to {total}", code="signers.range")
    if len(set(ids)) != len(ids):
        raise CallerError("a signer is listed twice", code="signers.duplicate")
    for _, point in signers.members:
        SECP256K1.validate_point(point)
    if weighted_sum(*((lagrange(ids, index, ORDER), point) for index, point in signers.members)) != signers.public_key:
        raise CallerError("public shares do not belong to the public key", code="signers.key")


def tweaked_key(public_key: bytes, tweaks: Sequence[Tweak]) -> TweakedKey:
    """The key after all tweaks, in order; raises CallerError (`tweak.invalid`, `point.invalid`)."""
    return _tweaked_key(public_key, tuple(tweaks))


@lru_cache(maxsize=4096)
def _tweaked_key(public_key: bytes, tweaks: tuple[Tweak, ...]) -> TweakedKey:
    SECP256K1.validate_point(public_key)
    point, sign, total = public_key, 1, 0
    for tweak in tweaks:
        try:
            SECP256K1.scalar_check(tweak.value)
        except CallerError:
            raise CallerError("a tweak is a canonical non-zero scalar", code="tweak.invalid") from None
        value = int.from_bytes(tweak.value, "big")
        flip = parity_sign(point) if tweak.xonly else 1
        point = add(signed(flip, point), SECP256K1.base_mult_public(value))
        if point == INFINITY:
            raise CallerError("a tweak leads to no key", code="tweak.invalid")
        sign, total = flip * sign, (value + flip * total) % ORDER
    return TweakedKey(point=point, sign=sign, tweak=total)


def aggregate_nonces(nonces: Mapping[int, bytes]) -> bytes:
    """The 66-byte sum of all signers' public nonces.

    Raises PeerError (`nonce.invalid`) naming, as text, the indices whose nonce is not two points.
    """
    try:
        return b"".join(_total([nonce[half] for nonce in nonces.values()]) for half in _HALVES)
    except CallerError:
        culprits = [str(index) for index, nonce in sorted(nonces.items()) if not _is_nonce(nonce)]
        raise PeerError("a public nonce is two compressed points", culprits=culprits, code="nonce.invalid") from None


def _total(points: Sequence[bytes]) -> bytes:
    try:
        return SECP256K1.point_add(*points)
    except AbortError:
        return INFINITY


def add(*points: bytes) -> bytes:
    """The sum of points, in which INFINITY may occur and may result."""
    return weighted_sum(*((1, point) for point in points))


def weighted_sum(*terms: tuple[int, bytes]) -> bytes:
    """The sum of k * point over public pairs, in which INFINITY may occur and may result."""
    finite = [(k, point) for k, point in terms if k % ORDER and point != INFINITY]
    try:
        return SECP256K1.combination(finite) if finite else INFINITY
    except AbortError:
        return INFINITY


def parity_sign(point: bytes) -> int:
    """1 for a point with even y, else -1."""
    return 1 if point[0] == 2 else -1


def signed(sign: int, point: bytes) -> bytes:
    """A finite point, or its negative when `sign` is -1: the encodings differ in the parity of y."""
    return point if sign == 1 else bytes([point[0] ^ 1]) + point[1:]


@lru_cache(maxsize=1024)
def _identifiers(ids: tuple[int, ...]) -> bytes:
    return b"".join((index - 1).to_bytes(4, "big") for index in sorted(ids))


def _split_aggregate(aggregate_nonce: bytes) -> tuple[bytes, bytes]:
    halves = aggregate_nonce[:POINT_BYTES], aggregate_nonce[POINT_BYTES:]
    if not all(half == INFINITY or _is_point(half) for half in halves):
        raise CallerError("an aggregate nonce is two compressed points", code="nonce.invalid")
    return halves


def _is_nonce(nonce: bytes) -> bool:
    return _is_point(nonce[:POINT_BYTES]) and _is_point(nonce[POINT_BYTES:])


def _is_point(point: bytes) -> bool:
    try:
        SECP256K1.validate_point(point)
    except CallerError:
        return False
    return True
