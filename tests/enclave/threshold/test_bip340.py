"""FROST for BIP-340: BIP-445's vectors, ordinary signatures, tweaks, and every cheat and mistake by its name."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.errors import AbortError, CallerError, EnclaveError, PeerError, RefusedError
from enclave.group import schnorr
from enclave.group.secp256k1 import ORDER, SECP256K1
from enclave.secret import Secret, declassify
from enclave.threshold import bip340, shamir
from enclave.threshold.bip340 import NoncePair, NonceSource, Signers, Tweak
from enclave.threshold.bip340_session import INFINITY, aggregate_nonces, open_session, tweaked_key
from tests.enclave.group_oracle import WeierstrassOracle

VECTORS = Path(__file__).parents[3] / "../shared/vectors/crypto"
ORACLE = WeierstrassOracle()
MESSAGE = b"taproot key path spend"


def load(name: str) -> Any:
    """A vector file, or a skip with the reason."""
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"vectors absent: {name}")
    return json.loads(path.read_text())


def take(text: str) -> Secret:
    """A published secret."""
    return Secret.take(bytearray.fromhex(text))


def groups(name: str) -> list[dict[str, Any]]:
    """The (t, n) groups of a vector file."""
    found: list[dict[str, Any]] = load(f"bip445/{name}_vectors.json")["test_groups"]
    assert [group["tg_id"] for group in found] == ["2of3", "1of3", "3of3", "3of5"]
    return found


def signers_of(group: dict[str, Any], case: dict[str, Any]) -> Signers:
    """The case's signer set with our indices, which start at one."""
    shares = [bytes.fromhex(group["pubshares"][i]) for i in case["pubshare_indices"]]
    return Signers(
        total=group["n"],
        threshold=group["t"],
        members=tuple((i + 1, share) for i, share in zip(case["ids"], shares, strict=True)),
        public_key=bytes.fromhex(group["thresh_pk"]),
    )


def tweaks_of(group: dict[str, Any], case: dict[str, Any]) -> list[Tweak]:
    """The case's tweaks."""
    values = [bytes.fromhex(group["tweaks"][i]) for i in case.get("tweak_indices", [])]
    return [Tweak(value=v, xonly=x) for v, x in zip(values, case.get("is_xonly", []), strict=True)]


def sign_case(group: dict[str, Any], case: dict[str, Any]) -> bytes:
    """Runs sign_share on a case."""
    secret_nonce = bytes.fromhex(group["secnonces"][case.get("secnonce_index", 0)])
    pair = NoncePair(*(Secret.take(bytearray(half)) for half in (secret_nonce[:32], secret_nonce[32:])))
    return bip340.sign_share(
        signers=signers_of(group, case),
        index=case["my_id"] + 1,
        share=take(group["secshares"][case["secshare_index"]]),
        message=bytes.fromhex(case["msg"]),
        aggregate_nonce=bytes.fromhex(case["aggnonce"]),
        nonce=pair,
        tweaks=tweaks_of(group, case),
    )


def test_nonce_generation_equals_bip445() -> None:
    """All five vectors; the share is mixed into the randomness here, where it is a public test value."""
    for case in load("bip445/nonce_gen_vectors.json")["valid_tests"]:
        randomness = bytes.fromhex(case["rand_"])
        if case["secshare"] is not None:
            mask = schnorr.tagged_hash("BIP0445/aux", randomness)
            randomness = bytes(a ^ b for a, b in zip(bytes.fromhex(case["secshare"]), mask, strict=True))
        optional = {name: case[name] for name in ("pubshare", "thresh_pk", "msg", "extra_in")}
        values = {name: None if text is None else bytes.fromhex(text) for name, text in optional.items()}
        pair = bip340.nonce_generate(
            Secret.take(bytearray(randomness)),
            public_share=values["pubshare"] or b"",
            public_key=values["thresh_pk"] or b"",
            message=values["msg"],
            extra=values["extra_in"] or b"",
        )
        secret, public = (bytes.fromhex(text) for text in case["expected"])
        assert pair.public == public
        assert b"".join(declassify(nonce) for nonce in pair.spend()) == secret


