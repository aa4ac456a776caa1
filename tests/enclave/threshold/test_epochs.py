"""Refresh, reshare and repair: the key stays, old and new shares never mix, cheats are named."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.errors import AbortError, CallerError, EnclaveError, PeerError
from enclave.group.ed25519 import ED25519
from enclave.group.secp256k1 import SECP256K1
from enclave.threshold import ceremony_kem, dealing, refresh, repair, repair_messages, reshare, shamir, vss
from enclave.threshold.dealing import Announcement, Dealt
from enclave.threshold.dkg import KeyShare
from enclave.wire.message import decode_as, encode
from tests.enclave.threshold.support import GROUPS, bad_points, dealt, living_secrets, slots

BOTH = st.sampled_from([ED25519, SECP256K1])
Payloads = dict[int, bytes]


def key_shares(group: Any, n: int, threshold: int) -> dict[int, KeyShare]:
    """A key dealt to n holders, in the form a key generation leaves behind."""
    shares, commitments = dealt(group, n, threshold)
    public_shares = {i: vss.public_share(group, commitments, i) for i in shares}
    return {
        i: KeyShare(
            secret=shares[i],
            index=i,
            commitments=commitments,
            public_key=commitments[0],
            public_shares=public_shares,
        )
        for i in shares
    }


def check_shares(group: Any, shares: dict[int, KeyShare], public_key: bytes, threshold: int) -> None:
    """Every share verifies, all public data agree, and a quorum makes the key."""
    assert len({(s.public_key, s.commitments) for s in shares.values()}) == 1
    for i, share in shares.items():
        assert (share.index, share.public_key, len(share.commitments)) == (i, public_key, threshold)
        vss.verify_share(group, share.secret, i, share.commitments)
        assert share.public_shares[i] == group.base_mult(share.secret)
    chosen = {i: shares[i].secret for i in sorted(shares)[-threshold:]}
    assert group.base_mult(shamir.combine(group, chosen)) == public_key


def altered(payload: bytes, kind: type[Any], **changes: Any) -> bytes:
    """A payload with fields replaced."""
    return encode(msgspec.structs.replace(decode_as(kind, payload), **changes))


# --- refresh ----------------------------------------------------------------------------------------


def start_refresh(
    group: Any, n: int = 3, threshold: int = 2
) -> tuple[dict[int, KeyShare], dict[int, refresh.Participant]]:
    """Holders at the start of a refresh."""
    old = key_shares(group, n, threshold)
    session = os.urandom(32)
    parties = {
        i: refresh.Participant(group, session=session, slots=slots(n), share=s, context=b"key 1, epoch 1")
        for i, s in old.items()
    }
    return old, parties


def run_refresh(parties: dict[int, refresh.Participant]) -> tuple[set[bytes], dict[int, KeyShare]]:
    """An honest refresh: transcripts and new shares."""
    first = {i: p.round1() for i, p in parties.items()}
    second = {i: p.round2(first) for i, p in parties.items()}
    results = {i: p.round3(second) for i, p in parties.items()}
    return {t for t, _ in results.values()}, {i: s for i, (_, s) in results.items()}


@given(BOTH, st.integers(2, 5), st.data())
@settings(max_examples=8, deadline=None)
def test_refresh_keeps_the_key_and_changes_every_share(group: Any, n: int, data: st.DataObject) -> None:
    """Same public key, new shares and commitments, one transcript."""
    threshold = data.draw(st.integers(2, n))
    old, parties = start_refresh(group, n, threshold)
    transcripts, new = run_refresh(parties)
    assert len(transcripts) == 1
    check_shares(group, new, old[1].public_key, threshold)
    assert all(not new[i].secret.same(old[i].secret) for i in old)


@given(BOTH, st.data())
@settings(max_examples=8, deadline=None)
def test_old_and_new_shares_never_combine(group: Any, data: st.DataObject) -> None:
    """Any mixture of T shares from two epochs misses the key."""
    old, parties = start_refresh(group, 4, 3)
    _, new = run_refresh(parties)
    ids = data.draw(st.permutations([1, 2, 3, 4]))[:3]
    from_old = data.draw(st.integers(1, 2))
    mixed = {i: (old if place < from_old else new)[i].secret for place, i in enumerate(ids)}
    assert group.base_mult(shamir.combine(group, mixed)) != old[1].public_key


@pytest.mark.parametrize("group", GROUPS)
def test_refreshes_follow_each_other(group: Any) -> None:
    """Commitments chain from epoch to epoch."""
    old, parties = start_refresh(group)
    _, shares = run_refresh(parties)
    again = {
        i: refresh.Participant(group, session=bytes(32), slots=slots(3), share=s, context=b"epoch 2")
        for i, s in shares.items()
    }
    _, last = run_refresh(again)
    check_shares(group, last, old[1].public_key, 2)


def test_a_refresh_needs_all_holders_and_a_threshold_above_one() -> None:
    """Missing holders would keep old shares; with T = 1 there is nothing to gain."""
    share = key_shares(ED25519, 3, 2)[1]
    with pytest.raises(CallerError) as caught:
        refresh.Participant(ED25519, session=bytes(32), slots=slots(2), share=share, context=b"")
    assert caught.value.code == "ceremony.participants"
    with pytest.raises(CallerError) as threshold:
        refresh.Participant(ED25519, session=bytes(32), slots=slots(3), share=key_shares(ED25519, 3, 1)[1], context=b"")
    assert threshold.value.code == "share.threshold"


DEALINGS: dict[str, tuple[Callable[[Dealt], dict[str, Any]], str]] = {
    "bad point": (lambda m: {"commitments": [bad_points(ED25519)[0]]}, "commitment.invalid"),
    "a constant smuggled in": (lambda m: {"commitments": [*m.commitments, m.commitments[0]]}, "commitment.invalid"),
    "no commitment": (lambda m: {"commitments": []}, "commitment.invalid"),
    "other polynomial": (lambda m: {"commitments": [ED25519.base_mult_public(5)]}, "share.invalid"),
    "share missing": (lambda m: {"sealed": {1: m.sealed[1]}}, "ceremony.malformed"),
    "share cut": (lambda m: {"sealed": {**m.sealed, 1: b"x"}}, "ceremony.malformed"),
    "shares swapped": (lambda m: {"sealed": {**m.sealed, 1: m.sealed[3], 3: m.sealed[1]}}, "share.unreadable"),
}


@pytest.mark.parametrize(("change", "code"), DEALINGS.values(), ids=DEALINGS.keys())
def test_a_bad_dealing_names_its_dealer(change: Callable[[Dealt], dict[str, Any]], code: str) -> None:
    """Wrong points, wrong counts, wrong polynomials and wrong shares are put on who signed them."""
    _, parties = start_refresh(ED25519)
    first = {i: p.round1() for i, p in parties.items()}
    second = {i: p.round2(first) for i, p in parties.items()}
    second[2] = altered(second[2], Dealt, **change(decode_as(Dealt, second[2])))
    with pytest.raises(PeerError) as caught:
        parties[1].round3(second)
    assert (caught.value.code, caught.value.culprits) == (code, ("node-2",))


def test_a_dealing_that_moves_the_key_is_impossible_to_state() -> None:
    """A dealer whose polynomial has a constant sends shares that miss its commitments."""
    _, parties = start_refresh(ED25519)
    first = {i: p.round1() for i, p in parties.items()}
    second = {i: p.round2(first) for i, p in parties.items()}
    terms = parties[2]._terms
    slope = ED25519.random_scalar()
    moved = shamir.Polynomial(ED25519, [ED25519.random_scalar(), slope])
    sealed = {
        i: ceremony_kem.seal(
            decode_as(Announcement, first[i]).kem_key, moved.at(i), terms.share_context(terms.echo(first), 2, i)
        )
        for i in first
    }
    second[2] = altered(second[2], Dealt, commitments=[ED25519.base_mult(slope)], sealed=sealed)
    with pytest.raises(PeerError) as caught:
        parties[1].round3(second)
    assert (caught.value.code, caught.value.culprits) == ("share.invalid", ("node-2",))


@pytest.mark.parametrize("change", ["missing", "foreign", "own altered", "malformed", "bad key"])
def test_bad_announcements_stop_the_dealing(change: str) -> None:
    """Nobody seals a share to an incomplete or malformed set of keys."""
    _, parties = start_refresh(ED25519)
    first = {i: p.round1() for i, p in parties.items()}
    if change == "missing":
        del first[2]
    elif change == "foreign":
        first[4] = first[2]
    elif change == "malformed":
        first[2] = b"\xc1"
    elif change == "bad key":
        first[2] = encode(Announcement(b"\xff" * ceremony_kem.KEM_KEY_BYTES))
    else:
        first[1] = first[2]
    with pytest.raises(EnclaveError) as caught:
        parties[1].round2(first)
    assert caught.value.culprits == (("node-2",) if change in ("malformed", "bad key") else ())


def test_auditors_refuse_malformed_announcements() -> None:
    """A bad ceremony key is refused by whoever only reads the transcript, in refresh, reshare and repair."""
    bad = encode(Announcement(b"\xff" * ceremony_kem.KEM_KEY_BYTES))
    old = key_shares(ED25519, 3, 2)
    terms, first, second, _ = run_reshare(ED25519, old, [1, 2], slots(3), 2)
    with pytest.raises(PeerError) as caught:
        reshare.verify_reshare(terms, {**first, 3: bad}, second, public_key=old[1].public_key)
    assert (caught.value.code, caught.value.culprits) == ("ceremony.malformed", ("node-3",))
    case = Repair()
    with pytest.raises(PeerError) as repaired:
        repair_messages.read_announcements(case.terms, {**case.first, 3: bad})
    assert (repaired.value.code, repaired.value.culprits) == ("ceremony.malformed", ("node-3",))


def test_a_reshare_of_another_key_is_refused() -> None:
    """Good dealings of one key are not taken for those of another."""
    old = key_shares(ED25519, 3, 2)
    terms, first, second, _ = run_reshare(ED25519, old, [1, 2], slots(3), 2)
    with pytest.raises(AbortError):
        reshare.verify_reshare(terms, first, second, public_key=ED25519.base_mult_public(5))


def test_an_exchanged_own_announcement_blames_nobody() -> None:
    """A relay that swaps a member's key for another well-formed one is noticed by that member."""
    case = Repair()
    other = encode(Announcement(ceremony_kem.CeremonyKey().public))
    with pytest.raises(AbortError) as helper:
        case.helpers[1].round2({**case.first, 1: other})
    assert helper.value.code == "ceremony.equivocation"
    case = Repair()
    forged = {**case.first, 4: other}
    second = {i: h.round2(forged) for i, h in case.helpers.items()}
    third = case.third(second)
    with pytest.raises(AbortError) as target:
        case.target.finish(forged, second, third)
    assert target.value.code == "ceremony.equivocation"


