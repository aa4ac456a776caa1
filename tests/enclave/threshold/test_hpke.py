"""Threshold decryption: standard HPKE senders, standard figures, one answer to every bad ciphertext."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hpke as stock
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.errors import CallerError, PeerError
from enclave.group import ED25519
from enclave.secret import Secret
from enclave.threshold import hpke, shamir, vss
from enclave.threshold.hpke_schedule import key_schedule, shared_secret
from tests.enclave.threshold.support import VECTORS, bad_points, dealt

IDS = (1, 3, 5)
FIELD = 2**255 - 19

RFC_9180: dict[str, Any] = {
    # Appendix A.1.1, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
    "kem_id": 32,
    "kdf_id": 1,
    "aead_id": 1,
    "info": "4f6465206f6e2061204772656369616e2055726e",
    "skRm": "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
    "pkRm": "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
    "enc": "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
    "shared_secret": "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc",
    "key": "4531685d41d65f03dc48f6b8302c05b0",
    "base_nonce": "56d890e5accaaf011cff4b7d",
    "encryptions": [
        {
            "aad": "436f756e742d30",
            "ct": "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
            "nonce": "56d890e5accaaf011cff4b7d",
            "pt": "4265617574792069732074727574682c20747275746820626561757479",
        }
    ],
}


def published() -> Iterator[dict[str, Any]]:
    """The transcribed figure, then every base-mode X25519 and SHA-256 entry of the published file, if present."""
    yield RFC_9180
    path: Path = VECTORS / "hpke_rfc9180" / "hpke-base-x25519-p256.json"
    if path.exists():
        for entry in json.loads(path.read_text()):
            if entry["kem_id"] == 32 and entry["kdf_id"] == 1 and entry["aead_id"] in (1, 2, 3):
                yield entry


def imported(private: str) -> Secret:
    """The shared scalar of an existing X25519 key: its clamped value divided by the cofactor."""
    k = int.from_bytes(bytes.fromhex(private), "little")
    k = (k & ~7 & ~(1 << 255)) | (1 << 254)
    return ED25519.scalar_from_public(k // 8)


def three_of_five(secret: Secret) -> dict[int, Secret]:
    """A sharing of a given scalar."""
    return shamir.split(ED25519, secret, 3, range(1, 6))[0]


def dh(shares: dict[int, Secret], enc: bytes, ids: tuple[int, ...] = IDS) -> bytes:
    """Partials of some nodes, combined."""
    return hpke.combine({i: hpke.partial(shares[i], i, ids, enc) for i in ids})


@pytest.mark.parametrize(
    "entry", list(published()), ids=lambda entry: f"aead-{entry['aead_id']}-{len(entry['encryptions'])}"
)
def test_rfc_9180_figures_through_three_of_five(entry: dict[str, Any]) -> None:
    """Shared secret, key, nonce and plaintexts of the RFC, with the receiver's key held by five nodes."""
    secret = imported(entry["skRm"])
    public_key = hpke.public_key_x25519(ED25519.base_mult(secret))
    assert public_key.hex() == entry["pkRm"]
    enc, info, aead = bytes.fromhex(entry["enc"]), bytes.fromhex(entry["info"]), hpke.Aead(entry["aead_id"])
    result = dh(three_of_five(secret), enc)
    kem_secret = shared_secret(result, enc, public_key)
    assert kem_secret.hex() == entry["shared_secret"]
    key, nonce = key_schedule(kem_secret, info, aead)
    assert (key.hex(), nonce.hex()) == (entry["key"], entry["base_nonce"])
    for message in entry["encryptions"]:
        opened = aead.cipher(key).decrypt(
            bytes.fromhex(message["nonce"]), bytes.fromhex(message["ct"]), bytes.fromhex(message["aad"])
        )
        assert opened.hex() == message["pt"]
    first = entry["encryptions"][0]
    plaintext = hpke.open(
        result, enc, bytes.fromhex(first["ct"]), public_key, info, bytes.fromhex(first["aad"]), aead=aead
    )
    assert plaintext.hex() == first["pt"]


@given(st.binary(max_size=300), st.binary(max_size=60), st.sampled_from(list(hpke.Aead)), st.permutations(range(1, 6)))
@settings(max_examples=12, deadline=None)
def test_any_stock_sender_any_quorum(plaintext: bytes, info: bytes, aead: hpke.Aead, order: list[int]) -> None:
    """What a stock HPKE library seals to the public key, any three of five nodes open."""
    shares, commitments = dealt(ED25519, 5, 3)
    public_key = hpke.public_key_x25519(commitments[0])
    suite = stock.Suite(stock.KEM.X25519, stock.KDF.HKDF_SHA256, getattr(stock.AEAD, aead.name))
    sealed = suite.encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info=info)
    enc, ciphertext = sealed[: hpke.ENC_BYTES], sealed[hpke.ENC_BYTES :]
    ids = tuple(order[:3])
    assert hpke.open(dh(shares, enc, ids), enc, ciphertext, public_key, info, aead=aead) == plaintext


