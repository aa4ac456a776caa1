"""Threshold ECDSA: ordinary signatures, refusal of every deviation, and the attacks its rules exist for."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from coincurve import PublicKey
from eth_account import Account
from eth_keys import keys as eth_keys
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.errors import AbortError, CallerError, EnclaveError, PeerError, SecretLeakError
from enclave.group import SECP256K1 as GROUP
from enclave.secret import Secret
from enclave.threshold import shamir
from enclave.threshold.ecdsa.degree import at_zero, check_degree
from enclave.threshold.ecdsa.finish import finish
from enclave.threshold.ecdsa.messages import DEALT_BYTES, Release, Round1, Round2, Round3
from enclave.threshold.ecdsa.session import Session
from enclave.threshold.ecdsa.signer import Signer
from enclave.wire.message import decode_as, encode
from tests.enclave.threshold.pairwise import PairwiseKeys
from tests.enclave.threshold.support import bad_points, dealt, generate, living_secrets, slots

Q = GROUP.order
Payloads = dict[int, bytes]


class Committee:
    """2T - 1 signers of one key with pairwise private channels."""

    def __init__(self, threshold: int = 2, *, tweak: int = 0, digest: bytes | None = None) -> None:
        self.threshold, self.tweak = threshold, tweak
        self.shares, commitments = dealt(GROUP, 2 * threshold - 1, threshold)
        self.key = commitments[0]
        self.digest = digest or os.urandom(32)
        self.channel_keys = {(i, j): Secret.random(32) for i in self.shares for j in self.shares if i != j}
        self.session = self.new_session()
        self.signers = {i: self.signer(i) for i in self.shares}

    def new_session(self, **changes: Any) -> Session:
        """A fresh attempt with something changed."""
        public_key = self.key
        if self.tweak:
            public_key = GROUP.point_add(self.key, GROUP.base_mult_public(self.tweak))
        terms = {
            "session": os.urandom(32),
            "slots": slots(2 * self.threshold - 1),
            "threshold": self.threshold,
            "public_key": public_key,
            "digest": self.digest,
            "tweak": self.tweak,
            **changes,
        }
        return Session(**terms)

    def channels(self, i: int) -> PairwiseKeys:
        """Signer i's private channels."""
        return PairwiseKeys(
            sending={j: self.channel_keys[i, j] for j in self.shares if j != i},
            receiving={j: self.channel_keys[j, i] for j in self.shares if j != i},
        )

    def signer(self, i: int, session: Session | None = None) -> Signer:
        """Signer i of an attempt."""
        return Signer(session or self.session, index=i, share=self.shares[i], channels=self.channels(i))

    def run(self, rounds: int) -> Payloads:
        """Honest payloads of round `rounds`."""
        payloads = {i: s.round1() for i, s in self.signers.items()}
        for step in ("round2", "round3", "round4")[: rounds - 1]:
            payloads = {i: getattr(s, step)(payloads) for i, s in self.signers.items()}
        return payloads


