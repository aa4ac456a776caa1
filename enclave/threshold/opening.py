"""Opening a ciphertext inside an enclave: partial points and plaintext stay in the arena, and leave sealed again.

The counterpart of `hpke.combine` and `hpke.open`, which hand out bytes and are for clients and the edge.  Every
failure of a ciphertext is the one code `decrypt.failed`; a wrong point is named by its proof, which is only looked at
after a failure (specs/threshold-decryption.md sections 6 and 7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from nacl._sodium import ffi, lib

from enclave.derive import hkdf_sha256
from enclave.errors import AbortError, CallerError, PeerError
from enclave.group.ed25519 import ED25519
from enclave.secret import Secret, declassify
from enclave.threshold.hpke import verify_partial
from enclave.threshold.hpke_schedule import KEM_ID, NONCE_BYTES, TAG_BYTES, Aead, base_context, labelled, labelled_info
from enclave.threshold.montgomery import KEY_BYTES, eightfold_point
from enclave.threshold.shamir import lagrange

POINT_BYTES = 32
PROOF_BYTES = 64
ROW_BYTES = POINT_BYTES + PROOF_BYTES
"""A point and the proof that it is right."""

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def partial_point(share: Secret, index: int, ids: Sequence[int], enc: bytes) -> Secret:
    """As hpke.partial, with the 32-byte point in the arena; raises CallerError (`share.index`, `decrypt.failed`)."""
    base, valid = eightfold_point(enc)
    point = Secret.zero(KEY_BYTES)
    with ED25519.mul_public(share, lagrange(ids, index, ED25519.order)) as weighted:
        status = lib.crypto_scalarmult_ed25519_noclamp(point.p, weighted.p, base)
    if status != 0:
        point.wipe()
        raise AbortError("a partial result is the identity")
    if not valid:
        point.wipe()
        raise _failed()
    return point


def row_of(point: Secret, proof: bytes) -> Secret:
    """A point and its proof as one row for the node that opens."""
    row = Secret.zero(ROW_BYTES)
    ffi.memmove(row.p, point.p, KEY_BYTES)
    ffi.memmove(row.p + KEY_BYTES, proof, PROOF_BYTES)
    return row


def open_and_reseal(
    points: Sequence[Secret],
    *,
    enc: bytes,
    ciphertext: bytes,
    public_key: bytes,
    info: bytes,
    recipient: bytes,
    recipient_info: bytes,
) -> bytes:
    """The plaintext of `ciphertext`, sealed by stock HPKE to the X25519 key `recipient`.

    `points` are the partial results of exactly the set they were made for; the caller wipes them.  Raises CallerError
    (`decrypt.failed`; `point.invalid` for a recipient that gives no shared secret).
    """
    size = len(ciphertext) - TAG_BYTES
    if size < 0:
        raise _failed()
    with (
        _combined(points) as dh,
        _schedule(dh, enc, public_key, info) as key,
        key.part(0, KEY_BYTES) as aead_key,
        key.part(KEY_BYTES, NONCE_BYTES) as nonce,
        # One spare byte: an empty plaintext is a plaintext, an empty secret is not.
        Secret.zero(size + 1) as plaintext,
    ):
        try:
            AESGCM(aead_key.view).decrypt_into(nonce.view, ciphertext, b"", plaintext.view[:size])
        except InvalidTag:
            raise _failed() from None
        try:
            return _SUITE.encrypt(
                plaintext.view[:size], X25519PublicKey.from_public_bytes(recipient), info=recipient_info
            )
        except ValueError:
            raise CallerError("not an X25519 public key", code="point.invalid") from None


def culprits(
    rows: Mapping[int, Secret], *, ids: Sequence[int], enc: bytes, public_shares: Mapping[int, bytes]
) -> list[int]:
    """The indices whose row does not hold a proven point: asked only after an opening failed."""
    found = []
    for index, row in sorted(rows.items()):
        content = declassify(row)
        try:
            verify_partial(
                content[:KEY_BYTES],
                index=index,
                ids=ids,
                enc=enc,
                public_share=public_shares[index],
                proof=content[KEY_BYTES:],
            )
        except PeerError:
            found.append(index)
    return found


def _combined(points: Sequence[Secret]) -> Secret:
    """The u-coordinate of the sum of the points."""
    total = points[0].duplicate()
    for point in points[1:]:
        with total as previous:
            total = Secret.zero(KEY_BYTES)
            if lib.crypto_core_ed25519_add(total.p, previous.p, point.p) != 0:
                raise _failed()
    with total:
        dh = Secret.zero(KEY_BYTES)
        if lib.crypto_sign_ed25519_pk_to_curve25519(dh.p, total.p) != 0:
            raise _failed()
        return dh


def _schedule(dh: Secret, enc: bytes, public_key: bytes, info: bytes) -> Secret:
    """AEAD key (32 bytes) and base nonce (12) of RFC 9180's base mode, in one secret."""
    kem = b"KEM" + KEM_ID.to_bytes(2, "big")
    with Secret.zero(len(labelled(kem, b"eae_prk", b"")) + dh.size) as material:
        head = labelled(kem, b"eae_prk", b"")
        ffi.memmove(material.p, head, len(head))
        ffi.memmove(material.p + len(head), dh.p, dh.size)
        shared = hkdf_sha256(material, salt=None, info=labelled_info(kem, b"shared_secret", enc + public_key, 32))
    suite, context = base_context(info, Aead.AES_256_GCM)
    with shared, _keyed_hash(shared, labelled(suite, b"secret", b"")) as prk:
        both = Secret.zero(KEY_BYTES + NONCE_BYTES)
        for start, size, label in ((0, KEY_BYTES, b"key"), (KEY_BYTES, NONCE_BYTES, b"base_nonce")):
            expand = HKDFExpand(algorithm=SHA256(), length=size, info=labelled_info(suite, label, context, size))
            expand.derive_into(prk.view, both.view[start : start + size])
        return both


def _keyed_hash(key: Secret, message: bytes) -> Secret:
    """HMAC-SHA256 with the result in the arena; OpenSSL's bindings hand it out in no other form than `bytes`."""
    keyed = HMAC(key.view, SHA256())
    keyed.update(message)
    digest = keyed.finalize()
    moved = Secret.zero(len(digest))
    ffi.memmove(moved.p, digest, len(digest))
    lib.sodium_memzero(ffi.from_buffer(digest), len(digest))
    return moved


def _failed() -> CallerError:
    return CallerError("ciphertext does not open", code="decrypt.failed")