def test_split_announcements_are_seen() -> None:
    """Different announcements to different holders show in the echo before any share changes."""
    _, parties = start_refresh(ED25519)
    first = {i: p.round1() for i, p in parties.items()}
    forged = {**first, 2: encode(Announcement(ceremony_kem.CeremonyKey().public))}
    second = {i: p.round2(forged if i == 3 else first) for i, p in parties.items()}
    for i in (1, 3):
        with pytest.raises(AbortError) as caught:
            parties[i].round3(second)
        assert caught.value.code == "ceremony.equivocation"


def test_an_exchanged_own_dealing_blames_nobody() -> None:
    """A holder that finds another dealing under its own name stops, although that dealing would verify."""
    old, parties = start_refresh(ED25519)
    first = {i: p.round1() for i, p in parties.items()}
    second = {i: p.round2(first) for i, p in parties.items()}
    terms = parties[1]._terms
    with shamir.Polynomial.random_through_zero(ED25519, len(old[1].commitments)) as polynomial:
        other = dealing.deal(terms, 1, polynomial, first)
    with pytest.raises(AbortError) as caught:
        parties[1].round3({**second, 1: other})
    assert caught.value.code == "ceremony.equivocation"
    with pytest.raises(CallerError):
        parties[1]._receiver._key.reveal()


