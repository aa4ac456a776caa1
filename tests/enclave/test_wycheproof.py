"""Wycheproof's and RFC 7748's cases against the functions a node really calls; the table is specs/vectors/README.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from enclave.derive import hkdf_sha256
from enclave.errors import CallerError
from enclave.group import ED25519, SECP256K1
from enclave.identity import is_signed
from enclave.secret import Secret, declassify
from enclave.signing_key import PublicKey
from enclave.threshold import frost, hpke, opening, p256
from enclave.threshold.hpke import Aead
from enclave.threshold.montgomery import to_montgomery

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors" / "crypto"


def path_of(name: str) -> Path:
    """A vector file, or a skip that says it is not there."""
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"published vectors {name} are not beside this checkout")
    return path


def cases(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(group, case) of a Wycheproof file."""
    for group in json.loads(path_of(f"wycheproof/{name}_test.json").read_text())["testGroups"]:
        for case in group["tests"]:
            yield group, case


def test_ed25519_signatures() -> None:
    """Peers' messages, agents' tokens and our own aggregated signatures: three verifiers, one answer, Wycheproof's."""
    count = 0
    for group, case in cases("ed25519"):
        key = bytes.fromhex(group["publicKey"]["pk"])
        message, signature, valid = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]), case["result"] == "valid"
        assert is_signed(key, signature, message) == valid, case["tcId"]
        assert PublicKey(algorithm="EdDSA", key=key).verify(message, signature) == valid, case["tcId"]
        assert frost._verifies(key, message, signature) == valid, case["tcId"]
        count += 1
    assert count == 151


