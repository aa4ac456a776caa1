"""Sharing, joining and verifying uniform scalars."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.errors import AbortError, CallerError, PeerError
from enclave.group import ED25519, SECP256K1, Group
from enclave.secret import Secret
from enclave.threshold import shamir, vss
from tests.enclave.threshold.support import GROUPS, bad_points, dealt, reveal, secret_of, vectors

BOTH = st.sampled_from([ED25519, SECP256K1])


@st.composite
def committees(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    """A threshold, distinct holders, and enough of them to join."""
    ids = draw(st.lists(st.integers(1, 300), min_size=1, max_size=7, unique=True))
    threshold = draw(st.integers(1, len(ids)))
    chosen = draw(st.permutations(ids))[: draw(st.integers(threshold, len(ids)))]
    return threshold, ids, chosen


@given(BOTH, committees())
@settings(max_examples=40, deadline=None)
def test_any_threshold_of_shares_gives_the_secret_back(
    group: Group, committee: tuple[int, list[int], list[int]]
) -> None:
    """Every set of at least T shares joins to the shared scalar."""
    threshold, ids, chosen = committee
    secret = group.random_scalar()
    shares, commitments = shamir.split(group, secret, threshold, ids)
    assert shamir.combine(group, {i: shares[i] for i in chosen}).same(secret)
    assert commitments[0] == group.base_mult(secret)


@pytest.mark.parametrize("group", GROUPS)
def test_partial_sums_may_be_zero(group: Group) -> None:
    """Three equal shares of a threshold-one key, weighted 3, -3 and 1, join although the first two cancel."""
    secret = group.random_scalar()
    shares, _ = shamir.split(group, secret, 1, [1, 2, 3])
    assert shamir.combine(group, shares).same(secret)
    with pytest.raises(AbortError):
        shamir.add_all(group, [secret, group.negate(secret)])


@given(BOTH, st.integers(2, 6), st.data())
@settings(max_examples=20, deadline=None)
def test_one_share_too_few_gives_another_scalar(group: Group, threshold: int, data: st.DataObject) -> None:
    """T - 1 shares never join to the shared scalar."""
    shares, commitments = dealt(group, 6, threshold)
    chosen = data.draw(st.permutations(sorted(shares)))[: threshold - 1]
    assert group.base_mult(shamir.combine(group, {i: shares[i] for i in chosen})) != commitments[0]


@given(BOTH, committees())
@settings(max_examples=20, deadline=None)
def test_shares_add(group: Group, committee: tuple[int, list[int], list[int]]) -> None:
    """Adding two sharings share by share shares the sum of the secrets."""
    threshold, ids, chosen = committee
    a, b = group.random_scalar(), group.random_scalar()
    shares_a, commitments_a = shamir.split(group, a, threshold, ids)
    shares_b, commitments_b = shamir.split(group, b, threshold, ids)
    sums = {i: group.add(shares_a[i], shares_b[i]) for i in chosen}
    assert shamir.combine(group, sums).same(group.add(a, b))
    summed = vss.sum_commitments(group, [commitments_a, commitments_b])
    for i in chosen:
        vss.verify_share(group, sums[i], i, summed)


@given(BOTH, committees())
@settings(max_examples=20, deadline=None)
def test_each_share_matches_its_commitments_and_no_other(
    group: Group, committee: tuple[int, list[int], list[int]]
) -> None:
    """A share verifies at its own index; one changed by one does not, and its dealer is named."""
    threshold, ids, _ = committee
    shares, commitments = shamir.split(group, group.random_scalar(), threshold, ids)
    for i in ids:
        vss.verify_share(group, shares[i], i, commitments)
    wrong = group.add(shares[ids[0]], group.scalar_from_public(1))
    with pytest.raises(PeerError) as caught:
        vss.verify_share(group, wrong, ids[0], commitments, dealer="node-7")
    assert (caught.value.code, caught.value.culprits) == ("share.invalid", ("node-7",))


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("ids", [[], [0], [-1], [1, 1], [shamir.INDEX_MAX + 1]])
def test_impossible_indices_are_refused(group: Group, ids: list[int]) -> None:
    """Index zero would be the secret itself; repeated indices would divide by zero."""
    with pytest.raises(CallerError) as caught:
        shamir.split(group, group.random_scalar(), 1, ids)
    assert caught.value.code == "share.index"
    with pytest.raises(CallerError):
        shamir.lagrange(ids, 1, group.order)


@pytest.mark.parametrize("threshold", [0, 4])
def test_impossible_thresholds_are_refused(threshold: int) -> None:
    """A threshold lies between one and the number of holders."""
    with pytest.raises(CallerError) as caught:
        shamir.split(ED25519, ED25519.random_scalar(), threshold, [1, 2, 3])
    assert caught.value.code == "share.threshold"


def test_an_index_outside_the_set_has_no_coefficient() -> None:
    """A node not among the interpolated ones is refused rather than weighted."""
    with pytest.raises(CallerError):
        shamir.lagrange([1, 2], 3, ED25519.order)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=8, unique=True), st.integers(0, 50))
def test_coefficients_interpolate_powers(ids: list[int], at: int) -> None:
    """The coefficients reproduce every monomial of degree below the number of points, at zero and elsewhere."""
    q = SECP256K1.order
    for degree in range(len(ids)):
        total = sum(shamir.lagrange(ids, i, q, at=at) * pow(i, degree, q) for i in ids)
        assert total % q == pow(at, degree, q)


@pytest.mark.parametrize("group", GROUPS)
def test_a_polynomial_through_zero_shares_nothing(group: Group) -> None:
    """Its values join to zero, which the group refuses to represent."""
    polynomial = shamir.Polynomial.random_through_zero(group, 3)
    with pytest.raises(AbortError):
        shamir.combine(group, {i: polynomial.at(i) for i in (1, 2, 3)})
    for i in (1, 2, 7):
        vss.verify_share_through_zero(group, polynomial.at(i), i, polynomial.commitments())


@pytest.mark.parametrize("group", GROUPS)
def test_a_given_constant_survives_its_polynomial(group: Group) -> None:
    """Wiping a polynomial leaves alone the secret it was given to share."""
    with group.random_scalar() as secret:
        with shamir.Polynomial.random(group, 2, constant=secret) as polynomial:
            (commitment, _) = polynomial.commitments()
        assert group.base_mult(secret) == commitment


@pytest.mark.parametrize("group", GROUPS)
def test_own_coefficients_are_wiped(group: Group) -> None:
    """Nothing of a polynomial is usable after its block."""
    with shamir.Polynomial.random(group, 2) as polynomial:
        constant = polynomial.constant
    with pytest.raises(Exception, match="wiped"):
        group.base_mult(constant)


@pytest.mark.parametrize("group", GROUPS)
def test_bad_commitment_points_name_the_dealer(group: Group) -> None:
    """Identity, small order, mixed order, off-curve, non-canonical and mis-sized commitments are refused."""
    good = group.base_mult_public(5)
    for bad in bad_points(group):
        with pytest.raises(PeerError) as caught:
            vss.check_commitments(group, [good, bad], 2, dealer="node-2")
        assert (caught.value.code, caught.value.culprits) == ("commitment.invalid", ("node-2",))


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_number_of_commitments_is_the_threshold(group: Group, count: int) -> None:
    """A dealer cannot raise or lower the degree of the shared polynomial."""
    points = [group.base_mult_public(k + 1) for k in range(count)]
    with pytest.raises(PeerError) as caught:
        vss.check_commitments(group, points, 2, dealer="node-2")
    assert caught.value.culprits == ("node-2",)


@pytest.mark.parametrize("group", GROUPS)
def test_commitments_that_cancel_at_an_index_name_the_dealer(group: Group) -> None:
    """A polynomial that is zero at a holder's index is a bad share, not a crash."""
    a = group.base_mult_public(9)
    minus_a = group.base_mult_public(-9)
    with pytest.raises(PeerError) as caught:
        vss.verify_share(group, group.random_scalar(), 1, [a, minus_a], dealer="node-3")
    assert caught.value.culprits == ("node-3",)