def test_nonce_aggregation_equals_bip445() -> None:
    """Sums, the sum at infinity, and blame for malformed nonces."""
    vectors = load("bip445/nonce_agg_vectors.json")
    pool = [bytes.fromhex(text) for text in vectors["pubnonces"]]
    for case in vectors["valid_tests"]:
        nonces = {position + 1: pool[i] for position, i in enumerate(case["pubnonce_indices"])}
        assert aggregate_nonces(nonces).hex().upper() == case["expected"]
    assert len(vectors["error_tests"]) == 3
    for case in vectors["error_tests"]:
        nonces = {position + 1: pool[i] for position, i in enumerate(case["pubnonce_indices"])}
        with pytest.raises(PeerError) as raised:
            aggregate_nonces(nonces)
        assert raised.value.culprits == (str(case["error"]["signer_index"] + 1),)


@pytest.mark.parametrize("name", ["sign_verify", "tweak"])
def test_signature_shares_equal_bip445(name: str) -> None:
    """Every valid case of signing, with and without tweaks, infinity in the aggregate nonce included."""
    checked = 0
    for group in groups(name):
        for case in group["valid_tests"]:
            assert sign_case(group, case).hex().upper() == case["expected"], case["comment"]
            checked += 1
    assert checked == {"sign_verify": 25, "tweak": 28}[name]


SIGN_ERRORS = {
    "The signer's id must be present": "signers.absent",
    "contains duplicate elements": "signers.duplicate",
    "The signer's pubshare must be included": "share.mismatch",
    "Invalid pubshare": "point.invalid",
    "is out of range.": "signers.range",
    "key material is incorrect": "signers.key",
    "secnonce value is out of range": "protocol.abort",
    "between t and n": "signers.too-few",
    "secret share value is out of range": "protocol.abort",
    "tweak value is out of range": "tweak.invalid",
    "tweaking cannot be infinity": "tweak.invalid",
    "must be a 32-byte array": "tweak.invalid",
}


@pytest.mark.parametrize(("name", "kind"), [("sign_verify", "sign_error_tests"), ("tweak", "error_tests")])
def test_signing_errors_equal_bip445(name: str, kind: str) -> None:
    """Every error case is refused with the code that fits its message; lists of unequal length have no type here."""
    codes = set()
    for group in groups(name):
        for case in group[kind]:
            error = case["error"]
            if "must have the same length" in error.get("message", ""):
                continue
            with pytest.raises(EnclaveError) as raised:
                sign_case(group, case)
            message = error.get("message", "")
            # Longest match first: "secret share value is out of range" ends like the identifier's message.
            fitting = [SIGN_ERRORS[text] for text in sorted(SIGN_ERRORS, key=len, reverse=True) if text in message]
            expected = "nonce.invalid" if error.get("contrib") == "aggnonce" else fitting[0]
            assert raised.value.code == expected, case["comment"]
            codes.add(expected)
    assert codes >= ({"tweak.invalid"} if name == "tweak" else {"nonce.invalid", "signers.key", "share.mismatch"})


def test_share_verification_equals_bip445() -> None:
    """Own shares hold; negated, misattributed and unreduced ones do not; bad nonces and sets are refused by name."""
    for group in groups("sign_verify"):
        pool = [bytes.fromhex(text) for text in group["pubnonces"]]
        for kind in ("valid_tests", "verify_fail_tests", "verify_error_tests"):
            for case in group[kind]:
                index = case["my_id"] + 1 if kind == "valid_tests" else case["ids"][case["signer_index"]] + 1
                arguments = {
                    "index": index,
                    "message": bytes.fromhex(case["msg"]),
                    "nonces": {i + 1: pool[p] for i, p in zip(case["ids"], case["pubnonce_indices"], strict=True)},
                    "share": bytes.fromhex(case["expected" if kind == "valid_tests" else "psig"]),
                }
                if kind == "valid_tests":
                    bip340.verify_share(signers=signers_of(group, case), **arguments)
                    continue
                with pytest.raises(EnclaveError) as raised:
                    bip340.verify_share(signers=signers_of(group, case), **arguments)
                if kind == "verify_fail_tests":
                    assert (raised.value.code, raised.value.culprits) == ("signature.share", (str(index),))
                elif case["error"]["type"] == "InvalidContributionError":
                    culprit = case["ids"][case["error"]["signer_index"]] + 1
                    assert (raised.value.code, raised.value.culprits) == ("nonce.invalid", (str(culprit),))
                else:
                    assert raised.value.code == "point.invalid"


