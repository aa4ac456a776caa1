"""Published attacks on threshold signatures, run: first where they work, then against what nodes really do."""

from __future__ import annotations

import hashlib
import os

import pytest
from coincurve import PublicKey
from coincurve.ecdsa import cdata_to_der, deserialize_compact
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from enclave.errors import AbortError, PeerError
from enclave.group.ed25519 import ED25519
from enclave.group.secp256k1 import SECP256K1
from enclave.secret import declassify
from enclave.threshold import frost
from enclave.threshold.bip340_session import aggregate_nonces
from enclave.threshold.ecdsa.finish import finish
from enclave.threshold.frost_binding import Commitment, bind
from enclave.threshold.shamir import lagrange
from tests.enclave.threshold import test_bip340, test_ecdsa
from tests.enclave.threshold.support import dealt

L = ED25519.order
SESSIONS = 253
"""Parallel sessions, one for each bit of a challenge: then the ROS problem is a linear equation (eprint 2020/945)."""

FORGED = b"a message nobody authorised"
PAID = b"pay 1 to alice"


def number(data: bytes) -> int:
    """The integer of a scalar or hash."""
    return int.from_bytes(data, "little")


def encoded(value: int) -> bytes:
    """The scalar encoding of an integer."""
    return (value % L).to_bytes(32, "little")


def challenge(R: bytes, key: bytes, message: bytes) -> int:
    """Ed25519's."""
    return number(hashlib.sha512(R + key + message).digest()) % L


def weighted(terms: list[tuple[int, bytes]]) -> bytes:
    """A sum of multiples of points."""
    return ED25519.point_add(*(ED25519.mult_public(k % L, point) for k, point in terms))


class Victims:
    """A 2-of-2 key: holder 1 is honest, the attacker is holder 2 and the relay."""

    def __init__(self) -> None:
        self.shares, commitments = dealt(ED25519, 2, 2)
        self.key = commitments[0]
        self.honest_share = ED25519.base_mult(self.shares[1])
        self.own = number(declassify(self.shares[2])) * lagrange((1, 2), 2, L)
        """What the attacker adds to a signature per unit of the challenge."""

    def forged(self, R: bytes, honest: int, own_nonce: int) -> bytes:
        """The attacker's signature over FORGED from what the honest answers add up to."""
        c = challenge(R, self.key, FORGED)
        return R + encoded(honest + own_nonce + c * self.own)


Pairs = list[tuple[int, int]]
"""The two challenges that the attacker prepared in each session."""


def weights_of(pairs: Pairs) -> list[int]:
    """Each session's weight in the forgery: its second challenge counts 2^i more than its first."""
    return [pow(2, i, L) * pow(b - a, -1, L) % L for i, (a, b) in enumerate(pairs)]


def bits_of(wanted: int, pairs: Pairs) -> list[int]:
    """Which challenge of each session to have answered, so that the weighted sum is the wanted challenge."""
    rest = (wanted - sum(w * a for w, (a, _) in zip(weights_of(pairs), pairs, strict=True))) % L
    return [rest >> i & 1 for i in range(SESSIONS)]


def combined(weights: list[int], honest: list[bytes], own_nonce: int) -> bytes:
    """The forgery's nonce point."""
    return ED25519.point_add(weighted(list(zip(weights, honest, strict=True))), ED25519.base_mult_public(own_nonce))


def test_ros_forges_where_the_nonce_does_not_bind_the_list() -> None:
    """One nonce per signer and no binding factor: 253 open sessions give a signature nobody asked for."""
    victims = Victims()
    nonces = [number(os.urandom(64)) % L for _ in range(SESSIONS)]
    published = [ED25519.base_mult_public(d) for d in nonces]
    lambda_share = number(declassify(victims.shares[1])) * lagrange((1, 2), 1, L)
    # In each session the attacker prepares two nonces of its own, hence two challenges, before it asks.
    pairs = [
        (
            challenge(ED25519.point_add(D, ED25519.base_mult_public(2)), victims.key, PAID),
            challenge(ED25519.point_add(D, ED25519.base_mult_public(3)), victims.key, PAID),
        )
        for D in published
    ]
    weights = weights_of(pairs)
    R = combined(weights, published, 5)
    bits = bits_of(challenge(R, victims.key, FORGED), pairs)
    answers = [d + pair[bit] * lambda_share for d, pair, bit in zip(nonces, pairs, bits, strict=True)]
    signature = victims.forged(R, sum(w * z for w, z in zip(weights, answers, strict=True)), 5)
    VerifyKey(victims.key).verify(FORGED, signature)