def test_rfc_9591_shares() -> None:
    """The shares of RFC 9591 appendix E.1 come from its polynomial and join to its key."""
    key = "7b1c33d3f5291d85de664833beb1ad469f7fb6025a0ec78b3a790c6e13a98304"
    slope = "178199860edd8c62f5212ee91eff1295d0d670ab4ed4506866bae57e7030b204"
    shares = {
        1: "929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509",
        2: "a91e66e012e4364ac9aaa405fcafd370402d9859f7b6685c07eed76bf409e80d",
        3: "d3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02",
    }
    polynomial = shamir.Polynomial(ED25519, [secret_of(ED25519, key), secret_of(ED25519, slope)])
    assert {i: reveal(ED25519, polynomial.at(i)).hex() for i in shares} == shares
    joined = shamir.combine(ED25519, {i: secret_of(ED25519, shares[i]) for i in (2, 3)})
    assert reveal(ED25519, joined).hex() == key


def test_zf_large_indices() -> None:
    """Shares at indices that need two bytes join to the published key."""
    data = vectors("frost_zf/frost-ed25519__vectors-big-identifier.json")["inputs"]
    shares: dict[int, Secret] = {
        share["identifier"]: secret_of(ED25519, share["participant_share"]) for share in data["participant_shares"]
    }
    joined = shamir.combine(ED25519, {i: shares[i] for i in data["participant_list"]})
    assert reveal(ED25519, joined).hex() == data["group_secret_key"]


