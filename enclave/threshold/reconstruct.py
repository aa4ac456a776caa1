"""Custody `reconstruct`: the assembler joins shares, checks the key, uses it once and wipes it.

Rules kept (specs/reconstruct.md): constant-time interpolation; the joined scalar's public point must equal the
key's before any use; nothing is cached; a wrong share is named through its public share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from enclave.errors import AbortError, CallerError, PeerError
from enclave.group import Group
from enclave.group.secp256k1 import SECP256K1
from enclave.secret import Secret
from enclave.threshold.shamir import combine


def sign_ecdsa(
    *,
    shares: Mapping[int, Secret],
    public_key: bytes,
    public_shares: Mapping[int, bytes],
    digest: bytes,
) -> tuple[bytes, int]:
    """(r || s with low s, recovery id) over a 32-byte digest, with a secp256k1 key joined from `shares`.

    The caller passes exactly as many shares as the key needs and wipes them afterwards.  Raises PeerError
    (`share.invalid`) with the culprits' indices as text; AbortError; CallerError (`share.index`, `digest.size`).
    """
    with joined(SECP256K1, shares=shares, public_key=public_key, public_shares=public_shares) as secret:
        signature, recovery_id = SECP256K1.ecdsa_sign_recoverable(secret, digest)
    # A fault during signing would otherwise leave the enclave as a key-revealing signature.
    if SECP256K1.ecdsa_recover(signature, recovery_id, digest) != public_key:
        raise AbortError("signature does not verify under the key")
    return signature, recovery_id


@contextmanager
def joined(
    group: Group, *, shares: Mapping[int, Secret], public_key: bytes, public_shares: Mapping[int, bytes]
) -> Iterator[Secret]:
    """The whole secret scalar for the length of a `with` block, checked against the public key, then wiped.

    Raises PeerError (`share.invalid`) with the culprits' indices as text, AbortError.
    """
    try:
        secret = combine(group, shares)
    except AbortError:
        raise _blame(group, shares, public_shares) from None
    with secret:
        if group.base_mult(secret) != public_key:
            raise _blame(group, shares, public_shares)
        yield secret


def _blame(group: Group, shares: Mapping[int, Secret], public_shares: Mapping[int, bytes]) -> PeerError | AbortError:
    culprits = [str(i) for i in sorted(shares) if not _matches(group, shares[i], public_shares.get(i))]
    if not culprits:
        return AbortError("shares match their public points but do not make the key: too few shares, or mixed epochs")
    return PeerError("share does not match its public point", culprits=culprits, code="share.invalid")


def _matches(group: Group, share: Secret, public_share: bytes | None) -> bool:
    try:
        group.scalar_check_secret(share)
        return group.base_mult(share) == public_share
    except (AbortError, CallerError):
        return False