def test_ros_fails_against_binding_factors() -> None:
    """The same attacker, the same number of sessions with nonces published ahead, production signers: no signature.

    The honest part of each nonce depends on the whole list, hence on the attacker's choice: the sum that the forgery's
    nonce has to be is not known before the choice that depends on it.
    """
    victims = Victims()
    honest = [frost.commit() for _ in range(SESSIONS)]

    def listed(i: int, choice: int) -> list[Commitment]:
        own = (2, ED25519.base_mult_public(2 + choice), ED25519.base_mult_public(7))
        return [(1, honest[i][1], honest[i][2]), own]

    def outcome(i: int, choice: int) -> tuple[int, bytes]:
        """The challenge of a session, and the honest signer's nonce point in it."""
        bound = bind(victims.key, PAID, listed(i, choice))
        return challenge(bound.group_commitment(), victims.key, PAID), bound.term(1)

    outcomes = [(outcome(i, 0), outcome(i, 1)) for i in range(SESSIONS)]
    pairs = [(a[0], b[0]) for a, b in outcomes]
    weights, guessed = weights_of(pairs), [a[1] for a, _ in outcomes]
    R = combined(weights, guessed, 5)
    bits = bits_of(challenge(R, victims.key, FORGED), pairs)
    answers = [
        number(
            frost.sign_share(
                share=victims.shares[1], index=1, public_key=victims.key, message=PAID,
                commitments=listed(i, bit), nonce=honest[i][0], threshold=2,
            )
        )
        for i, bit in enumerate(bits)
    ]  # fmt: skip
    total = sum(w * z for w, z in zip(weights, answers, strict=True))
    with pytest.raises(BadSignatureError):
        VerifyKey(victims.key).verify(FORGED, victims.forged(R, total, 5))
    # The attacker's equation was solved and the answers were honest: only the nonce is another one than it had to fix.
    actual = combined(weights, [pair[bit][1] for pair, bit in zip(outcomes, bits, strict=True)], 5)
    assert ED25519.base_mult_public(total + 5) == ED25519.point_add(
        actual, ED25519.mult_public(challenge(R, victims.key, FORGED), ED25519.mult_public(2, victims.honest_share))
    )


def test_a_copied_nonce_commitment_names_the_copier() -> None:
    """Who publishes another's commitments as its own cannot answer for them; the owner is not blamed."""
    shares, commitments = dealt(ED25519, 3, 2)
    pair, hiding, binding = frost.commit()
    listed: list[Commitment] = [(1, hiding, binding), (2, hiding, binding)]
    honest = frost.sign_share(
        share=shares[1], index=1, public_key=commitments[0], message=PAID, commitments=listed, nonce=pair, threshold=2
    )
    for answer in (honest, encoded(7)):
        with pytest.raises(PeerError) as caught:
            frost.aggregate(
                public_key=commitments[0], message=PAID, commitments=listed, shares={1: honest, 2: answer},
                public_shares={i: ED25519.base_mult(share) for i, share in shares.items()},
            )  # fmt: skip
        assert caught.value.culprits == ("2",)


def test_a_copied_bip340_nonce_names_the_copier() -> None:
    """The same where only the sum of nonces is seen."""
    committee = test_bip340.Committee(2, 3, (1, 2))
    committee.nonces[2] = committee.nonces[1]
    honest = committee.sign(1)
    with pytest.raises(PeerError) as caught:
        committee.aggregate({1: honest, 2: honest})
    assert caught.value.culprits == ("2",)


def test_a_foreign_aggregate_gives_a_share_of_nothing() -> None:
    """A relay that hands signers of one set different sums gets shares that fit no signature; nobody is framed."""
    committee = test_bip340.Committee(2, 3, (1, 2))
    other = aggregate_nonces({1: committee.nonces[1], 2: test_bip340.Committee(2, 3, (1, 2)).nonces[2]})
    shares = {1: committee.sign(1, aggregate_nonce=other), 2: committee.sign(2)}
    with pytest.raises(PeerError) as caught:
        committee.aggregate(shares)
    # The signer is named to the relay that lied to it: nodes never hear of it, so nothing follows from it for others.
    assert caught.value.culprits == ("1",)


def test_a_tweak_chosen_after_the_nonce_would_forge() -> None:
    """Why key, path and message are fixed before the nonce: a signature for one tweak is one for any other message.

    With e' = e + (h - h')/r the same (r, s) signs h' under the key plus e'·G (the related-key half of eprint
    2021/1330).  It takes a free choice of the tweak: here tweaks are hashes of a path, and in the terms of every round.
    """
    digest, tweak = hashlib.sha256(b"pay everything to mallory").digest(), 1234567
    committee = test_ecdsa.Committee(2, tweak=tweak)
    payloads = committee.run(4)
    signature, _ = finish(committee.session, payloads)
    r = int.from_bytes(signature[:32], "big")
    q = SECP256K1.order
    h, wanted = int.from_bytes(committee.digest, "big"), int.from_bytes(digest, "big")
    free = (tweak + (h - wanted) * pow(r, -1, q)) % q
    child = SECP256K1.point_add(committee.key, SECP256K1.base_mult_public(free))
    assert SECP256K1.ecdsa_verify(child, signature, digest)
    assert PublicKey(child).verify(cdata_to_der(deserialize_compact(signature)), digest, hasher=None)
    # In an attempt the tweak is in the terms of every row: a signer that was told another one adds up nothing.
    moved = committee.new_session(public_key=child, tweak=free, session=committee.session.session)
    signers = {1: committee.signer(1, moved), 2: committee.signer(2), 3: committee.signer(3)}
    first = {i: signer.round1() for i, signer in signers.items()}
    for signer in signers.values():
        with pytest.raises(AbortError):
            signer.round2(first)
