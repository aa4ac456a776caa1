"""Do public points lie on a polynomial of degree t?  A random dual codeword, and interpolation in the exponent.

Source: points P_j = p(j) G with deg p <= t satisfy sum v_j f(j) P_j = O for every f of degree at most N - t - 2, where
v_j = prod 1 / (j - l); a random f misses a violation with probability 2^-128.  Public data only.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from enclave.errors import AbortError
from enclave.group.secp256k1 import SECP256K1
from enclave.threshold.shamir import lagrange

COEFFICIENT_BITS = 128
"""Size of the random coefficients: the chance that a wrong vector passes is 2^-128."""


def check_degree(points: Mapping[int, bytes], degree: int) -> None:
    """Raises AbortError (`protocol.abort`) unless all points lie on one polynomial of at most this degree."""
    order = SECP256K1.order
    # At least one coefficient: with as many points as degree + 1 there is nothing to check.
    coefficients = [1 + secrets.randbits(COEFFICIENT_BITS) for _ in range(len(points) - degree - 1)]
    if not coefficients:
        return
    *rest, last = sorted(points)
    weights = {j: _weight(points, j, coefficients) for j in points}
    # The sum of all is zero when the last point is minus the others, all divided by the weight of the last.  That
    # spares its multiplication and makes the only codeword of three points one of small numbers.
    inverse = pow(-weights[last], -1, order)
    if SECP256K1.combination((weights[j] * inverse, points[j]) for j in rest) != points[last]:
        raise AbortError("public shares do not lie on one polynomial")


def at_zero(points: Mapping[int, bytes], degree: int) -> bytes:
    """The value at zero of a polynomial of this degree through the points; raises AbortError on the identity."""
    ids = sorted(points)[: degree + 1]
    return SECP256K1.combination((lagrange(ids, i, SECP256K1.order), points[i]) for i in ids)


def _weight(points: Mapping[int, bytes], j: int, coefficients: list[int]) -> int:
    order = SECP256K1.order
    denominator = 1
    for other in points:
        if other != j:
            denominator = denominator * (j - other) % order
    f = sum(c * pow(j, power, order) for power, c in enumerate(coefficients))
    return f * pow(denominator, -1, order) % order