@pytest.mark.parametrize(
    ("name", "algorithm", "total"),
    [("ecdsa_secp256r1_sha256_p1363", "ES256", 262), ("ecdsa_secp256k1_sha256_p1363", "ES256K", 252)],
)
def test_ecdsa_tokens(name: str, algorithm: str, total: int) -> None:
    """Agents' ECDSA keys: a raw signature of 64 bytes verifies exactly where Wycheproof says so."""
    count = 0
    for group, case in cases(name):
        raw = bytes.fromhex(group["publicKey"]["uncompressed"])
        key = PublicKey.parse(algorithm, bytes([2 + (raw[-1] & 1)]) + raw[1:33])
        found = key.verify(bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
        assert found == (case["result"] == "valid"), case["tcId"]
        count += 1
    assert count == total


@pytest.mark.parametrize(("name", "total"), [("ecdsa_secp256r1_sha256_p1363", 262), ("ecdsa_secp256r1_sha256", 484)])
def test_p256_signatures(name: str, total: int) -> None:
    """Keys of the cluster: valid signatures verify in their low-s form and in no other, invalid ones never."""
    low = high = count = 0
    for group, case in cases(name):
        raw = bytes.fromhex(group["publicKey"]["uncompressed"])
        point, digest = bytes([2 + (raw[-1] & 1)]) + raw[1:33], hashlib.sha256(bytes.fromhex(case["msg"])).digest()
        signature, count = bytes.fromhex(case["sig"]), count + 1
        if not name.endswith("p1363"):
            if case["result"] != "valid":
                continue  # mostly about DER, which nothing here reads
            r, s = decode_dss_signature(signature)
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        expected = case["result"] == "valid"
        s = int.from_bytes(signature[32:], "big")
        is_low = s <= p256.ORDER // 2
        assert p256.verifies(point, signature, digest) == (expected and is_low), case["tcId"]
        if expected and not is_low:
            twin = signature[:32] + (p256.ORDER - s).to_bytes(32, "big")
            assert p256.verifies(point, twin, digest), case["tcId"]
        low, high = low + (expected and is_low), high + (expected and not is_low)
    assert count == total
    assert low > 60
    assert high > 60


def imported(private: bytes) -> Secret:
    """An X25519 key as the scalar a group would share: clamped, divided by the cofactor (test keys are public)."""
    clamped = bytearray(private)
    clamped[0] &= 248
    clamped[31] = clamped[31] & 127 | 64
    scalar = int.from_bytes(clamped, "little") * pow(8, -1, ED25519.order)
    return ED25519.scalar_from_public(scalar)


def exchanged(private: bytes, public: bytes) -> bytes:
    """X25519 as the holders of a shared key answer it, with one holder."""
    return to_montgomery(hpke.partial(imported(private), 1, (1,), public))


REFUSED = {"Twist", "LowOrderPublic", "NonCanonicalPublic", "ZeroSharedSecret"}
"""What no standard sender makes: off our curve, of small order, or a second spelling."""


def test_x25519_through_partial_decryption() -> None:
    """Every public key on the curve gives the published secret, every other is `decrypt.failed`."""
    answered = refused = 0
    for _, case in cases("x25519"):
        private, public = bytes.fromhex(case["private"]), bytes.fromhex(case["public"])
        if REFUSED & set(case["flags"]):
            with pytest.raises(CallerError) as caught:
                exchanged(private, public)
            assert caught.value.code == "decrypt.failed", case["tcId"]
            refused += 1
        else:
            assert exchanged(private, public).hex() == case["shared"], case["tcId"]
            answered += 1
    assert (answered, refused) == (264, 254)


def test_rfc_7748_through_partial_decryption() -> None:
    """The published scalar multiplications, where the u-coordinate is canonical and on the curve."""
    text = path_of("x25519/rfc7748.txt").read_text()
    fields = [line.split(" = ")[1] for line in text.splitlines() if line.startswith(("INPUT", "OUTPUT"))]
    entries = list(zip(*[iter(map(bytes.fromhex, fields))] * 3, strict=True))
    answered = 0
    for private, public, shared in entries:
        try:
            found = exchanged(private, public)
        except CallerError:
            assert public[31] & 128 or not on_curve(public)
            continue
        assert found == shared
        answered += 1
    assert answered >= 2


def on_curve(public: bytes) -> bool:
    """Whether u^3 + 486662 u^2 + u is a square."""
    p = 2**255 - 19
    u = int.from_bytes(public, "little") % p
    return pow(u**3 + 486662 * u * u + u, (p - 1) // 2, p) == 1


@pytest.mark.parametrize(
    ("name", "suites", "total"),
    [
        ("aes_gcm", {128: Aead.AES_128_GCM, 256: Aead.AES_256_GCM}, 133),
        ("chacha20_poly1305", {256: Aead.CHACHA20_POLY1305}, 316),
    ],
)
def test_aeads(name: str, suites: dict[int, Aead], total: int) -> None:
    """The AEADs of HPKE, with the nonces of 96 bits they are used with: sealing, opening, refusing."""
    count = 0
    for group, case in cases(name):
        if group["ivSize"] != 96 or group["keySize"] not in suites:
            continue
        cipher = suites[group["keySize"]].cipher(bytes.fromhex(case["key"]))
        nonce, aad, message = (bytes.fromhex(case[field]) for field in ("iv", "aad", "msg"))
        sealed = bytes.fromhex(case["ct"] + case["tag"])
        if case["result"] == "valid":
            assert cipher.encrypt(nonce, message, aad) == sealed, case["tcId"]
            assert cipher.decrypt(nonce, sealed, aad) == message, case["tcId"]
        else:
            with pytest.raises(InvalidTag):
                cipher.decrypt(nonce, sealed, aad)
        count += 1
    assert count == total


def test_hkdf_in_the_arena() -> None:
    """HKDF-SHA256 from secret to secret gives the published keys; a length beyond 255 hashes is refused."""
    count = 0
    for _, case in cases("hkdf_sha256"):
        with Secret.take(bytearray.fromhex(case["ikm"])) as key:
            salt, info = bytes.fromhex(case["salt"]), bytes.fromhex(case["info"])
            if case["result"] == "valid":
                assert declassify(hkdf_sha256(key, salt=salt, info=info, size=case["size"])).hex() == case["okm"]
            else:
                with pytest.raises(ValueError, match="larger"):
                    hkdf_sha256(key, salt=salt, info=info, size=case["size"])
        count += 1
    assert count == 86


def test_hmac_in_the_arena() -> None:
    """The key schedule's HMAC-SHA256 from secret to secret gives the published tags, cut to their length."""
    count = 0
    for group, case in cases("hmac_sha256"):
        with (
            Secret.take(bytearray.fromhex(case["key"])) as key,
            opening._keyed_hash(key, bytes.fromhex(case["msg"])) as tag,
        ):
            found = declassify(tag).hex()[: group["tagSize"] // 4]
        assert (found == case["tag"]) == (case["result"] == "valid"), case["tcId"]
        count += 1
    assert count == 174


@pytest.mark.parametrize(("name", "low", "high"), [("_bitcoin", 162, 0), ("", 96, 72)], ids=["bitcoin", "plain"])
def test_secp256k1_signatures_in_der(name: str, low: int, high: int) -> None:
    """Valid DER signatures verify once their numbers are written as 64 bytes, which is our form, if s is low."""
    found = {True: 0, False: 0}
    for group, case in cases(f"ecdsa_secp256k1_sha256{name}"):
        raw = bytes.fromhex(group["publicKey"]["uncompressed"])
        point = bytes([2 + (raw[-1] & 1)]) + raw[1:33]
        if case["result"] != "valid":
            continue
        r, s = decode_dss_signature(bytes.fromhex(case["sig"]))
        digest, is_low = hashlib.sha256(bytes.fromhex(case["msg"])).digest(), s <= SECP256K1.order // 2
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        assert SECP256K1.ecdsa_verify(point, signature, digest) == is_low, case["tcId"]
        found[is_low] += 1
    assert (found[True], found[False]) == (low, high)