def test_refresh_rounds_run_once() -> None:
    """A holder deals once per refresh."""
    _, parties = start_refresh(ED25519)
    run_refresh(parties)
    for step in (parties[1].round1, lambda: parties[1].round2({}), lambda: parties[1].round3({})):
        with pytest.raises(CallerError):
            step()


REFRESH_TERMS: list[dict[str, Any]] = [
    {"context": b"key 1, epoch 2"},
    {"session": bytes(32)},
    {"slots": {**slots(3), 3: "node-9"}},
    {"commitments": "other"},
]


@pytest.mark.parametrize("change", REFRESH_TERMS, ids=lambda change: next(iter(change)))
def test_one_holder_with_other_terms_stops_a_refresh(change: dict[str, Any]) -> None:
    """Key, epoch, session, holders and commitments are in every echo: nobody adds shares dealt for something else."""
    old, parties = start_refresh(ED25519)
    terms = {"session": parties[1]._terms.dealers.session, "slots": slots(3), "context": b"key 1, epoch 1", **change}
    share = old[3]
    if terms.pop("commitments", None):
        share = dataclasses.replace(share, commitments=(share.commitments[0], ED25519.base_mult_public(5)))
    parties[3] = refresh.Participant(ED25519, share=share, **terms)
    first = {i: p.round1() for i, p in parties.items()}
    second = {i: p.round2(first) for i, p in parties.items()}
    for party in parties.values():
        with pytest.raises(AbortError) as caught:
            party.round3(second)
        assert caught.value.code == "ceremony.equivocation"


