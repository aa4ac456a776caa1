"""The prime-order subgroup of edwards25519 and its scalars (little-endian, mod L), on libsodium's raw functions.

Rules kept here: secret scalars stay in `Secret` and see only constant-time functions; no scalar in this
layer is ever zero and no point ever the identity (AbortError); points are checked once, on arrival, by
`validate_point` (specs/constant-time.md).
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from nacl._sodium import ffi, lib

from enclave.errors import AbortError, CallerError
from enclave.secret import Secret, declassify

ORDER = 2**252 + 27742317777372353535851937790883648493
"""L, the order of the base point (RFC 8032 section 5.1)."""

SCALAR_BYTES = 32
POINT_BYTES = 32
WIDE_BYTES = 64
"""Bytes reduced to one scalar: 512 bits leave a bias of 2^-259."""

ADDITIONS_MAX = 5
"""Additions that cost less than one multiplication by a public scalar, a sixth of it each."""

VALID_KEPT_MAX = 4096
"""Points remembered as valid, about 100 bytes each: protocols meet each point several times, and a check costs half a
multiplication."""

_FIELD = 2**255 - 19
_Y_MASK = 2**255 - 1
_IDENTITY = b"\x01" + bytes(31)
_SECOND_SPELLINGS = frozenset({b"\x01" + bytes(30) + b"\x80", b"\xec" + b"\xff" * 31})
"""The two points with x = 0, under a sign bit that RFC 8032 section 5.1.3 refuses and libsodium's additions ignore."""
_Y_OF_ORDER_8 = (
    ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc", "05", "85"),
    ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03", "7a", "fa"),
)
_SMALL_ORDER = frozenset(bytes.fromhex(y + top) for y, *tops in _Y_OF_ORDER_8 for top in tops) | {
    _IDENTITY,
    b"\xec" + b"\xff" * 30 + b"\x7f",
    bytes(32),
    bytes(31) + b"\x80",
}
"""The eight points whose eightfold is the identity, itself among them."""
_ZERO = ffi.new("unsigned char[32]")
_POINT = ffi.typeof("unsigned char[32]")
_LENGTH = struct.Struct(">I")


class _Sum:
    """A public point to which canonical points are added; the library decodes them anew for every addition."""

    __slots__ = ("out",)

    def __init__(self, first: Any) -> None:
        self.out = ffi.new(_POINT, bytes(first))

    def add(self, point: Any) -> None:
        """Raises CallerError (`point.invalid`) on bytes that are no point of the curve."""
        if lib.crypto_core_ed25519_add(self.out, self.out, point) != 0:
            raise _invalid()

    def point(self) -> bytes:
        """The sum so far; raises AbortError on the identity."""
        return _point(self.out)


