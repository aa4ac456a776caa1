"""FROST signing: ordinary signatures come out, and every deviation is refused or named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from enclave.errors import AbortError, CallerError, PeerError, RefusedError, SecretLeakError
from enclave.group import ED25519
from enclave.secret import Secret
from enclave.threshold import frost, vss
from enclave.threshold.frost_binding import Commitment
from tests.enclave.threshold.support import bad_points, dealt, generate

MESSAGE = b"pay 1 to alice"


class Signing:
    """One key of three in five holders and one signing attempt with it."""

    def __init__(self, ids: Sequence[int] = (1, 3, 4), *, n: int = 5, threshold: int = 3) -> None:
        self.shares, self.key_commitments = dealt(ED25519, n, threshold)
        self.key = self.key_commitments[0]
        self.threshold = threshold
        self.public_shares = {i: vss.public_share(ED25519, self.key_commitments, i) for i in self.shares}
        self.nonces: dict[int, frost.NoncePair] = {}
        self.commitments: list[Commitment] = []
        for i in ids:
            self.nonces[i], hiding, binding = frost.commit()
            self.commitments.append((i, hiding, binding))

    def sign(self, i: int, *, commitments: Sequence[Commitment] | None = None, message: bytes = MESSAGE) -> bytes:
        """Signer i's share."""
        return frost.sign_share(
            share=self.shares[i],
            index=i,
            public_key=self.key,
            message=message,
            commitments=self.commitments if commitments is None else commitments,
            nonce=self.nonces[i],
            threshold=self.threshold,
        )

    def aggregate(self, shares: dict[int, bytes], *, message: bytes = MESSAGE) -> bytes:
        """The gateway's step."""
        return frost.aggregate(
            public_key=self.key,
            message=message,
            commitments=self.commitments,
            shares=shares,
            public_shares=self.public_shares,
        )


def verify_independently(key: bytes, message: bytes, signature: bytes) -> None:
    """Two libraries that share no code with ours accept the signature."""
    VerifyKey(key).verify(message, signature)
    Ed25519PublicKey.from_public_bytes(key).verify(signature, message)


@given(st.data(), st.binary(max_size=200))
@settings(max_examples=12, deadline=None)
def test_any_quorum_signs(data: st.DataObject, message: bytes) -> None:
    """Every quorum's signature is an ordinary one under the key."""
    n = data.draw(st.integers(2, 5))
    threshold = data.draw(st.integers(2, n))
    ids = sorted(data.draw(st.permutations(range(1, n + 1)))[: data.draw(st.integers(threshold, n))])
    attempt = Signing(ids, n=n, threshold=threshold)
    signature = attempt.aggregate({i: attempt.sign(i, message=message) for i in ids}, message=message)
    verify_independently(attempt.key, message, signature)


def test_a_generated_key_signs() -> None:
    """Shares of a key generation sign as dealt ones do."""
    shares = generate(ED25519, 3, 2)
    key = shares[1].public_key
    pairs = {i: frost.commit() for i in (1, 3)}
    commitments = [(i, hiding, binding) for i, (_, hiding, binding) in pairs.items()]
    parts = {
        i: frost.sign_share(
            share=shares[i].secret, index=i, public_key=key, message=MESSAGE, commitments=commitments, nonce=pair[0]
        )
        for i, pair in pairs.items()
    }
    signature = frost.aggregate(
        public_key=key,
        message=MESSAGE,
        commitments=commitments,
        shares=parts,
        public_shares=shares[1].public_shares,
    )
    verify_independently(key, MESSAGE, signature)


def test_a_nonce_signs_once() -> None:
    """The second use of a nonce is refused, whatever the message: two uses reveal the share."""
    attempt = Signing()
    attempt.sign(1)
    for message in (MESSAGE, b"another"):
        with pytest.raises(RefusedError) as caught:
            attempt.sign(1, message=message)
        assert caught.value.code == "nonce.spent"


def test_a_refused_request_spends_its_nonce() -> None:
    """A request that fails its checks does not leave the nonce for a better one."""
    attempt = Signing()
    with pytest.raises(CallerError):
        attempt.sign(1, commitments=attempt.commitments[1:])
    with pytest.raises(RefusedError):
        attempt.sign(1)


def test_nonces_are_wiped_by_use_and_by_drop() -> None:
    """Neither a used nor a dropped pair leaves its nonces in memory."""
    attempt = Signing()
    used: tuple[Secret, Secret] | None = attempt.nonces[1]._nonces
    dropped: tuple[Secret, Secret] | None = attempt.nonces[3]._nonces
    attempt.sign(1)
    attempt.nonces[3].drop()
    assert used is not None
    assert dropped is not None
    for nonce in (*used, *dropped):
        with pytest.raises(SecretLeakError):
            ED25519.base_mult(nonce)
    with pytest.raises(RefusedError):
        attempt.sign(3)


Change = Callable[[Signing], list[Commitment]]


