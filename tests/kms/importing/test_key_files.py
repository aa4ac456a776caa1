"""Keystores, PEM and Solana files: published vectors, other programs' files, and what is refused."""

from __future__ import annotations

import json
import os
from typing import Any

import eth_keyfile
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from eth_account import Account
from solders.keypair import Keypair

from enclave.group.ed25519 import ED25519
from enclave.secret import Secret, declassify
from kms.client.importing import (
    Curve,
    from_keystore,
    from_pem,
    from_solana_file,
)
from kms.client.importing.keystore import MEMORY_BYTES_MAX, keystore_of
from tests.kms.importing.test_sources import code_of, public_of

# --- files -----------------------------------------------------------------------------------------------

PRIVATE = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
PBKDF2: dict[str, Any] = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
SCRYPT: dict[str, Any] = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
        "kdf": "scrypt",
        "kdfparams": {
            "dklen": 32,
            "n": 262144,
            "p": 8,
            "r": 1,
            "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
        },
        "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
"""The test vectors of the Web3 Secret Storage definition, password `testpassword`."""


@pytest.mark.parametrize("vector", [PBKDF2, SCRYPT], ids=["pbkdf2", "scrypt"])
def test_keystore_vectors(vector: dict[str, Any]) -> None:
    """The published files open to the published key."""
    with from_keystore(json.dumps(vector).encode(), b"testpassword") as material:
        assert declassify(material.secret).hex() == PRIVATE


def small_keystore(password: bytes = b"correct horse") -> tuple[bytes, dict[str, Any]]:
    """A key, and a file that another library wrote with a cheap cost."""
    key = os.urandom(32)
    return key, eth_keyfile.create_keyfile_json(key, password, kdf="scrypt", iterations=2)


def test_keystores_of_another_library() -> None:
    """eth-keyfile's files open here, ours open there, with the address in front."""
    key, written = small_keystore()
    with from_keystore(json.dumps(written).encode(), b"correct horse") as material:
        assert material.addresses("evm")["evm"] == Account.from_key(key).address
        ours = keystore_of(
            material.secret, b"battery staple", holds=None, address=material.addresses("evm")["evm"], n=2
        )
    assert eth_keyfile.decode_keyfile_json(ours, b"battery staple") == key
    assert ours["address"] == Account.from_key(key).address.lower()[2:]


@pytest.mark.parametrize("curve", [Curve.P256, Curve.X25519, Curve.ED25519])
def test_keystores_of_other_curves(curve: Curve) -> None:
    """The member `holdfast` says what a file holds, so that an export can be imported."""
    key = os.urandom(32)
    if curve is Curve.ED25519:
        holds, secret = {"curve": "ed25519", "form": "scalar"}, ED25519.random_scalar()
        public = ED25519.base_mult(secret)
    else:
        holds, secret = {"curve": str(curve), "form": "private"}, Secret.take(bytearray(key))
        public = public_of(curve, key)
    written = keystore_of(secret, b"correct horse", holds=holds, address=None, n=2)
    with from_keystore(json.dumps(written).encode(), b"correct horse") as material:
        assert (material.curve, material.public_key) == (curve, public)


def test_keystore_failures() -> None:
    """A wrong password, a changed byte, a foreign address, and costs that would stop the machine."""
    _, written = small_keystore()

    def failed(password: bytes = b"correct horse", **changes: Any) -> str:
        value = json.loads(json.dumps(written))
        for path, item in changes.items():
            *parents, name = path.split("__")
            place = value
            for parent in parents:
                place = place[parent]
            place[name] = item
        return code_of(from_keystore, json.dumps(value).encode(), password)

    assert failed(password=b"wrong horse") == "client.import-password"
    assert failed(crypto__ciphertext="00" * 32) == "client.import-password"
    assert failed(address="0x" + "11" * 20) == "client.import-address"
    for changes in (
        {"version": 4},
        {"crypto__kdf": "argon2"},
        {"crypto__cipher": "aes-256-gcm"},
        {"crypto__ciphertext": "00" * 31},
        {"crypto__cipherparams": {"iv": "zz" * 16}},
        {"crypto__kdfparams__n": 3},
        {"crypto__kdfparams__n": 1 << 24, "crypto__kdfparams__r": 8},
        {"crypto__kdfparams__p": 1000},
        {"crypto__kdfparams__dklen": 64},
        {"crypto__kdfparams__salt": ""},
        {"crypto": []},
        {"holdfast": {"curve": "p256", "form": "scalar"}},
        {"holdfast": {"curve": "p521", "form": "private"}},
    ):
        assert failed(**changes) == "client.import-form", changes
    assert code_of(from_keystore, b"not json", b"x") == "client.import-form"
    assert MEMORY_BYTES_MAX >= 256 << 20


