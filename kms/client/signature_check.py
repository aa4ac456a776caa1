"""Check returned signatures under the certified key with libsodium and libsecp256k1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import coincurve
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from attestation.envelope import b64url_decode
from attestation.errors import DocumentError
from enclave.threshold.p256 import verifies
from kms.client.errors import VerificationError

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""SEC 2 version 2.0, section 2.4.1."""


BIP340_BYTES = 64
"""Size of a BIP-340 signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EcdsaSignature:
    """A low-s ECDSA signature with the parity that recovers the public key."""

    r: int
    s: int
    y_parity: int

    @property
    def compact(self) -> bytes:
        """r || s, 64 bytes."""
        return self.r.to_bytes(32, "big") + self.s.to_bytes(32, "big")

    @property
    def der(self) -> bytes:
        """The ASN.1 form."""
        recoverable = self.compact + bytes([self.y_parity])
        der: bytes = coincurve.ecdsa.cdata_to_der(
            coincurve.ecdsa.recoverable_convert(coincurve.ecdsa.deserialize_recoverable(recoverable))
        )
        return der

    @property
    def eth65(self) -> bytes:
        """r || s || v with v = 27 + parity, the form wallets expect for EIP-191."""
        return self.compact + bytes([27 + self.y_parity])

    def to_json(self) -> dict[str, Any]:
        """Members for a result object."""
        return {
            "r": f"{self.r:064x}",
            "s": f"{self.s:064x}",
            "y_parity": self.y_parity,
            "signature": self.eth65.hex(),
            "der": self.der.hex(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class P256Signature:
    """A low-s ECDSA signature over P-256."""

    r: int
    s: int

    @property
    def compact(self) -> bytes:
        """r || s, 64 bytes: the form of JWS (RFC 7518)."""
        return self.r.to_bytes(32, "big") + self.s.to_bytes(32, "big")

    @property
    def der(self) -> bytes:
        """The ASN.1 form."""
        return encode_dss_signature(self.r, self.s)

    def to_json(self) -> dict[str, Any]:
        """Members for a result object."""
        return {"r": f"{self.r:064x}", "s": f"{self.s:064x}", "signature": self.compact.hex(), "der": self.der.hex()}


def check_ed25519(signature: dict[str, Any], public_key: bytes, message: bytes) -> bytes:
    """The 64 bytes, once they verify; raises VerificationError (`verify.signature`)."""
    try:
        data = b64url_decode(signature.get("ed25519"))
        VerifyKey(public_key).verify(message, data)
    except (BadSignatureError, DocumentError, ValueError, TypeError):
        raise _bad() from None
    return data


def check_bip340(signature: dict[str, Any], xonly: bytes, message: bytes) -> bytes:
    """The 64 bytes, once they verify under a 32-byte x-only key; raises VerificationError (`verify.signature`)."""
    try:
        data = b64url_decode(signature.get("bip340"))
        holds = coincurve.PublicKeyXOnly(xonly).verify(data, message)
    except (DocumentError, ValueError, TypeError):
        raise _bad() from None
    if len(data) != BIP340_BYTES or not holds:
        raise _bad()
    return data


def check_ecdsa(signature: dict[str, Any], public_key: bytes, digest: bytes) -> EcdsaSignature:
    """The signature, once it is low-s and recovers `public_key` (33 bytes); raises VerificationError."""
    r, s, parity = (signature.get(name) for name in ("r", "s", "y_parity"))
    if not isinstance(r, str) or not isinstance(s, str) or type(parity) is not int or parity not in (0, 1):
        raise _bad()
    try:
        value = EcdsaSignature(r=_scalar(r), s=_scalar(s), y_parity=parity)
        recovered = coincurve.PublicKey.from_signature_and_message(
            value.compact + bytes([parity]), digest, hasher=None
        ).format()
    except Exception:
        # libsecp256k1's wrapper raises bare Exception for points that do not exist.
        raise _bad() from None
    if recovered != public_key or value.s > SECP256K1_ORDER // 2:
        raise _bad()
    return value


def check_p256(signature: dict[str, Any], public_key: bytes, digest: bytes) -> P256Signature:
    """The signature, once it is low-s and verifies under the compressed P-256 key; raises VerificationError."""
    r, s = signature.get("r"), signature.get("s")
    if not isinstance(r, str) or not isinstance(s, str):
        raise _bad()
    try:
        compact = bytes.fromhex(r).rjust(32, b"\0") + bytes.fromhex(s).rjust(32, b"\0")
    except ValueError:
        raise _bad() from None
    if not verifies(public_key, compact, digest):
        raise _bad()
    return P256Signature(r=int.from_bytes(compact[:32], "big"), s=int.from_bytes(compact[32:], "big"))


def _scalar(text: str) -> int:
    value = int.from_bytes(bytes.fromhex(text.removeprefix("0x")), "big")
    if not 0 < value < SECP256K1_ORDER:
        raise ValueError
    return value


def _bad() -> VerificationError:
    return VerificationError(
        "the answer is not a signature of the certified key over this request", code="verify.signature"
    )
