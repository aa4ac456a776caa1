"""FROST for BIP-340: two-round threshold signing whose result is an ordinary Taproot signature.

Round one: every signer runs `commit`.  The relay runs `aggregate_nonces`.  Round two: every signer runs `sign_share`
on a message it has authorised itself.  Then anyone runs `aggregate`.  Source: BIP-445; a signer cannot see its own
nonce in the aggregate, and need not: the scheme's proof covers it (specs/bip340.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nacl._sodium import ffi, lib

from enclave.derive import SHA256_BYTES, joined
from enclave.errors import AbortError, CallerError, PeerError, RefusedError
from enclave.group import schnorr
from enclave.group.secp256k1 import ORDER, POINT_BYTES, SCALAR_BYTES, SECP256K1
from enclave.secret import Secret
from enclave.threshold.bip340_session import (
    NONCE_BYTES,
    Session,
    Signers,
    Tweak,
    TweakedKey,
    aggregate_nonces,
    challenge,
    check_signers,
    open_session,
    tweaked_key,
    weighted_sum,
)

__all__ = [
    "NONCE_BYTES",
    "NoncePair",
    "NonceSource",
    "Signers",
    "Tweak",
    "TweakedKey",
    "aggregate",
    "aggregate_nonces",
    "nonce_generate",
    "sign",
    "sign_share",
    "tweaked_key",
    "verify_share",
]

MESSAGE_BYTES_MAX = 1 << 20
"""Longest message in bytes: a request's body is no longer."""


RANDOM_BYTES = 32
"""Fresh randomness of a nonce pair, and the secret of this boot."""

NONCE_MESSAGE_BYTES_MAX = 32 << 10
"""Longest message that can be mixed into a nonce, in bytes: it is hashed inside one arena."""


class NoncePair:
    """Two secret nonces and their public points; the first use spends it."""

    __slots__ = ("_nonces", "public")

    def __init__(self, first: Secret, second: Secret) -> None:
        self._nonces: tuple[Secret, Secret] | None = (first, second)
        self.public = SECP256K1.base_mult(first) + SECP256K1.base_mult(second)

    def spend(self) -> tuple[Secret, Secret]:
        """The nonces, once: the caller wipes them.  Raises RefusedError (`nonce.spent`) ever after."""
        nonces, self._nonces = self._nonces, None
        if nonces is None:
            raise RefusedError("this nonce has been used or dropped", code="nonce.spent")
        return nonces

    def drop(self) -> None:
        """Wipe the nonces unused (expiry, closed connection)."""
        nonces, self._nonces = self._nonces, None
        for nonce in nonces or ():
            nonce.wipe()


class NonceSource:
    """Makes nonce pairs from fresh randomness and one secret of this boot; one per process.

    NonceGen's optional share is left out, so that pairs serve any key of the node; the boot secret takes its place
    as a second source, in the optional extra input.
    """

    __slots__ = ("_row",)

    def __init__(self) -> None:
        head = _nonce_head(b"", b"", None, RANDOM_BYTES)
        with Secret.random(RANDOM_BYTES) as secret:
            self._row = joined((_nonce_prefix(), bytes(RANDOM_BYTES), head, secret, b"\0"))

    def commit(self) -> tuple[NoncePair, bytes]:
        """A fresh pair and its public nonce (66 bytes), to be published."""
        with self._row.duplicate() as row:
            lib.randombytes(row.p + len(_nonce_prefix()), RANDOM_BYTES)
            pair = _nonce_pair(row)
        return pair, pair.public


def nonce_generate(
    randomness: Secret,
    *,
    public_share: bytes = b"",
    public_key: bytes = b"",
    message: bytes | None = None,
    extra: Secret | bytes = b"",
) -> NoncePair:
    """NonceGen of BIP-445 from `rand` on; all else is optional.

    `public_share` has 33 bytes, `public_key` 32 (x-only).  Raises CallerError (`message.size`).
    """
    if message is not None and len(message) > NONCE_MESSAGE_BYTES_MAX:
        raise CallerError(f"at most {NONCE_MESSAGE_BYTES_MAX} bytes go into a nonce", code="message.size")
    extra_bytes = extra.size if isinstance(extra, Secret) else len(extra)
    head = _nonce_head(public_share, public_key, message, extra_bytes)
    with joined((_nonce_prefix(), randomness, head, extra, b"\0")) as row:
        return _nonce_pair(row)


