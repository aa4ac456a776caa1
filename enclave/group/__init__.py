"""Which prime-order groups do we compute in?  edwards25519 and secp256k1, behind one Protocol.

Secret scalars are `Secret`, public scalars are `int`, points are their canonical encodings in `bytes`.
A scalar is never zero and a point never the identity here: results that would be raise AbortError.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from coincurve import _libsecp256k1
from nacl import _sodium

from attestation.errors import CodedError
from enclave.errors import EnclaveError
from enclave.group.ed25519 import ED25519
from enclave.group.secp256k1 import SECP256K1
from enclave.secret import Secret


class Group(Protocol):
    """A group of prime order with constant-time arithmetic on secret scalars; docs at the implementations."""

    name: str
    order: int
    point_bytes: int
    scalar_bytes: int

    def random_scalar(self) -> Secret:
        """Uniform, non-zero."""

    def scalar_from_wide(self, hash64: Secret) -> Secret:
        """64 secret bytes reduced to a scalar."""

    def scalar_from_public(self, k: int) -> Secret:
        """A public integer as a secret-typed scalar."""

    def scalar_to_public_bytes(self, s: Secret) -> bytes:
        """DANGER: publishes the scalar; only for values the protocol sends to everyone."""

    def scalar_check(self, data: bytes) -> None:
        """Raises CallerError unless a public, canonical, non-zero scalar."""

    def scalar_check_secret(self, s: Secret) -> None:
        """Raises CallerError unless a canonical, non-zero scalar."""

    def add(self, a: Secret, b: Secret) -> Secret:
        """a + b."""

    def sub(self, a: Secret, b: Secret) -> Secret:
        """a - b."""

    def mul(self, a: Secret, b: Secret) -> Secret:
        """a * b."""

    def mul_public(self, a: Secret, k: int) -> Secret:
        """a * k for a public k."""

    def negate(self, a: Secret) -> Secret:
        """-a."""

    def invert(self, a: Secret) -> Secret:
        """1 / a."""

    def evaluate(self, coefficients: Sequence[Secret], x: int) -> Secret:
        """The polynomial with these coefficients, lowest first, at a public x."""

    def total(self, scalars: Iterable[Secret]) -> Secret:
        """The sum of the scalars, whatever partial sums are."""

    def weighted_total(self, scalars: Sequence[Secret], weights: tuple[int, ...]) -> Secret:
        """The sum of weight * scalar for public reduced weights, whatever partial sums are."""

    def base_mult(self, s: Secret) -> bytes:
        """s * B, in constant time."""

    def mult(self, s: Secret, point: bytes) -> bytes:
        """s * point, in constant time."""

    def base_mult_public(self, k: int) -> bytes:
        """k * B for a public k."""

    def mult_public(self, k: int, point: bytes) -> bytes:
        """k * point for a public k."""

    def combination(self, terms: Iterable[tuple[int, bytes]]) -> bytes:
        """The sum of k * point over public pairs."""

    def evaluate_points(self, points: Sequence[bytes], x: int, *, through_zero: bool = False) -> bytes:
        """The polynomial with these public points as coefficients, lowest first, at a public x from 1 on."""

    def evaluate_points_to(self, points: Sequence[bytes], n: int) -> list[bytes]:
        """The same at 1, 2 ... n."""

    def point_add(self, *points: bytes) -> bytes:
        """The sum of one or more validated points."""

    def point_sub(self, p: bytes, q: bytes) -> bytes:
        """p - q for validated points."""

    def validate_point(self, point: bytes) -> None:
        """Raises CallerError unless canonical, on the curve, of prime order, not the identity."""

    def check_summand(self, point: bytes) -> None:
        """As `validate_point`, without what an addition and `validate_point` on the sum find; names no summand."""

    def hash_to_scalar(self, tag: str, *parts: bytes) -> int:
        """Public parts hashed to a scalar under a domain-separating tag."""


GROUPS: Mapping[str, Group] = {group.name: group for group in (ED25519, SECP256K1)}
"""Every group by name."""

VERSION_FLOORS = {"PyNaCl": (1, 6, 2), "coincurve": (21, 0, 0)}
"""Oldest accepted releases.  PyNaCl below 1.6.2 bundles a libsodium that takes some points outside the
prime-order subgroup for valid (CVE-2025-69277)."""

_SODIUM_NAMES = (
    "crypto_core_ed25519_add",
    "crypto_core_ed25519_sub",
    "crypto_core_ed25519_is_valid_point",
    "crypto_core_ed25519_scalar_add",
    "crypto_core_ed25519_scalar_sub",
    "crypto_core_ed25519_scalar_mul",
    "crypto_core_ed25519_scalar_negate",
    "crypto_core_ed25519_scalar_invert",
    "crypto_core_ed25519_scalar_reduce",
    "crypto_scalarmult_ed25519_noclamp",
    "crypto_scalarmult_ed25519_base_noclamp",
    "crypto_sign_ed25519_pk_to_curve25519",
    "crypto_hash_sha512",
    "randombytes",
    "sodium_memcmp",
    "sodium_memzero",
    "sodium_mlock",
)

_SECP256K1_NAMES = (
    "secp256k1_context_create",
    "secp256k1_context_destroy",
    "secp256k1_context_randomize",
    "secp256k1_ec_seckey_verify",
    "secp256k1_ec_seckey_negate",
    "secp256k1_ec_seckey_tweak_add",
    "secp256k1_ec_seckey_tweak_mul",
    "secp256k1_ec_pubkey_create",
    "secp256k1_ec_pubkey_parse",
    "secp256k1_ec_pubkey_serialize",
    "secp256k1_ec_pubkey_negate",
    "secp256k1_ec_pubkey_combine",
    "secp256k1_ec_pubkey_tweak_mul",
    "secp256k1_ecdh",
    "secp256k1_ecdsa_sign_recoverable",
    "secp256k1_ecdsa_recover",
    "secp256k1_ecdsa_verify",
    "secp256k1_ecdsa_signature_parse_compact",
    "secp256k1_ecdsa_recoverable_signature_parse_compact",
    "secp256k1_ecdsa_recoverable_signature_serialize_compact",
)


def check_primitives() -> None:
    """Raises EnclaveError (`primitive.unavailable`) unless every primitive is there, new enough, and computes.

    The raw libraries are private interfaces of their packages and the ECDH callback needs an executable
    closure: a node asks here once, at start, instead of meeting a hole in the middle of a ceremony.
    """
    for package, floor in VERSION_FLOORS.items():
        found = importlib.metadata.version(package)
        if tuple(int(part) for part in found.split(".")[:3]) < floor:
            raise _unavailable(f"expected {package} {'.'.join(map(str, floor))} or newer, found {found}")
    for library, names in ((_sodium.lib, _SODIUM_NAMES), (_libsecp256k1.lib, _SECP256K1_NAMES)):
        missing = [name for name in names if not hasattr(library, name)]
        if missing:
            raise _unavailable(f"missing functions: {', '.join(missing)}")
    for group in GROUPS.values():
        _check_arithmetic(group)


def _check_arithmetic(group: Group) -> None:
    """(2 * 3) * B three ways: base, point through the secret path (and its callback), point through the public one."""
    try:
        product = group.mul(group.scalar_from_public(2), group.scalar_from_public(3))
        expected = group.base_mult_public(6)
        secret_way = group.mult(group.scalar_from_public(2), group.base_mult_public(3))
        agree = group.base_mult(product) == secret_way == group.mult_public(3, group.base_mult_public(2)) == expected
    except CodedError as error:
        raise _unavailable(f"{group.name} fails its start-up test: {error.detail}") from None
    if not agree:
        raise _unavailable(f"{group.name} fails its start-up test: results differ")


def _unavailable(detail: str) -> EnclaveError:
    return EnclaveError(detail, code="primitive.unavailable", hint="install the pinned PyNaCl and coincurve wheels")
