"""Several secret scalars of secp256k1 side by side in one secret: drawn, checked, added and evaluated in place.

The same functions of the library as `Secp256k1Group`, without a slot, a handle and a copy for every intermediate value.
Positions, counts and the points of evaluation are public.  Rules on zero: specs/constant-time.md section 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from coincurve._libsecp256k1 import ffi, lib

from enclave.errors import AbortError, CallerError
from enclave.group.secp256k1 import ORDER, SCALAR_BYTES, SECP256K1
from enclave.secret import Secret

_UCHAR_P = ffi.typeof("unsigned char *")
_cast = ffi.cast


def random_row(count: int) -> Secret:
    """`count` uniform non-zero scalars; raises AbortError with probability 2^-128 each."""
    row = Secret.random(count * SCALAR_BYTES)
    if not _all_valid(row):
        row.wipe()
        raise AbortError("the random generator yields no scalar")
    return row


def check_row(row: Secret) -> None:
    """Raises CallerError (`scalar.invalid`) unless a received row holds canonical non-zero scalars only."""
    if row.size % SCALAR_BYTES or not _all_valid(row):
        raise CallerError("expected canonical non-zero scalars of 32 bytes", code="scalar.invalid")


def add_row(total: Secret, row: Secret) -> None:
    """total += row, position by position.  Raises AbortError on zero, also of a sum on the way."""
    into, addend = _cast(_UCHAR_P, total.address), _cast(_UCHAR_P, row.address)
    for at in range(0, total.size, SCALAR_BYTES):
        _tweak(lib.secp256k1_ec_seckey_tweak_add, into + at, addend + at)


def values_at(coefficients: Secret, shapes: Iterable[tuple[int, bool]], x: int) -> Secret:
    """The values at a public x of polynomials whose coefficients, lowest first, lie one polynomial behind another.

    `shapes` are (number of coefficients, whether a constant zero comes before them).  Raises AbortError on zero, also
    on the way.
    """
    shapes = tuple(shapes)
    row = Secret(len(shapes) * SCALAR_BYTES)
    into, source = _cast(_UCHAR_P, row.address), _cast(_UCHAR_P, coefficients.address)
    multiply, add = lib.secp256k1_ec_seckey_tweak_mul, lib.secp256k1_ec_seckey_tweak_add
    factor = (x % ORDER).to_bytes(SCALAR_BYTES, "big")
    for count, is_through_zero in shapes:
        ffi.memmove(into, source + (count - 1) * SCALAR_BYTES, SCALAR_BYTES)
        for lower in range(count - 2, -1, -1):
            if x != 1:
                _tweak(multiply, into, factor)
            _tweak(add, into, source + lower * SCALAR_BYTES)
        if is_through_zero and x != 1:
            _tweak(multiply, into, factor)
        into += SCALAR_BYTES
        source += count * SCALAR_BYTES
    return row


def product_plus(row: Secret, first: int, second: int, addend: int) -> Secret:
    """row[first] * row[second] + row[addend].  Raises AbortError on zero."""
    out = row.part(first * SCALAR_BYTES, SCALAR_BYTES)
    into, source = _cast(_UCHAR_P, out.address), _cast(_UCHAR_P, row.address)
    _tweak(lib.secp256k1_ec_seckey_tweak_mul, into, source + second * SCALAR_BYTES)
    _tweak(lib.secp256k1_ec_seckey_tweak_add, into, source + addend * SCALAR_BYTES)
    return out


def _all_valid(row: Secret) -> bool:
    source, is_valid = _cast(_UCHAR_P, row.address), True
    for at in range(0, row.size, SCALAR_BYTES):
        is_valid = lib.secp256k1_ec_seckey_verify(SECP256K1.context, source + at) == 1 and is_valid
    return is_valid


def _tweak(function: Any, scalar: Any, operand: Any) -> None:
    if function(SECP256K1.context, scalar, operand) != 1:
        raise AbortError("a scalar became zero or was not reduced")
