"""Distributed key generation: what honest participants get, and who is named when somebody cheats."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from enclave.errors import AbortError, CallerError, PeerError, SecretLeakError
from enclave.group import ED25519, SECP256K1, Group
from enclave.secret import Secret
from enclave.threshold import ceremony_kem, dkg, pop, shamir, vss
from enclave.threshold import dkg_messages as messages
from enclave.threshold.ceremony import PAYLOAD_BYTES_MAX, Ceremony
from enclave.threshold.dkg_complaint import verify_complaint
from enclave.wire.message import decode_as, encode
from tests.enclave.threshold.support import GROUPS, bad_points, participants, slots

N, T = 3, 2
CHEAT = 2
"""The participant that misbehaves; node-2."""
Payloads = dict[int, bytes]


def ceremony(group: Group, session: bytes, *, context: bytes = b"order") -> Ceremony:
    """The public description of the ceremonies in this file."""
    return Ceremony(protocol="dkg", group=group, session=session, slots=slots(N), threshold=T, context=context)


def first_rounds(group: Group, session: bytes | None = None) -> tuple[dict[int, dkg.Participant], Payloads, Payloads]:
    """Honest participants and their payloads of rounds one and two."""
    parties = participants(group, N, T, session=session)
    first = {i: p.round1() for i, p in parties.items()}
    return parties, first, {i: p.round2(first) for i, p in parties.items()}


def altered(payload: bytes, kind: type[Any], **changes: Any) -> bytes:
    """A payload with some fields replaced."""
    return encode(msgspec.structs.replace(decode_as(kind, payload), **changes))


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(("n", "threshold"), [(1, 1), (2, 2), (5, 3)])
def test_participants_agree_on_one_key(group: Group, n: int, threshold: int) -> None:
    """All get the same transcript and public data, and their shares join to the key."""
    parties = participants(group, n, threshold)
    first = {i: p.round1() for i, p in parties.items()}
    second = {i: p.round2(first) for i, p in parties.items()}
    results = {i: p.round3(second) for i, p in parties.items()}
    assert len({transcript for transcript, _ in results.values()}) == 1
    shares = {i: share for i, (_, share) in results.items()}
    assert len({share.commitments for share in shares.values()}) == 1
    one = shares[1]
    assert one.public_key == one.commitments[0]
    assert len(one.commitments) == threshold
    for i, share in shares.items():
        vss.verify_share(group, share.secret, i, one.commitments)
        assert one.public_shares[i] == group.base_mult(share.secret)
    chosen = sorted(shares)[-threshold:]
    assert group.base_mult(shamir.combine(group, {i: shares[i].secret for i in chosen})) == one.public_key


def test_an_auditor_recomputes_the_outcome() -> None:
    """The public payloads alone give the transcript hash, the key and the public shares."""
    session = os.urandom(32)
    parties, first, second = first_rounds(ED25519, session)
    transcript, share = parties[1].round3(second)
    outcome = messages.verify_transcript(ceremony(ED25519, session), first, second)
    assert (outcome.transcript, outcome.public_key) == (transcript, share.public_key)
    assert outcome.public_shares == share.public_shares


@pytest.mark.parametrize("change", ["session", "slots", "threshold", "context", "group"])
def test_every_term_of_the_ceremony_is_bound(change: str) -> None:
    """Two ceremonies that differ anywhere have different bindings."""
    terms: dict[str, Any] = {"group": ED25519, "session": bytes(32), "slots": slots(3), "threshold": 2, "context": b"c"}
    other = {"session": b"\1" * 32, "slots": slots(4), "threshold": 3, "context": b"d", "group": SECP256K1}
    changed = Ceremony(protocol="dkg", **{**terms, change: other[change]})
    assert changed.binding != Ceremony(protocol="dkg", **terms).binding


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"index": 9}, "ceremony.participants"),
        ({"slots": {1: "node-1", 2: "node-1"}}, "ceremony.participants"),
        ({"slots": {i: str(i) for i in range(1, 66)}}, "ceremony.participants"),
        ({"slots": {0: "node-0", 1: "node-1"}}, "share.index"),
        ({"threshold": 4}, "share.threshold"),
        ({"threshold": 0}, "share.threshold"),
        ({"session": b"short"}, "ceremony.session"),
    ],
)
def test_impossible_ceremonies_are_refused(terms: dict[str, Any], code: str) -> None:
    """Foreign participants, shared slots, oversized committees, bad thresholds and short sessions do not start."""
    good: dict[str, Any] = {"session": bytes(32), "index": 1, "slots": slots(3), "threshold": 2, "context": b""}
    with pytest.raises(CallerError) as caught:
        dkg.Participant(ED25519, **{**good, **terms})
    assert caught.value.code == code


# --- round 1 ----------------------------------------------------------------------------------------


def _short_commitment(payload: bytes) -> bytes:
    return altered(payload, messages.Round1, commitment=b"short")


def _bad_kem_key(payload: bytes) -> bytes:
    return altered(payload, messages.Round1, kem_key=b"\xff" * ceremony_kem.KEM_KEY_BYTES)


def _low_order_kem_key(payload: bytes) -> bytes:
    key = decode_as(messages.Round1, payload).kem_key
    return altered(payload, messages.Round1, kem_key=key[:-32] + bytes(32))


@pytest.mark.parametrize(
    "spoil",
    [
        _short_commitment,
        _bad_kem_key,
        _low_order_kem_key,
        lambda payload: b"",
        lambda payload: payload + b"\0",
        lambda payload: b"\xc1" * 10,
        lambda payload: encode([payload, payload, payload]),
        lambda payload: bytes(PAYLOAD_BYTES_MAX + 1),
    ],
)
def test_a_malformed_first_payload_names_its_sender(spoil: Callable[[bytes], bytes]) -> None:
    """Whatever is wrong with the bytes somebody signed in round 1, that slot is the culprit."""
    parties = participants(ED25519, N, T)
    first = {i: p.round1() for i, p in parties.items()}
    first[CHEAT] = spoil(first[CHEAT])
    with pytest.raises(PeerError) as caught:
        parties[1].round2(first)
    assert (caught.value.code, caught.value.culprits) == ("ceremony.malformed", ("node-2",))


@pytest.mark.parametrize("number", [1, 2])
def test_a_relay_that_drops_or_adds_payloads_ends_the_attempt(number: int) -> None:
    """Every participant needs exactly one payload of everyone; nobody is accused of the relay's doing."""
    for change in ("missing", "foreign", "own"):
        parties = participants(ED25519, N, T)
        payloads = {i: p.round1() for i, p in parties.items()}
        step: Callable[[Mapping[int, bytes]], object] = parties[1].round2
        if number == 2:
            payloads = {i: p.round2(payloads) for i, p in parties.items()}
            step = parties[1].round3
        if change == "missing":
            del payloads[3]
        elif change == "foreign":
            payloads[4] = payloads[3]
        else:
            payloads[1] = payloads[3]
        with pytest.raises(AbortError) as caught:
            step(payloads)
        assert caught.value.culprits == ()