class Ed25519Group:
    """Implements `enclave.group.Group`; remembers which points it has found valid, and nothing else."""

    name = "ed25519"
    order = ORDER
    point_bytes = POINT_BYTES
    scalar_bytes = SCALAR_BYTES

    def __init__(self) -> None:
        self._valid: set[bytes] = set()

    # --- secret scalars ------------------------------------------------------------------------------

    def random_scalar(self) -> Secret:
        """A uniform non-zero secret scalar."""
        with Secret.random(WIDE_BYTES) as wide:
            return self.scalar_from_wide(wide)

    def scalar_from_wide(self, hash64: Secret) -> Secret:
        """64 secret bytes, little-endian, reduced mod L.  Raises AbortError on zero."""
        if hash64.size != WIDE_BYTES:
            raise AbortError(f"expected {WIDE_BYTES} bytes to reduce, found {hash64.size}")
        out = Secret(SCALAR_BYTES)
        lib.crypto_core_ed25519_scalar_reduce(out.p, hash64.p)
        return _nonzero(out)

    def scalar_from_public(self, k: int) -> Secret:
        """A public integer as a secret-typed scalar.  Raises AbortError on zero."""
        return _nonzero(Secret.take(bytearray((k % ORDER).to_bytes(SCALAR_BYTES, "little"))))

    def scalar_to_public_bytes(self, s: Secret) -> bytes:
        """DANGER: publishes the scalar.  Only for values the protocol sends to everyone."""
        return declassify(s)

    def scalar_check(self, data: bytes) -> None:
        """Raises CallerError (`scalar.invalid`) unless `data` is a public, canonical, non-zero scalar."""
        if len(data) != SCALAR_BYTES or not 0 < int.from_bytes(data, "little") < ORDER:
            raise CallerError("expected 32 bytes of a canonical non-zero scalar", code="scalar.invalid")

    def scalar_check_secret(self, s: Secret) -> None:
        """Raises CallerError (`scalar.invalid`) unless a received secret is a canonical non-zero scalar."""
        if s.size == SCALAR_BYTES:
            with Secret(WIDE_BYTES) as wide, Secret(SCALAR_BYTES) as reduced:
                ffi.memmove(wide.p, s.p, SCALAR_BYTES)
                lib.crypto_core_ed25519_scalar_reduce(reduced.p, wide.p)
                canonical = lib.sodium_memcmp(reduced.p, s.p, SCALAR_BYTES) == 0
                if canonical and lib.sodium_memcmp(s.p, _ZERO, SCALAR_BYTES) != 0:
                    return
        raise CallerError("expected 32 bytes of a canonical non-zero scalar", code="scalar.invalid")

    def add(self, a: Secret, b: Secret) -> Secret:
        """a + b.  Raises AbortError on zero."""
        out = Secret(SCALAR_BYTES)
        lib.crypto_core_ed25519_scalar_add(out.p, a.p, b.p)
        return _nonzero(out)

    def sub(self, a: Secret, b: Secret) -> Secret:
        """a - b.  Raises AbortError on zero."""
        out = Secret(SCALAR_BYTES)
        lib.crypto_core_ed25519_scalar_sub(out.p, a.p, b.p)
        return _nonzero(out)

    def mul(self, a: Secret, b: Secret) -> Secret:
        """a * b.  Raises AbortError on zero."""
        out = Secret(SCALAR_BYTES)
        lib.crypto_core_ed25519_scalar_mul(out.p, a.p, b.p)
        return _nonzero(out)

    def mul_public(self, a: Secret, k: int) -> Secret:
        """a * k for a public integer k.  Raises AbortError on zero."""
        out = Secret(SCALAR_BYTES)
        lib.crypto_core_ed25519_scalar_mul(out.p, a.p, _encode(k))
        return _nonzero(out)

    def negate(self, a: Secret) -> Secret:
        """-a."""
        out = Secret(SCALAR_BYTES)
        lib.crypto_core_ed25519_scalar_negate(out.p, a.p)
        return _nonzero(out)

    def invert(self, a: Secret) -> Secret:
        """1 / a, by a fixed addition chain.  Raises AbortError on zero."""
        out = Secret(SCALAR_BYTES)
        if lib.crypto_core_ed25519_scalar_invert(out.p, a.p) != 0:
            raise AbortError("a zero scalar has no inverse")
        return out

    def evaluate(self, coefficients: Sequence[Secret], x: int) -> Secret:
        """The polynomial with these coefficients, lowest first, at a public x, by Horner's rule in place.

        Raises AbortError on zero.
        """
        *lower, top = coefficients
        out, factor = top.duplicate(), _encode(x)
        p = out.p
        for coefficient in reversed(lower):
            lib.crypto_core_ed25519_scalar_mul(p, p, factor)
            lib.crypto_core_ed25519_scalar_add(p, p, coefficient.p)
        return _nonzero(out)

    def total(self, scalars: Iterable[Secret]) -> Secret:
        """The sum of the scalars; partial sums may be zero.  Raises AbortError on zero."""
        out = Secret(SCALAR_BYTES)
        p = out.p
        for scalar in scalars:
            lib.crypto_core_ed25519_scalar_add(p, p, scalar.p)
        return _nonzero(out)

    def weighted_total(self, scalars: Sequence[Secret], weights: tuple[int, ...]) -> Secret:
        """The sum of weight * scalar, the weights public and reduced; partial sums may be zero.

        Raises AbortError on zero.
        """
        out = Secret(SCALAR_BYTES)
        with Secret(SCALAR_BYTES) as term:
            p, t = out.p, term.p
            for scalar, weight in zip(scalars, weights, strict=True):
                lib.crypto_core_ed25519_scalar_mul(t, scalar.p, weight.to_bytes(SCALAR_BYTES, "little"))
                lib.crypto_core_ed25519_scalar_add(p, p, t)
        return _nonzero(out)

    # --- secret scalars times points: the product is public ---------------------------------------------

    def base_mult(self, s: Secret) -> bytes:
        """s * B in constant time, as a published point.  Raises AbortError on the identity."""
        out = Secret(POINT_BYTES)
        if lib.crypto_scalarmult_ed25519_base_noclamp(out.p, s.p) != 0:
            raise AbortError("the product is the identity")
        return declassify(out)

    def mult(self, s: Secret, point: bytes) -> bytes:
        """s * point in constant time, as a published point.

        Raises CallerError (`point.invalid`) on a point outside the group, AbortError on the identity.
        """
        if len(point) != POINT_BYTES:
            raise _invalid()
        out = Secret(POINT_BYTES)
        if lib.crypto_scalarmult_ed25519_noclamp(out.p, s.p, point) != 0:
            self.validate_point(point)
            raise AbortError("the product is the identity")
        return declassify(out)

    # --- public values ------------------------------------------------------------------------------------

    def base_mult_public(self, k: int) -> bytes:
        """k * B for a public integer k.  Raises AbortError on the identity."""
        out = ffi.new(_POINT)
        if lib.crypto_scalarmult_ed25519_base_noclamp(out, _encode(k)) != 0:
            raise AbortError("the product is the identity")
        return bytes(out)

    def mult_public(self, k: int, point: bytes) -> bytes:
        """k * point for a public integer k.

        Raises CallerError (`point.invalid`) on a point outside the group, AbortError on the identity.
        """
        if len(point) != POINT_BYTES:
            raise _invalid()
        out = ffi.new(_POINT)
        if lib.crypto_scalarmult_ed25519_noclamp(out, _encode(k), point) != 0:
            self.validate_point(point)
            raise AbortError("the product is the identity")
        return bytes(out)

    def combination(self, terms: Iterable[tuple[int, bytes]]) -> bytes:
        """The sum of k * point over public pairs, small factors by additions, which do not check the subgroup again.

        Raises as `point_add` and `mult_public`, AbortError also when something on the way is the identity.
        """
        parts = [self._times(k % ORDER, point) for k, point in terms]
        return parts[0] if len(parts) == 1 else self.point_add(*parts)

    def _times(self, k: int, point: bytes) -> bytes:
        if k.bit_length() + k.bit_count() > ADDITIONS_MAX + 2 or k == 0:
            return self.mult_public(k, point)
        if not _canonical(point):
            raise _invalid()
        product = _Sum(point)
        self._multiply(product, k)
        return product.point()

    def evaluate_points(self, points: Sequence[bytes], x: int, *, through_zero: bool = False) -> bytes:
        """The polynomial with these public points as coefficients, lowest first, at a public x from 1 on.

        With `through_zero` a zero constant comes before them.  Raises as `combination`.
        """
        *lower, top = self._coefficients(points, through_zero=through_zero)
        total = _Sum(top)
        for point in reversed(lower):
            self._multiply(total, x)
            total.add(point)
        return total.point()

    def evaluate_points_to(self, points: Sequence[bytes], n: int) -> list[bytes]:
        """As `evaluate_points`, at 1, 2 ... n, where each value follows from the one before by additions."""
        coefficients = self._coefficients(points, through_zero=False)
        try:
            return self._forward(coefficients, n)
        except AbortError:
            # A difference may be the identity where no value is.
            return [self.evaluate_points(points, x) for x in range(1, n + 1)]

    def _forward(self, coefficients: list[bytes], n: int) -> list[bytes]:
        # Newton's basis by repeated division, then forward differences at zero: k! times its coefficients.
        differences = [_Sum(point) for point in coefficients]
        size = len(differences)
        for x in range(1, size - 1):
            for m in range(size - 2, x - 1, -1):
                multiple = _Sum(differences[m + 1].out)
                self._multiply(multiple, x)
                differences[m].add(multiple.out)
        for m in range(2, size):
            self._multiply(differences[m], math.factorial(m))
        values = []
        for _ in range(n):
            for m in range(size - 1):
                differences[m].add(differences[m + 1].out)
            values.append(differences[0].point())
        return values

    def _coefficients(self, points: Sequence[bytes], *, through_zero: bool) -> list[bytes]:
        if not points or not all(map(_canonical, points)):
            raise _invalid()
        return [_IDENTITY, *points] if through_zero else list(points)

    def _multiply(self, total: _Sum, k: int) -> None:
        """total *= k, by additions when these cost less."""
        if k.bit_length() + k.bit_count() > ADDITIONS_MAX + 2:
            total.out = ffi.new(_POINT, self.mult_public(k, total.point()))
            return
        point = bytes(total.out)
        for bit in bin(k)[3:]:
            total.add(total.out)
            if bit == "1":
                total.add(point)

    def point_add(self, *points: bytes) -> bytes:
        """The sum of one or more points.

        The subgroup is not checked again: points are validated on arrival.  Raises CallerError
        (`point.invalid`) on bytes that are no point of the curve, AbortError on the identity.
        """
        if not points or not all(map(_canonical, points)):
            raise _invalid()
        first, *rest = points if len(points) > 1 else (points[0], _IDENTITY)
        total = _Sum(first)
        for point in rest:
            total.add(point)
        return total.point()

    def point_sub(self, p: bytes, q: bytes) -> bytes:
        """p - q, as `point_add`."""
        if not (_canonical(p) and _canonical(q)):
            raise _invalid()
        out = ffi.new(_POINT)
        if lib.crypto_core_ed25519_sub(out, p, q) != 0:
            raise _invalid()
        return _point(out)

    def validate_point(self, point: bytes) -> None:
        """Raises CallerError (`point.invalid`) unless canonical, on the curve, of prime order, not the identity."""
        if point in self._valid:
            return
        if len(point) != POINT_BYTES or lib.crypto_core_ed25519_is_valid_point(point) != 1:
            raise _invalid()
        if len(self._valid) >= VALID_KEPT_MAX:
            self._valid.clear()
        self._valid.add(bytes(point))

    def check_summand(self, point: bytes) -> None:
        """Raises CallerError (`point.invalid`) on a second spelling and on a point of small order.

        What is left unchecked costs more: the curve, which an addition checks, and the subgroup.
        """
        if not _canonical(point) or point in _SMALL_ORDER:
            raise _invalid()

    def hash_to_scalar(self, tag: str, *parts: bytes) -> int:
        """SHA-512 of the length-prefixed group name, tag and public parts, mod L."""
        digest = hashlib.sha512()
        for part in (b"holdfast/ed25519/v1", tag.encode(), *parts):
            digest.update(_LENGTH.pack(len(part)) + part)
        return int.from_bytes(digest.digest(), "big") % ORDER

    def to_x25519(self, point: bytes) -> bytes:
        """The Montgomery u-coordinate of a public point.  Raises CallerError (`point.invalid`)."""
        if len(point) != POINT_BYTES:
            raise _invalid()
        out = ffi.new(_POINT)
        if lib.crypto_sign_ed25519_pk_to_curve25519(out, point) != 0:
            raise _invalid()
        return bytes(out)


def _nonzero(out: Secret) -> Secret:
    if lib.sodium_memcmp(out.p, _ZERO, SCALAR_BYTES) == 0:
        raise AbortError("a scalar became zero")
    return out


def _encode(k: int) -> bytes:
    return (k % ORDER).to_bytes(SCALAR_BYTES, "little")


def _canonical(point: bytes) -> bool:
    """Whether y is reduced and x = 0 has no sign: libsodium's additions take both, and one point two spellings."""
    return (
        len(point) == POINT_BYTES
        and int.from_bytes(point, "little") & _Y_MASK < _FIELD
        and point not in _SECOND_SPELLINGS
    )


def _point(out: Any) -> bytes:
    encoded = bytes(out)
    if encoded == _IDENTITY:
        raise AbortError("the sum is the identity")
    return encoded


def _invalid() -> CallerError:
    return CallerError("expected a canonical point of the prime-order group", code="point.invalid")


ED25519 = Ed25519Group()
