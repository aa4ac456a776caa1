"""Where imported keys come from: published vectors, other people's libraries, and every way to mistype one."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import coincurve
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
from mnemonic import Mnemonic
from nacl.signing import SigningKey as NaclKey
from shamir_mnemonic import generate_mnemonics
from solders.keypair import Keypair

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
    from_bip39,
    from_hex,
    from_keystore,
    from_pem,
    from_slip39,
    from_solana_file,
)
from kms.client.importing import bip39 as bip39_module
from kms.client.importing.bip32 import derive, parse_path
from kms.client.importing.keystore import MEMORY_BYTES_MAX, keystore_of

SLIP39 = Path(__file__).parents[4] / "shared" / "vectors" / "crypto" / "slip39" / "vectors.json"
ABOUT = "abandon " * 11 + "about"


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


# --- mnemonics -------------------------------------------------------------------------------------------

BIP39 = [
    (
        ABOUT,
        "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b"
        "2f001698e7463b04",
    ),
    (
        "legal winner thank year wave sausage worth useful legal winner thank yellow",
        "2e8905819b8723fe2c1d161860e5ee1830318dbf49a83bd451cfb8440c28bd6fa457fe1296106559a3c80937a1c1069be3a3a5bd381ee626"
        "0e8d9739fce1f607",
    ),
    (
        "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
        "d71de856f81a8acc65e6fc851a38d4d7ec216fd0796d0a6827a3ad6ed5511a30fa280f12eb2e47ed2ac03b5c462a0358d18d69fe4f985ec8"
        "1778c1b370b652a8",
    ),
    (
        "zoo " * 11 + "wrong",
        "ac27495480225222079d7be181583751e86f571027b0497b5b5d11218e0a8a13332572917f0f8e5a589620c6f15b11c61dee327651a14c34"
        "e18231052e48c069",
    ),
]
"""Words and seed under the passphrase TREZOR, from the reference vectors of BIP-39."""


@pytest.mark.parametrize(("words", "seed"), BIP39)
def test_bip39_seeds(words: str, seed: str) -> None:
    """The standard's seeds, and those of its reference implementation."""
    with bip39_module._seed(words.split(), "TREZOR") as made:
        assert declassify(made).hex() == seed == Mnemonic.to_seed(words, "TREZOR").hex()


@pytest.mark.parametrize("language", Mnemonic.list_languages())
def test_every_language(language: str) -> None:
    """Words of any list, with marks composed or not, lead to the seed of the reference implementation."""
    words = Mnemonic(language).generate(256)
    with from_bip39(words.encode(), "m/0", Curve.SECP256K1, passphrase="pass\u00e9") as material:
        seed = Secret.take(bytearray(Mnemonic.to_seed(words, "pass\u00e9")))
        with derive(seed, "m/0", Curve.SECP256K1, "") as expected:
            assert material.public_key == expected.public_key


def test_wallets_agree_about_the_first_account() -> None:
    """The EVM address by eth-account, the Solana address by solders, for the paths wallets use."""
    Account.enable_unaudited_hdwallet_features()
    words = Mnemonic("english").generate(128)
    with from_bip39(words.encode(), "m/44'/60'/0'/0/0", Curve.SECP256K1) as evm:
        assert evm.addresses("evm") == {"evm": Account.from_mnemonic(words).address}
        assert evm.source == "BIP-39 mnemonic of 12 words at m/44'/60'/0'/0/0"
    with from_bip39(words.encode(), "m/44h/501h/0h/0h", Curve.ED25519) as solana:
        pair = Keypair.from_seed_and_derivation_path(Mnemonic.to_seed(words), "m/44'/501'/0'/0'")
        assert solana.addresses("solana") == {"solana": str(pair.pubkey())}


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("abandon " * 10 + "abot about", "client.import-word", "word 11"),
        ("x " + "abandon " * 10 + "y", "client.import-word", "word 1, 12"),
        ("abandon " * 12, "client.import-checksum", "checksum"),
        ("about " + "abandon " * 11, "client.import-checksum", "checksum"),
        ("abandon " * 11, "client.import-words", "found 11"),
        ("abandon " * 13, "client.import-words", "found 13"),
        ("", "client.import-form", "words"),
        (" \n ", "client.import-form", "words"),
    ],
)
def test_mistyped_mnemonics(text: str, code: str, said: str) -> None:
    """Which word it is, or that words were exchanged; the words themselves are not repeated."""
    with pytest.raises(MaterialError) as caught:
        from_bip39(text.encode(), "m", Curve.SECP256K1)
    assert caught.value.code == code
    assert said in caught.value.detail
    assert not any(word in str(caught.value).split() for word in ("abot", "abandon", "about"))