def verify_independently(key: bytes, digest: bytes, signature: bytes, recovery_id: int) -> None:
    """eth-keys and coincurve recover the public key; s is low."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    assert s <= Q // 2
    recovered = eth_keys.Signature(vrs=(recovery_id, r, s)).recover_public_key_from_msg_hash(digest)
    assert recovered.to_compressed_bytes() == key
    assert PublicKey.from_signature_and_message(signature + bytes([recovery_id]), digest, hasher=None).format() == key


@given(st.sampled_from([2, 3, 4]), st.binary(min_size=32, max_size=32).filter(lambda d: int.from_bytes(d, "big") % Q))
@settings(max_examples=10, deadline=None)
def test_signatures_are_ordinary(threshold: int, digest: bytes) -> None:
    """Low s and the recovery id hold in two independent libraries, for 3, 5 and 7 signers."""
    committee = Committee(threshold, digest=digest)
    verify_independently(committee.key, digest, *finish(committee.session, committee.run(4)))


def test_both_parities_and_both_halves_of_s_occur() -> None:
    """Over a dozen signatures both recovery ids appear, so the flip at low s is really exercised."""
    seen = set()
    for _ in range(24):
        committee = Committee(2)
        signature, recovery_id = finish(committee.session, committee.run(4))
        verify_independently(committee.key, committee.digest, signature, recovery_id)
        seen.add(recovery_id)
        if seen == {0, 1}:
            break
    assert seen == {0, 1}


def test_a_generated_key_signs_an_ethereum_message() -> None:
    """A key from a key generation signs what eth-account recovers to its address."""
    shares = generate(GROUP, 3, 2)
    key = shares[1].public_key
    committee = Committee(2)
    committee.shares, committee.key = {i: s.secret for i, s in shares.items()}, key
    committee.session = committee.new_session()
    committee.signers = {i: committee.signer(i) for i in shares}
    signature, recovery_id = finish(committee.session, committee.run(4))
    vrs = (recovery_id + 27, int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    address = eth_keys.PublicKey.from_compressed_bytes(key).to_checksum_address()
    assert Account._recover_hash(committee.digest, vrs=vrs) == address


def test_a_tweaked_key_signs() -> None:
    """A derived key signs under group key plus tweak times base point."""
    tweak = int.from_bytes(os.urandom(32), "big") % Q
    committee = Committee(3, tweak=tweak)
    child = GROUP.point_add(committee.key, GROUP.base_mult_public(tweak))
    verify_independently(child, committee.digest, *finish(committee.session, committee.run(4)))


# --- terms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"slots": slots(4)}, "signers.count"),
        ({"slots": slots(2)}, "signers.count"),
        ({"threshold": 1, "slots": slots(1)}, "signers.count"),
        ({"digest": bytes(32)}, "digest.size"),
        ({"digest": Q.to_bytes(32, "big")}, "digest.size"),
        ({"digest": b"x" * 31}, "digest.size"),
        ({"tweak": Q}, "scalar.invalid"),
        ({"tweak": -1}, "scalar.invalid"),
        ({"public_key": bytes(33)}, "point.invalid"),
        ({"session": b"short"}, "ceremony.session"),
    ],
)
def test_impossible_terms_are_refused(changes: dict[str, Any], code: str) -> None:
    """Above all: never more and never fewer than 2T - 1 signers."""
    with pytest.raises(CallerError) as caught:
        Committee(2).new_session(**changes)
    assert caught.value.code == code


def test_a_stranger_does_not_sign() -> None:
    """A signer must be one of the slots."""
    committee = Committee(2)
    with pytest.raises(CallerError):
        Signer(committee.session, index=9, share=committee.shares[1], channels=committee.channels(1))


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": b"\x01" * 32},
        {"session": bytes(32)},
        {"context": b"other"},
        {"slots": {1: "node-1", 2: "x", 3: "y"}},
        {"tweak": 5},
        {"public_key": GROUP.base_mult_public(5)},
    ],
)
def test_one_signer_with_other_terms_stops_all(changes: dict[str, Any]) -> None:
    """Dealt rows are bound to message, session, context and signers: nobody adds up rows for something else."""
    committee = Committee(2)
    committee.signers[3] = committee.signer(
        3, committee.new_session(**{"session": committee.session.session, **changes})
    )
    first = {i: s.round1() for i, s in committee.signers.items()}
    for i in (1, 3):
        with pytest.raises(AbortError) as caught:
            committee.signers[i].round2(first)
        assert caught.value.culprits == ()


def test_rows_are_bound_to_their_ends() -> None:
    """Even where one key seals for everybody, a row opens for its own receiver from its own sender only."""
    committee = Committee(2)
    one = Secret.random(32)
    committee.channel_keys = dict.fromkeys(committee.channel_keys, one)
    committee.signers = {i: committee.signer(i) for i in committee.shares}
    first = committee.run(1)
    rows = {i: decode_as(Round1, payload).sealed for i, payload in first.items()}
    for sealed in ({1: rows[2][3], 3: rows[2][1]}, {**rows[2], 1: rows[3][1]}):
        with pytest.raises(AbortError):
            committee.signer(1)._add(Secret.random(DEALT_BYTES), 2, sealed[1])


# --- every round, one cheat at a time ---------------------------------------------------------------


def other_round(signer: Signer, number: int, payloads: Payloads) -> bytes:
    """Run a signer's round by number."""
    step: Callable[[Mapping[int, bytes]], bytes] = getattr(signer, f"round{number}")
    return step(payloads)


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("change", ["missing", "foreign", "own altered", "not msgpack", "wrong shape"])
def test_payload_sets_and_forms_are_checked(number: int, change: str) -> None:
    """A relay's omissions accuse nobody; a signed payload without its form names its signer."""
    committee = Committee(2)
    payloads = committee.run(number - 1)
    if change == "missing":
        del payloads[2]
    elif change == "foreign":
        payloads[4] = payloads[2]
    elif change == "own altered":
        payloads[1] = payloads[2]
    else:
        payloads[2] = b"\xc1" if change == "not msgpack" else encode([1, 2, 3, 4, 5])
    with pytest.raises(EnclaveError) as caught:
        other_round(committee.signers[1], number, payloads)
    named = change in ("not msgpack", "wrong shape")
    assert isinstance(caught.value, PeerError if named else AbortError)
    assert caught.value.culprits == (("node-2",) if named else ())