# --- round 2 ----------------------------------------------------------------------------------------


def _off_curve(group: Group) -> Callable[[messages.Round2], dict[str, Any]]:
    return lambda m: {"commitments": [m.commitments[0], bad_points(group)[4]]}


SPOILED_REVEALS: list[tuple[str, Callable[[messages.Round2], dict[str, Any]], str]] = [
    ("other commitments than promised", lambda m: {"commitments": m.commitments[::-1]}, "commitment.invalid"),
    ("other opening", lambda m: {"opening": bytes(32)}, "commitment.invalid"),
    ("short opening", lambda m: {"opening": b"x"}, "ceremony.malformed"),
    ("off-curve commitment", _off_curve(ED25519), "commitment.invalid"),
    ("fewer commitments", lambda m: {"commitments": m.commitments[:1]}, "commitment.invalid"),
    ("more commitments", lambda m: {"commitments": [*m.commitments, m.commitments[0]]}, "commitment.invalid"),
    ("wrong proof", lambda m: {"proof": pop.Proof(m.proof.commitment, b"\1" + bytes(31))}, "proof.invalid"),
    ("proof scalar zero", lambda m: {"proof": pop.Proof(m.proof.commitment, bytes(32))}, "proof.invalid"),
    (
        "proof scalar not reduced",
        lambda m: {"proof": pop.Proof(m.proof.commitment, _plus_order(m.proof.response))},
        "proof.invalid",
    ),
    (
        "proof point of small order",
        lambda m: {"proof": pop.Proof(bad_points(ED25519)[0], m.proof.response)},
        "proof.invalid",
    ),
    ("share for nobody", lambda m: {"sealed": {**m.sealed, 9: m.sealed[1]}}, "ceremony.malformed"),
    ("share missing", lambda m: {"sealed": {1: m.sealed[1]}}, "ceremony.malformed"),
    ("share for itself", lambda m: {"sealed": {1: m.sealed[1], 2: m.sealed[1]}}, "ceremony.malformed"),
    ("share cut short", lambda m: {"sealed": {**m.sealed, 3: m.sealed[3][:-1]}}, "ceremony.malformed"),
    (
        "share altered",
        lambda m: {"sealed": {**m.sealed, 1: m.sealed[1][:-1] + bytes([m.sealed[1][-1] ^ 1])}},
        "share.unreadable",
    ),
    (
        "key of share altered",
        lambda m: {"sealed": {**m.sealed, 1: bytes([m.sealed[1][0] ^ 1]) + m.sealed[1][1:]}},
        "share.unreadable",
    ),
    ("another receiver's share", lambda m: {"sealed": {1: m.sealed[3], 3: m.sealed[1]}}, "share.unreadable"),
]