def test_mnemonics_that_are_no_text() -> None:
    """Bytes that are no UTF-8, and too many of them."""
    assert code_of(from_bip39, b"\xff\xfe", "m", Curve.SECP256K1) == "client.import-form"
    assert code_of(from_bip39, b"zoo " * 2000, "m", Curve.SECP256K1) == "client.import-form"


# --- paths -----------------------------------------------------------------------------------------------

BIP32 = [
    (
        "m",
        "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiC"
        "hkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi",
    ),
    (
        "m/0'",
        "xprv9uHRZZhk6KAJC1avXpDAp4MDc3sQKNxDiPvvkX8Br5ngLNv1TxvUxt4c"
        "V1rGL5hj6KCesnDYUhd7oWgT11eZG7XnxHrnYeSvkzY7d2bhkJ7",
    ),
    (
        "m/0'/1",
        "xprv9wTYmMFdV23N2TdNG573QoEsfRrWKQgWeibmLntzniatZvR9BmLnvSxq"
        "u53Kw1UmYPxLgboyZQaXwTCg8MSY3H2EU4pWcQDnRnrVA1xe8fs",
    ),
    (
        "m/0'/1/2'",
        "xprv9z4pot5VBttmtdRTWfWQmoH1taj2axGVzFqSb8C9xaxKymcFzXBDptWm"
        "T7FwuEzG3ryjH4ktypQSAewRiNMjANTtpgP4mLTj34bhnZX7UiM",
    ),
    (
        "m/0'/1/2'/2",
        "xprvA2JDeKCSNNZky6uBCviVfJSKyQ1mDYahRjijr5idH2WwLsEd4Hsb2Tyh"
        "8RfQMuPh7f7RtyzTtdrbdqqsunu5Mm3wDvUAKRHSC34sJ7in334",
    ),
    (
        "m/0'/1/2'/2/1000000000",
        "xprvA41z7zogVVwxVSgdKUHDy1SKmdb533PjDz7J6N6mV6uS3ze1ai8FHa8k"
        "mHScGpWmj4WggLyQjgPie1rFSruoUihUZREPSL39UNdE3BBDu76",
    ),
]  # fmt: skip
"""Test vector 1 of BIP-32."""


def opened_xprv(text: str) -> tuple[bytes, bytes]:
    """Chain code and private key of an extended private key, its checksum checked."""
    digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number = 0
    for character in text:
        number = number * 58 + digits.index(character)
    data = number.to_bytes(82, "big")
    assert hashlib.sha256(hashlib.sha256(data[:78]).digest()).digest()[:4] == data[78:]
    return data[13:45], data[46:78]


@pytest.mark.parametrize(("path", "xprv"), BIP32)
def test_bip32(path: str, xprv: str) -> None:
    """Private key and chain code at every step of the standard's first vector."""
    chain_code, private = opened_xprv(xprv)
    with derive(Secret.take(bytearray(range(16))), path, Curve.SECP256K1, "seed") as material:
        assert declassify(material.secret) == private
        assert material.chain_code == chain_code


SLIP10 = [
    ("m", "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed"),
    ("m/0'", "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c"),
    ("m/0'/1'", "1932a5270f335bed617d5b935c80aedb1a35bd9fc1e31acafd5372c30f5c1187"),
    ("m/0'/1'/2'/2'/1000000000'", "3c24da049451555d51a7014a37337aa4e12d41e485abccfa46b47dfb2af54b7a"),
]
"""Public keys of SLIP-10's test vector 1 for ed25519."""


