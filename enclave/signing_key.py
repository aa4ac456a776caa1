"""Credential keys of agents and operators: one private key, one algorithm, no choice at verification time.

Rules kept: the algorithm belongs to the registered key and never to the message (RFC 8725
section 3.1); ECDSA signatures are written in low-s form so that a signature has one spelling;
a private key is held by its library's object and never printed.  Algorithms: `EdDSA` (Ed25519,
RFC 8037), `ES256` (P-256, RFC 7518), `ES256K` (secp256k1, RFC 8812).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import BadSignatureError

from attestation.envelope import key_id
from attestation.errors import DocumentError
from enclave.errors import CallerError

ALGORITHMS = ("EdDSA", "ES256", "ES256K")
"""Every accepted JWS algorithm; `none` and the HMAC family are not representable."""

SIGNATURE_BYTES = 64
"""R || S for Ed25519, r || s for ECDSA."""

PEM_BYTES_MAX = 4096
"""A private key file of these types stays below 500 bytes, encrypted ones below 1 KiB."""

_CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES256K": ec.SECP256K1()}
_ORDERS = {
    # SEC 2 version 2.0, sections 2.4.2 (secp256r1) and 2.4.1 (secp256k1).
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES256K": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
}
_HASH = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A registered public key: `algorithm` and the raw bytes (Ed25519: 32; ECDSA: 33, SEC 1 compressed)."""

    algorithm: str
    key: bytes

    @classmethod
    def parse(cls, algorithm: object, key: bytes) -> PublicKey:
        """A checked key: known algorithm, canonical encoding, on the curve and in the prime-order group.

        Raises DocumentError (`document.key`).
        """
        if algorithm not in ALGORITHMS or not isinstance(algorithm, str):
            raise DocumentError(f"expected an algorithm of {', '.join(ALGORITHMS)}", code="document.key")
        if algorithm == "EdDSA":
            if len(key) != 32 or not crypto_core_ed25519_is_valid_point(key):
                raise DocumentError("expected a 32-byte Ed25519 public key", code="document.key")
        else:
            if len(key) != 33:
                raise DocumentError("expected a 33-byte compressed public key", code="document.key")
            _load_ecdsa(algorithm, key)
        return cls(algorithm=algorithm, key=key)

    @property
    def kid(self) -> str:
        """Key id: base64url SHA-256 of the raw bytes."""
        return key_id(self.key)

    @property
    def coordinates(self) -> tuple[bytes, bytes]:
        """The 32-byte coordinates of an ECDSA key."""
        numbers = _load_ecdsa(self.algorithm, self.key).public_numbers()
        return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) is this key's over `message`."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        if self.algorithm == "EdDSA":
            # libsodium refuses s >= L, small-order keys and non-canonical points by itself.
            try:
                crypto_sign_open(signature + message, self.key)
            except BadSignatureError:
                return False
            return True
        try:
            der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
            _load_ecdsa(self.algorithm, self.key).verify(der, message, _HASH)
        except (InvalidSignature, DocumentError, ValueError):
            return False
        return True

    def one_spelling(self, signature: bytes) -> bytes:
        """The signature in its only canonical spelling.

        ECDSA verifies (r, s) and (r, n - s) alike; whoever relays a signature could flip it, so
        whatever identifies a signed message hashes this form instead.
        """
        order = _ORDERS.get(self.algorithm)
        if order is None:
            return signature
        s = int.from_bytes(signature[32:], "big")
        return signature[:32] + min(s, order - s).to_bytes(32, "big")


class SigningKey:
    """A private key with the one algorithm it may be used for."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        if isinstance(private, Ed25519PrivateKey):
            self.public = PublicKey(algorithm="EdDSA", key=private.public_key().public_bytes_raw())
            return
        for algorithm, curve in _CURVES.items():
            if private.curve.name == curve.name:
                point = private.public_key().public_bytes(
                    serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
                )
                self.public = PublicKey(algorithm=algorithm, key=point)
                return
        raise CallerError("expected a key on P-256 or secp256k1", code="credential.type")

    @classmethod
    def generate(cls, algorithm: str = "EdDSA") -> SigningKey:
        """A fresh key; raises CallerError (`credential.type`) for an unknown algorithm."""
        if algorithm == "EdDSA":
            return cls(Ed25519PrivateKey.generate())
        if algorithm in _CURVES:
            return cls(ec.generate_private_key(_CURVES[algorithm]))
        raise CallerError(f"expected an algorithm of {', '.join(ALGORITHMS)}", code="credential.type")

    @classmethod
    def from_pem(cls, pem: bytes, *, password: bytes | None = None) -> SigningKey:
        """Read a PKCS #8 PEM; raises CallerError (`credential.malformed`, `credential.type`)."""
        if len(pem) > PEM_BYTES_MAX:
            raise CallerError("file is too large for a private key", code="credential.malformed")
        try:
            private = serialization.load_pem_private_key(pem, password=password)
        except (ValueError, TypeError, UnicodeDecodeError):
            raise CallerError(
                "expected a private key in PKCS #8 PEM form", code="credential.malformed", hint="is it encrypted?"
            ) from None
        except Exception:
            # UnsupportedAlgorithm and its relatives have no common root with the above.
            raise CallerError("private key type is not supported", code="credential.type") from None
        if not isinstance(private, Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise CallerError("expected an Ed25519, P-256 or secp256k1 private key", code="credential.type")
        return cls(private)

    def to_pem(self, *, password: bytes | None = None) -> bytes:
        """PKCS #8 PEM, encrypted if a password is given: the caller owns the file's permissions."""
        protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            protection = serialization.BestAvailableEncryption(password)
        return self._private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)

    @property
    def algorithm(self) -> str:
        """`EdDSA`, `ES256` or `ES256K`."""
        return self.public.algorithm

    @property
    def kid(self) -> str:
        """Key id of the public half."""
        return self.public.kid

    @property
    def ed25519(self) -> Ed25519PrivateKey:
        """The library's key object, for signing envelopes; raises CallerError for other algorithms."""
        if not isinstance(self._private, Ed25519PrivateKey):
            raise CallerError("documents are signed with Ed25519 keys", code="credential.type")
        return self._private

    def sign(self, message: bytes) -> bytes:
        """The 64-byte JWS signature over `message`."""
        if isinstance(self._private, Ed25519PrivateKey):
            return self._private.sign(message)
        r, s = decode_dss_signature(self._private.sign(message, _HASH))
        return self.public.one_spelling(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def __repr__(self) -> str:
        return f"<SigningKey {self.algorithm} {self.kid}>"

    def __reduce__(self) -> str:
        raise CallerError("a private key is not copied or pickled", code="credential.type")


@functools.lru_cache(maxsize=4096)
def _load_ecdsa(algorithm: str, key: bytes) -> ec.EllipticCurvePublicKey:
    """The parsed point (a square root, hence cached: 4096 active agents use about 4 MiB)."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[algorithm], key)
    except ValueError:
        raise DocumentError("expected a compressed point on the curve", code="document.key") from None
