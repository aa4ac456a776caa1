"""A private key as it is going to be shared: the scalar in the arena, its curve and its public key.

Rules kept: a key is in the arena from the moment its source is decoded; the range is checked before anything is
computed with it; errors name positions and codes, never content.  What Python cannot do is take back what was read
before that: the text of a file, a typed line and a library's `bytes` may stay in freed memory until the process ends
(specs/import-export.md section 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

from enclave.errors import AbortError, CallerError
from enclave.group.ed25519 import ED25519
from enclave.group.secp256k1 import SECP256K1
from enclave.imports.scalars import ed25519_scalar, x25519_scalar
from enclave.key_addresses import addresses_of
from enclave.secret import Secret
from enclave.threshold import p256
from enclave.threshold.montgomery import public_key_x25519
from kms.client.errors import ConfigurationError

KEY_BYTES = 32


class MaterialError(ConfigurationError):
    """What was given is not the key it should be; the code says in which way."""

    code = "client.import-form"


class Curve(StrEnum):
    """The curve of a private key."""

    ED25519 = "ed25519"
    X25519 = "x25519"
    SECP256K1 = "secp256k1"
    P256 = "p256"


CURVE_OF_SPEC = {
    "ed25519": Curve.ED25519,
    "secp256k1-ecdsa": Curve.SECP256K1,
    "secp256k1-schnorr": Curve.SECP256K1,
    "hpke-x25519": Curve.X25519,
    "p256-ecdsa": Curve.P256,
}
"""The curve a key of that spec has."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeyMaterial:
    """A key to import; a context manager that wipes it."""

    curve: Curve
    secret: Secret
    """What is shared: the scalar; of a P-256 key, which is wrapped instead, its 32 bytes."""
    public_key: bytes
    """As the key's certificate will name it."""
    source: str
    """Where it was read from, for people."""
    chain_code: bytes | None = None
    """BIP-32 chain code, where the children of a secp256k1 key are to be the standard's."""

    def addresses(self, usage: str, spec: str = "") -> dict[str, str]:
        """Chain -> address that the key has under a usage and spec."""
        return addresses_of(usage, spec, self.public_key)

    def wipe(self) -> None:
        """Overwrite the key."""
        self.secret.wipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()


def material_of(curve: Curve, key: bytearray, source: str, *, chain_code: bytes | None = None) -> KeyMaterial:
    """The key in its usual 32-byte encoding, big-endian for secp256k1 and P-256, a seed for Ed25519; `key` is zeroed.

    Raises MaterialError (`client.import-scalar`) for zero, the order and above.
    """
    if len(key) != KEY_BYTES:
        found = len(key)
        key[:] = bytes(found)
        raise MaterialError(f"expected a private key of {KEY_BYTES} bytes, found {found}", code="client.import-form")
    if curve is Curve.X25519:
        # RFC 7748 section 5: the same key, whatever these bits say.
        key[0] &= 248
        key[31] = key[31] & 127 | 64
    return material_of_secret(curve, Secret.take(key), source, chain_code=chain_code)


def material_of_secret(curve: Curve, key: Secret, source: str, *, chain_code: bytes | None = None) -> KeyMaterial:
    """As `material_of`, from the arena, an X25519 key clamped; `key` is used up."""
    try:
        match curve:
            case Curve.ED25519:
                with key:
                    scalar = ed25519_scalar(key)
                public_key = ED25519.base_mult(scalar)
            case Curve.X25519:
                with key:
                    scalar = x25519_scalar(key)
                public_key = public_key_x25519(ED25519.base_mult(scalar))
            case Curve.SECP256K1:
                scalar = key
                SECP256K1.scalar_check_secret(key)
                public_key = SECP256K1.base_mult(key)
            case Curve.P256:
                scalar = key
                public_key = p256.public_of(key)
    except (CallerError, AbortError):
        key.wipe()
        raise MaterialError(
            f"not a {curve} private key: it is zero, or not below the group's order", code="client.import-scalar"
        ) from None
    return KeyMaterial(curve=curve, secret=scalar, public_key=public_key, source=source, chain_code=chain_code)


def material_of_scalar(scalar: Secret, source: str) -> KeyMaterial:
    """An Ed25519 key of which only the scalar exists, as an export gives it; raises MaterialError."""
    try:
        ED25519.scalar_check_secret(scalar)
        public_key = ED25519.base_mult(scalar)
    except (CallerError, AbortError):
        scalar.wipe()
        raise MaterialError("not an Ed25519 scalar: zero, or not reduced", code="client.import-scalar") from None
    return KeyMaterial(curve=Curve.ED25519, secret=scalar, public_key=public_key, source=source)