def _nonce_prefix() -> bytes:
    return schnorr.tag_prefix("BIP0445/nonce")


def _nonce_head(public_share: bytes, public_key: bytes, message: bytes | None, extra_bytes: int) -> bytes:
    """What NonceGen hashes between the randomness and the extra input."""
    head = bytes([len(public_share)]) + public_share + bytes([len(public_key)]) + public_key
    head += b"\0" if message is None else b"\1" + len(message).to_bytes(8, "big") + message
    return head + extra_bytes.to_bytes(4, "big")


def _nonce_pair(row: Secret) -> NoncePair:
    """Both nonces from everything that is hashed; the last byte is the number of the nonce."""
    nonces = Secret(SHA256_BYTES), Secret(SHA256_BYTES)
    number = row.p + (row.size - 1)
    for value, nonce in zip((b"\0", b"\1"), nonces, strict=True):
        ffi.memmove(number, value, 1)
        lib.crypto_hash_sha256(nonce.p, row.p, row.size)
    try:
        # Reduced already, except with probability 2^-128: that attempt ends here.
        return NoncePair(*nonces)
    except AbortError:
        for nonce in nonces:
            nonce.wipe()
        raise


def sign_share(
    *,
    signers: Signers,
    index: int,
    share: Secret,
    message: bytes,
    aggregate_nonce: bytes,
    nonce: NoncePair,
    tweaks: Sequence[Tweak] = (),
) -> bytes:
    """Round two: this signer's signature share (32-byte scalar); `sign` without the nonce point."""
    return sign(
        signers=signers,
        index=index,
        share=share,
        message=message,
        aggregate_nonce=aggregate_nonce,
        nonce=nonce,
        tweaks=tweaks,
    )[0]


def sign(
    *,
    signers: Signers,
    index: int,
    share: Secret,
    message: bytes,
    aggregate_nonce: bytes,
    nonce: NoncePair,
    tweaks: Sequence[Tweak] = (),
) -> tuple[bytes, bytes]:
    """Round two: this signer's signature share (32-byte scalar) and the nonce point R it signed under (33 bytes).

    The nonce pair is spent whatever happens.  Raises RefusedError (`nonce.spent`); CallerError: `signers.*`,
    `tweak.invalid`, `nonce.invalid`, `message.size`, `share.mismatch` when the share is not the one `signers` names at
    `index`; AbortError when the result does not hold, which would be a computing fault.
    """
    k1, k2 = nonce.spend()
    with k1, k2:
        _check_message(message)
        session = open_session(signers, message, aggregate_nonce, tweaks)
        signers.public_share(index)
        sign = session.nonce_sign
        weights = (sign % ORDER, sign * session.coefficient % ORDER, session.weight(index))
        with SECP256K1.weighted_total((k1, k2, share), weights) as total:
            result = SECP256K1.scalar_to_public_bytes(total)
    # Under the public share, so that neither a fault nor another key's share leaves.
    if not _holds(session, index, nonce.public, result):
        if SECP256K1.base_mult(share) != signers.public_share(index):
            raise CallerError("share does not belong to this signer's public share", code="share.mismatch")
        raise AbortError("signature share does not hold")
    return result, session.nonce_point


def verify_share(
    *,
    signers: Signers,
    index: int,
    message: bytes,
    nonces: Mapping[int, bytes],
    share: bytes,
    tweaks: Sequence[Tweak] = (),
) -> None:
    """Raises PeerError (`signature.share`) naming `index` unless its signature share holds.

    `nonces` are all signers' public nonces.  Raises PeerError (`nonce.invalid`), CallerError as sign_share.
    """
    _check_message(message)
    _check_complete(signers, nonces)
    session = _session_of(signers, message, nonces, tweaks)
    signers.public_share(index)
    if not _holds(session, index, nonces[index], share):
        raise PeerError("signature share does not verify", culprits=[str(index)], code="signature.share")


