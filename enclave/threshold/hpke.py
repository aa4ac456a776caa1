"""Threshold decryption of standard HPKE: nodes give partial Diffie-Hellman points, the recipient combines and opens.

Nodes run `partial`; whoever may see the plaintext (the client, or the gateway for edge requests) runs `combine`
and `open`; anyone encrypts with stock HPKE or `seal`.  Every failure a ciphertext can cause is the one code
`decrypt.failed`, after the same work as success (specs/threshold-decryption.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from enclave.errors import AbortError, CallerError, PeerError
from enclave.group.ed25519 import ED25519
from enclave.secret import Secret
from enclave.threshold import dleq
from enclave.threshold.hpke_schedule import Aead, key_schedule, shared_secret
from enclave.threshold.montgomery import KEY_BYTES, eightfold_point, public_key_x25519, to_montgomery
from enclave.threshold.shamir import lagrange
from enclave.wire.message import tagged

__all__ = [
    "ENC_BYTES",
    "Aead",
    "combine",
    "open",
    "partial",
    "prove_partial",
    "public_key_x25519",
    "seal",
    "seal_secret",
    "verify_partial",
]

ENC_BYTES = KEY_BYTES
"""Length of the encapsulated key in front of a ciphertext."""

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_NO_DH = bytes(KEY_BYTES)
_IDENTITY = b"\1" + bytes(KEY_BYTES - 1)


def partial(share: Secret, index: int, ids: Sequence[int], enc: bytes) -> bytes:
    """This node's partial result: the 32-byte point lagrange(index) * share * 8P, where `enc` encodes P.

    `ids` are all indices whose partials will be combined.  Raises CallerError: `share.index`, `decrypt.failed`.
    """
    base, valid = eightfold_point(enc)
    with ED25519.mul_public(share, lagrange(ids, index, ED25519.order)) as weighted:
        result = ED25519.mult(weighted, base)
    if not valid:
        raise _failed()
    return result


def combine(partials: Mapping[int, bytes]) -> bytes:
    """The 32-byte X25519 result from the partials of exactly the `ids` they were made for.

    Raises PeerError (`partial.invalid`) naming the indices, as text, whose partial is no point of the group;
    CallerError (`decrypt.failed`).
    """
    try:
        if _IDENTITY in partials.values():
            raise _failed()
        total = ED25519.point_add(*partials.values())
        # What is outside the group spoils the sum, or is undone by another's: only a spoiled sum has to be looked into.
        ED25519.validate_point(total)
        return to_montgomery(total)
    except (AbortError, CallerError):
        culprits = [str(i) for i, point in sorted(partials.items()) if not _is_point(point)]
    if culprits:
        raise PeerError("partial decryption is not a point", culprits=culprits, code="partial.invalid")
    raise _failed()


def open(  # noqa: A001 - the standard's name for it
    dh: bytes,
    enc: bytes,
    ciphertext: bytes,
    public_key: bytes,
    info: bytes,
    aad: bytes = b"",
    *,
    aead: Aead = Aead.AES_256_GCM,
) -> bytes:
    """The plaintext of `ciphertext` (without `enc` in front) under the X25519 key `public_key`.

    `dh` comes from `combine`.  Raises CallerError (`decrypt.failed`) for every kind of failure.
    """
    key, nonce = key_schedule(shared_secret(dh, enc, public_key), info, aead)
    try:
        plaintext = aead.cipher(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise _failed() from None
    if len(enc) != ENC_BYTES or len(dh) != KEY_BYTES or dh == _NO_DH:
        raise _failed()
    return plaintext


def seal(public_key: bytes, plaintext: bytes, info: bytes) -> bytes:
    """`enc` || ciphertext for the X25519 key `public_key`, by stock HPKE.

    Raises CallerError (`point.invalid`) on a key that gives no shared secret.
    """
    try:
        return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info=info)
    except ValueError:
        raise CallerError("not an X25519 public key", code="point.invalid") from None


def seal_secret(public_key: bytes, secret: Secret, info: bytes) -> bytes:
    """As `seal`, from the arena."""
    try:
        return _SUITE.encrypt(secret.view, X25519PublicKey.from_public_bytes(public_key), info=info)
    except ValueError:
        raise CallerError("not an X25519 public key", code="point.invalid") from None


def prove_partial(share: Secret, index: int, ids: Sequence[int], enc: bytes) -> bytes:
    """64-byte proof that this node's partial for `enc` is right; made only when opening failed.

    Raises CallerError: `share.index`, `decrypt.failed`.
    """
    base, valid = eightfold_point(enc)
    if not valid:
        raise _failed()
    with ED25519.mul_public(share, lagrange(ids, index, ED25519.order)) as weighted:
        return dleq.prove(ED25519, weighted, base, _proof_context(index, ids, enc))


def verify_partial(
    point: bytes, *, index: int, ids: Sequence[int], enc: bytes, public_share: bytes, proof: bytes
) -> None:
    """Raises PeerError (`partial.invalid`) naming `index` unless its partial is proven; CallerError as partial."""
    base, valid = eightfold_point(enc)
    if not valid:
        raise _failed()
    public = ED25519.mult_public(lagrange(ids, index, ED25519.order), public_share)
    context = _proof_context(index, ids, enc)
    if not dleq.verify(ED25519, public, base, point, context, proof):
        raise PeerError("partial decryption is not proven", culprits=[str(index)], code="partial.invalid")


def _proof_context(index: int, ids: Sequence[int], enc: bytes) -> bytes:
    return tagged("partial-proof", enc, index.to_bytes(4, "big"), *(i.to_bytes(4, "big") for i in sorted(ids)))


def _is_point(point: bytes) -> bool:
    try:
        ED25519.validate_point(point)
    except CallerError:
        return False
    return True


def _failed() -> CallerError:
    return CallerError("ciphertext does not open", code="decrypt.failed")