def test_aggregation_equals_bip445() -> None:
    """Signatures with and without tweaks, blame for a share out of range, and wrong numbers of shares."""
    checked = 0
    for group in groups("sig_agg"):
        for case in group["valid_tests"] + group["error_tests"]:
            session = open_session(
                signers_of(group, case),
                bytes.fromhex(case["msg"]),
                bytes.fromhex(case["aggnonce"]),
                tweaks_of(group, case),
            )
            shares = {i + 1: bytes.fromhex(text) for i, text in zip(case["ids"], case["psigs"], strict=False)}
            if len(case["psigs"]) > len(case["ids"]):
                shares[99] = bytes.fromhex(case["psigs"][-1])
            if "expected" in case:
                signature = bip340.combine(session, shares)
                assert signature.hex().upper() == case["expected"], case["comment"]
                assert verifies(session.key.xonly, signature, bytes.fromhex(case["msg"]))
                checked += 1
            elif case["error"]["type"] == "InvalidContributionError":
                with pytest.raises(PeerError) as raised:
                    bip340.combine(session, shares)
                assert raised.value.culprits == (str(case["ids"][case["error"]["signer_index"]] + 1),)
            else:
                with pytest.raises(CallerError) as refused:
                    bip340.combine(session, shares)
                assert refused.value.code == "signers.shares"
    assert checked == 14