def _other_pair(attempt: Signing) -> Commitment:
    _, hiding, binding = frost.commit()
    return (1, hiding, binding)


OWN_COMMITMENT: dict[str, Change] = {
    "absent": lambda a: a.commitments[1:],
    "foreign": lambda a: [_other_pair(a), *a.commitments[1:]],
    "swapped": lambda a: [(1, a.commitments[0][2], a.commitments[0][1]), *a.commitments[1:]],
    "under another index": lambda a: [(2, *a.commitments[0][1:]), *a.commitments[1:]],
    "twice": lambda a: [a.commitments[0], *a.commitments],
}


@pytest.mark.parametrize("change", OWN_COMMITMENT.values(), ids=OWN_COMMITMENT.keys())
def test_own_commitment_must_stand_at_own_index(change: Change) -> None:
    """A signer signs only lists that carry exactly its own commitments, once, at its own index."""
    attempt = Signing()
    with pytest.raises(CallerError) as caught:
        attempt.sign(1, commitments=change(attempt))
    assert caught.value.code == "signers.own-commitment"


LISTS: dict[str, tuple[Change, str]] = {
    "not sorted": (lambda a: [a.commitments[1], a.commitments[0], a.commitments[2]], "signers.order"),
    "another twice": (lambda a: [*a.commitments, a.commitments[2]], "signers.order"),
    "index zero": (lambda a: [(0, *a.commitments[1][1:]), *a.commitments], "signers.order"),
    "index too large": (lambda a: [*a.commitments, (70_000, *a.commitments[1][1:])], "signers.order"),
    "too few for the key": (lambda a: a.commitments[:2], "signers.too-few"),
}


@pytest.mark.parametrize(("change", "code"), LISTS.values(), ids=LISTS.keys())
def test_impossible_lists_are_refused(change: Change, code: str) -> None:
    """Lists must strictly increase and hold at least the key's threshold of signers."""
    attempt = Signing()
    with pytest.raises(CallerError) as caught:
        attempt.sign(1, commitments=change(attempt))
    assert caught.value.code == code


@pytest.mark.parametrize("which", [1, 2])
def test_bad_commitment_points_are_refused(which: int) -> None:
    """Identity, small order, mixed order, off-curve and non-canonical commitments of others are not signed with."""
    for bad in bad_points(ED25519):
        attempt = Signing()
        entry = [*attempt.commitments[1]]
        entry[which] = bad
        with pytest.raises(CallerError) as caught:
            attempt.sign(1, commitments=[attempt.commitments[0], (3, entry[1], entry[2]), attempt.commitments[2]])
        assert caught.value.code == "point.invalid"


@pytest.mark.parametrize("which", [1, 2])
def test_bad_commitment_points_name_their_publishers(which: int) -> None:
    """Whoever made the list finds exactly those whose commitments signers refuse."""
    good = Signing().commitments
    frost.check_commitments(good)
    for bad in bad_points(ED25519):
        listed: list[Any] = [[*entry] for entry in good]
        listed[0][which] = listed[2][which] = bad
        with pytest.raises(PeerError) as caught:
            frost.check_commitments([(i, d, e) for i, d, e in listed])
        assert (caught.value.code, caught.value.culprits) == ("nonce.invalid", ("1", "4"))


def test_small_order_parts_that_cancel_harm_only_their_makers() -> None:
    """Parts of order two hidden in two hiding commitments leave R in the group, and never fall on an honest signer."""
    attempt = Signing()
    order_two = b"\xec" + b"\xff" * 30 + b"\x7f"
    attempt.commitments = [
        (i, hiding if i == 1 else ED25519.point_add(hiding, order_two), binding)
        for i, hiding, binding in attempt.commitments
    ]
    honest, R = frost.sign(
        share=attempt.shares[1],
        index=1,
        public_key=attempt.key,
        message=MESSAGE,
        commitments=attempt.commitments,
        nonce=attempt.nonces[1],
        threshold=attempt.threshold,
    )
    ED25519.validate_point(R)
    any_scalar = b"\x07" + bytes(31)
    with pytest.raises(PeerError) as caught:
        attempt.aggregate({1: honest, 3: any_scalar, 4: any_scalar})
    assert caught.value.culprits == ("3", "4")


def test_a_hint_for_r_is_never_believed() -> None:
    """A wrong group commitment told to the aggregator changes nothing."""
    attempt = Signing()
    shares = {i: attempt.sign(i) for i in attempt.nonces}
    for hint in (b"", bytes(32), attempt.key, b"x" * 31, bad_points(ED25519)[4]):
        signature = frost.aggregate(
            public_key=attempt.key,
            message=MESSAGE,
            commitments=attempt.commitments,
            shares=shares,
            public_shares=attempt.public_shares,
            group_commitment=hint,
        )
        verify_independently(attempt.key, MESSAGE, signature)


def test_one_signer_alone_is_no_threshold() -> None:
    """Even for a key of threshold one the protocol wants two signers."""
    attempt = Signing([1], threshold=1)
    with pytest.raises(CallerError) as caught:
        attempt.sign(1)
    assert caught.value.code == "signers.too-few"


