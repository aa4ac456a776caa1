"""What is particular to secp256k1: SEC 1 points, the ECDH route to points, and ECDSA against published vectors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from enclave.errors import AbortError, CallerError
from enclave.group.secp256k1 import ORDER, SECP256K1
from enclave.secret import Secret
from tests.enclave.group_oracle import WeierstrassOracle

ORACLE = WeierstrassOracle()
VECTORS = Path(__file__).parents[2] / "../shared/vectors/crypto"


def load(name: str) -> Any:
    """A vector file, or a skip with the reason."""
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"vectors absent: {name}")
    return json.loads(path.read_text())


def key(text: str) -> Secret:
    """A published private key as a secret."""
    return Secret.take(bytearray.fromhex(text))


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(b"\x02" + (5).to_bytes(32, "big"), id="off the curve"),
        pytest.param(b"\x04" + ORACLE.base[1:], id="uncompressed prefix on a compressed length"),
        pytest.param(b"\x00" + bytes(32), id="infinity"),
        pytest.param(b"\x02" + ORACLE.p.to_bytes(32, "big"), id="x equal to the field prime"),
        pytest.param(b"\x02" + (ORACLE.p + 1).to_bytes(32, "big"), id="x not reduced"),
        pytest.param(b"\x06" + ORACLE.base[1:], id="hybrid prefix"),
        pytest.param(ORACLE.base[1:], id="x only"),
    ],
)
def test_bad_points_are_refused(point: bytes) -> None:
    """Only canonical compressed points of the curve come in."""
    for entry in (
        lambda: SECP256K1.validate_point(point),
        lambda: SECP256K1.mult(SECP256K1.scalar_from_public(1), point),
        lambda: SECP256K1.mult_public(1, point),
        lambda: SECP256K1.ecdsa_verify(point, b"\x01" * 64, bytes(32)),
    ):
        with pytest.raises(CallerError) as raised:
            entry()
        assert raised.value.code == "point.invalid"


def test_published_points_agree() -> None:
    """Validity, sums and products of noble-secp256k1's point vectors."""
    vectors = load("rfc6979/noble_points.json")
    for case in vectors["valid"]["isPoint"]:
        point = bytes.fromhex(case["P"])
        if len(point) != 33:
            continue
        if case["expected"]:
            SECP256K1.validate_point(point)
        else:
            with pytest.raises(CallerError):
                SECP256K1.validate_point(point)
    for case in vectors["valid"]["pointAdd"]:
        P, Q = bytes.fromhex(case["P"]), bytes.fromhex(case["Q"])
        if len(P) != 33 or len(Q) != 33:
            continue
        if case["expected"] is None:
            with pytest.raises(AbortError):
                SECP256K1.point_add(P, Q)
        elif len(case["expected"]) == 66:
            assert SECP256K1.point_add(P, Q).hex() == case["expected"]
    for case in vectors["valid"]["pointMultiply"]:
        assert SECP256K1.mult(key(case["d"]), bytes.fromhex(case["P"])).hex() == case["expected"]
    for case in vectors["valid"]["pointFromScalar"]:
        if len(case["expected"]) == 66:
            assert SECP256K1.base_mult(key(case["d"])).hex() == case["expected"]


def test_secret_times_point_equals_wycheproof_ecdh() -> None:
    """The x-coordinate of our product is Wycheproof's shared secret, for every valid key in its file."""
    checked = 0
    for group in load("wycheproof/ecdh_secp256k1_test.json")["testGroups"]:
        for case in group["tests"]:
            public = bytes.fromhex(case["public"])
            if case["result"] != "valid" or len(public) != 88:
                continue
            point = ORACLE.encode((int.from_bytes(public[24:56], "big"), int.from_bytes(public[56:], "big")))
            scalar = int(case["private"], 16)
            product = SECP256K1.mult(key(f"{scalar:064x}"), point)
            assert product[1:].hex() == case["shared"]
            checked += 1
    assert checked > 400


def test_signatures_equal_rfc6979_vectors() -> None:
    """Deterministic low-s signatures equal the published ones, recover to their key, and verify."""
    cases = load("rfc6979/noble_ecdsa.json")["valid"]
    assert len(cases) > 2000
    for case in cases:
        digest, secret = bytes.fromhex(case["m"]), key(case["d"])
        signature, recovery_id = SECP256K1.ecdsa_sign_recoverable(secret, digest)
        assert signature.hex() == case["signature"]
        public = SECP256K1.base_mult(secret)
        assert SECP256K1.ecdsa_recover(signature, recovery_id, digest) == public
        assert SECP256K1.ecdsa_verify(public, signature, digest)


def test_nonces_equal_rfc6979_vectors() -> None:
    """The point of the published nonce is the one in the signature."""
    cases = load("rfc6979/noble_rfc6979.json")
    assert len(cases) == 10
    for case in cases:
        digest = hashlib.sha256(case["message"].encode()).digest()
        signature, _ = SECP256K1.ecdsa_sign_recoverable(key(case["d"]), digest)
        assert signature[:32] == SECP256K1.base_mult_public(int(case["k0"], 16))[1:]