def _flipped(data: bytes, at: int) -> bytes:
    copy = bytearray(data)
    copy[at] ^= 1
    return bytes(copy)


def _plus_order(response: bytes) -> bytes:
    return (int.from_bytes(response, "little") + ED25519.order).to_bytes(32, "little")


@pytest.mark.parametrize(("spoil", "code"), [pytest.param(s, c, id=name) for name, s, c in SPOILED_REVEALS])
def test_a_bad_reveal_names_its_dealer(spoil: Callable[[messages.Round2], dict[str, Any]], code: str) -> None:
    """Each single fault in a second payload is found and put on the dealer that signed it."""
    parties, _, second = first_rounds(ED25519)
    second[CHEAT] = altered(second[CHEAT], messages.Round2, **spoil(decode_as(messages.Round2, second[CHEAT])))
    with pytest.raises(PeerError) as caught:
        parties[1].round3(second)
    assert (caught.value.code, caught.value.culprits) == (code, ("node-2",))


def resealed(
    group: Group, session: bytes, first: Payloads, payload: bytes, receiver: int, *, order: bool = False
) -> bytes:
    """The cheating dealer's payload with a wrong or unreduced, but well sealed, share for one receiver."""
    terms = ceremony(group, session)
    associated = messages.share_context(terms, messages.echo_of(terms, first), CHEAT, receiver)
    key = decode_as(messages.Round1, first[receiver]).kem_key
    if order:
        share = Secret.take(bytearray(b"\xff" * 32))
    else:
        share = group.random_scalar()
    message = decode_as(messages.Round2, payload)
    sealed = {**message.sealed, receiver: ceremony_kem.seal(key, share, associated)}
    return altered(payload, messages.Round2, sealed=sealed)