def test_seal_is_stock_hpke() -> None:
    """What `seal` makes, a stock receiver with an ordinary key opens."""
    receiver = X25519PrivateKey.generate()
    suite = stock.Suite(stock.KEM.X25519, stock.KDF.HKDF_SHA256, stock.AEAD.AES_256_GCM)
    sealed = hpke.seal(receiver.public_key().public_bytes_raw(), b"hello", b"info")
    assert suite.decrypt(sealed, receiver, info=b"info") == b"hello"
    for bad in (b"short", bytes(32)):
        with pytest.raises(CallerError):
            hpke.seal(bad, b"hello", b"info")


class Opening:
    """One key, one ciphertext, and the honest answer to it."""

    def __init__(self) -> None:
        self.shares, commitments = dealt(ED25519, 5, 3)
        self.commitments = commitments
        self.public_key = hpke.public_key_x25519(commitments[0])
        sealed = hpke.seal(self.public_key, b"secret", b"info")
        self.enc, self.ciphertext = sealed[:32], sealed[32:]
        self.dh = dh(self.shares, self.enc)

    def open(self, **changes: Any) -> bytes:
        """Open with something changed."""
        terms = {
            "dh": self.dh,
            "enc": self.enc,
            "ciphertext": self.ciphertext,
            "public_key": self.public_key,
            "info": b"info",
            **changes,
        }
        return hpke.open(**terms)


def test_every_bad_ciphertext_gets_the_same_answer() -> None:
    """Whatever is wrong, the error is one code and one text, so that nothing can be learnt from it."""
    case = Opening()
    assert case.open() == b"secret"
    flipped = bytes([case.ciphertext[0] ^ 1]) + case.ciphertext[1:]
    answers = set()
    for changes in (
        {"ciphertext": flipped},
        {"ciphertext": case.ciphertext[:-1]},
        {"ciphertext": case.ciphertext[:15]},
        {"ciphertext": b""},
        {"info": b"other"},
        {"aad": b"other"},
        {"aead": hpke.Aead.CHACHA20_POLY1305},
        {"enc": case.dh},
        {"enc": case.enc[:31]},
        {"public_key": case.enc},
        {"dh": bytes(32)},
        {"dh": case.dh[:31]},
        {"dh": b""},
    ):
        with pytest.raises(CallerError) as caught:
            case.open(**changes)
        answers.add((caught.value.code, caught.value.detail))
    assert answers == {("decrypt.failed", "ciphertext does not open")}


def test_a_zero_result_never_opens() -> None:
    """A ciphertext made for the all-zero Diffie-Hellman value is refused although its tag is right."""
    case = Opening()
    key, nonce = key_schedule(shared_secret(bytes(32), case.enc, case.public_key), b"info", hpke.Aead.AES_256_GCM)
    forged = hpke.Aead.AES_256_GCM.cipher(key).encrypt(nonce, b"known to everyone", b"")
    with pytest.raises(CallerError) as caught:
        case.open(dh=bytes(32), ciphertext=forged)
    assert caught.value.code == "decrypt.failed"


@pytest.mark.parametrize("wrong", ["enc", "dh"])
def test_values_of_another_length_never_open(wrong: str) -> None:
    """A ciphertext made to fit a shortened encapsulated key or result is refused although its tag is right."""
    case = Opening()
    terms = {"enc": case.enc, "dh": case.dh}
    terms[wrong] = terms[wrong][:31]
    secret = shared_secret(terms["dh"], terms["enc"], case.public_key)
    key, nonce = key_schedule(secret, b"info", hpke.Aead.AES_256_GCM)
    forged = hpke.Aead.AES_256_GCM.cipher(key).encrypt(nonce, b"fits", b"")
    with pytest.raises(CallerError) as caught:
        case.open(**terms, ciphertext=forged)
    assert caught.value.code == "decrypt.failed"