BAD_SHARES: dict[str, Callable[[bytes], bytes]] = {
    "zero": lambda z: bytes(32),
    "order": lambda z: ED25519.order.to_bytes(32, "little"),
    "not reduced": lambda z: (int.from_bytes(z, "little") + ED25519.order).to_bytes(32, "little"),
    "off by one": lambda z: ((int.from_bytes(z, "little") + 1) % ED25519.order).to_bytes(32, "little"),
    "negated": lambda z: (-int.from_bytes(z, "little") % ED25519.order).to_bytes(32, "little"),
    "short": lambda z: z[:31],
    "long": lambda z: z + b"\0",
}


@pytest.mark.parametrize("spoil", BAD_SHARES.values(), ids=BAD_SHARES.keys())
def test_a_wrong_signature_share_names_its_signer(spoil: Callable[[bytes], bytes]) -> None:
    """The aggregator finds exactly the signer whose share does not hold."""
    attempt = Signing()
    shares = {i: attempt.sign(i) for i in attempt.nonces}
    shares[3] = spoil(shares[3])
    with pytest.raises(PeerError) as caught:
        attempt.aggregate(shares)
    assert (caught.value.code, caught.value.culprits) == ("signature.share", ("3",))


def test_all_wrong_signers_are_named() -> None:
    """Swapped shares name both signers; a share over another message names its signer."""
    attempt = Signing()
    shares = {i: attempt.sign(i, message=b"other" if i == 4 else MESSAGE) for i in attempt.nonces}
    shares[1], shares[3] = shares[3], shares[1]
    with pytest.raises(PeerError) as caught:
        attempt.aggregate(shares)
    assert caught.value.culprits == ("1", "3", "4")


def test_verify_share_agrees() -> None:
    """The single-share check passes the good and names the bad."""
    attempt = Signing()
    good = attempt.sign(3)
    terms = {"public_key": attempt.key, "commitments": attempt.commitments, "index": 3}
    public = attempt.public_shares[3]
    frost.verify_share(**terms, message=MESSAGE, share=good, public_share=public)
    for message, share in ((b"other", good), (MESSAGE, bytes(32))):
        with pytest.raises(PeerError):
            frost.verify_share(**terms, message=message, share=share, public_share=public)


def test_shares_must_be_those_of_the_signers() -> None:
    """Missing and foreign signature shares are the caller's mistake, not a signer's."""
    attempt = Signing()
    shares = {i: attempt.sign(i) for i in attempt.nonces}
    for wrong in ({i: z for i, z in shares.items() if i != 1}, {**shares, 5: shares[1]}):
        with pytest.raises(CallerError) as caught:
            attempt.aggregate(wrong)
        assert caught.value.code == "signers.shares"


def test_every_signer_needs_a_public_share() -> None:
    """Without the key's public share of a signer nobody could be named."""
    attempt = Signing()
    shares = {i: attempt.sign(i) for i in attempt.nonces}
    del attempt.public_shares[3]
    with pytest.raises(CallerError) as caught:
        attempt.aggregate(shares)
    assert caught.value.code == "signers.shares"


def test_inconsistent_key_data_accuses_nobody() -> None:
    """When public shares do not belong to the public key, no signer is blamed for it."""
    attempt, foreign = Signing(), Signing()
    attempt.key = foreign.key
    with pytest.raises(AbortError):
        attempt.aggregate({i: attempt.sign(i) for i in attempt.nonces})


def test_nonce_reuse_would_reveal_the_share() -> None:
    """Why nonces are spent: two responses with one nonce pair solve for the signer's share."""
    attempt = Signing()
    pair = attempt.nonces[1]._nonces
    assert pair is not None
    copies = [frost.NoncePair(pair[0].duplicate(), pair[1].duplicate()) for _ in range(3)]
    q = ED25519.order
    from enclave.threshold.frost_binding import bind, challenge
    from enclave.threshold.shamir import lagrange

    rows = []
    for copy, message in zip(copies, (b"a", b"b", b"c"), strict=True):
        attempt.nonces[1] = copy
        z = int.from_bytes(attempt.sign(1, message=message), "little")
        bound = bind(attempt.key, message, attempt.commitments)
        c = challenge(bound.group_commitment(), attempt.key, message)
        rows.append((bound.factors[1], lagrange(bound.ids, 1, q) * c % q, z))
    # z = d + rho e + w s for three messages: eliminate d, then e.
    (r1, w1, z1), (r2, w2, z2), (r3, w3, z3) = rows
    a = (r1 - r2, w1 - w2, z1 - z2)
    b = (r1 - r3, w1 - w3, z1 - z3)
    s = (a[2] * b[0] - b[2] * a[0]) * pow(a[1] * b[0] - b[1] * a[0], -1, q) % q
    assert ED25519.base_mult_public(s) == attempt.public_shares[1]