@pytest.mark.parametrize(
    ("group", "name"), [(ED25519, "ed25519"), (SECP256K1, "secp256k1")], ids=["ed25519", "secp256k1"]
)
def test_zf_key_generation_algebra(group: Group, name: str) -> None:
    """Published key generations: sub-shares match their commitments, sums match shares and the group key."""
    data = vectors(f"frost_zf/frost-{name}__vectors_dkg.json")["inputs"]
    dealers = {int(i): entry for i, entry in data.items() if i.isdigit()}
    dealings = {i: [bytes.fromhex(c) for c in dealers[i]["vss_commitments"]] for i in dealers}
    total = vss.sum_commitments(group, dealings.values())
    assert total[0].hex() == data["verifying_key"]
    for i, entry in dealers.items():
        received = []
        for dealer, text in entry["signing_shares"].items():
            # The file lists under a participant what it received, by dealer.
            share = secret_of(group, text)
            vss.verify_share(group, share, i, dealings[int(dealer)])
            received.append(share)
        own = shamir.Polynomial(group, [secret_of(group, entry["signing_key"]), secret_of(group, entry["coefficient"])])
        joined = shamir.add_all(group, [*received, own.at(i)])
        assert reveal(group, joined).hex() == entry["signing_share"]
        assert vss.public_share(group, total, i).hex() == entry["verifying_share"]


@pytest.mark.parametrize("group", GROUPS)
def test_bad_commitments_among_several_dealers_name_the_dealer(group: Group) -> None:
    """Whether a point is refused by itself, by the addition or by the subgroup of the sum: its dealer is named."""
    good = group.base_mult_public(5)
    for bad in bad_points(group):
        with pytest.raises(PeerError) as caught:
            vss.sum_checked(group, {"node-1": [good, good], "node-2": [good, bad], "node-3": [good, good]}, 2)
        assert (caught.value.code, caught.value.culprits) == ("commitment.invalid", ("node-2",)), bad.hex()


def test_parts_outside_the_subgroup_that_cancel_change_nothing() -> None:
    """Two dealers who both add the point of order two have dealt what they would have dealt without it."""
    group, order_two = ED25519, bytes.fromhex("ec" + "ff" * 30 + "7f")
    points = [group.base_mult_public(k) for k in (7, 9)]
    spoiled = [group.point_add(point, order_two) for point in points]
    for point in spoiled:
        with pytest.raises(CallerError):
            group.validate_point(point)
    dealings = {"node-1": [spoiled[0]], "node-2": [spoiled[1]]}
    assert vss.sum_checked(group, dealings, 1) == (group.base_mult_public(16),)


@pytest.mark.parametrize("group", GROUPS)
def test_commitments_that_cancel_are_an_abort(group: Group) -> None:
    """Valid points whose sum is the identity accuse nobody."""
    dealings = {"node-1": [group.base_mult_public(5)], "node-2": [group.base_mult_public(group.order - 5)]}
    with pytest.raises(AbortError):
        vss.sum_checked(group, dealings, 1)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_points_of_a_polynomial_follow_its_values(group: Group, size: int) -> None:
    """Values in the exponent, one by one and in a row, are those computed with plain integers."""
    coefficients = [(k + 3) ** 41 % group.order for k in range(size)]
    points = [group.base_mult_public(c) for c in coefficients]
    values = [sum(c * x**m for m, c in enumerate(coefficients)) for x in range(1, 11)]
    expected = [group.base_mult_public(value) for value in values]
    assert group.evaluate_points_to(points, 10) == expected
    assert [group.evaluate_points(points, x) for x in range(1, 11)] == expected
    assert group.evaluate_points(points, 65_535) == group.base_mult_public(
        sum(c * 65_535**m for m, c in enumerate(coefficients))
    )
    through_zero = [group.base_mult_public(value * x) for x, value in enumerate(values, start=1)]
    assert [group.evaluate_points(points, x, through_zero=True) for x in range(1, 11)] == through_zero


def test_differences_may_vanish_where_no_value_does() -> None:
    """3 + x(x-1)...(x-5) has no fifth difference at zero, which cannot be multiplied; its values are found."""
    coefficients = [3, -120, 274, -225, 85, -15, 1]
    points = [ED25519.base_mult_public(c) for c in coefficients]
    values = [sum(c * x**m for m, c in enumerate(coefficients)) for x in range(1, 10)]
    assert ED25519.evaluate_points_to(points, 9) == [ED25519.base_mult_public(value) for value in values]


@pytest.mark.parametrize("group", GROUPS)
def test_weighted_sums_may_pass_through_zero(group: Group) -> None:
    """3, -3 and 1 times the same share is the share, although the first two cancel; and nothing is an abort."""
    share = group.scalar_from_public(77)
    shares = [share.duplicate() for _ in range(3)]
    with group.weighted_total(shares, (3, group.order - 3, 1)) as total:
        assert total.same(share)
    with pytest.raises(AbortError):
        group.weighted_total(shares[:2], (3, group.order - 3))