@pytest.mark.parametrize("group", GROUPS)
def test_a_wrong_share_names_its_dealer_and_the_complaint_proves_it(group: Group) -> None:
    """The receiver of a wrong share names the dealer, and anyone can check the complaint."""
    session = os.urandom(32)
    parties, first, second = first_rounds(group, session)
    second[CHEAT] = resealed(group, session, first, second[CHEAT], 3)
    parties[1].round3(second)
    with pytest.raises(PeerError) as caught:
        parties[3].round3(second)
    assert (caught.value.code, caught.value.culprits) == ("share.invalid", ("node-2",))
    revealed = parties[3].complaint()
    terms = ceremony(group, session)
    verify_complaint(terms, first, second, dealer=CHEAT, receiver=3, revealed=revealed)
    with pytest.raises(CallerError) as unfounded:
        verify_complaint(terms, first, second, dealer=1, receiver=3, revealed=revealed)
    assert unfounded.value.code == "complaint.unfounded"


@pytest.mark.parametrize("group", GROUPS)
def test_a_share_that_is_not_reduced_is_refused(group: Group) -> None:
    """A sealed scalar above the order would pass point checks that drop its top bits."""
    session = os.urandom(32)
    parties, first, second = first_rounds(group, session)
    second[CHEAT] = resealed(group, session, first, second[CHEAT], 3, order=True)
    with pytest.raises(PeerError) as caught:
        parties[3].round3(second)
    assert (caught.value.code, caught.value.culprits) == ("share.unreadable", ("node-2",))
    verify_complaint(ceremony(group, session), first, second, dealer=CHEAT, receiver=3, revealed=parties[3].complaint())


def test_complaints_with_a_foreign_key_prove_nothing() -> None:
    """A receiver cannot frame a dealer with a key that is not the one it published."""
    session = os.urandom(32)
    _, first, second = first_rounds(ED25519, session)
    for revealed in (ceremony_kem.CeremonyKey().reveal(), b"", bytes(96)):
        with pytest.raises(CallerError) as caught:
            verify_complaint(ceremony(ED25519, session), first, second, dealer=2, receiver=3, revealed=revealed)
        assert caught.value.code == "complaint.malformed"


@pytest.mark.parametrize(("dealer", "receiver"), [(2, 2), (9, 3), (2, 9)])
def test_complaints_name_two_participants(dealer: int, receiver: int) -> None:
    """Nobody complains about itself, and strangers neither complain nor are complained about."""
    session = os.urandom(32)
    parties, first, second = first_rounds(ED25519, session)
    revealed = parties[2]._key.reveal()
    terms = ceremony(ED25519, session)
    with pytest.raises(CallerError) as caught:
        verify_complaint(terms, first, second, dealer=dealer, receiver=receiver, revealed=revealed)
    assert caught.value.code == "complaint.malformed"


def test_auditors_refuse_malformed_ceremony_keys() -> None:
    """A first payload with a bad ceremony key is refused by whoever only reads the transcript, too."""
    session = os.urandom(32)
    _, first, second = first_rounds(ED25519, session)
    first[CHEAT] = _bad_kem_key(first[CHEAT])
    with pytest.raises(PeerError) as caught:
        messages.verify_transcript(ceremony(ED25519, session), first, second)
    assert (caught.value.code, caught.value.culprits) == ("ceremony.malformed", ("node-2",))


def test_oversized_payloads_are_refused_unread() -> None:
    """A well-formed payload above the limit names its sender before it is decoded."""
    terms = ceremony(ED25519, bytes(32))
    payload = encode(messages.Round1(bytes(32), bytes(PAYLOAD_BYTES_MAX)))
    with pytest.raises(PeerError) as caught:
        terms.decode(messages.Round1, CHEAT, payload)
    assert (caught.value.code, caught.value.culprits) == ("ceremony.malformed", ("node-2",))


@pytest.mark.parametrize("change", [lambda s: s + b"x", lambda s: s[:-1], lambda s: b""])
def test_sealed_shares_have_one_length(change: Callable[[bytes], bytes]) -> None:
    """Anything longer or shorter than a sealed share does not open, and raises only our error."""
    key = ceremony_kem.CeremonyKey()
    sealed = ceremony_kem.seal(key.public, Secret.random(32), b"for you")
    with pytest.raises(CallerError) as caught:
        key.open(change(sealed), b"for you")
    assert caught.value.code == "share.unreadable"