def spoiled(payload: bytes, kind: type[Any], **changes: Any) -> bytes:
    """A payload with fields replaced."""
    return encode(msgspec.structs.replace(decode_as(kind, payload), **changes))


@pytest.mark.parametrize("change", ["row missing", "row altered", "row short", "row empty", "row of another receiver"])
def test_bad_rows_abort(change: str) -> None:
    """A row that does not open names nobody, a missing one is visible to all and names its dealer."""
    committee = Committee(2)
    first = committee.run(1)
    sealed = dict(decode_as(Round1, first[2]).sealed)
    if change == "row missing":
        del sealed[3]
    elif change == "row altered":
        sealed[1] = sealed[1][:-1] + bytes([sealed[1][-1] ^ 1])
    elif change == "row short":
        sealed[1] = sealed[1][:20]
    elif change == "row empty":
        sealed[1] = b""
    else:
        sealed[1], sealed[3] = sealed[3], sealed[1]
    first[2] = spoiled(first[2], Round1, sealed=sealed)
    with pytest.raises(PeerError if change == "row missing" else AbortError) as caught:
        committee.signers[1].round2(first)
    assert caught.value.culprits == (("node-2",) if change == "row missing" else ())


def test_a_row_with_one_bad_scalar_is_wiped_at_once() -> None:
    """While the error is still being handled, nothing of the refused row or of the others is left in memory."""
    committee = Committee(2)
    first = committee.run(1)
    content = b"\x01" * 128 + bytes(32)
    sealed = committee.channels(2).seal(1, Secret.take(bytearray(content)), committee.signers[1]._associated(2, 1))
    first[2] = spoiled(first[2], Round1, sealed={**decode_as(Round1, first[2]).sealed, 1: sealed})
    held = len(living_secrets()) - 1  # less its own row
    with pytest.raises(AbortError) as caught:
        committee.signers[1].round2(first)
    assert caught.value.__context__ is not None  # the frames that held the row are still alive
    assert len(living_secrets()) == held


