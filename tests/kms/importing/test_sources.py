"""Keys as hex digits, their range, and the scalars that are shared in their place."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any

import coincurve
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)
from nacl.signing import SigningKey as NaclKey

from enclave.group.ed25519 import ED25519
from enclave.group.ed25519 import ORDER as ED25519_ORDER
from enclave.group.secp256k1 import ORDER as SECP256K1_ORDER
from enclave.imports.scalars import hmac_sha512, x25519_private, x25519_scalar
from enclave.secret import Secret, declassify
from enclave.threshold.montgomery import public_key_x25519
from enclave.threshold.p256 import ORDER as P256_ORDER
from kms.client.importing import (
    Curve,
    KeyMaterial,
    MaterialError,
    from_hex,
)


def code_of(call: Any, *arguments: Any, **named: Any) -> str:
    """The code of the MaterialError that a call raises."""
    with pytest.raises(MaterialError) as caught:
        call(*arguments, **named)
    return caught.value.code


# --- hex and its limits ----------------------------------------------------------------------------------


def public_of(curve: Curve, key: bytes) -> bytes:
    """The public key by libraries that the import does not use for it."""
    match curve:
        case Curve.ED25519:
            return bytes(NaclKey(key).verify_key)
        case Curve.X25519:
            return x25519.X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
        case Curve.SECP256K1:
            return coincurve.PrivateKey(key).public_key.format()
        case Curve.P256:
            private = ec.derive_private_key(int.from_bytes(key, "big"), ec.SECP256R1())
            return private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


@pytest.mark.parametrize("curve", list(Curve))
def test_hex_keys_keep_their_public_key(curve: Curve) -> None:
    """What is shared belongs to the public key that the owner knows, for random keys of every curve."""
    for _ in range(8):
        key = os.urandom(32)
        with from_hex(b" 0x" + key.hex().upper().encode() + b"\n", curve) as material:
            assert material.public_key == public_of(curve, key)
            assert (material.curve, material.source) == (curve, "hex")


@pytest.mark.parametrize(
    ("curve", "order"), [(Curve.SECP256K1, SECP256K1_ORDER), (Curve.P256, P256_ORDER)], ids=["secp256k1", "p256"]
)
def test_the_range_of_scalars(curve: Curve, order: int) -> None:
    """Zero, the order and above are no keys; one and order - 1 are."""
    for value in (0, order, order + 1, 2**256 - 1):
        assert code_of(from_hex, value.to_bytes(32, "big").hex().encode(), curve) == "client.import-scalar"
    for value in (1, order - 1):
        from_hex(value.to_bytes(32, "big").hex().encode(), curve).wipe()


def test_the_range_of_bare_ed25519_scalars() -> None:
    """A bare scalar is canonical and not zero; it has the public key of scalar times base."""
    for value in (0, ED25519_ORDER, ED25519_ORDER + 1, 2**255):
        text = value.to_bytes(32, "little").hex().encode()
        assert code_of(from_hex, text, Curve.ED25519, scalar=True) == "client.import-scalar"
    with from_hex((5).to_bytes(32, "little").hex().encode(), Curve.ED25519, scalar=True) as material:
        assert material.public_key == ED25519.base_mult_public(5)
    assert code_of(from_hex, b"01" * 32, Curve.SECP256K1, scalar=True) == "client.import-curve"


@pytest.mark.parametrize("text", [b"", b"0x", b"abc", b"zz" * 32, b"11" * 31, b"11" * 33, b"11 " * 32, b"\xff" * 64])
def test_what_is_no_hex_key(text: bytes) -> None:
    """Odd digits, other characters and other lengths."""
    assert code_of(from_hex, text, Curve.SECP256K1) == "client.import-form"


def test_ed25519_pairs_are_checked() -> None:
    """Seed and public key together: the second must be the first's."""
    seed = os.urandom(32)
    public = bytes(NaclKey(seed).verify_key)
    with from_hex((seed + public).hex().encode(), Curve.ED25519) as material:
        assert material.public_key == public
    assert code_of(from_hex, (seed + seed).hex().encode(), Curve.ED25519) == "client.import-public-key"
    assert code_of(from_hex, (seed + public).hex().encode(), Curve.SECP256K1) == "client.import-form"


def test_a_seed_that_never_was_is_not_kept() -> None:
    """Of an Ed25519 seed only the scalar stays: clamped SHA-512, reduced, which RFC 8032 calls s."""
    seed = bytes(range(32))
    with from_hex(seed.hex().encode(), Curve.ED25519) as material:
        clamped = bytearray(hashlib.sha512(seed).digest()[:32])
        clamped[0] &= 248
        clamped[31] = clamped[31] & 127 | 64
        assert declassify(material.secret) == (int.from_bytes(clamped, "little") % ED25519_ORDER).to_bytes(32, "little")


def test_x25519_keys_there_and_back() -> None:
    """An eighth is shared; from it a clamped key of the same public key is found, for either sign."""
    signs = set()
    for _ in range(24):
        key = bytearray(os.urandom(32))
        public = public_of(Curve.X25519, bytes(key))
        with from_hex(key.hex().encode(), Curve.X25519) as material:
            assert material.public_key == public
            with x25519_private(material.secret, public) as found:
                private = declassify(found)
        assert public_of(Curve.X25519, private) == public
        assert (private[0] & 7, private[31] >> 6) == (0, 1)
        key[0] &= 248
        key[31] = key[31] & 127 | 64
        signs.add(private == bytes(key))
    for _ in range(24):
        with ED25519.random_scalar() as scalar:
            public = public_key_x25519(ED25519.base_mult(scalar))
            with x25519_private(scalar, public) as found:
                assert public_of(Curve.X25519, declassify(found)) == public
                with x25519_scalar(found) as again:
                    signs.add(again.same(scalar))
    assert signs == {True, False}


def test_hmac_is_hmac() -> None:
    """Against the standard library, keys shorter than a block."""
    with hmac_sha512(b"Bitcoin seed", b"some", Secret.take(bytearray(b"thing"))) as made:
        assert declassify(made) == hmac.digest(b"Bitcoin seed", b"something", "sha512")


def test_material_says_nothing_of_its_secret() -> None:
    """Neither its text form nor that of an error holds a digit of the key."""
    key = os.urandom(32)
    with from_hex(key.hex().encode(), Curve.SECP256K1) as material:
        assert key.hex() not in repr(material)
        assert "<Secret>" in repr(material)
        assert isinstance(material, KeyMaterial)
    for text in (key.hex()[:62], key.hex() + "zz"):
        with pytest.raises(MaterialError) as caught:
            from_hex(text.encode(), Curve.SECP256K1)
        assert key.hex()[:8] not in f"{caught.value} {caught.value.detail} {caught.value.hint}"
