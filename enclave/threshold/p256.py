"""P-256 keys of custody `reconstruct`: derived from the shared scalar inside the assembler, used once, wiped.

No library offers constant-time P-256 scalars, so none is shared: the shared scalar is one of edwards25519, and the
private key is HKDF of it, drawn again until it lies below the order (specs/p256.md).  It exists in the arena as part
of a PKCS #8 document and inside OpenSSL while it signs, nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from nacl._sodium import ffi

from enclave.derive import hkdf_sha256
from enclave.errors import AbortError, CallerError
from enclave.group.ed25519 import ED25519
from enclave.secret import Secret
from enclave.threshold import p256_wrap
from enclave.threshold.reconstruct import joined
from enclave.wire.message import tagged

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of P-256 (SEC 2 version 2.0, section 2.4.2)."""

PUBLIC_KEY_BYTES = 33
DIGEST_BYTES = 32
DRAWS_MAX = 8
"""Draws before giving up: one is refused with probability 2^-32."""

_PKCS8 = bytes.fromhex("3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420")
"""Everything of the document (RFC 5208, RFC 5915) in front of the 32 bytes of the private key."""

_ALGORITHM = ec.ECDSA(Prehashed(hashes.SHA256()), deterministic_signing=True)


def derive_public(
    *, shares: Mapping[int, Secret], group_key: bytes, public_shares: Mapping[int, bytes], key: str, version: int
) -> bytes:
    """The 33-byte compressed public key; raises PeerError (`share.invalid`), AbortError as reconstruct.joined."""
    with joined(ED25519, shares=shares, public_key=group_key, public_shares=public_shares) as scalar:
        return _public_bytes(_private_key(scalar, key, version))


def sign_p256(
    *,
    shares: Mapping[int, Secret],
    group_key: bytes,
    public_shares: Mapping[int, bytes],
    public_key: bytes,
    key: str,
    version: int,
    digest: bytes,
    wrapped: bytes = b"",
) -> bytes:
    """r || s with low s over a 32-byte digest, with a nonce of RFC 6979.

    `wrapped` is an imported key under the shared scalar; without it the key is derived from the scalar.  Raises
    PeerError (`share.invalid`), AbortError (also if it is not the private key of `public_key`), CallerError
    (`digest.size`).
    """
    if len(digest) != DIGEST_BYTES:
        raise CallerError("expected a digest of 32 bytes", code="digest.size")
    with joined(ED25519, shares=shares, public_key=group_key, public_shares=public_shares) as scalar:
        private = _unwrapped(scalar, wrapped, key, version) if wrapped else _private_key(scalar, key, version)
        if _public_bytes(private) != public_key:
            raise AbortError("the private key is not the one this key was stated to have")
        signature = _sign(private, digest)
    # A fault during signing would otherwise leave the enclave as a key-revealing signature.
    if not verifies(public_key, signature, digest):
        raise AbortError("signature does not verify under the key")
    return signature


def private_of(scalar: Secret, *, key: str, version: int) -> Secret:
    """The 32 bytes of a generated private key, for a client that exports it."""
    for draw in range(DRAWS_MAX):
        candidate = _candidate(scalar, key, version, draw)
        if _load(candidate) is not None:
            return candidate
        candidate.wipe()
    raise AbortError("no draw gave a private key")


def public_of(private: Secret) -> bytes:
    """The 33-byte compressed public key of 32 bytes; raises CallerError (`scalar.invalid`) if they are no key."""
    loaded = _load(private) if private.size == 32 else None
    if loaded is None:
        raise CallerError("expected 32 bytes of a canonical non-zero scalar", code="scalar.invalid")
    return _public_bytes(loaded)


def sign_once(private: Secret, digest: bytes) -> bytes:
    """r || s with low s of a whole private key, for a client that has it; raises AbortError."""
    loaded = _load(private)
    if loaded is None:
        raise AbortError("not a private key")
    return _sign(loaded, digest)


def verifies(public_key: bytes, signature: bytes, digest: bytes) -> bool:
    """Whether r || s (64 bytes, low s) is a signature of the compressed `public_key` over `digest`."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if len(signature) != 2 * 32 or not 0 < r < ORDER or not 0 < s <= ORDER // 2:
        return False
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
        point.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def check_point(public_key: bytes) -> None:
    """Raises CallerError (`point.invalid`) unless a compressed point of P-256."""
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    except ValueError:
        point = None
    if point is None or len(public_key) != PUBLIC_KEY_BYTES:
        raise CallerError("not a compressed P-256 point", code="point.invalid")


def _private_key(scalar: Secret, key: str, version: int) -> ec.EllipticCurvePrivateKey:
    """The first draw that is a private key: OpenSSL refuses zero and what is not below the order."""
    for draw in range(DRAWS_MAX):
        with _candidate(scalar, key, version, draw) as candidate:
            private = _load(candidate)
        if private is not None:
            return private
    raise AbortError("no draw gave a private key")


def _unwrapped(scalar: Secret, wrapped: bytes, key: str, version: int) -> ec.EllipticCurvePrivateKey:
    with p256_wrap.unwrap(scalar, wrapped, key=key, version=version) as candidate:
        private = _load(candidate)
    if private is None:
        raise AbortError("what was wrapped is no private key")
    return private


def _candidate(scalar: Secret, key: str, version: int, draw: int) -> Secret:
    info = tagged("p256-key", key.encode(), version.to_bytes(4, "big"), draw.to_bytes(4, "big"))
    return hkdf_sha256(scalar, salt=None, info=info)


def _load(candidate: Secret) -> ec.EllipticCurvePrivateKey | None:
    """The key OpenSSL makes of 32 bytes, or None if it refuses them."""
    with Secret.zero(len(_PKCS8) + 32) as document:
        ffi.memmove(document.p, _PKCS8, len(_PKCS8))
        ffi.memmove(document.p + len(_PKCS8), candidate.p, 32)
        try:
            private = load_der_private_key(document.view, None)
        except ValueError:
            return None
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return private


def _sign(private: ec.EllipticCurvePrivateKey, digest: bytes) -> bytes:
    r, s = decode_dss_signature(private.sign(digest, _ALGORITHM))
    return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")


def _signed(private: ec.EllipticCurvePrivateKey, digest: bytes) -> bytes:
    """r || s with low s and a nonce of RFC 6979."""
    r, s = decode_dss_signature(private.sign(digest, _ALGORITHM))
    return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")


def _public_bytes(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
