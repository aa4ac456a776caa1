"""What is particular to edwards25519: the subgroup, non-canonical encodings, and RFC 8032 from our own pieces."""

from __future__ import annotations

from pathlib import Path

import pytest

from enclave.derive import sha512
from enclave.errors import AbortError, CallerError
from enclave.group.ed25519 import ED25519, ORDER
from enclave.secret import Secret
from tests.enclave.group_oracle import EdwardsOracle

ORACLE = EdwardsOracle()
VECTORS = Path(__file__).parents[2] / "../shared/vectors/crypto/ed25519_rfc8032/sign.input"

# The eight torsion points of the curve and their non-canonical spellings (order 1, 2, 4, 8).
SMALL_ORDER = [
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
]
NON_CANONICAL = [
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000080",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
]
MIXED_ORDER = [ORACLE.sum(ORACLE.mult(7, ORACLE.base), torsion) for torsion in SMALL_ORDER[1:]]
OFF_CURVE = [(2).to_bytes(32, "little")]


@pytest.mark.parametrize("point", SMALL_ORDER + NON_CANONICAL + MIXED_ORDER + OFF_CURVE, ids=bytes.hex)
def test_points_outside_the_prime_order_subgroup_are_refused(point: bytes) -> None:
    """Torsion, mixed order, non-canonical and off-curve bytes never pass validation nor meet a scalar."""
    eight = ED25519.scalar_from_public(8)
    for entry in (
        lambda: ED25519.validate_point(point),
        lambda: ED25519.mult(eight, point),
        lambda: ED25519.mult_public(8, point),
    ):
        with pytest.raises(CallerError) as raised:
            entry()
        assert raised.value.code == "point.invalid"


def test_mixed_order_points_are_on_the_curve() -> None:
    """The mixed-order cases above fail for their subgroup only: each decodes, and times 8 it is a good point."""
    for point in MIXED_ORDER:
        assert ORACLE.encode(ORACLE.decode(point)) == point
        ED25519.validate_point(ORACLE.mult(8, point))


def test_adding_clears_the_cofactor_of_any_curve_point() -> None:
    """Three doublings by `point_add` take a mixed-order point into the subgroup, as threshold decryption needs."""
    point = MIXED_ORDER[3]
    for _ in range(3):
        point = ED25519.point_add(point, point)
    assert point == ORACLE.mult(56, ORACLE.base)
    ED25519.validate_point(point)
    with pytest.raises(AbortError):
        ED25519.point_add(SMALL_ORDER[1], SMALL_ORDER[1])


def test_montgomery_form_is_the_birational_image() -> None:
    """u = (1 + y) / (1 - y) (RFC 7748 section 4.1), and bytes that are no point are refused."""
    point = ORACLE.mult(12345, ORACLE.base)
    y = ORACLE.decode(point)[1]
    u = (1 + y) * pow(1 - y, -1, ORACLE.p) % ORACLE.p
    assert ED25519.to_x25519(point) == u.to_bytes(32, "little")
    for bad in (*OFF_CURVE, b"", SMALL_ORDER[0]):
        with pytest.raises(CallerError):
            ED25519.to_x25519(bad)


def test_signatures_from_our_pieces_equal_rfc8032() -> None:
    """Hash, clamp, reduce, multiply and add over our operations reproduce 1024 published keys and signatures."""
    if not VECTORS.exists():
        pytest.skip(f"vectors absent: {VECTORS.name}")
    lines = VECTORS.read_text().splitlines()
    assert len(lines) == 1024
    for line in lines:
        seed_public, public_hex, message_hex, signature_message = line.split(":")[:4]
        seed, public, message = bytes.fromhex(seed_public)[:32], bytes.fromhex(public_hex), bytes.fromhex(message_hex)
        expanded = sha512(Secret.take(bytearray(seed)))
        clamped = bytearray(ED25519.scalar_to_public_bytes(expanded.part(0, 32)))  # a test key, public by nature
        clamped[0] &= 248
        clamped[31] = clamped[31] & 127 | 64
        scalar = ED25519.scalar_from_wide(Secret.take(clamped + bytearray(32)))
        assert ED25519.base_mult(scalar) == public
        nonce = ED25519.scalar_from_wide(sha512(expanded.part(32, 32), message))
        R = ED25519.base_mult(nonce)
        challenge = int.from_bytes(_sha512(R + public + message), "little") % ORDER
        s = ED25519.add(nonce, ED25519.mul_public(scalar, challenge))
        assert R + ED25519.scalar_to_public_bytes(s) == bytes.fromhex(signature_message)[:64]


def _sha512(data: bytes) -> bytes:
    import hashlib

    return hashlib.sha512(data).digest()
