"""BIP-39, BIP-32, SLIP-10 and SLIP-39: published vectors, other libraries, and every way to mistype words."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from eth_account import Account
from mnemonic import Mnemonic
from shamir_mnemonic import generate_mnemonics
from solders.keypair import Keypair

from enclave.secret import Secret, declassify
from kms.client.importing import (
    Curve,
    MaterialError,
    from_bip39,
    from_slip39,
)
from kms.client.importing import bip39 as bip39_module
from kms.client.importing.bip32 import derive, parse_path
from tests.kms.importing.test_sources import code_of

SLIP39 = Path(__file__).parents[4] / "shared" / "vectors" / "crypto" / "slip39" / "vectors.json"
ABOUT = "abandon " * 11 + "about"


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