@pytest.mark.parametrize("content", [bytes(160), b"\xff" * 160, b"\x01" * 128])
def test_rows_of_bad_scalars_abort(content: bytes) -> None:
    """Zeros, unreduced scalars and wrong sizes inside a well-sealed row end the attempt without a culprit."""
    committee = Committee(2)
    first = committee.run(1)
    associated = committee.signers[1]._associated(2, 1)
    sealed = committee.channels(2).seal(1, Secret.take(bytearray(content)), associated)
    rows = {**decode_as(Round1, first[2]).sealed, 1: sealed}
    first[2] = spoiled(first[2], Round1, sealed=rows)
    with pytest.raises(AbortError) as caught:
        committee.signers[1].round2(first)
    assert caught.value.culprits == ()


def test_a_row_off_the_polynomial_aborts_at_the_degree_check() -> None:
    """A dealer whose rows lie on no low-degree polynomial spoils the nonce shares, and everyone stops in round 3."""
    committee = Committee(2)
    first = committee.run(1)
    row = b"".join(os.urandom(31).rjust(32, b"\0") for _ in range(5))
    sealed = committee.channels(2).seal(1, Secret.take(bytearray(row)), committee.signers[1]._associated(2, 1))
    first[2] = spoiled(first[2], Round1, sealed={**decode_as(Round1, first[2]).sealed, 1: sealed})
    committee.signers[2]._sent[1] = first[2]
    second = {i: s.round2(first) for i, s in committee.signers.items()}
    for i in (1, 3):
        with pytest.raises(AbortError, match="polynomial"):
            committee.signers[i].round3(second)


ROUND_2 = {
    "nonce share off curve": (lambda m: {"nonce_share": b"\x02" + b"\xff" * 32}, PeerError),
    "nonce share of another": (lambda m: {"nonce_share": GROUP.base_mult_public(5)}, AbortError),
    "masked zero": (lambda m: {"masked": bytes(32)}, PeerError),
    "masked not reduced": (lambda m: {"masked": b"\xff" * 32}, PeerError),
    "masked short": (lambda m: {"masked": b"\x01"}, PeerError),
    "other echo": (lambda m: {"echo": bytes(32)}, AbortError),
}


@pytest.mark.parametrize(("change", "kind"), ROUND_2.values(), ids=ROUND_2.keys())
def test_bad_second_payloads_abort(change: Callable[[Round2], dict[str, Any]], kind: type[EnclaveError]) -> None:
    """Wrong forms name the signer, wrong values abort without naming anyone."""
    committee = Committee(3)
    second = committee.run(2)
    second[2] = spoiled(second[2], Round2, **change(decode_as(Round2, second[2])))
    with pytest.raises(kind) as caught:
        committee.signers[1].round3(second)
    assert caught.value.culprits == (("node-2",) if kind is PeerError else ())


def test_a_wrong_masked_share_aborts_before_release() -> None:
    """A lie about w passes round 3 and is caught by the mask check of round 4, by everyone."""
    committee = Committee(2)
    second = committee.run(2)
    second[2] = spoiled(second[2], Round2, masked=b"\0" * 31 + b"\x07")
    committee.signers[2]._sent[2] = second[2]
    third = {i: s.round3(second) for i, s in committee.signers.items()}
    for i in (1, 3):
        with pytest.raises(AbortError, match="mask"):
            committee.signers[i].round4(third)


ROUND_3 = {
    "check share off curve": (lambda m: {"check_share": b"\x02" + b"\xff" * 32}, PeerError),
    "check share of another": (lambda m: {"check_share": GROUP.base_mult_public(5)}, AbortError),
    "other echo": (lambda m: {"echo": bytes(32)}, AbortError),
}


@pytest.mark.parametrize(("change", "kind"), ROUND_3.values(), ids=ROUND_3.keys())
def test_bad_third_payloads_abort(change: Callable[[Round3], dict[str, Any]], kind: type[EnclaveError]) -> None:
    """No share is released after a bad W or a different echo."""
    committee = Committee(2)
    third = committee.run(3)
    third[2] = spoiled(third[2], Round3, **change(decode_as(Round3, third[2])))
    with pytest.raises(kind) as caught:
        committee.signers[1].round4(third)
    assert caught.value.culprits == (("node-2",) if kind is PeerError else ())


