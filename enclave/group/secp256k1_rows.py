"""Several secret scalars of secp256k1 side by side in one secret: drawn, checked, added and evaluated in place.

The same functions of the library as `Secp256k1Group`, without a slot, a handle and a copy for every intermediate value.
Positions, counts and the points of evaluation are public.  Rules on zero: specs/constant-time.md section 3.
"""

from __future__ import annotations

from collections.abc import Iterable

from coincurve._libsecp256k1 import ffi, lib

from enclave.errors import AbortError, CallerError
from enclave.group.secp256k1 import SECP256K1
from enclave.group.secp256k1_raw import SCALAR_BYTES, done, encode, pointers
from enclave.secret import Secret


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
    context, add = SECP256K1.context, lib.secp256k1_ec_seckey_tweak_add
    into, addend = total.address, row.address
    for at in range(0, total.size, SCALAR_BYTES):
        done(add(context, pointers[into + at], pointers[addend + at]))


def values_at(coefficients: Secret, shapes: Iterable[tuple[int, bool]], x: int) -> Secret:
    """The values at a public x of polynomials whose coefficients, lowest first, lie one polynomial behind another.

    `shapes` are (number of coefficients, whether a constant zero comes before them).  Raises AbortError on zero, also
    on the way.
    """
    shapes = tuple(shapes)
    row = Secret(len(shapes) * SCALAR_BYTES)
    into, source = pointers[row.address], pointers[coefficients.address]
    context, factor = SECP256K1.context, encode(x)
    multiply, add = lib.secp256k1_ec_seckey_tweak_mul, lib.secp256k1_ec_seckey_tweak_add
    for count, is_through_zero in shapes:
        ffi.memmove(into, source + (count - 1) * SCALAR_BYTES, SCALAR_BYTES)
        for lower in range(count - 2, -1, -1):
            if x != 1:
                done(multiply(context, into, factor))
            done(add(context, into, source + lower * SCALAR_BYTES))
        if is_through_zero and x != 1:
            done(multiply(context, into, factor))
        into += SCALAR_BYTES
        source += count * SCALAR_BYTES
    return row


def product_plus(row: Secret, first: int, second: int, addend: int) -> Secret:
    """row[first] * row[second] + row[addend].  Raises AbortError on zero."""
    out = row.part(first * SCALAR_BYTES, SCALAR_BYTES)
    into, source, context = pointers[out.address], pointers[row.address], SECP256K1.context
    done(lib.secp256k1_ec_seckey_tweak_mul(context, into, source + second * SCALAR_BYTES))
    done(lib.secp256k1_ec_seckey_tweak_add(context, into, source + addend * SCALAR_BYTES))
    return out


def _all_valid(row: Secret) -> bool:
    context, verify, is_valid = SECP256K1.context, lib.secp256k1_ec_seckey_verify, True
    for address in range(row.address, row.address + row.size, SCALAR_BYTES):
        is_valid = verify(context, pointers[address]) == 1 and is_valid
    return is_valid
