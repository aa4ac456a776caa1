"""Shamir sharing of uniform scalars: polynomials, their values, and interpolation at zero.

Rules kept (specs/shares.md): only uniform scalars are shared, never guessable content; secrets stay inside
the group's constant-time operations; indices and interpolation coefficients are public integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from enclave.errors import CallerError
from enclave.group import Group
from enclave.secret import Secret

INDEX_MAX = 65_535
"""Largest share index: far above any committee, small enough that no index wraps in either group."""

COMMITTEE_MAX = 64
"""Most holders of one key; bounds the quadratic work a hostile relay can cause in a ceremony."""


def lagrange(ids: Sequence[int], i: int, order: int, *, at: int = 0) -> int:
    """The coefficient of share `i` when the shares `ids` are interpolated at `at` (zero unless told).

    Raises CallerError (`share.index`) on an empty, repeated or out-of-range index, or when `i` is not in `ids`.
    """
    return _lagrange(tuple(ids), i, order, at)


def split(
    group: Group, secret: Secret, threshold: int, ids: Iterable[int]
) -> tuple[dict[int, Secret], tuple[bytes, ...]]:
    """Shares of `secret`, any `threshold` of which give it back, and the Feldman commitments to their polynomial.

    `secret` must be a uniform scalar: the first commitment is its public point.  Raises CallerError.
    """
    indices = check_indices(ids)
    if not 1 <= threshold <= len(indices):
        raise CallerError("threshold must lie between one and the number of holders", code="share.threshold")
    with Polynomial.random(group, threshold, constant=secret) as polynomial:
        return {i: polynomial.at(i) for i in indices}, polynomial.commitments()


def combine(group: Group, shares: Mapping[int, Secret]) -> Secret:
    """The shared scalar: the sum of lagrange(i) * share(i).

    The caller compares its public point with the first commitment before use: wrong shares give a wrong scalar,
    not an error.  Raises CallerError (`share.index`).
    """
    ids = tuple(shares)
    return group.weighted_total([shares[i] for i in ids], _lagrange_all(ids, group.order))


def check_indices(ids: Iterable[int]) -> tuple[int, ...]:
    """`ids` in increasing order; raises CallerError (`share.index`) unless distinct, non-empty and in range."""
    indices = tuple(sorted(ids))
    if not indices or len(set(indices)) != len(indices) or not 1 <= indices[0] <= indices[-1] <= INDEX_MAX:
        raise CallerError(f"share indices must be distinct and from 1 to {INDEX_MAX}", code="share.index")
    return indices


class Polynomial:
    """A secret polynomial; `coefficients[0]` is the value at zero, None where that value is zero.

    A context manager: leaving it wipes the coefficients it made itself, not the constant it was given.
    """

    __slots__ = ("_borrowed", "_coefficients", "_group", "_present")

    def __init__(self, group: Group, coefficients: Sequence[Secret | None], *, borrowed: Secret | None = None) -> None:
        self._group = group
        self._coefficients = list(coefficients)
        self._present = [coefficient for coefficient in coefficients if coefficient is not None]
        self._borrowed = borrowed

    @classmethod
    def random(cls, group: Group, size: int, *, constant: Secret | None = None) -> Polynomial:
        """`size` coefficients (degree size - 1); the constant is `constant` if given, else uniform."""
        first = group.random_scalar() if constant is None else constant
        return cls(group, [first, *(group.random_scalar() for _ in range(size - 1))], borrowed=constant)

    @classmethod
    def random_through_zero(cls, group: Group, size: int) -> Polynomial:
        """`size` coefficients (degree size - 1) whose constant is zero."""
        return cls(group, [None, *(group.random_scalar() for _ in range(size - 1))])

    @property
    def constant(self) -> Secret:
        """The value at zero; only for a polynomial that has one."""
        constant = self._coefficients[0]
        assert constant is not None
        return constant

    def at(self, i: int) -> Secret:
        """The value at `i`; a zero constant is left out because the group refuses zero operands."""
        value = self._group.evaluate(self._present, i)
        if self._coefficients[0] is not None:
            return value
        with value as divided:
            return self._group.mul_public(divided, i)

    def commitments(self) -> tuple[bytes, ...]:
        """The public point of every coefficient, a zero constant left out."""
        return tuple(map(self._group.base_mult, self._present))

    def wipe(self) -> None:
        """Wipe every coefficient except a borrowed constant."""
        for coefficient in self._coefficients:
            if coefficient is not None and coefficient is not self._borrowed:
                coefficient.wipe()
        self._coefficients.clear()
        self._present.clear()

    def __enter__(self) -> Polynomial:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()


def add_all(group: Group, scalars: Iterable[Secret]) -> Secret:
    """The sum of the scalars; raises AbortError if it is zero.

    Partial sums may well be zero (a key with threshold one has equal shares, and 3, -3, 1 are the coefficients of three
    of them), which is why this is not a chain of group.add.
    """
    return group.total(scalars)


@lru_cache(maxsize=4096)
def _lagrange(ids: tuple[int, ...], i: int, order: int, at: int) -> int:
    check_indices(ids)
    if i not in ids:
        raise CallerError("index is not among those interpolated", code="share.index")
    numerator = denominator = 1
    for j in ids:
        if j != i:
            numerator = numerator * (j - at) % order
            denominator = denominator * (j - i) % order
    return numerator * pow(denominator, -1, order) % order


@lru_cache(maxsize=1024)
def _lagrange_all(ids: tuple[int, ...], order: int) -> tuple[int, ...]:
    check_indices(ids)
    return tuple(_lagrange(ids, i, order, 0) for i in ids)
