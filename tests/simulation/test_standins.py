"""The stand-ins obey the laws of what they stand for: a group of prime order, signatures, quotes."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError

from attestation.errors import EvidenceError
from attestation.roots import Roots
from enclave.errors import AbortError, CallerError
from enclave.group.ed25519 import ED25519, ORDER
from enclave.tee import TeeError
from enclave.threshold.frost_binding import challenge
from tests.simulation.quotes import StandInTee, StandInVerifier
from tests.simulation.standins import StandInGroup, StandInKey, StandInPublicKey, frost_verifies, sign_open

SCALARS = st.integers(1, ORDER - 1)
GROUP = StandInGroup()


@given(SCALARS, SCALARS, SCALARS)
def test_the_group_is_a_group_of_prime_order(a: int, b: int, c: int) -> None:
    """Addition is associative and commutative, scalars distribute, L times anything is nothing."""
    x, y, z = (GROUP.base_mult_public(k) for k in (a, b, c))
    try:
        assert GROUP.point_add(x, y) == GROUP.point_add(y, x) == GROUP.base_mult_public(a + b)
        assert GROUP.point_add(GROUP.point_add(x, y), z) == GROUP.point_add(x, GROUP.point_add(y, z))
        assert GROUP.point_sub(GROUP.point_add(x, y), y) == x
    except AbortError:
        assert 0 in ((a + b) % ORDER, (a + b + c) % ORDER, (b + c) % ORDER)
    assert GROUP.mult_public(b, x) == GROUP.mult_public(a, y) == GROUP.base_mult_public(a * b)
    with pytest.raises(AbortError):
        GROUP.mult_public(ORDER, x)


@given(SCALARS, SCALARS)
def test_secret_scalars_multiply_as_public_ones(a: int, b: int) -> None:
    """The functions on secrets agree with those on integers; the scalars themselves are the production ones."""
    with ED25519.scalar_from_public(a) as secret:
        assert GROUP.base_mult(secret) == GROUP.base_mult_public(a)
        assert GROUP.mult(secret, GROUP.base_mult_public(b)) == GROUP.base_mult_public(a * b)


@given(st.lists(SCALARS, min_size=1, max_size=4), st.integers(1, 9), st.booleans())
def test_polynomials_of_points_agree_with_those_of_scalars(coefficients: list[int], x: int, through_zero: bool) -> None:
    """Evaluating points is evaluating their logarithms, one by one and as a row."""
    points = [GROUP.base_mult_public(k) for k in coefficients]
    value = sum(k * x**power for power, k in enumerate(coefficients, start=1 if through_zero else 0))
    if value % ORDER:
        assert GROUP.evaluate_points(points, x, through_zero=through_zero) == GROUP.base_mult_public(value)
        row = GROUP.evaluate_points_to(points, x, through_zero=through_zero)
        assert row[-1] == GROUP.base_mult_public(value)
    assert GROUP.combination((k, point) for k, point in zip([3], points, strict=False)) == GROUP.mult_public(
        3, points[0]
    )


@pytest.mark.parametrize(
    "point", [b"", bytes(31), bytes(32), bytes(33), b"\xff" * 32, ORDER.to_bytes(32, "little")], ids=range(6)
)
def test_no_other_bytes_are_points(point: bytes) -> None:
    """The identity, unreduced and misshapen encodings are refused as on the curve."""
    with pytest.raises(CallerError) as refused:
        GROUP.validate_point(point)
    assert refused.value.code == "point.invalid"


@given(SCALARS, SCALARS, st.binary(max_size=64), st.integers(0, 511))
def test_the_schnorr_equation_holds_or_fails(x: int, r: int, message: bytes, bit: int) -> None:
    """A signature by the key verifies; with any bit changed, or for another message, it does not."""
    key, nonce = GROUP.base_mult_public(x), GROUP.base_mult_public(r)
    z = (r + challenge(nonce, key, message) * x) % ORDER
    signature = nonce + z.to_bytes(32, "little")
    assert frost_verifies(key, message, signature)
    assert not frost_verifies(key, message + b"!", signature)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    assert not frost_verifies(key, message, bytes(changed))


def test_a_signature_is_of_one_key_and_one_message() -> None:
    """Another key, another message, a flipped bit: each alone is refused."""
    key, other = StandInKey.generate(), StandInKey.generate()
    public = key.public_key().public_bytes_raw()
    signature = key.sign(b"message")
    assert sign_open(signature + b"message", public) == b"message"
    StandInPublicKey(public).verify(signature, b"message")
    for wrong in (signature + b"massage", bytes([signature[0] ^ 1]) + signature[1:] + b"message"):
        with pytest.raises(BadSignatureError):
            sign_open(wrong, public)
    with pytest.raises(BadSignatureError):
        sign_open(signature + b"message", other.public_key().public_bytes_raw())
    with pytest.raises(InvalidSignature):
        StandInPublicKey(public).verify(other.sign(b"message"), b"message")


def test_unknown_keys_are_verified_for_real() -> None:
    """A key that is no stand-in counts by its real signature, so that nothing passes by being unknown."""
    real = Ed25519PrivateKey.generate()
    public = real.public_key().public_bytes_raw()
    assert sign_open(real.sign(b"message") + b"message", public) == b"message"
    with pytest.raises(BadSignatureError):
        sign_open(real.sign(b"message") + b"massage", public)


def test_quotes_are_made_by_platforms_only() -> None:
    """A quote verifies, says what was measured, and fails with any byte changed."""
    tee = StandInTee(b"p" * 16, mrtd=b"m" * 48, mrconfigid=b"c" * 48)
    verifier = StandInVerifier(Roots(anchors=()))
    quote = tee.quote(b"r" * 64)
    claims = verifier.verify(quote, now=1)
    assert (claims.report_data, claims.measurements["mrtd"]) == (b"r" * 64, (b"m" * 48).hex())
    for at in range(len(quote)):
        changed = bytearray(quote)
        changed[at] ^= 1
        with pytest.raises(EvidenceError):
            verifier.verify(bytes(changed), now=1)


def test_sealing_keys_belong_to_machine_and_code() -> None:
    """Another machine or another measurement gets another key; a platform that cannot seal gives none."""
    same: dict[str, Any] = {"mrtd": b"m" * 48, "mrconfigid": b"c" * 48}
    with StandInTee(b"p" * 16, **same).sealing_key("a") as key:
        assert StandInTee(b"p" * 16, **same).sealing_key("a").same(key)
        assert not StandInTee(b"q" * 16, **same).sealing_key("a").same(key)
        assert not StandInTee(b"p" * 16, mrtd=b"n" * 48, mrconfigid=b"c" * 48).sealing_key("a").same(key)
        assert not StandInTee(b"p" * 16, **same).sealing_key("b").same(key)
    with pytest.raises(TeeError):
        StandInTee(b"p" * 16, **same, can_seal=False).sealing_key("a")