# --- reshare ------------------------------------------------------------------------------------------


def run_reshare(
    group: Any, old: dict[int, KeyShare], dealers: list[int], receivers: dict[int, str], threshold: int
) -> tuple[Any, Payloads, Payloads, dict[int, reshare.NewHolder]]:
    """Terms, announcements, dealings and the new holders."""
    one = old[dealers[0]]
    terms = reshare.reshare_terms(
        group,
        session=os.urandom(32),
        dealers={i: f"node-{i}" for i in dealers},
        receivers=receivers,
        threshold=threshold,
        commitments=one.commitments,
        context=b"key 1, epoch 1",
    )
    holders = {j: reshare.NewHolder(terms, index=j, public_key=one.public_key) for j in receivers}
    first = {j: h.announce() for j, h in holders.items()}
    second = {i: reshare.deal_share(terms, index=i, share=old[i].secret, announcements=first) for i in dealers}
    return terms, first, second, holders


@given(BOTH, st.data())
@settings(max_examples=8, deadline=None)
def test_reshare_to_any_committee_keeps_the_key(group: Any, data: st.DataObject) -> None:
    """Any quorum, a disjoint or overlapping new committee, any new threshold."""
    n, threshold = 4, data.draw(st.integers(1, 3))
    old = key_shares(group, n, threshold)
    dealers = sorted(data.draw(st.permutations(range(1, n + 1)))[: data.draw(st.integers(threshold, n))])
    new_n = data.draw(st.integers(1, 4))
    new_threshold = data.draw(st.integers(1, new_n))
    start = data.draw(st.sampled_from([1, 3, 5]))
    receivers = {j: f"node-{j}" for j in range(start, start + new_n)}
    terms, first, second, holders = run_reshare(group, old, dealers, receivers, new_threshold)
    results = {j: h.receive(first, second) for j, h in holders.items()}
    public = reshare.verify_reshare(terms, first, second, public_key=old[1].public_key)
    assert {t for t, _ in results.values()} == {public[0]}
    new = {j: s for j, (_, s) in results.items()}
    assert {s.commitments for s in new.values()} == {public[1]}
    check_shares(group, new, old[1].public_key, new_threshold)


@pytest.mark.parametrize("group", GROUPS)
def test_shares_before_and_after_a_reshare_never_combine(group: Any) -> None:
    """With unchanged holders and threshold, mixtures of both epochs miss the key."""
    old = key_shares(group, 3, 2)
    _, first, second, holders = run_reshare(group, old, [1, 2], slots(3), 2)
    new = {j: h.receive(first, second)[1] for j, h in holders.items()}
    for a, b in ((1, 2), (2, 3), (3, 1)):
        assert group.base_mult(shamir.combine(group, {a: old[a].secret, b: new[b].secret})) != old[1].public_key


def test_a_dealer_of_another_scalar_is_named() -> None:
    """A dealt constant that is not the weighted share changes the key, and everybody sees whose it is."""
    old = key_shares(ED25519, 3, 2)
    terms, first, second, holders = run_reshare(ED25519, old, [1, 2], slots(3), 2)
    second[2] = reshare.deal_share(terms, index=2, share=ED25519.random_scalar(), announcements=first)
    for check in (
        lambda: holders[1].receive(first, second),
        lambda: reshare.verify_reshare(terms, first, second, public_key=old[1].public_key),
    ):
        with pytest.raises(PeerError) as caught:
            check()
        assert (caught.value.code, caught.value.culprits) == ("commitment.invalid", ("node-2",))