def test_a_proof_without_randomness_is_refused() -> None:
    """A proof whose nonce is zero would verify, and would publish the secret."""
    secret = ED25519.random_scalar()
    public = ED25519.base_mult(secret)
    identity = b"\x01" + bytes(31)
    challenge = ED25519.hash_to_scalar("dkg-proof-of-possession", b"context", public, identity)
    response = ED25519.scalar_to_public_bytes(ED25519.mul_public(secret, challenge))
    assert not pop.verify(ED25519, public, b"context", pop.Proof(identity, response))
    assert pop.verify(ED25519, public, b"context", pop.prove(ED25519, secret, public, b"context"))


def test_no_complaint_without_a_bad_share() -> None:
    """The ceremony key is revealed only after a dealer's share failed."""
    parties, _, second = first_rounds(ED25519)
    with pytest.raises(CallerError):
        parties[1].complaint()
    second[CHEAT] = altered(second[CHEAT], messages.Round2, opening=bytes(32))
    with pytest.raises(PeerError):
        parties[3].round3(second)
    with pytest.raises(CallerError):
        parties[3].complaint()


# --- equivocation, replay, rogue keys -----------------------------------------------------------------


def test_different_first_payloads_stop_everyone_before_a_key_exists() -> None:
    """A dealer that promises different polynomials to different participants is caught by the echo."""
    parties = participants(ED25519, N, T)
    other = participants(ED25519, N, T)[CHEAT]
    first = {i: p.round1() for i, p in parties.items()}
    forged = {**first, CHEAT: other.round1()}
    second = {1: parties[1].round2(first), 2: parties[2].round2(first), 3: parties[3].round2(forged)}
    for i in (1, 3):
        with pytest.raises((AbortError, PeerError)) as caught:
            parties[i].round3(second)
        assert caught.value.code in ("ceremony.equivocation", "commitment.invalid")
        assert "node-1" not in caught.value.culprits
        assert "node-3" not in caught.value.culprits


def test_different_second_payloads_give_different_transcripts() -> None:
    """A reveal that differs only in what others cannot check still splits the hash all must sign."""
    session = os.urandom(32)
    parties, first, second = first_rounds(ED25519, session)
    message = decode_as(messages.Round2, second[CHEAT])
    terms = ceremony(ED25519, session)
    associated = messages.share_context(terms, messages.echo_of(terms, first), CHEAT, 3)
    with pytest.raises(CallerError):
        parties[3]._key.open(message.sealed[1], associated)
    # Sealing is randomised: the same share sealed again is another payload with valid content.
    share = parties[CHEAT]._polynomial.at(3)
    again = ceremony_kem.seal(decode_as(messages.Round1, first[3]).kem_key, share, associated)
    other = {**second, CHEAT: altered(second[CHEAT], messages.Round2, sealed={**message.sealed, 3: again})}
    assert parties[1].round3(second)[0] != parties[3].round3(other)[0]


@pytest.mark.parametrize("group", GROUPS)
def test_a_rogue_key_fails_its_proof(group: Group) -> None:
    """A dealer that sets its constant to cancel another's cannot prove that it knows it."""
    session = os.urandom(32)
    parties = participants(group, N, T, session=session)
    terms = ceremony(group, session)
    first = {i: p.round1() for i, p in parties.items()}
    # The best case for the attacker: it somehow knows the victim's commitment before promising its own.
    victim = parties[1]._commitments[0]
    target = group.base_mult_public(7)
    rogue = [group.point_sub(target, victim), group.base_mult_public(3)]
    promised = messages.commit(terms, CHEAT, bytes(32), rogue)
    first[CHEAT] = altered(first[CHEAT], messages.Round1, commitment=promised)
    parties[CHEAT]._sent[1] = first[CHEAT]
    second = {i: p.round2(first) for i, p in parties.items()}
    own_proof = decode_as(messages.Round2, second[CHEAT]).proof
    victims_proof = decode_as(messages.Round2, second[1]).proof
    for proof in (own_proof, victims_proof):
        second[CHEAT] = altered(second[CHEAT], messages.Round2, opening=bytes(32), commitments=rogue, proof=proof)
        with pytest.raises(PeerError) as caught:
            messages.verify_transcript(terms, first, second)
        assert (caught.value.code, caught.value.culprits) == ("proof.invalid", ("node-2",))