@pytest.mark.parametrize(("path", "public"), SLIP10)
def test_slip10(path: str, public: str) -> None:
    """Public keys of the standard's vector; Ed25519 keys keep no chain code."""
    with derive(Secret.take(bytearray(range(16))), path, Curve.ED25519, "seed") as material:
        assert (material.public_key.hex(), material.chain_code) == (public, None)


@pytest.mark.parametrize(
    "path",
    ["", "/", "m/", "0/1", "m/-1", "m/01", "m/2147483648", "m/0''", "m/0x1", "m/a", "M/0", "m//0", "m" + "/0" * 17],
)
def test_paths_that_are_none(path: str) -> None:
    """Spellings that two programs could read in two ways are read in none."""
    assert code_of(parse_path, path) == "client.import-path"


def test_paths_of_ed25519_are_hardened() -> None:
    """There are no other children of a seed; other curves have no paths at all."""
    assert code_of(from_bip39, ABOUT.encode(), "m/44'/501'/0", Curve.ED25519) == "client.import-path"
    assert code_of(from_bip39, ABOUT.encode(), "m", Curve.P256) == "client.import-curve"


# --- SLIP-39 ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SLIP39.exists(), reason="the shared SLIP-39 vectors are not in this checkout")
def test_slip39_vectors() -> None:
    """All published vectors: right ones give the root key of the vector's xprv, wrong ones are refused."""
    right = wrong = 0
    for description, mnemonics, secret, xprv in json.loads(SLIP39.read_text()):
        text = "\n".join(mnemonics).encode()
        if not secret:
            with pytest.raises(MaterialError) as caught:
                from_slip39(text, "m", Curve.SECP256K1, passphrase=b"TREZOR")
            assert caught.value.code in ("client.import-checksum", "client.import-shares"), description
            assert " ".join(mnemonics[0].split()[:2]) not in str(caught.value)
            wrong += 1
            continue
        with from_slip39(text, "m", Curve.SECP256K1, passphrase=b"TREZOR") as material:
            chain_code, private = opened_xprv(xprv)
            assert (declassify(material.secret), material.chain_code) == (private, chain_code), description
        right += 1
    assert (right, wrong) == (15, 30)


def test_mistyped_slip39_shares() -> None:
    """Which share and word; shares of two backups, too few and repeated ones; a BIP-39 mnemonic by mistake."""

    def backup() -> list[str]:
        return list(generate_mnemonics(1, [(2, 3)], os.urandom(16), iteration_exponent=0)[0])

    one, other = backup(), backup()

    def read(*shares: str) -> str:
        return code_of(from_slip39, "\n".join(shares).encode(), "m", Curve.SECP256K1)

    assert read(one[0]) == read(one[0], one[0]) == read(*one) == read(one[0], other[1]) == "client.import-shares"
    swapped = one[1].split()
    swapped[5], swapped[6] = swapped[6], swapped[5]
    if swapped != one[1].split():
        assert read(one[0], " ".join(swapped)) == "client.import-checksum"
    with pytest.raises(MaterialError) as caught:
        from_slip39((one[0] + "\n" + one[1].replace(one[1].split()[4], "hodl", 1)).encode(), "m", Curve.SECP256K1)
    assert (caught.value.code, "share 2" in caught.value.detail) == ("client.import-word", True)
    with pytest.raises(MaterialError) as caught:
        from_slip39(ABOUT.encode(), "m", Curve.SECP256K1)
    assert "bip39" in (caught.value.hint or "") or caught.value.code == "client.import-checksum"
    assert read("") == read("\xe9") == "client.import-form"
    assert (
        code_of(from_slip39, "\n".join(one[:2]).encode(), "m", Curve.SECP256K1, passphrase=b"\x00")
        == "client.import-password"
    )


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
