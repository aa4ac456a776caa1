"""Every place of the threshold protocols where a point or a published scalar comes in, against every bad encoding.

Points: identity, small order, mixed order, off the curve, second spellings, wrong sizes.  Scalars: zero, the
order, the order plus one, beyond, wrong sizes.  specs/threat-tests.md says which test covers the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from enclave.errors import CallerError, EnclaveError, PeerError
from enclave.group import Group
from enclave.group.ed25519 import ED25519
from enclave.group.secp256k1 import SECP256K1
from enclave.secret import Secret
from enclave.taproot import output_key
from enclave.threshold import ceremony_kem, derive, dleq, frost, hpke, opening, pop, reconstruct, shamir, vss
from enclave.threshold.bip340 import Signers, Tweak
from enclave.threshold.bip340_session import INFINITY, aggregate_nonces
from enclave.threshold.ecdsa.finish import finish
from enclave.threshold.ecdsa.messages import Release, Round1, Round2, Round3
from enclave.wire.message import decode_as, encode
from tests.enclave.threshold import test_bip340, test_ecdsa, test_frost, test_hpke
from tests.enclave.threshold.support import GROUPS, bad_points
from tests.enclave.threshold.test_ecdsa import spoiled

Entry = Callable[[bytes], Any]
IDS = test_hpke.IDS


def bad_scalars(group: Group) -> list[bytes]:
    """Encodings that are no published scalar."""
    order = "little" if group is ED25519 else "big"
    values = [0, group.order, group.order + 1, 2**256 - 1]
    return [value.to_bytes(32, order) for value in values] + [b"", b"\1" * 31, b"\1" * 33]  # type: ignore[arg-type]


def refused(entry: Entry, bad: bytes) -> EnclaveError:
    """The typed error this encoding ends in."""
    with pytest.raises(EnclaveError) as caught:
        entry(bad)
    return caught.value


# --- points --------------------------------------------------------------------------------


def _frost_list(place: int) -> Entry:
    def entry(bad: bytes) -> None:
        attempt = test_frost.Signing()
        listed = [list(item) for item in attempt.commitments]
        listed[1][place] = bad
        attempt.sign(1, commitments=[tuple(item) for item in listed])  # type: ignore[misc]

    return entry


def _member(bad: bytes) -> None:
    committee = test_bip340.Committee(2, 3, (1, 2))
    members = (committee.signers.members[0], (2, bad))
    signers = Signers(total=3, threshold=2, members=members, public_key=committee.signers.public_key)
    committee.sign(1, signers=signers)


def _group_key(bad: bytes) -> None:
    committee = test_bip340.Committee(2, 3, (1, 2))
    signers = Signers(total=3, threshold=2, members=committee.signers.members, public_key=bad)
    committee.sign(1, signers=signers)


def _ecdsa_point(number: int, kind: type[Any], field: str) -> Entry:
    def entry(bad: bytes) -> None:
        committee = test_ecdsa.Committee(2)
        payloads = committee.run(number)
        payloads[2] = spoiled(payloads[2], kind, **{field: bad})
        test_ecdsa.other_round(committee.signers[1], number + 1, payloads)

    return entry


def _release_point(bad: bytes) -> None:
    committee = test_ecdsa.Committee(2)
    last = {i: encode(Release(bad, decode_as(Release, payload).share)) for i, payload in committee.run(4).items()}
    finish(committee.session, last)


def _proof_point(bad: bytes) -> None:
    proof = pop.Proof(bad, ED25519.scalar_to_public_bytes(ED25519.random_scalar()))
    if not pop.verify(ED25519, ED25519.base_mult_public(5), b"context", proof):
        raise PeerError("not proven", culprits=[], code="proof.invalid")


def _proven_partial(bad: bytes) -> None:
    case = test_hpke.Opening()
    terms = {"index": 3, "ids": IDS, "enc": case.enc, "public_share": vss.public_share(ED25519, case.commitments, 3)}
    hpke.verify_partial(bad, **terms, proof=hpke.prove_partial(case.shares[3], 3, IDS, case.enc))  # type: ignore[arg-type]


ED25519_POINTS: dict[str, tuple[Entry, set[str]]] = {
    "commitment": (
        lambda bad: vss.check_commitments(ED25519, [bad, ED25519.base_mult_public(3)], 2, dealer="node-2"),
        {"commitment.invalid"},
    ),
    "proof of possession": (_proof_point, {"proof.invalid"}),
    "hiding commitment": (_frost_list(1), {"point.invalid"}),
    "binding commitment": (_frost_list(2), {"point.invalid"}),
    "published nonces": (
        lambda bad: frost.check_commitments([(1, ED25519.base_mult_public(2), bad)]), {"nonce.invalid"}
    ),
    "partial result": (lambda bad: hpke.combine({1: ED25519.base_mult_public(3), 3: bad}), {"partial.invalid"}),
    "proven partial": (_proven_partial, {"partial.invalid"}),
    "group key of a decryption key": (hpke.public_key_x25519, {"point.invalid"}),
    "parent of a child": (lambda bad: derive.derive(ED25519, bad, bytes(32), (0,)), {"point.invalid"}),
    "group": (ED25519.validate_point, {"point.invalid"}),
}  # fmt: skip

SECP256K1_POINTS: dict[str, tuple[Entry, set[str]]] = {
    "commitment": (
        lambda bad: vss.check_commitments(SECP256K1, [bad, SECP256K1.base_mult_public(3)], 2, dealer="node-2"),
        {"commitment.invalid"},
    ),
    "public nonce, first": (
        lambda bad: aggregate_nonces({1: bad + SECP256K1.base_mult_public(3)}), {"nonce.invalid"}
    ),
    "public nonce, second": (
        lambda bad: aggregate_nonces({1: SECP256K1.base_mult_public(3) + bad}), {"nonce.invalid"}
    ),
    "public share of a signer": (_member, {"point.invalid"}),
    "group key of a signature": (_group_key, {"point.invalid", "signers.key"}),
    "nonce share": (_ecdsa_point(2, Round2, "nonce_share"), {"ceremony.malformed"}),
    "check share": (_ecdsa_point(3, Round3, "check_share"), {"ceremony.malformed"}),
    "released nonce": (_release_point, {"protocol.abort"}),
    "session's key": (lambda bad: test_ecdsa.Committee(2).new_session(public_key=bad), {"point.invalid"}),
    "parent of a child": (lambda bad: derive.derive(SECP256K1, bad, bytes(32), (0,)), {"point.invalid"}),
    "key of an output": (output_key, {"point.invalid"}),
    "group": (SECP256K1.validate_point, {"point.invalid"}),
}  # fmt: skip


@pytest.mark.parametrize("name", ED25519_POINTS)
def test_bad_points_of_edwards25519(name: str) -> None:
    """Each entry refuses each bad encoding with its own code."""
    entry, codes = ED25519_POINTS[name]
    for bad in bad_points(ED25519):
        assert refused(entry, bad).code in codes, bad.hex()


@pytest.mark.parametrize("name", SECP256K1_POINTS)
def test_bad_points_of_secp256k1(name: str) -> None:
    """Each entry refuses each bad encoding with its own code."""
    entry, codes = SECP256K1_POINTS[name]
    for bad in bad_points(SECP256K1):
        assert refused(entry, bad).code in codes, bad.hex()


def test_aggregate_nonces_may_be_infinite_and_nothing_else() -> None:
    """Of the encodings that are no points, a session takes the one that BIP-445 has for infinity."""
    good = SECP256K1.base_mult_public(9)

    def sign(half: bytes) -> None:
        test_bip340.Committee(2, 3, (1, 2)).sign(1, aggregate_nonce=good + half)

    for bad in bad_points(SECP256K1):
        if bad != INFINITY:
            assert refused(sign, bad).code == "nonce.invalid", bad.hex()
    sign(INFINITY)


@pytest.mark.parametrize("bad", [bad for bad in bad_points(ED25519) if len(bad) == 32], ids=bytes.hex)
def test_bad_points_of_a_row_name_their_sender(bad: bytes) -> None:
    """Inside an opening enclave rows are not looked at until something fails: then the proof names the sender."""
    case = test_hpke.Opening()
    points, rows = {}, {}
    for i in IDS:
        points[i] = opening.partial_point(case.shares[i], i, IDS, case.enc)
        rows[i] = opening.row_of(points[i], hpke.prove_partial(case.shares[i], i, IDS, case.enc))
    points[3] = Secret.take(bytearray(bad))
    rows[3] = opening.row_of(points[3], hpke.prove_partial(case.shares[3], 3, IDS, case.enc))
    with pytest.raises(CallerError) as caught:
        opening.open_and_reseal(
            list(points.values()),
            enc=case.enc,
            ciphertext=case.ciphertext,
            public_key=case.public_key,
            info=b"info",
            recipient=b"\x09" + bytes(31),
            recipient_info=b"",
        )
    assert caught.value.code == "decrypt.failed"
    public_shares = {i: vss.public_share(ED25519, case.commitments, i) for i in IDS}
    assert opening.culprits(rows, ids=IDS, enc=case.enc, public_shares=public_shares) == [3]


# --- scalars -------------------------------------------------------------------------------


def _frost_share(bad: bytes) -> None:
    attempt = test_frost.Signing()
    attempt.aggregate({1: attempt.sign(1), 3: bad, 4: attempt.sign(4)})


def _bip340_share(bad: bytes) -> None:
    committee = test_bip340.Committee(2, 3, (1, 2))
    committee.aggregate({1: committee.sign(1), 2: bad})


def _row_scalar(bad: bytes) -> None:
    committee = test_ecdsa.Committee(2)
    first = committee.run(1)
    content = bytearray(b"\1" * 64 + bad + b"\1" * 64)
    sealed = committee.channels(2).seal(1, Secret.take(content), committee.signers[1]._associated(2, 1))
    first[2] = spoiled(first[2], Round1, sealed={**decode_as(Round1, first[2]).sealed, 1: sealed})
    committee.signers[1].round2(first)


def _release_share(bad: bytes) -> None:
    committee = test_ecdsa.Committee(2)
    last = committee.run(4)
    last[2] = spoiled(last[2], Release, share=bad)
    finish(committee.session, last)


def _dleq_half(place: int) -> Entry:
    def entry(bad: bytes) -> None:
        with ED25519.random_scalar() as secret:
            base, public = ED25519.base_mult_public(7), ED25519.base_mult(secret)
            proof = dleq.prove(ED25519, secret, base, b"context")
            result = ED25519.mult(secret, base)
        halves = [proof[:32], proof[32:]]
        halves[place] = bad
        if not dleq.verify(ED25519, public, base, result, b"context", b"".join(halves)):
            raise PeerError("not proven", culprits=[], code="proof.invalid")

    return entry


def _proof_response(group: Group) -> Entry:
    def entry(bad: bytes) -> None:
        with group.random_scalar() as secret:
            public = group.base_mult(secret)
            proof = pop.prove(group, secret, public, b"context")
        if not pop.verify(group, public, b"context", pop.Proof(proof.commitment, bad)):
            raise PeerError("not proven", culprits=[], code="proof.invalid")

    return entry


def _sealed_share(group: Group) -> Entry:
    def entry(bad: bytes) -> None:
        key = ceremony_kem.CeremonyKey()
        sealed = ceremony_kem.seal(key.public, Secret.take(bytearray(bad)), b"context")
        ceremony_kem.open_scalar(group, key, sealed, b"context")

    return entry


def _joined_share(group: Group) -> Entry:
    def entry(bad: bytes) -> None:
        shares, commitments = shamir.split(group, group.random_scalar(), 2, (1, 2, 3))
        public_shares = {i: vss.public_share(group, commitments, i) for i in shares}
        held = {1: shares[1], 2: Secret.take(bytearray(bad))}
        with reconstruct.joined(group, shares=held, public_key=commitments[0], public_shares=public_shares):
            pytest.fail("a key was joined from no scalar")

    return entry


SCALARS: dict[str, tuple[Group, Entry, set[str]]] = {
    "ed25519 group": (ED25519, ED25519.scalar_check, {"scalar.invalid"}),
    "secp256k1 group": (SECP256K1, SECP256K1.scalar_check, {"scalar.invalid"}),
    "FROST share": (ED25519, _frost_share, {"signature.share"}),
    "BIP-340 share": (SECP256K1, _bip340_share, {"signature.share"}),
    "tweak": (
        SECP256K1,
        lambda bad: test_bip340.Committee(2, 3, (1, 2)).sign(1, tweaks=(Tweak(value=bad, xonly=True),)),
        {"tweak.invalid"},
    ),
    "scalar of a row": (SECP256K1, _row_scalar, {"protocol.abort"}),
    "masked nonce": (SECP256K1, _ecdsa_point(2, Round2, "masked"), {"ceremony.malformed"}),
    "released share": (SECP256K1, _release_share, {"protocol.abort"}),
    "challenge of an equality proof": (ED25519, _dleq_half(0), {"proof.invalid"}),
    "response of an equality proof": (ED25519, _dleq_half(1), {"proof.invalid"}),
    "response of possession, ed25519": (ED25519, _proof_response(ED25519), {"proof.invalid"}),
    "response of possession, secp256k1": (SECP256K1, _proof_response(SECP256K1), {"proof.invalid"}),
    "dealt share, ed25519": (ED25519, _sealed_share(ED25519), {"scalar.invalid"}),
    "dealt share, secp256k1": (SECP256K1, _sealed_share(SECP256K1), {"scalar.invalid"}),
    "assembled share, ed25519": (ED25519, _joined_share(ED25519), {"share.invalid"}),
    "assembled share, secp256k1": (SECP256K1, _joined_share(SECP256K1), {"share.invalid"}),
}


@pytest.mark.parametrize("name", SCALARS)
def test_bad_scalars(name: str) -> None:
    """Each entry refuses zero, the order, the order plus one, beyond, and other sizes, with its own code."""
    group, entry, codes = SCALARS[name]
    for bad in bad_scalars(group):
        if len(bad) != 32 and name.startswith(("dealt", "assembled")):
            continue  # what they are sealed in has one size
        assert refused(entry, bad).code in codes, bad.hex()


@pytest.mark.parametrize("group", GROUPS)
def test_the_largest_scalar_is_one(group: Group) -> None:
    """The boundary of the tests above: order minus one is canonical."""
    order = "little" if group is ED25519 else "big"
    group.scalar_check((group.order - 1).to_bytes(32, order))  # type: ignore[arg-type]


def test_a_digest_of_zero_is_not_signed_by_the_threshold() -> None:
    """Zero and the order are the same h; with h = 0 the released shares would not depend on the nonce's mask."""
    for digest in (bytes(32), SECP256K1.order.to_bytes(32, "big"), b"", bytes(31)):
        with pytest.raises(CallerError) as caught:
            test_ecdsa.Committee(2).new_session(digest=digest)
        assert caught.value.code == "digest.size"


@pytest.mark.parametrize(
    ("indices", "code"),
    [
        ({0: "node-1", 1: "node-2", 2: "node-3"}, "share.index"),
        ({1: "a", 2: "a", 3: "b"}, "ceremony.participants"),
    ],
)
def test_indices_of_zero_and_doubled_slots(indices: dict[int, str], code: str) -> None:
    """Index zero would be the key itself; one slot twice would be two votes."""
    with pytest.raises(CallerError) as caught:
        test_ecdsa.Committee(2).new_session(slots=indices)
    assert caught.value.code == code