def aggregate(
    *,
    signers: Signers,
    message: bytes,
    nonces: Mapping[int, bytes],
    shares: Mapping[int, bytes],
    tweaks: Sequence[Tweak] = (),
    nonce_point: bytes | None = None,
) -> bytes:
    """The 64-byte BIP-340 signature, verified under the tweaked x-only key.

    `nonce_point` is what a signer says R is: believed only if the signature verifies with it, it saves computing R
    here.  Raises PeerError (`nonce.invalid`, `signature.share`) with the culprits' indices as text; CallerError on an
    impossible signer set; AbortError when every share holds and the signature still does not.
    """
    _check_message(message)
    _check_complete(signers, nonces)
    _check_complete(signers, shares)
    if nonce_point is not None:
        signature = _believed(signers, message, shares, tweaks, nonce_point)
        if signature is not None:
            return signature
    session = _session_of(signers, message, nonces, tweaks)
    try:
        signature = combine(session, shares)
    except PeerError:
        signature = b""
    if schnorr.verify(session.key.xonly, signature, message):
        return signature
    culprits = [str(i) for i in sorted(signers.ids) if not _holds(session, i, nonces[i], shares[i])]
    if not culprits:
        raise AbortError("every signature share holds but the signature does not")
    raise PeerError("signature share does not verify", culprits=culprits, code="signature.share")


def combine(session: Session, shares: Mapping[int, bytes]) -> bytes:
    """R || s from signature shares, not yet verified.

    Raises CallerError (`signers.shares`), PeerError (`signature.share`) naming those that are no scalars.
    """
    _check_complete(session.signers, shares)
    culprits = [str(index) for index, share in sorted(shares.items()) if not _is_scalar(share)]
    if culprits:
        raise PeerError("signature share is not a scalar", culprits=culprits, code="signature.share")
    return _joined(session.nonce_point, session.challenge, session.key, shares)


def _joined(nonce_point: bytes, c: int, key: TweakedKey, shares: Mapping[int, bytes]) -> bytes:
    s = sum(int.from_bytes(share, "big") for share in shares.values()) + c * key.parity_sign * key.tweak
    return nonce_point[1:] + (s % ORDER).to_bytes(SCALAR_BYTES, "big")


def _believed(
    signers: Signers, message: bytes, shares: Mapping[int, bytes], tweaks: Sequence[Tweak], nonce_point: bytes
) -> bytes | None:
    """The signature with this R if it verifies; the signers and their shares need no check of their own then."""
    if len(nonce_point) != POINT_BYTES or not all(map(_is_scalar, shares.values())):
        return None
    check_signers(signers)
    key = tweaked_key(signers.public_key, tweaks)
    signature = _joined(nonce_point, challenge(nonce_point, key, message), key, shares)
    return signature if schnorr.verify(key.xonly, signature, message) else None


def _check_complete(signers: Signers, values: Mapping[int, bytes]) -> None:
    if set(values) != set(signers.ids):
        raise CallerError("one public nonce and one signature share per signer", code="signers.shares")


def _session_of(signers: Signers, message: bytes, nonces: Mapping[int, bytes], tweaks: Sequence[Tweak]) -> Session:
    return open_session(signers, message, aggregate_nonces(nonces), tweaks)


def _holds(session: Session, index: int, public_nonce: bytes, share: bytes) -> bool:
    """s G = +-(R1 + b R2) + weight * P, the sign being that of R."""
    if not _is_scalar(share):
        return False
    sign = session.nonce_sign
    expected = weighted_sum(
        (sign, public_nonce[:POINT_BYTES]),
        (sign * session.coefficient, public_nonce[POINT_BYTES:]),
        (session.weight(index), session.signers.public_share(index)),
    )
    return SECP256K1.base_mult_public(int.from_bytes(share, "big")) == expected


def _is_scalar(share: bytes) -> bool:
    try:
        SECP256K1.scalar_check(share)
    except CallerError:
        return False
    return True


def _check_message(message: bytes) -> None:
    if len(message) > MESSAGE_BYTES_MAX:
        raise CallerError(f"a message has at most {MESSAGE_BYTES_MAX} bytes", code="message.size")
