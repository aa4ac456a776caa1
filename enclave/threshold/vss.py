"""Feldman verification: every holder checks its share against the dealer's public commitments.

Rules kept (specs/shares.md): points are validated once, on arrival, by check_commitments; a share is compared
only through its public point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from enclave.errors import AbortError, CallerError, PeerError
from enclave.group import Group
from enclave.secret import Secret


def check_commitments(group: Group, commitments: Sequence[bytes], count: int, *, dealer: str) -> None:
    """Raises PeerError (`commitment.invalid`) naming `dealer` unless these are `count` valid points."""
    _check_each(group.validate_point, commitments, count, dealer)


def sum_checked(group: Group, dealings: Mapping[str, Sequence[bytes]], count: int) -> tuple[bytes, ...]:
    """The commitments to the sum of the polynomials that dealers, by slot, committed to with `count` points each.

    The subgroup is checked on the sums, which are all that is used; parts outside it that cancel change nothing, and
    only if they do not is everybody's looked at (specs/shares.md).  Raises PeerError (`commitment.invalid`) naming the
    dealer, AbortError if a sum is the identity.
    """
    for dealer, commitments in dealings.items():
        _check_each(group.check_summand, commitments, count, dealer)
    try:
        sums = sum_commitments(group, dealings.values())
        for point in sums:
            group.validate_point(point)
    except (AbortError, CallerError):
        for dealer, commitments in dealings.items():
            check_commitments(group, commitments, count, dealer=dealer)
        raise
    return sums


def _check_each(check: Callable[[bytes], None], commitments: Sequence[bytes], count: int, dealer: str) -> None:
    if len(commitments) != count:
        raise PeerError(
            f"expected {count} commitments, found {len(commitments)}", culprits=[dealer], code="commitment.invalid"
        )
    try:
        for point in commitments:
            check(point)
    except CallerError:
        raise PeerError("a commitment is not a valid point", culprits=[dealer], code="commitment.invalid") from None


def public_share(group: Group, commitments: Sequence[bytes], i: int) -> bytes:
    """The public point of the share at `i`: the committed polynomial evaluated in the exponent.

    Raises AbortError when that point, or one on the way, is the identity.
    """
    return group.evaluate_points(commitments, i)


def public_shares(group: Group, commitments: Sequence[bytes], ids: Iterable[int]) -> dict[int, bytes]:
    """The public points of the shares at all `ids`; raises AbortError as public_share."""
    indices = sorted(ids)
    if indices == list(range(1, len(indices) + 1)):
        return dict(enumerate(group.evaluate_points_to(commitments, len(indices)), start=1))
    return {i: group.evaluate_points(commitments, i) for i in indices}


def public_share_through_zero(group: Group, commitments: Sequence[bytes], i: int) -> bytes:
    """As public_share, for a polynomial with constant zero (refresh): `commitments` start at the linear term."""
    return group.evaluate_points(commitments, i, through_zero=True)


def commitments_of(group: Group, public_shares: Mapping[int, bytes], threshold: int) -> tuple[bytes, ...]:
    """The commitments to the polynomial of degree `threshold` - 1 through the first `threshold` public shares.

    Coefficient m is the sum over i of the coefficient of x^m in the Lagrange polynomial of i, times the share of i.
    """
    ids = sorted(public_shares)[:threshold]
    rows = {i: _lagrange_row(tuple(ids), i, group.order) for i in ids}
    return tuple(
        group.point_add(*(group.mult_public(rows[i][m], public_shares[i]) for i in ids if rows[i][m]))
        for m in range(threshold)
    )


@lru_cache(maxsize=1024)
def _lagrange_row(ids: tuple[int, ...], i: int, order: int) -> tuple[int, ...]:
    row, denominator = [1], 1
    for j in ids:
        if j == i:
            continue
        row = [(low - j * high) % order for low, high in zip([0, *row], [*row, 0], strict=True)]
        denominator = denominator * (i - j) % order
    inverse = pow(denominator, -1, order)
    return tuple(value * inverse % order for value in row)


def verify_share(group: Group, share: Secret, i: int, commitments: Sequence[bytes], *, dealer: str = "") -> None:
    """Raises PeerError (`share.invalid`) naming `dealer` unless `share` is the committed polynomial's value at `i`."""
    compare_share(group, share, lambda: public_share(group, commitments, i), dealer=dealer)


def verify_share_through_zero(
    group: Group, share: Secret, i: int, commitments: Sequence[bytes], *, dealer: str = ""
) -> None:
    """As verify_share, for a polynomial with constant zero (refresh)."""
    compare_share(group, share, lambda: public_share_through_zero(group, commitments, i), dealer=dealer)


def sum_commitments(group: Group, dealings: Iterable[Sequence[bytes]]) -> tuple[bytes, ...]:
    """The commitments to the sum of the dealt polynomials; raises AbortError if one is the identity."""
    columns = list(zip(*dealings, strict=True))
    return tuple(column[0] if len(column) == 1 else group.point_add(*column) for column in columns)


def compare_share(group: Group, share: Secret, expected: Callable[[], bytes], *, dealer: str) -> None:
    """Raises PeerError (`share.invalid`) naming `dealer` unless the share's public point is the expected one."""
    culprits = [dealer] if dealer else []
    try:
        matches = group.base_mult(share) == expected()
    except AbortError:
        # An honest dealer meets the identity with probability 2^-252.
        matches = False
    if not matches:
        raise PeerError("share does not match its dealer's commitments", culprits=culprits, code="share.invalid")
