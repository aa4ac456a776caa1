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
    if len(commitments) != count:
        raise PeerError(
            f"expected {count} commitments, found {len(commitments)}", culprits=[dealer], code="commitment.invalid"
        )
    for point in commitments:
        try:
            group.validate_point(point)
        except CallerError:
            raise PeerError("a commitment is not a valid point", culprits=[dealer], code="commitment.invalid") from None


def public_share(group: Group, commitments: Sequence[bytes], i: int) -> bytes:
    """The public point of the share at `i`: the committed polynomial evaluated in the exponent.

    Raises AbortError when that point, or one on the way, is the identity.
    """
    return group.evaluate_points(commitments, i)


def public_shares(group: Group, commitments: Sequence[bytes], ids: Iterable[int]) -> dict[int, bytes]:
    """The public points of the shares at all `ids`; raises AbortError as public_share."""
    return _values(group, commitments, ids, through_zero=False)


def public_share_through_zero(group: Group, commitments: Sequence[bytes], i: int) -> bytes:
    """As public_share, for a polynomial with constant zero (refresh): `commitments` start at the linear term."""
    return group.evaluate_points(commitments, i, through_zero=True)


def public_shares_through_zero(group: Group, commitments: Sequence[bytes], ids: Iterable[int]) -> dict[int, bytes]:
    """Points of the shares at all `ids` of a polynomial with constant zero."""
    return _values(group, commitments, ids, through_zero=True)


def _values(group: Group, commitments: Sequence[bytes], ids: Iterable[int], *, through_zero: bool) -> dict[int, bytes]:
    indices = sorted(ids)
    if indices == list(range(1, len(indices) + 1)):
        return dict(enumerate(group.evaluate_points_to(commitments, len(indices), through_zero=through_zero), start=1))
    return {i: group.evaluate_points(commitments, i, through_zero=through_zero) for i in indices}


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