def test_a_check_share_beyond_the_interpolated_ones_counts() -> None:
    """The value at zero comes from t + 1 points; a wrong W among the others is found by the degree check."""
    committee = Committee(2)
    third = committee.run(3)
    third[3] = spoiled(third[3], Round3, check_share=GROUP.base_mult_public(5))
    with pytest.raises(AbortError, match="polynomial"):
        committee.signers[1].round4(third)


def test_a_masked_nonce_of_zero_aborts() -> None:
    """A signer that sees the others' w first can make the sum zero, and gains an abort."""
    committee = Committee(2)
    second = committee.run(2)
    known = {i: int.from_bytes(decode_as(Round2, p).masked, "big") for i, p in second.items()}
    rest = sum(shamir.lagrange([1, 2, 3], i, Q) * known[i] for i in (1, 3))
    last = -rest * pow(shamir.lagrange([1, 2, 3], 2, Q), -1, Q) % Q
    second[2] = spoiled(second[2], Round2, masked=last.to_bytes(32, "big"))
    with pytest.raises(AbortError, match="zero"):
        committee.signers[1].round3(second)


@pytest.mark.parametrize("number", [1, 2])
def test_split_views_of_one_payload_stop_everyone_honest(number: int) -> None:
    """Two encodings of the same values, shown to different signers: only the echo sees it, and it suffices."""
    committee = Committee(2)
    payloads = committee.run(number)
    again = payloads[2]
    # An array of n elements with a 16-bit length in front instead of the short form.
    split = {**payloads, 2: b"\xdc\x00" + bytes([again[0] & 0x0F]) + again[1:]}
    kind = {1: Round1, 2: Round2}[number]
    assert decode_as(kind, split[2]) == decode_as(kind, again)
    mixed = {i: other_round(s, number + 1, split if i == 3 else payloads) for i, s in committee.signers.items()}
    for i in (1, 3):
        with pytest.raises(AbortError) as caught:
            other_round(committee.signers[i], number + 2, mixed)
        assert caught.value.code == "ceremony.equivocation"


def test_bad_releases_do_not_become_a_signature() -> None:
    """The gateway never passes on what does not verify; it cannot tell who lied and names nobody."""
    committee = Committee(2)
    releases = committee.run(4)
    for changes in (
        {"share": b"\0" * 31 + b"\x01"},
        {"share": bytes(32)},
        {"share": b"\xff" * 32},
        {"nonce": GROUP.base_mult_public(5)},
    ):
        with pytest.raises(AbortError) as caught:
            finish(committee.session, {**releases, 2: spoiled(releases[2], Release, **changes)})
        assert caught.value.culprits == ()
    for k in range(6, 14):
        other = spoiled(releases[2], Release, nonce=GROUP.base_mult_public(k))
        with pytest.raises(AbortError, match="different"):
            finish(committee.session, {**releases, 2: other})
    for nonce in (*bad_points(GROUP), GROUP.base_mult_public(5)):
        with pytest.raises(AbortError):
            finish(committee.session, {i: spoiled(p, Release, nonce=nonce) for i, p in releases.items()})
    with pytest.raises(AbortError):
        finish(committee.session, {i: p for i, p in releases.items() if i != 2})
    with pytest.raises(PeerError) as malformed:
        finish(committee.session, {**releases, 2: b""})
    assert malformed.value.culprits == ("node-2",)


# --- once, in order, and nothing left ---------------------------------------------------------------


def test_a_signer_runs_each_round_once() -> None:
    """A second release, or a second anything, under one attempt is refused."""
    committee = Committee(2)
    committee.run(4)
    for number in (2, 3, 4):
        with pytest.raises(CallerError) as caught:
            other_round(committee.signers[1], number, {})
        assert caught.value.code == "ceremony.order"
    with pytest.raises(CallerError):
        committee.signers[1].round1()