def test_a_wrong_dealt_share_is_named() -> None:
    """A share for one new holder that misses the dealer's commitments is put on the dealer."""
    old = key_shares(ED25519, 3, 2)
    terms, first, second, holders = run_reshare(ED25519, old, [1, 2], slots(3), 2)
    associated = terms.share_context(terms.echo(first), 2, 3)
    wrong = ceremony_kem.seal(decode_as(Announcement, first[3]).kem_key, ED25519.random_scalar(), associated)
    sealed = {**decode_as(Dealt, second[2]).sealed, 3: wrong}
    second[2] = altered(second[2], Dealt, sealed=sealed)
    holders[1].receive(first, second)
    with pytest.raises(PeerError) as caught:
        holders[3].receive(first, second)
    assert (caught.value.code, caught.value.culprits) == ("share.invalid", ("node-2",))


def test_a_reshare_needs_the_old_threshold() -> None:
    """Fewer dealers than T cannot carry the key over."""
    old = key_shares(ED25519, 3, 2)
    with pytest.raises(CallerError) as caught:
        run_reshare(ED25519, old, [1], slots(3), 2)
    assert caught.value.code == "ceremony.participants"
    terms, _, _, _ = run_reshare(ED25519, old, [1, 2], slots(3), 2)
    with pytest.raises(CallerError):
        reshare.NewHolder(terms, index=9, public_key=old[1].public_key)


RESHARE_TERMS: list[dict[str, Any]] = [
    {"context": b"key 1, epoch 2"},
    {"session": bytes(32)},
    {"receivers": {**slots(3), 3: "node-9"}},
    {"dealers": {1: "node-1", 2: "node-9"}},
    {"threshold": 3},
    {"commitments": "other"},
]


@pytest.mark.parametrize("change", RESHARE_TERMS, ids=lambda change: next(iter(change)))
def test_a_new_holder_with_other_terms_takes_nothing(change: dict[str, Any]) -> None:
    """A new holder that was told something else than the dealers stops before it opens a share."""
    old = key_shares(ED25519, 3, 2)
    terms, _, _, holders = run_reshare(ED25519, old, [1, 2], slots(3), 2)
    told: dict[str, Any] = {
        "session": terms.dealers.session,
        "dealers": {1: "node-1", 2: "node-2"},
        "receivers": slots(3),
        "threshold": 2,
        "commitments": old[1].commitments,
        "context": b"key 1, epoch 1",
        **change,
    }
    if told["commitments"] == "other":
        told["commitments"] = (old[1].commitments[0], ED25519.base_mult_public(5))
    misled = reshare.NewHolder(reshare.reshare_terms(ED25519, **told), index=3, public_key=old[1].public_key)
    first = {1: holders[1].announce(), 2: holders[2].announce(), 3: misled.announce()}
    second = {i: reshare.deal_share(terms, index=i, share=old[i].secret, announcements=first) for i in (1, 2)}
    holders[1].receive(first, second)
    with pytest.raises((AbortError, PeerError)) as caught:
        misled.receive(first, second)
    # Another threshold shows first in the number of commitments.
    assert caught.value.code == ("commitment.invalid" if "threshold" in change else "ceremony.equivocation")


# --- repair -------------------------------------------------------------------------------------------


class Repair:
    """A repair of holder 4's share by holders 1 and 3 of a two-of-four key."""

    def __init__(self, group: Any = ED25519, *, helpers: tuple[int, ...] = (1, 3), threshold: int = 2) -> None:
        self.group = group
        self.shares = key_shares(group, 4, threshold)
        self.terms = repair_messages.repair_terms(
            group,
            session=os.urandom(32),
            helpers={i: f"node-{i}" for i in helpers},
            target=4,
            target_slot="node-4",
            commitments=self.shares[1].commitments,
            context=b"key 1, epoch 1",
        )
        self.helpers = {i: repair.Helper(self.terms, index=i, share=self.shares[i].secret) for i in helpers}
        self.target = repair.Target(self.terms)
        self.first = {**{i: h.round1() for i, h in self.helpers.items()}, 4: self.target.round1()}

    def second(self) -> Payloads:
        """Honest parts."""
        return {i: h.round2(self.first) for i, h in self.helpers.items()}

    def third(self, second: Payloads) -> Payloads:
        """Honest sums."""
        return {i: h.round3(second) for i, h in self.helpers.items()}


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(("helpers", "threshold"), [((2,), 1), ((1, 3), 2), ((1, 2, 3), 3)])
def test_repair_gives_back_exactly_the_lost_share(group: Any, helpers: tuple[int, ...], threshold: int) -> None:
    """The rebuilt share is the lost one, and works with the others."""
    case = Repair(group, helpers=helpers, threshold=threshold)
    second = case.second()
    rebuilt = case.target.finish(case.first, second, case.third(second))
    assert rebuilt.secret.same(case.shares[4].secret)
    assert rebuilt.public_key == case.shares[1].public_key
    assert rebuilt.public_shares[4] == case.shares[1].public_shares[4]