def _is_on_curve(u: int) -> bool:
    rhs = (pow(u, 3, FIELD) + 486662 * pow(u, 2, FIELD) + u) % FIELD
    return pow(rhs, (FIELD - 1) // 2, FIELD) in (0, 1)


ORDER_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"
BAD_ENCODINGS = {
    "zero": bytes(32),
    "one": b"\1" + bytes(31),
    "order eight": bytes.fromhex(ORDER_8),
    "minus one": (FIELD - 1).to_bytes(32, "little"),
    "zero, not reduced": FIELD.to_bytes(32, "little"),
    "nine, not reduced": (FIELD + 9).to_bytes(32, "little"),
    "top bit set": (9 + 2**255).to_bytes(32, "little"),
    "on the twist": next(u for u in range(2, 50) if not _is_on_curve(u)).to_bytes(32, "little"),
    "short": b"\x09" + bytes(30),
    "long": b"\x09" + bytes(32),
    "empty": b"",
}


@pytest.mark.parametrize("enc", BAD_ENCODINGS.values(), ids=BAD_ENCODINGS.keys())
def test_encodings_no_sender_makes_are_refused(enc: bytes) -> None:
    """Twist points, small orders and non-canonical encodings get the same answer as any bad ciphertext."""
    share = ED25519.random_scalar()
    for call in (hpke.partial, hpke.prove_partial):
        with pytest.raises(CallerError) as caught:
            call(share, 1, IDS, enc)
        assert (caught.value.code, caught.value.detail) == ("decrypt.failed", "ciphertext does not open")


def test_a_node_outside_the_set_gives_no_partial() -> None:
    """A partial is weighted for one set of nodes, and only a member of it can make one."""
    with pytest.raises(CallerError) as caught:
        hpke.partial(ED25519.random_scalar(), 2, IDS, b"\x09" + bytes(31))
    assert caught.value.code == "share.index"


def test_a_partial_that_is_no_point_names_its_node() -> None:
    """Every encoding that is no point of the group is put on the node that sent it."""
    case = Opening()
    partials = {i: hpke.partial(case.shares[i], i, IDS, case.enc) for i in IDS}
    for bad in bad_points(ED25519):
        with pytest.raises(PeerError) as caught:
            hpke.combine({**partials, 3: bad})
        assert (caught.value.code, caught.value.culprits) == ("partial.invalid", ("3",))


def test_partials_that_cancel_do_not_open() -> None:
    """A sum at the identity is a failed decryption."""
    point = ED25519.base_mult_public(5)
    minus = ED25519.base_mult_public(-5)
    with pytest.raises(CallerError) as caught:
        hpke.combine({1: point, 2: minus})
    assert caught.value.code == "decrypt.failed"


def test_a_wrong_partial_is_found_by_its_proof() -> None:
    """After a failed opening each node proves its partial; the liar cannot."""
    case = Opening()
    partials = {i: hpke.partial(case.shares[i], i, IDS, case.enc) for i in IDS}
    partials[3] = hpke.partial(ED25519.random_scalar(), 3, IDS, case.enc)
    with pytest.raises(CallerError):
        case.open(dh=hpke.combine(partials))
    for i in IDS:
        proof = hpke.prove_partial(case.shares[i], i, IDS, case.enc)
        terms: dict[str, Any] = {
            "index": i,
            "ids": IDS,
            "enc": case.enc,
            "public_share": vss.public_share(ED25519, case.commitments, i),
        }
        if i != 3:
            hpke.verify_partial(partials[i], **terms, proof=proof)
        for point, evidence, changes in (
            (partials[3], proof if i == 3 else proof[:63], {}),
            (partials[i], bytes(64), {}),
            (partials[i], proof[32:] + proof[:32], {}),
            (bad_points(ED25519)[0], proof, {}),
            (partials[i], proof, {"index": 3 if i != 3 else 1}),
            (partials[i], proof, {"enc": b"\x09" + bytes(31)}),
            (partials[i], proof, {"ids": (1, 2, 3, 5)}),
        ):
            with pytest.raises(PeerError) as caught:
                hpke.verify_partial(point, **{**terms, **changes}, proof=evidence)
            assert caught.value.code == "partial.invalid"


def test_two_shares_too_few_do_not_open() -> None:
    """Two nodes of a three-of-five key cannot decrypt."""
    case = Opening()
    with pytest.raises(CallerError):
        case.open(dh=dh(case.shares, case.enc, (1, 3)))


def test_no_public_key_from_a_bad_group_key() -> None:
    """A group key outside the prime-order subgroup has no X25519 form."""
    for bad in bad_points(ED25519):
        with pytest.raises(CallerError):
            hpke.public_key_x25519(bad)


def test_an_existing_key_can_be_imported() -> None:
    """A clamped X25519 key divided by eight keeps its public key when shared."""
    private = X25519PrivateKey.generate()
    secret = imported(private.private_bytes_raw().hex())
    assert hpke.public_key_x25519(ED25519.base_mult(secret)) == private.public_key().public_bytes_raw()