@pytest.mark.parametrize("fails", [True, False])
def test_nothing_of_an_attempt_is_left(fails: bool) -> None:
    """After release and after abort the sums are wiped; the key share is still there."""
    committee = Committee(2)
    third = committee.run(3)
    sums = committee.signers[1]._row
    assert sums is not None
    if fails:
        third[2] = b""
        with pytest.raises(PeerError):
            committee.signers[1].round4(third)
    else:
        committee.signers[1].round4(third)
    with pytest.raises(SecretLeakError):
        sums.part(0, 32)
    assert committee.signers[1]._row is None
    GROUP.base_mult(committee.shares[1])


# --- the degree test ----------------------------------------------------------------------------------


@given(st.integers(1, 4), st.data())
@settings(max_examples=15, deadline=None)
def test_the_degree_check_accepts_low_degree_and_nothing_else(degree: int, data: st.DataObject) -> None:
    """Values of a degree t polynomial pass; one changed value, or degree t + 1, does not."""
    n = 2 * degree + 1
    with shamir.Polynomial.random(GROUP, degree + 1) as polynomial:
        points = {i: GROUP.base_mult(polynomial.at(i)) for i in range(1, n + 1)}
        check_degree(points, degree)
        assert at_zero(points, degree) == polynomial.commitments()[0]
    changed = data.draw(st.integers(1, n))
    with pytest.raises(AbortError):
        check_degree({**points, changed: GROUP.base_mult_public(5)}, degree)
    with shamir.Polynomial.random(GROUP, degree + 2) as higher, pytest.raises(AbortError):
        check_degree({i: GROUP.base_mult(higher.at(i)) for i in range(1, n + 1)}, degree)


def test_the_degree_check_cannot_be_foreseen() -> None:
    """Values made to pass for one choice of coefficients are refused: the choice is random, and each counts."""
    n, degree, order = 5, 2, GROUP.order

    def weight(j: int, f: int) -> int:
        denominator = math.prod(j - other for other in range(1, n + 1) if other != j)
        return f * pow(denominator, -1, order) % order

    for foreseen in (lambda j: 1, lambda j: 1 + j, lambda j: j):
        values = {j: 1000 + j**4 for j in range(1, n)}
        rest = sum(weight(j, foreseen(j)) * value for j, value in values.items())
        values[n] = -rest * pow(weight(n, foreseen(n)), -1, order) % order
        with pytest.raises(AbortError):
            check_degree({j: GROUP.base_mult_public(value) for j, value in values.items()}, degree)


# --- attacks the rules exist for ----------------------------------------------------------------------


def scalar(secret: Secret) -> int:
    """A test scalar as an integer."""
    return int.from_bytes(GROUP.scalar_to_public_bytes(secret), "big")


def interpolate(values: Mapping[int, int], at: int = 0) -> int:
    """The value at `at` of the polynomial through public test values."""
    total = 0
    for i, value in values.items():
        for j in values:
            if j != i:
                value = value * (j - at) * pow(j - i, -1, Q) % Q
        total += value
    return total % Q