def test_exchanged_own_parts_blame_nobody() -> None:
    """A helper that finds other parts under its own name stops, although those would verify."""
    case = Repair()
    second = case.second()
    twin = repair.Helper(case.terms, index=1, share=case.shares[1].secret)
    twin._key = case.helpers[1]._key
    twin.round1()
    with pytest.raises(AbortError) as caught:
        case.helpers[1].round3({**second, 1: twin.round2(case.first)})
    assert caught.value.code == "ceremony.equivocation"


@pytest.mark.parametrize("number", [2, 3])
def test_a_helper_that_failed_has_forgotten_its_key(number: int) -> None:
    """Whatever stops a helper, its ceremony key is gone, and nothing it split is left in memory."""
    case = Repair()
    second = case.second() if number == 3 else {}
    held = len(living_secrets())
    helper = case.helpers[1]
    with pytest.raises(AbortError):
        helper.round3({1: second[1]}) if number == 3 else helper.round2({})
    assert len(living_secrets()) == held
    with pytest.raises(CallerError):
        helper._key.reveal()


REPAIR_TERMS: list[dict[str, Any]] = [
    {"context": b"key 1, epoch 2"},
    {"session": bytes(32)},
    {"target_slot": "node-9"},
    {"helpers": {1: "node-1", 3: "node-9"}},
    {"commitments": "other"},
]


@pytest.mark.parametrize("change", REPAIR_TERMS, ids=lambda change: next(iter(change)))
def test_one_helper_with_other_terms_stops_a_repair(change: dict[str, Any]) -> None:
    """A helper that was told something else makes parts that the others do not take."""
    case = Repair()
    told: dict[str, Any] = {
        "session": case.terms.helpers.session,
        "helpers": {1: "node-1", 3: "node-3"},
        "target": 4,
        "target_slot": "node-4",
        "commitments": case.terms.commitments,
        "context": b"key 1, epoch 1",
        **change,
    }
    if told["commitments"] == "other":
        told["commitments"] = (case.terms.commitments[0], ED25519.base_mult_public(5))
    terms = repair_messages.repair_terms(ED25519, **told)
    case.helpers[3] = repair.Helper(terms, index=3, share=case.shares[3].secret)
    case.first[3] = case.helpers[3].round1()
    with pytest.raises(AbortError) as caught:
        case.helpers[1].round3(case.second())
    assert caught.value.code == "ceremony.equivocation"


def test_what_the_target_receives_is_not_the_helpers_shares() -> None:
    """The sums the target opens are not the helpers' weighted shares, which would reveal them."""
    case = Repair()
    second = case.second()
    third = case.third(second)
    weighted = {
        i: case.group.mul_public(s.secret, shamir.lagrange((1, 3), i, case.group.order, at=4))
        for i, s in case.shares.items()
        if i in (1, 3)
    }
    echo = case.terms.helpers.digest("repair-parts", second)
    for i in (1, 3):
        message = decode_as(repair_messages.Contribution, third[i])
        opened = ceremony_kem.open_scalar(
            case.group, case.target._key, message.sealed, case.terms.associated(echo, i, 4, 3)
        )
        assert not any(opened.same(w) for w in weighted.values())