def test_a_copied_dealing_fails_its_proof() -> None:
    """A dealer that repeats another's commitments and proof as its own has proven nothing: proofs name their maker."""
    session = os.urandom(32)
    parties = participants(ED25519, N, T, session=session)
    terms = ceremony(ED25519, session)
    first = {i: p.round1() for i, p in parties.items()}
    copied = parties[1]._commitments
    first[CHEAT] = altered(first[CHEAT], messages.Round1, commitment=messages.commit(terms, CHEAT, bytes(32), copied))
    parties[CHEAT]._sent[1] = first[CHEAT]
    second = {i: p.round2(first) for i, p in parties.items()}
    proof = decode_as(messages.Round2, second[1]).proof
    second[CHEAT] = altered(second[CHEAT], messages.Round2, opening=bytes(32), commitments=list(copied), proof=proof)
    with pytest.raises(PeerError) as caught:
        messages.verify_transcript(terms, first, second)
    assert (caught.value.code, caught.value.culprits) == ("proof.invalid", ("node-2",))


def test_a_replayed_reveal_of_another_session_is_refused() -> None:
    """Payloads recorded in one attempt are worthless in the next."""
    _, old_first, old_second = first_rounds(ED25519)
    parties = participants(ED25519, N, T)
    first = {i: p.round1() for i, p in parties.items()}
    second = {i: p.round2({**first}) for i, p in parties.items()}
    with pytest.raises((PeerError, AbortError)):
        parties[1].round3({**second, CHEAT: old_second[CHEAT]})
    parties = participants(ED25519, N, T)
    first = {i: p.round1() for i, p in parties.items()}
    first[CHEAT] = old_first[CHEAT]
    second = {i: p.round2(first) for i, p in parties.items() if i != CHEAT}
    with pytest.raises((PeerError, AbortError)):
        parties[1].round3({**second, CHEAT: old_second[CHEAT]})


# --- order and wiping -----------------------------------------------------------------------------------


def test_rounds_run_once_and_in_order() -> None:
    """A participant never answers a round twice: a second answer would be an equivocation."""
    parties, first, second = first_rounds(ED25519)
    for step in (
        parties[1].round1,
        lambda: parties[2].round2(first),
        lambda: participants(ED25519, N, T)[1].round3({}),
    ):
        with pytest.raises(CallerError) as caught:
            step()
        assert caught.value.code == "ceremony.order"
    parties[3].round3(second)
    with pytest.raises(CallerError):
        parties[3].round3(second)


def test_a_failed_participant_has_forgotten_everything() -> None:
    """After a failure nothing of the polynomial is left and no round runs again."""
    parties = participants(ED25519, N, T)
    first = {i: p.round1() for i, p in parties.items()}
    constant = parties[1]._polynomial.constant
    with pytest.raises(AbortError):
        parties[1].round2({})
    with pytest.raises(SecretLeakError):
        ED25519.base_mult(constant)
    with pytest.raises(CallerError):
        parties[1].round2(first)


def test_a_finished_participant_keeps_only_its_share() -> None:
    """Polynomial and ceremony key are gone after success, the share is usable."""
    parties, _, second = first_rounds(ED25519)
    constant = parties[1]._polynomial.constant
    _, share = parties[1].round3(second)
    with pytest.raises(SecretLeakError):
        ED25519.base_mult(constant)
    with pytest.raises(CallerError):
        parties[1]._key.reveal()
    assert ED25519.base_mult(share.secret) == share.public_shares[1]