def test_verification_equals_bip340() -> None:
    """Every row of BIP-340's own vectors, and the integer verifier used below agrees with each."""
    path = VECTORS / "bip340/test-vectors.csv"
    if not path.exists():
        pytest.skip("vectors absent: bip340/test-vectors.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 19
    for row in rows:
        key, message, signature = (bytes.fromhex(row[name]) for name in ("public key", "message", "signature"))
        expected = row["verification result"] == "TRUE"
        assert schnorr.verify(key, signature, message) == expected, row["comment"]
        assert verifies(key, signature, message) == expected, row["comment"]


def verifies(key: bytes, signature: bytes, message: bytes) -> bool:
    """BIP-340 verification in plain integers."""
    try:
        P, R = ORACLE.decode(b"\x02" + key), ORACLE.decode(b"\x02" + signature[:32])
    except ValueError:
        return False
    s = int.from_bytes(signature[32:], "big")
    if s >= ORDER:
        return False
    prefix = hashlib.sha256(b"BIP0340/challenge").digest() * 2
    e = int.from_bytes(hashlib.sha256(prefix + signature[:32] + key + message).digest(), "big") % ORDER
    left = ORACLE.decode(ORACLE.mult(s, ORACLE.base)) if s else None
    right = ORACLE.add(R, ORACLE.decode(ORACLE.mult(e, ORACLE.encode(P))))
    return left == right


class Committee:
    """All holders of a fresh key, some of whom sign."""

    def __init__(self, threshold: int, total: int, ids: tuple[int, ...]) -> None:
        secret = SECP256K1.random_scalar()
        self.shares, commitments = shamir.split(SECP256K1, secret, threshold, range(1, total + 1))
        members = tuple((i, SECP256K1.base_mult(self.shares[i])) for i in ids)
        self.signers = Signers(total=total, threshold=threshold, members=members, public_key=commitments[0])
        source = NonceSource()
        self.pairs = {i: source.commit()[0] for i in ids}
        self.nonces = {i: pair.public for i, pair in self.pairs.items()}

    def sign(self, own: int, *, message: bytes = MESSAGE, tweaks: tuple[Tweak, ...] = (), **changes: Any) -> bytes:
        """One signer's share, something changed."""
        terms = {
            "signers": self.signers,
            "index": own,
            "share": self.shares[own],
            "message": message,
            "aggregate_nonce": aggregate_nonces(self.nonces),
            "nonce": self.pairs[own],
            "tweaks": tweaks,
            **changes,
        }
        return bip340.sign_share(**terms)

    def run(self, tweaks: tuple[Tweak, ...] = (), message: bytes = MESSAGE) -> bytes:
        """The whole signature."""
        shares = {i: self.sign(i, message=message, tweaks=tweaks) for i in self.signers.ids}
        return self.aggregate(shares, tweaks=tweaks, message=message)

    def aggregate(self, shares: dict[int, bytes], *, tweaks: tuple[Tweak, ...] = (), message: bytes = MESSAGE) -> bytes:
        """The relay's step."""
        return bip340.aggregate(signers=self.signers, message=message, nonces=self.nonces, shares=shares, tweaks=tweaks)


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_committee_makes_ordinary_signatures(data: st.DataObject) -> None:
    """Random thresholds, signer sets, tweaks and messages give signatures an independent verifier accepts."""
    total = data.draw(st.integers(1, 5))
    threshold = data.draw(st.integers(1, total))
    ids = tuple(data.draw(st.permutations(range(1, total + 1)))[: data.draw(st.integers(threshold, total))])
    tweaks = tuple(
        Tweak(value=k.to_bytes(32, "big"), xonly=xonly)
        for k, xonly in data.draw(st.lists(st.tuples(st.integers(1, ORDER - 1), st.booleans()), max_size=3))
    )
    message = data.draw(st.binary(max_size=64))
    committee = Committee(threshold, total, ids)
    signature = committee.run(tweaks, message)
    key = tweaked_key(committee.signers.public_key, tweaks)
    assert verifies(key.xonly, signature, message)
    assert not verifies(key.xonly, signature, message + b"x")


def test_taproot_output_key_is_bip341s() -> None:
    """An x-only tweak gives lift_x(internal key) + t G, for keys of either parity."""
    parities = set()
    while parities != {2, 3}:
        public = SECP256K1.base_mult_public(int.from_bytes(os.urandom(32), "big"))
        tweak = schnorr.tagged_hash("TapTweak", public[1:])
        key = tweaked_key(public, [Tweak(value=tweak, xonly=True)])
        lifted = ORACLE.decode(b"\x02" + public[1:])
        expected = ORACLE.add(lifted, ORACLE.decode(ORACLE.mult(int.from_bytes(tweak, "big"), ORACLE.base)))
        assert key.point == ORACLE.encode(expected)
        parities.add(public[0])


@pytest.mark.parametrize("cheat", ["other share", "not reduced", "empty", "zero"])
def test_a_bad_share_names_its_signer(cheat: str) -> None:
    """One wrong signature share of three is blamed, whatever is wrong with it, and nobody else is."""
    committee = Committee(3, 5, (1, 3, 4))
    shares = {i: committee.sign(i) for i in (1, 3, 4)}
    shares[3] = {"other share": shares[1], "not reduced": b"\xff" * 32, "empty": b"", "zero": bytes(32)}[cheat]
    with pytest.raises(PeerError) as raised:
        committee.aggregate(shares)
    assert (raised.value.code, raised.value.culprits) == ("signature.share", ("3",))


def test_cancelling_nonces_go_on_with_the_generator_and_name_the_cheat() -> None:
    """A signer who cancels the others' nonces cannot stop blame: the session goes on with R = G and its share fails."""
    committee = Committee(2, 3, (1, 2))
    honest = committee.nonces[1]
    committee.nonces[2] = b"".join(SECP256K1.mult_public(-1, half) for half in (honest[:33], honest[33:]))
    assert aggregate_nonces(committee.nonces) == INFINITY + INFINITY
    shares = {1: committee.sign(1), 2: b"\x01" * 32}
    with pytest.raises(PeerError) as raised:
        committee.aggregate(shares)
    assert raised.value.culprits == ("2",)


def test_a_nonce_pair_signs_once() -> None:
    """The pair is spent by its first use, failed uses included, and by dropping."""
    committee = Committee(2, 3, (1, 2))
    committee.sign(1)
    with pytest.raises(RefusedError) as raised:
        committee.sign(1)
    assert raised.value.code == "nonce.spent"
    with pytest.raises(CallerError):
        committee.sign(2, aggregate_nonce=b"")
    with pytest.raises(RefusedError):
        committee.sign(2)
    pair, _ = NonceSource().commit()
    pair.drop()
    pair.drop()
    with pytest.raises(RefusedError):
        pair.spend()


def test_nonces_differ_and_are_wiped_after_signing() -> None:
    """Fresh pairs never repeat, and after a signature the nonces' memory is zero."""
    source = NonceSource()
    assert len({source.commit()[1] for _ in range(32)}) == 32
    committee = Committee(2, 2, (1, 2))
    first, second = committee.pairs[1]._nonces or ()
    committee.sign(1)
    for nonce in (first, second):
        with pytest.raises(EnclaveError, match="wiped"):
            _ = nonce.p


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param(
            {"aggregate_nonce": (b"\x02" + (5).to_bytes(32, "big")) * 2},
            "nonce.invalid",
            id="aggregate nonce off the curve",
        ),
        pytest.param({"aggregate_nonce": bytes(65)}, "nonce.invalid", id="aggregate nonce short"),
        pytest.param({"tweaks": (Tweak(value=bytes(32), xonly=True),)}, "tweak.invalid", id="zero tweak"),
        pytest.param({"tweaks": (Tweak(value=b"\x01", xonly=True),)}, "tweak.invalid", id="short tweak"),
        pytest.param({"message": bytes(bip340.MESSAGE_BYTES_MAX + 1)}, "message.size", id="long message"),
        pytest.param({"index": 3}, "signers.absent", id="not a signer"),
        pytest.param({"index": 2}, "share.mismatch", id="another signer's index"),
    ],
)
def test_signing_refuses(changes: dict[str, Any], code: str) -> None:
    """Each malformed input of a signer has its code."""
    with pytest.raises(CallerError) as raised:
        Committee(2, 3, (1, 2)).sign(1, **changes)
    assert raised.value.code == code