PARTS: dict[str, tuple[Callable[[repair_messages.Parts], dict[str, Any]], str]] = {
    "other points": (lambda m: {"points": {**m.points, 1: ED25519.base_mult_public(5)}}, "commitment.invalid"),
    "points that cancel": (
        lambda m: {"points": {1: ED25519.base_mult_public(5), 3: ED25519.base_mult_public(-5)}},
        "commitment.invalid",
    ),
    "bad point": (lambda m: {"points": {**m.points, 1: bad_points(ED25519)[0]}}, "commitment.invalid"),
    "points of mixed order": (
        lambda m: {"points": {j: ED25519.point_add(p, bad_points(ED25519)[1]) for j, p in m.points.items()}},
        "commitment.invalid",
    ),
    "point missing": (lambda m: {"points": {1: m.points[1]}}, "ceremony.malformed"),
    "part missing": (lambda m: {"sealed": {1: m.sealed[1]}}, "ceremony.malformed"),
    "points swapped": (lambda m: {"points": {1: m.points[3], 3: m.points[1]}}, "share.invalid"),
    "parts swapped": (lambda m: {"sealed": {1: m.sealed[3], 3: m.sealed[1]}}, "share.unreadable"),
    "part cut": (lambda m: {"sealed": {**m.sealed, 1: b""}}, "share.unreadable"),
}


@pytest.mark.parametrize(("change", "code"), PARTS.values(), ids=PARTS.keys())
def test_bad_parts_name_the_helper(change: Callable[[repair_messages.Parts], dict[str, Any]], code: str) -> None:
    """Parts that do not add up to the helper's share, or do not open, are put on that helper."""
    case = Repair()
    second = case.second()
    second[3] = altered(second[3], repair_messages.Parts, **change(decode_as(repair_messages.Parts, second[3])))
    with pytest.raises(PeerError) as caught:
        case.helpers[1].round3(second)
    assert (caught.value.code, caught.value.culprits) == (code, ("node-3",))


def test_a_bad_sum_names_the_helper() -> None:
    """A sum that does not match the committed parts is put on the helper that sent it."""
    case = Repair()
    second = case.second()
    third = case.third(second)
    echo = case.terms.helpers.digest("repair-parts", second)
    key = decode_as(Announcement, case.first[4]).kem_key
    wrong = ceremony_kem.seal(key, ED25519.random_scalar(), case.terms.associated(echo, 3, 4, 3))
    foreign = decode_as(repair_messages.Contribution, third[1]).sealed
    seeds = case.target._key.reveal()
    for sealed, code in ((wrong, "share.invalid"), (foreign, "share.unreadable")):
        # A target is used up by a failure; the second attempt gets the same ceremony key.
        case.target._key = ceremony_kem.CeremonyKey.from_revealed(seeds)
        third[3] = altered(third[3], repair_messages.Contribution, sealed=sealed)
        with pytest.raises(PeerError) as caught:
            case.target.finish(case.first, second, third)
        assert (caught.value.code, caught.value.culprits) == (code, ("node-3",))


def test_split_views_of_a_repair_are_seen() -> None:
    """Helpers that saw different announcements or different parts do not get to a share."""
    case = Repair()
    forged = {**case.first, 4: encode(Announcement(ceremony_kem.CeremonyKey().public))}
    second = {1: case.helpers[1].round2(case.first), 3: case.helpers[3].round2(forged)}
    with pytest.raises(AbortError):
        case.helpers[1].round3(second)
    with pytest.raises(AbortError):
        case.target.finish(case.first, second, {})
    other = Repair()
    parts = other.second()
    third = other.third(parts)
    third[3] = altered(third[3], repair_messages.Contribution, echo=bytes(32))
    with pytest.raises(AbortError) as caught:
        other.target.finish(other.first, parts, third)
    assert caught.value.code == "ceremony.equivocation"


@pytest.mark.parametrize("changes", [{"helpers": {1: "a"}}, {"helpers": {1: "a", 4: "b"}}, {"target_slot": "node-1"}])
def test_impossible_repairs_are_refused(changes: dict[str, Any]) -> None:
    """Exactly T helpers, and a target that is none of them."""
    shares = key_shares(ED25519, 4, 2)
    terms = {
        "session": bytes(32),
        "helpers": {1: "node-1", 3: "node-3"},
        "target": 4,
        "target_slot": "node-4",
        "commitments": shares[1].commitments,
        "context": b"",
        **changes,
    }
    with pytest.raises(CallerError) as caught:
        repair_messages.repair_terms(ED25519, **terms)
    assert caught.value.code == "ceremony.participants"