@pytest.mark.parametrize("threshold", [2, 3])
def test_one_opening_after_an_abort_would_give_the_key_away(threshold: int) -> None:
    """Why nothing is ever opened: t corrupt nodes, one honest node's opened row and the others' releases give the key.

    The corrupt relay shows one honest signer a bad W; the others release.  Had that signer opened what it received
    to prove its abort, the attacker would solve one linear equation for the key.
    """
    t = threshold - 1
    committee = Committee(threshold)
    third = committee.run(3)
    corrupt, victim = list(committee.shares)[:t], t + 1
    rows = {i: [scalar(signer._sum(position)) for position in range(5)] for i, signer in committee.signers.items()}
    opened = rows[victim]
    with pytest.raises(AbortError):
        committee.signers[victim].round4({**third, 1: spoiled(third[1], Round3, check_share=GROUP.base_mult_public(5))})
    releases = {i: s.round4(third) for i, s in committee.signers.items() if i != victim}

    # What the attacker has: its own rows and shares, the opening, the releases, the broadcast w.
    k = interpolate({**{i: rows[i][0] for i in corrupt}, victim: opened[0]})
    w = committee.signers[victim]._masked
    parts = {i: decode_as(Release, p) for i, p in releases.items()}
    r = int.from_bytes(parts[1].nonce[1:], "big") % Q
    h = committee.session.hash
    known = sum(int.from_bytes(p.share, "big") for p in parts.values()) % Q
    ids = sorted(committee.shares)
    weight = shamir.lagrange(ids, victim, Q)
    c = opened[1] * pow(w, -1, Q) % Q
    # The victim's key share is p + q x for the unknown key x: it lies on the polynomial through the corrupt shares.
    own = {i: scalar(committee.shares[i]) for i in corrupt}
    p = interpolate({**own, 0: 0}, at=victim)
    q = (interpolate({**own, 0: 1}, at=victim) - p) % Q
    # known + weight ((c + d) h + c (p + q x) r + e) = (h + r x) / k
    constant = known + weight * ((c + opened[3]) * h + c * p * r + opened[4])
    slope = weight * c * q * r
    k_inverse = pow(k, -1, Q)
    x = (h * k_inverse - constant) * pow(slope - r * k_inverse, -1, Q) % Q
    assert GROUP.base_mult_public(x) == committee.key

    # What the code does instead: the victim has nothing left to open, and no verb that would.
    assert committee.signers[victim]._row is None
    public = {name for name in dir(Signer) if not name.startswith("_")}
    assert public == {"round1", "round2", "round3", "round4", "wipe"}


def test_more_signers_than_needed_could_be_split_over_two_messages() -> None:
    """Why there are exactly 2t + 1 signers and the message is fixed first: five signers with t = 1 lose the key.

    A stored presignature for five is used for one message with three signers and for another with the other two:
    every signer answers once, and the shares of both messages together reveal 1/k.
    """
    t, ids = 1, [1, 2, 3, 4, 5]

    def values(degree: int, constant: int) -> dict[int, int]:
        coefficients = [constant, *(int.from_bytes(os.urandom(32), "big") % Q for _ in range(degree))]
        return {i: sum(c * pow(i, m, Q) for m, c in enumerate(coefficients)) % Q for i in ids}

    x, k = (int.from_bytes(os.urandom(32), "big") % Q for _ in range(2))
    key, c = values(t, x), values(t, pow(k, -1, Q))
    d, e = values(2 * t, 0), values(2 * t, 0)
    r = int.from_bytes(GROUP.base_mult_public(k)[1:], "big") % Q
    h1, h2 = 1111, 2222

    def release(i: int, h: int) -> int:
        return ((c[i] + d[i]) * h + c[i] * key[i] * r + e[i]) % Q

    # Node 1 is corrupt; 2 and 3 are shown the first message, 4 and 5 the second.
    first = {i: release(i, h1) for i in (1, 2, 3)}
    second = {i: release(i, h2) for i in (4, 5)}
    difference = {i: (second[i] - interpolate(first, at=i)) * pow(h2 - h1, -1, Q) % Q for i in (4, 5)}
    k_inverse = interpolate({1: (c[1] + d[1]) % Q, **difference})
    signature = interpolate(first)
    assert (signature * pow(k_inverse, -1, Q) - h1) * pow(r, -1, Q) % Q == x

    # What the code does instead: five signers for t = 1 is no session.
    with pytest.raises(CallerError) as caught:
        Committee(2).new_session(slots=slots(5))
    assert caught.value.code == "signers.count"