def test_relays_refuse_incomplete_sets() -> None:
    """Missing nonces, missing shares, no nonces at all, and a message too long for a nonce are refused."""
    committee = Committee(2, 3, (1, 2))
    shares = {i: committee.sign(i) for i in (1, 2)}
    with pytest.raises(CallerError) as raised:
        committee.aggregate({1: shares[1]})
    assert raised.value.code == "signers.shares"
    del committee.nonces[2]
    with pytest.raises(CallerError) as raised:
        committee.aggregate(shares)
    assert raised.value.code == "signers.shares"
    with pytest.raises(PeerError):
        aggregate_nonces({})
    with pytest.raises(CallerError) as raised:
        bip340.nonce_generate(Secret.random(), message=bytes(bip340.NONCE_MESSAGE_BYTES_MAX + 1))
    assert raised.value.code == "message.size"


def test_a_fault_while_signing_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a multiplication goes wrong, the share is checked, found wrong and withheld."""
    committee = Committee(2, 3, (1, 2))
    right = type(SECP256K1).weighted_total
    monkeypatch.setattr(
        type(SECP256K1), "weighted_total", lambda self, scalars, weights: right(self, scalars, (5, *weights[1:]))
    )
    with pytest.raises(AbortError):
        committee.sign(1)


def test_what_a_signer_says_r_is_is_believed_only_if_it_verifies() -> None:
    """The right R spares the work, a wrong or malformed one changes nothing, and bad shares are still named."""
    committee = Committee(2, 3, (1, 2))
    shares = {i: committee.sign(i) for i in (1, 2)}
    right = committee.aggregate(shares)
    terms = {"signers": committee.signers, "message": MESSAGE, "nonces": committee.nonces}
    point = open_session(committee.signers, MESSAGE, aggregate_nonces(committee.nonces)).nonce_point
    for claimed in (point, SECP256K1.base_mult_public(3), b"", bytes(33), b"\xff" * 33):
        assert bip340.aggregate(**terms, shares=shares, nonce_point=claimed) == right
    with pytest.raises(PeerError) as caught:
        bip340.aggregate(**terms, shares={**shares, 2: shares[1]}, nonce_point=point)
    assert caught.value.culprits == ("2",)
