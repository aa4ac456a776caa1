"""The group secp256k1 and its scalars (big-endian, mod n), on libsecp256k1's raw functions.

Rules kept here: as in `enclave.group.ed25519`; besides, `ec_pubkey_tweak_mul` and its kin run in variable
time and see public scalars only: a secret times a point goes through `ecdh` (specs/constant-time.md).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from coincurve._libsecp256k1 import ffi, lib

from enclave.errors import AbortError, CallerError, EnclaveError
from enclave.group.secp256k1_raw import (
    ORDER,
    POINT_BYTES,
    PUBKEY_BYTES,
    PUBKEY_P,
    SCALAR_BYTES,
    both_coordinates,
    check_digest,
    done,
    encode,
    pointers,
    serialized,
)
from enclave.secret import Secret, declassify

__all__ = ["ORDER", "POINT_BYTES", "SCALAR_BYTES", "SECP256K1", "Secp256k1Group"]

SIGNATURE_BYTES = 64
WIDE_BYTES = 64
RANDOM_ATTEMPTS_MAX = 8
"""Draws for a uniform scalar; each fails with probability 2^-128, so the second never happens."""

POINTS_KEPT_MAX = 4096
"""Parsed public points kept, about 300 bytes each: the square root of parsing costs a fifth of a multiplication, and
protocols meet each point several times."""

ADDITIONS_MAX = 16
"""Additions of a point to itself, in one call, that cost less than a multiplication."""

_CHUNK_BYTES = 16
_SHIFT = (2**128).to_bytes(SCALAR_BYTES, "big")
_SENTINEL = (-(2**512) % ORDER).to_bytes(SCALAR_BYTES, "big")
_LENGTH = struct.Struct(">I")
_RECOVERABLE_P = ffi.typeof("secp256k1_ecdsa_recoverable_signature *")
_RECOVERABLE_BYTES = ffi.sizeof("secp256k1_ecdsa_recoverable_signature")


class Secp256k1Group:
    """Implements `enclave.group.Group`, and ECDSA; holds a blinded libsecp256k1 context."""

    name = "secp256k1"
    order = ORDER
    point_bytes = POINT_BYTES
    scalar_bytes = SCALAR_BYTES

    def __init__(self) -> None:
        self.context = ffi.gc(lib.secp256k1_context_create(lib.SECP256K1_CONTEXT_NONE), lib.secp256k1_context_destroy)
        # An allocated closure needs memory that is both written and run: strict W^X kernels refuse it here, at start.
        self._coordinates = ffi.callback(
            "int(unsigned char *, const unsigned char *, const unsigned char *, void *)", both_coordinates
        )
        self._points: dict[bytes, Any] = {}
        self.randomize()

    def randomize(self) -> None:
        """Re-blinds base-point multiplication; at start, and from time to time while no other thread signs."""
        with Secret.random() as seed:
            if lib.secp256k1_context_randomize(self.context, pointers[seed.address]) != 1:
                raise EnclaveError("libsecp256k1 refuses to randomise its context", code="primitive.unavailable")

    # --- secret scalars ------------------------------------------------------------------------------

    def random_scalar(self) -> Secret:
        """A uniform non-zero secret scalar."""
        for _ in range(RANDOM_ATTEMPTS_MAX):
            out = Secret.random(SCALAR_BYTES)
            if lib.secp256k1_ec_seckey_verify(self.context, pointers[out.address]) == 1:
                return out
            out.wipe()
        raise AbortError("the random generator yields no scalar")

    def scalar_from_wide(self, hash64: Secret) -> Secret:
        """64 secret bytes, big-endian, reduced mod n.  Raises AbortError on zero.

        Horner over four 16-byte digits, each below n as libsecp256k1 demands; a leading digit 1 keeps
        every step away from zero, which it refuses, and is subtracted at the end.
        """
        if hash64.size != WIDE_BYTES:
            raise AbortError(f"expected {WIDE_BYTES} bytes to reduce, found {hash64.size}")
        out = Secret.take(bytearray(_SHIFT))
        p, source = pointers[out.address], pointers[hash64.address]
        with Secret(SCALAR_BYTES) as digit:
            d = pointers[digit.address]
            for start in range(0, WIDE_BYTES, _CHUNK_BYTES):
                if start:
                    done(lib.secp256k1_ec_seckey_tweak_mul(self.context, p, _SHIFT))
                ffi.memmove(d + _CHUNK_BYTES, source + start, _CHUNK_BYTES)
                done(lib.secp256k1_ec_seckey_tweak_add(self.context, p, d))
        done(lib.secp256k1_ec_seckey_tweak_add(self.context, p, _SENTINEL))
        return out

    def scalar_from_public(self, k: int) -> Secret:
        """A public integer as a secret-typed scalar.  Raises AbortError on zero."""
        if k % ORDER == 0:
            raise AbortError("a scalar became zero")
        return Secret.take(bytearray(encode(k)))

    def scalar_to_public_bytes(self, s: Secret) -> bytes:
        """DANGER: publishes the scalar.  Only for values the protocol sends to everyone."""
        return declassify(s)

    def scalar_check(self, data: bytes) -> None:
        """Raises CallerError (`scalar.invalid`) unless `data` is a public, canonical, non-zero scalar."""
        if len(data) != SCALAR_BYTES or not 0 < int.from_bytes(data, "big") < ORDER:
            raise CallerError("expected 32 bytes of a canonical non-zero scalar", code="scalar.invalid")

    def scalar_check_secret(self, s: Secret) -> None:
        """Raises CallerError (`scalar.invalid`) unless a received secret is a canonical non-zero scalar."""
        if s.size == SCALAR_BYTES:
            valid = lib.secp256k1_ec_seckey_verify(self.context, pointers[s.address])
            if valid == 1:
                return
        raise CallerError("expected 32 bytes of a canonical non-zero scalar", code="scalar.invalid")

    def add(self, a: Secret, b: Secret) -> Secret:
        """a + b.  Raises AbortError on zero."""
        out = a.duplicate()
        done(lib.secp256k1_ec_seckey_tweak_add(self.context, pointers[out.address], pointers[b.address]))
        return out

    def sub(self, a: Secret, b: Secret) -> Secret:
        """a - b.  Raises AbortError on zero."""
        out = self.negate(b)
        done(lib.secp256k1_ec_seckey_tweak_add(self.context, pointers[out.address], pointers[a.address]))
        return out

    def mul(self, a: Secret, b: Secret) -> Secret:
        """a * b.  Raises AbortError on zero."""
        out = a.duplicate()
        done(lib.secp256k1_ec_seckey_tweak_mul(self.context, pointers[out.address], pointers[b.address]))
        return out

    def mul_public(self, a: Secret, k: int) -> Secret:
        """a * k for a public integer k.  Raises AbortError on zero."""
        out = a.duplicate()
        done(lib.secp256k1_ec_seckey_tweak_mul(self.context, pointers[out.address], encode(k)))
        return out

    def negate(self, a: Secret) -> Secret:
        """-a.  Raises AbortError on zero."""
        out = a.duplicate()
        if lib.secp256k1_ec_seckey_negate(self.context, pointers[out.address]) != 1:
            raise AbortError("a scalar is zero or not reduced")
        return out

    def invert(self, a: Secret) -> Secret:
        """1 / a, by inverting a * r in the open for a fresh secret r.  Raises AbortError on zero."""
        with self.random_scalar() as blind, self.mul(a, blind) as product:
            opened = int.from_bytes(self.scalar_to_public_bytes(product), "big")
            return self.mul_public(blind, pow(opened, -1, ORDER))

    def evaluate(self, coefficients: Sequence[Secret], x: int) -> Secret:
        """The polynomial with these coefficients, lowest first, at a public x, by Horner's rule in place.

        Raises AbortError on zero, also on the way.
        """
        *lower, top = coefficients
        out, factor = top.duplicate(), encode(x)
        p, context = pointers[out.address], self.context
        multiply, add = lib.secp256k1_ec_seckey_tweak_mul, lib.secp256k1_ec_seckey_tweak_add
        for coefficient in reversed(lower):
            if x != 1:
                done(multiply(context, p, factor))
            done(add(context, p, pointers[coefficient.address]))
        return out

    def total(self, scalars: Iterable[Secret]) -> Secret:
        """The sum of the scalars; partial sums may be zero.  Raises AbortError on zero.

        The sum starts from a random scalar that is taken off at the end, because the library refuses zero.
        """
        with self.random_scalar() as blind:
            out = blind.duplicate()
            p = pointers[out.address]
            for scalar in scalars:
                done(lib.secp256k1_ec_seckey_tweak_add(self.context, p, pointers[scalar.address]))
            with self.negate(blind) as taken:
                done(lib.secp256k1_ec_seckey_tweak_add(self.context, p, pointers[taken.address]))
        return out

    def weighted_total(self, scalars: Sequence[Secret], weights: tuple[int, ...]) -> Secret:
        """The sum of weight * scalar, the weights public and reduced; partial sums may be zero.

        Raises AbortError on zero.
        """
        context = self.context
        factors = [weight.to_bytes(SCALAR_BYTES, "big") for weight in weights]
        out = scalars[0].duplicate()
        p = pointers[out.address]
        done(lib.secp256k1_ec_seckey_tweak_mul(context, p, factors[0]))
        with Secret(SCALAR_BYTES) as term:
            t = pointers[term.address]
            for scalar, factor in zip(scalars[1:], factors[1:], strict=True):
                ffi.memmove(t, pointers[scalar.address], SCALAR_BYTES)
                done(lib.secp256k1_ec_seckey_tweak_mul(context, t, factor))
                if lib.secp256k1_ec_seckey_tweak_add(context, p, t) != 1:
                    break
            else:
                return out
        # A sum is zero: by accident, or because all know that it is (three shares of a key that one share makes).
        return self.total([self.mul_public(s, k) for s, k in zip(scalars, weights, strict=True)])

    # --- secret scalars times points: the product is public ---------------------------------------------

    def base_mult(self, s: Secret) -> bytes:
        """s * G in constant time, as a published point.  Raises AbortError on zero."""
        out = Secret(PUBKEY_BYTES)
        point = ffi.cast(PUBKEY_P, out.address)
        done(lib.secp256k1_ec_pubkey_create(self.context, point, pointers[s.address]))
        declassify(out)
        return serialized(self.context, point)

    def mult(self, s: Secret, point: bytes) -> bytes:
        """s * point in constant time, as a published point.

        Raises CallerError (`point.invalid`) on bytes that are no point, AbortError on zero.
        """
        parsed = self._parse(point)
        out = Secret(2 * SCALAR_BYTES)
        into, scalar = pointers[out.address], pointers[s.address]
        if lib.secp256k1_ecdh(self.context, into, parsed, scalar, self._coordinates, ffi.NULL) != 1:
            raise AbortError("a scalar is zero or not reduced")
        product = declassify(out)
        return bytes([2 + (product[63] & 1)]) + product[:32]

    # --- public values ------------------------------------------------------------------------------------

    def base_mult_public(self, k: int) -> bytes:
        """k * G for a public integer k.  Raises AbortError on the identity."""
        point = ffi.new(PUBKEY_P)
        if lib.secp256k1_ec_pubkey_create(self.context, point, encode(k)) != 1:
            raise AbortError("the product is the identity")
        return serialized(self.context, point)

    def mult_public(self, k: int, point: bytes) -> bytes:
        """k * point for a public integer k, in variable time.

        Raises CallerError (`point.invalid`) on bytes that are no point, AbortError on the identity.
        """
        return serialized(self.context, self._times_public(k % ORDER, point))

    def combination(self, terms: Iterable[tuple[int, bytes]]) -> bytes:
        """The sum of k * point over public pairs, in variable time; raises as `mult_public`, also if a k is 0."""
        return self._combine([self._times_public(k % ORDER, point) for k, point in terms])

    def evaluate_points(self, points: Sequence[bytes], x: int, *, through_zero: bool = False) -> bytes:
        """The polynomial with these public points as coefficients, lowest first, at a public x from 1 on.

        With `through_zero` a zero constant comes before them.  One call per coefficient: a small multiple is the point
        added up.  Raises as `mult_public`, also on the way.
        """
        parsed = [self._parse(point) for point in points]
        total = parsed.pop()
        for point in reversed(parsed):
            total = self._sum([*self._summands(x, total), point])
        return serialized(self.context, self._sum(self._summands(x, total)) if through_zero else total)

    def evaluate_points_to(self, points: Sequence[bytes], n: int) -> list[bytes]:
        """As `evaluate_points`, at 1, 2 ... n."""
        return [self.evaluate_points(points, x) for x in range(1, n + 1)]

    def point_add(self, *points: bytes) -> bytes:
        """The sum of one or more points.

        Raises CallerError (`point.invalid`) on bytes that are no point, AbortError on the identity.
        """
        if not points:
            raise _invalid()
        return self._combine([self._parse(point) for point in points])

    def point_sub(self, p: bytes, q: bytes) -> bytes:
        """p - q, as `point_add`."""
        return self._combine([self._parse(p), self._times_public(ORDER - 1, q)])

    def validate_point(self, point: bytes) -> None:
        """Raises CallerError (`point.invalid`) unless a compressed point of the curve, not the identity."""
        self._parse(point)

    check_summand = validate_point

    def hash_to_scalar(self, tag: str, *parts: bytes) -> int:
        """SHA-512 of the length-prefixed group name, tag and public parts, mod n."""
        digest = hashlib.sha512()
        for part in (b"holdfast/secp256k1/v1", tag.encode(), *parts):
            digest.update(_LENGTH.pack(len(part)) + part)
        return int.from_bytes(digest.digest(), "big") % ORDER

    def _parse(self, point: bytes) -> Any:
        """The point as the library holds it, shared by all who ask: never to be changed in place."""
        found = self._points.get(point)
        if found is not None:
            return found
        parsed = ffi.new(PUBKEY_P)
        if len(point) != POINT_BYTES or lib.secp256k1_ec_pubkey_parse(self.context, parsed, point, POINT_BYTES) != 1:
            raise _invalid()
        self._keep(bytes(point), parsed)
        return parsed

    def _keep(self, encoded: bytes, parsed: Any) -> None:
        if len(self._points) >= POINTS_KEPT_MAX:
            self._points.clear()
        self._points[encoded] = parsed

    def _times_public(self, k: int, point: bytes) -> Any:
        return self._public_multiple(k, self._parse(point))

    def _public_multiple(self, k: int, parsed: Any) -> Any:
        """k * point for a reduced public k, as a point of its own or the same."""
        if k == 1:
            return parsed
        product = ffi.new(PUBKEY_P, parsed[0])
        if k > ORDER // 2:
            # The library takes less time for small factors, of which some are small and negative.
            lib.secp256k1_ec_pubkey_negate(self.context, product)
            k = ORDER - k
        if k != 1 and lib.secp256k1_ec_pubkey_tweak_mul(self.context, product, k.to_bytes(SCALAR_BYTES, "big")) != 1:
            raise AbortError("the product is the identity")
        return product

    def _summands(self, x: int, parsed: Any) -> list[Any]:
        return [parsed] * x if x <= ADDITIONS_MAX else [self._public_multiple(x % ORDER, parsed)]

    def _sum(self, points: list[Any]) -> Any:
        total = ffi.new(PUBKEY_P)
        if lib.secp256k1_ec_pubkey_combine(self.context, total, points, len(points)) != 1:
            raise AbortError("the sum is the identity")
        return total

    def _combine(self, points: list[Any]) -> bytes:
        total = self._sum(points)
        encoded = serialized(self.context, total)
        self._keep(encoded, total)
        return encoded

    # --- ECDSA --------------------------------------------------------------------------------------------

    def ecdsa_sign_recoverable(self, secret: Secret, digest32: bytes) -> tuple[bytes, int]:
        """(r || s with low s, recovery id) over a 32-byte digest, nonce by RFC 6979.

        Raises CallerError (`digest.size`), AbortError on an invalid key.
        """
        check_digest(digest32)
        out = Secret(_RECOVERABLE_BYTES)
        signature, key = ffi.cast(_RECOVERABLE_P, out.address), pointers[secret.address]
        if lib.secp256k1_ecdsa_sign_recoverable(self.context, signature, digest32, key, ffi.NULL, ffi.NULL) != 1:
            raise AbortError("a scalar is zero or not reduced")
        declassify(out)
        compact, recovery_id = ffi.new("unsigned char[64]"), ffi.new("int *")
        lib.secp256k1_ecdsa_recoverable_signature_serialize_compact(self.context, compact, recovery_id, signature)
        return bytes(compact), int(recovery_id[0])

    def ecdsa_recover(self, signature64: bytes, recovery_id: int, digest32: bytes) -> bytes:
        """The public key that made a recoverable signature.  Raises CallerError (`signature.invalid`)."""
        check_digest(digest32)
        signature, point = ffi.new("secp256k1_ecdsa_recoverable_signature *"), ffi.new(PUBKEY_P)
        parse = lib.secp256k1_ecdsa_recoverable_signature_parse_compact
        if (
            len(signature64) != SIGNATURE_BYTES
            or recovery_id not in range(4)
            or parse(self.context, signature, signature64, recovery_id) != 1
            or lib.secp256k1_ecdsa_recover(self.context, point, signature, digest32) != 1
        ):
            raise CallerError("expected a recoverable signature over this digest", code="signature.invalid")
        return serialized(self.context, point)

    def ecdsa_verify(self, point: bytes, signature64: bytes, digest32: bytes) -> bool:
        """Whether r || s with low s is a signature of `digest32` under `point`.

        A high s counts as no signature.  Raises CallerError (`point.invalid`, `digest.size`).
        """
        check_digest(digest32)
        parsed, signature = self._parse(point), ffi.new("secp256k1_ecdsa_signature *")
        return (
            len(signature64) == SIGNATURE_BYTES
            and lib.secp256k1_ecdsa_signature_parse_compact(self.context, signature, signature64) == 1
            and lib.secp256k1_ecdsa_verify(self.context, signature, digest32, parsed) == 1
        )


def _invalid() -> CallerError:
    return CallerError("expected a compressed point of the curve", code="point.invalid")


SECP256K1 = Secp256k1Group()
