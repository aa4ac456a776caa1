"""FROST(Ed25519, SHA-512): two-round threshold signing whose result is an ordinary Ed25519 signature.

Round one: every signer runs `commit`.  Round two: every signer runs `sign_share` on a message it has authorised
itself.  Then anyone runs `aggregate`.  Source: RFC 9591; nonces deviate as nonces.py says (specs/frost.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nacl.exceptions import BadSignatureError
from nacl.exceptions import ValueError as NaClValueError
from nacl.signing import VerifyKey

from enclave.errors import AbortError, CallerError, PeerError
from enclave.group.ed25519 import ED25519
from enclave.secret import Secret
from enclave.threshold.frost_binding import SIGNERS_MIN, Binding, Commitment, bind, challenge, check_commitments
from enclave.threshold.nonces import NoncePair, NonceSource
from enclave.threshold.shamir import lagrange

__all__ = [
    "NoncePair",
    "NonceSource",
    "aggregate",
    "check_commitments",
    "commit",
    "sign",
    "sign_share",
    "verify_share",
]

_process_source: list[NonceSource] = []


def commit() -> tuple[NoncePair, bytes, bytes]:
    """Round one with this process's own nonce source: pair to keep, hiding and binding commitment to publish."""
    if not _process_source:
        _process_source.append(NonceSource())
    return _process_source[0].commit()


def sign_share(
    *,
    share: Secret,
    index: int,
    public_key: bytes,
    message: bytes,
    commitments: Sequence[Commitment],
    nonce: NoncePair,
    threshold: int = SIGNERS_MIN,
) -> bytes:
    """Round two: this signer's signature share (32-byte scalar); `sign` without the group commitment."""
    return sign(
        share=share,
        index=index,
        public_key=public_key,
        message=message,
        commitments=commitments,
        nonce=nonce,
        threshold=threshold,
    )[0]


def sign(
    *,
    share: Secret,
    index: int,
    public_key: bytes,
    message: bytes,
    commitments: Sequence[Commitment],
    nonce: NoncePair,
    threshold: int = SIGNERS_MIN,
) -> tuple[bytes, bytes]:
    """Round two: this signer's signature share (32-byte scalar) and the group commitment it signed under.

    The nonce pair is spent whatever happens.  `commitments` are all signers' (index, hiding, binding) by
    increasing index; `threshold` is the key's.  Raises RefusedError (`nonce.spent`); CallerError:
    `signers.own-commitment` when the list does not carry exactly the pair's commitments at `index`,
    `signers.order`, `signers.too-few`, `point.invalid`.
    """
    d, e = nonce.spend()
    with d, e:
        if [(hiding, binding) for i, hiding, binding in commitments if i == index] != [(nonce.hiding, nonce.binding)]:
            raise CallerError(
                "the commitment list does not carry this signer's own commitments", code="signers.own-commitment"
            )
        bound = bind(public_key, message, commitments, signers_min=max(threshold, SIGNERS_MIN))
        with ED25519.mul_public(e, bound.factors[index]) as bound_nonce, ED25519.add(d, bound_nonce) as nonce_sum:
            own_term = ED25519.base_mult(nonce_sum)
            R = bound.group_commitment(own_index=index, own_term=own_term)
            c = challenge(R, public_key, message)
            weight = lagrange(bound.ids, index, ED25519.order) * c
            with ED25519.mul_public(share, weight) as product, ED25519.add(nonce_sum, product) as z:
                return ED25519.scalar_to_public_bytes(z), R


def aggregate(
    *,
    public_key: bytes,
    message: bytes,
    commitments: Sequence[Commitment],
    shares: Mapping[int, bytes],
    public_shares: Mapping[int, bytes],
    group_commitment: bytes | None = None,
) -> bytes:
    """The 64-byte Ed25519 signature, verified.

    `group_commitment` is what a signer says R is: believed only if the signature verifies with it, it saves
    computing R here.  `shares` are the signers' signature shares, `public_shares` the key's public shares.
    Raises PeerError (`signature.share`) with the culprits' indices as text; CallerError on an impossible signer
    set; AbortError when every share holds and the signature still does not (inconsistent key data).
    """
    ids = {index for index, _, _ in commitments}
    if set(shares) != ids or not ids <= set(public_shares):
        raise CallerError("one signature share and one public share per signer", code="signers.shares")
    malformed = [i for i in ids if not _is_scalar(shares[i])]
    z = b"" if malformed else _sum(shares.values())
    if group_commitment is not None and z and _verifies(public_key, message, group_commitment + z):
        return group_commitment + z
    bound = bind(public_key, message, commitments)
    R = bound.group_commitment()
    if z and _verifies(public_key, message, R + z):
        return R + z
    c = challenge(R, public_key, message)
    culprits = [i for i in bound.ids if i in malformed or not _share_holds(bound, c, i, shares[i], public_shares[i])]
    if not culprits:
        raise AbortError("every signature share holds but the signature does not")
    raise PeerError("signature share does not verify", culprits=[str(i) for i in culprits], code="signature.share")


def verify_share(
    *,
    public_key: bytes,
    message: bytes,
    commitments: Sequence[Commitment],
    index: int,
    share: bytes,
    public_share: bytes,
) -> None:
    """Raises PeerError (`signature.share`) naming `index` unless its signature share holds (RFC 9591 section 5.4)."""
    bound = bind(public_key, message, commitments)
    c = challenge(bound.group_commitment(), public_key, message)
    if index not in bound.ids or not _is_scalar(share) or not _share_holds(bound, c, index, share, public_share):
        raise PeerError("signature share does not verify", culprits=[str(index)], code="signature.share")


def _sum(shares: Iterable[bytes]) -> bytes:
    return (sum(int.from_bytes(share, "little") for share in shares) % ED25519.order).to_bytes(32, "little")


def _share_holds(bound: Binding, c: int, index: int, share: bytes, public_share: bytes) -> bool:
    weight = lagrange(bound.ids, index, ED25519.order) * c
    try:
        expected = ED25519.point_add(bound.term(index), ED25519.mult_public(weight, public_share))
        return ED25519.base_mult_public(int.from_bytes(share, "little")) == expected
    except AbortError:
        return False


def _is_scalar(share: bytes) -> bool:
    try:
        ED25519.scalar_check(share)
    except CallerError:
        return False
    return True


def _verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(public_key).verify(message, signature)
    except (BadSignatureError, NaClValueError):
        return False
    return True