def test_published_refusals_are_refused() -> None:
    """Private keys of zero and beyond the order do not sign; what is no point, number or digest does not verify."""
    invalid = load("rfc6979/noble_ecdsa.json")["invalid"]
    for case in invalid["sign"]:
        with pytest.raises((AbortError, CallerError)):
            SECP256K1.ecdsa_sign_recoverable(Secret.take(bytearray.fromhex(case["d"])), bytes.fromhex(case["m"]))
    assert len(invalid["verify"]) == 25
    for case in invalid["verify"]:
        point, signature, digest = (bytes.fromhex(case[name]) for name in ("Q", "signature", "m"))
        try:
            accepted = SECP256K1.ecdsa_verify(point, signature, digest)
        except CallerError:
            accepted = False
        assert not accepted, case["description"]


def test_verification_equals_wycheproof() -> None:
    """Every P1363 case: valid ones with low s verify, their high-s twins and all invalid ones do not."""
    low = high = 0
    for group in load("wycheproof/ecdsa_secp256k1_sha256_p1363_test.json")["testGroups"]:
        raw = bytes.fromhex(group["publicKey"]["uncompressed"])
        point = ORACLE.encode((int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big")))
        for case in group["tests"]:
            signature = bytes.fromhex(case["sig"])
            s_low = int.from_bytes(signature[32:], "big") <= ORDER // 2
            digest = hashlib.sha256(bytes.fromhex(case["msg"])).digest()
            expected = case["result"] == "valid" and s_low
            assert SECP256K1.ecdsa_verify(point, signature, digest) == expected, case
            low += expected
            high += case["result"] == "valid" and not s_low
    assert low > 50
    assert high > 50


def test_signatures_verify_in_openssl() -> None:
    """A second library accepts our signature and refuses it over another digest."""
    secret = SECP256K1.random_scalar()
    digest = hashlib.sha256(b"transfer").digest()
    signature, _ = SECP256K1.ecdsa_sign_recoverable(secret, digest)
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), SECP256K1.base_mult(secret))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    der = utils.encode_dss_signature(r, s)
    public.verify(der, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    assert not SECP256K1.ecdsa_verify(SECP256K1.base_mult(secret), signature, bytes(32))


def test_malformed_signatures_and_digests_are_refused() -> None:
    """Digest sizes, signature sizes, zero and overflowing halves, bad recovery ids and invalid keys raise or fail."""
    digest, one = bytes(31) + b"\x05", SECP256K1.scalar_from_public(1)
    signature, recovery_id = SECP256K1.ecdsa_sign_recoverable(one, digest)
    for bad_digest in (b"", digest[:31], digest + b"\0"):
        for entry in (
            lambda d=bad_digest: SECP256K1.ecdsa_sign_recoverable(one, d),
            lambda d=bad_digest: SECP256K1.ecdsa_recover(signature, recovery_id, d),
            lambda d=bad_digest: SECP256K1.ecdsa_verify(ORACLE.base, signature, d),
        ):
            with pytest.raises(CallerError) as raised:
                entry()
            assert raised.value.code == "digest.size"
    overflow = b"\xff" * 32
    for bad in (
        b"",
        signature[:63],
        signature + b"\0",
        overflow + signature[32:],
        signature[:32] + overflow,
        bytes(64),
    ):
        assert not SECP256K1.ecdsa_verify(ORACLE.base, bad, digest)
        with pytest.raises(CallerError) as raised:
            SECP256K1.ecdsa_recover(bad, recovery_id, digest)
        assert raised.value.code == "signature.invalid"
    for bad_id in (-1, 4, recovery_id ^ 2):
        with pytest.raises(CallerError):
            SECP256K1.ecdsa_recover(signature, bad_id, digest)
    for bad_key in (Secret.zero(32), Secret.take(bytearray(ORDER.to_bytes(32, "big")))):
        with pytest.raises(AbortError):
            SECP256K1.ecdsa_sign_recoverable(bad_key, digest)
        with pytest.raises(AbortError):
            SECP256K1.base_mult(bad_key)


def test_unreduced_scalars_abort() -> None:
    """libsecp256k1 refuses scalars at or above the order instead of reducing them: we abort."""
    one, beyond = SECP256K1.scalar_from_public(1), Secret.take(bytearray((ORDER + 1).to_bytes(32, "big")))
    for operation in (
        lambda: SECP256K1.add(one, beyond),
        lambda: SECP256K1.add(beyond, one),
        lambda: SECP256K1.mul(one, beyond),
        lambda: SECP256K1.negate(beyond),
        lambda: SECP256K1.mult(beyond, ORACLE.base),
    ):
        with pytest.raises(AbortError):
            operation()


def test_results_survive_randomisation() -> None:
    """Blinding the context anew changes no result."""
    secret = SECP256K1.random_scalar()
    before = SECP256K1.base_mult(secret)
    SECP256K1.randomize()
    assert SECP256K1.base_mult(secret) == before