def private_keys() -> dict[Curve, Any]:
    """A fresh key of each curve."""
    return {
        Curve.ED25519: Ed25519PrivateKey.generate(),
        Curve.X25519: x25519.X25519PrivateKey.generate(),
        Curve.P256: ec.generate_private_key(ec.SECP256R1()),
        Curve.SECP256K1: ec.generate_private_key(ec.SECP256K1()),
    }


def public_bytes(curve: Curve, key: Any) -> bytes:
    """The public key in our form, by the library that made it."""
    public = key.public_key()
    if curve in (Curve.P256, Curve.SECP256K1):
        return bytes(public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))
    return bytes(public.public_bytes_raw())


def pem(key: Any, encryption: KeySerializationEncryption, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    """The key as a file."""
    return bytes(key.private_bytes(Encoding.PEM, form, encryption))


@pytest.mark.parametrize("curve", list(Curve))
def test_pem_files(curve: Curve) -> None:
    """PKCS #8 plain and encrypted, SEC 1 where the curve has it; small private keys keep their leading zeros."""
    key = private_keys()[curve]
    forms = [(pem(key, NoEncryption()), None), (pem(key, BestAvailableEncryption(b"secret")), b"secret")]
    if curve in (Curve.P256, Curve.SECP256K1):
        forms.append((pem(key, NoEncryption(), PrivateFormat.TraditionalOpenSSL), None))
        forms.append((pem(key, BestAvailableEncryption(b"secret"), PrivateFormat.TraditionalOpenSSL), b"secret"))
        small = ec.derive_private_key(5, key.curve)
        with from_pem(pem(small, NoEncryption())) as material:
            assert declassify(material.secret) == (5).to_bytes(32, "big")
    for data, password in forms:
        with from_pem(data, password) as material:
            assert (material.curve, material.public_key) == (curve, public_bytes(curve, key))


def test_pem_failures() -> None:
    """Passwords missing, wrong and too many; other curves and algorithms; what is no key."""
    key = private_keys()[Curve.P256]
    plain, encrypted = pem(key, NoEncryption()), pem(key, BestAvailableEncryption(b"secret"))
    for data, password in ((encrypted, None), (encrypted, b"wrong"), (plain, b"secret")):
        assert code_of(from_pem, data, password) == "client.import-password"
    for other in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 1024)):
        assert code_of(from_pem, pem(other, NoEncryption())) == "client.import-curve"
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for data in (b"", b"hello", public, plain[:80] + plain[90:], b"-----BEGIN " + bytes(1 << 17)):
        assert code_of(from_pem, data) == "client.import-form"


def test_solana_files() -> None:
    """What solders writes; wrong lengths, numbers out of range, and a public key of another seed."""
    pair = Keypair()
    with from_solana_file(pair.to_json().encode()) as material:
        assert material.addresses("solana") == {"solana": str(pair.pubkey())}
    numbers = json.loads(pair.to_json())
    for wrong in (
        numbers[:63],
        [*numbers, 1],
        [256, *numbers[1:]],
        [-1, *numbers[1:]],
        [1.0, *numbers[1:]],
        {"a": 1},
        5,
    ):
        assert code_of(from_solana_file, json.dumps(wrong).encode()) == "client.import-form"
    assert code_of(from_solana_file, b"[1,") == "client.import-form"
    flipped = [*numbers[:63], numbers[63] ^ 1]
    assert code_of(from_solana_file, json.dumps(flipped).encode()) == "client.import-public-key"
