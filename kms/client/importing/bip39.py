"""BIP-39 mnemonics: which word is wrong, whether the checksum holds, and the seed."""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from mnemonic import Mnemonic

from enclave.secret import Secret
from kms.client.importing.bip32 import derive
from kms.client.importing.material import Curve, KeyMaterial, MaterialError

LENGTHS = (12, 15, 18, 21, 24)
TEXT_BYTES_MAX = 4096
ROUNDS, SEED_BYTES = 2048, 64
"""BIP-39, "From mnemonic to seed"."""


def from_bip39(text: bytes | bytearray, path: str, curve: Curve, *, passphrase: str = "") -> KeyMaterial:
    """The key at `path` below a mnemonic in any of the standard's languages, words divided by white space.

    A wrong passphrase gives another key, not an error: compare the address.  Raises MaterialError:
    `client.import-words` (how many), `client.import-word` (which one), `client.import-checksum`, `client.import-path`.
    """
    words = read_words(text)
    if len(words) not in LENGTHS:
        raise MaterialError(
            f"expected {', '.join(map(str, LENGTHS))} words, found {len(words)}", code="client.import-words"
        )
    _check(words)
    return derive(_seed(words, passphrase), path, curve, f"BIP-39 mnemonic of {len(words)} words")


def read_words(text: bytes | bytearray) -> list[str]:
    """Words in lower case and the standard's normal form (NFKD); raises MaterialError (`client.import-form`)."""
    try:
        decoded = bytes(text[: TEXT_BYTES_MAX + 1]).decode()
    except UnicodeDecodeError:
        decoded = ""
    if not decoded.strip() or len(text) > TEXT_BYTES_MAX:
        raise MaterialError("expected words as UTF-8 text", code="client.import-form")
    return unicodedata.normalize("NFKD", decoded).lower().split()


def _check(words: list[str]) -> None:
    """Every word is in one language's list, and the checksum holds."""
    unknown = {language: [n for n, word in enumerate(words, 1) if word not in _list(language)] for language in _ALL}
    fitting = [language for language in _ALL if not unknown[language]]
    if not fitting:
        nearest = min(_ALL, key=lambda language: len(unknown[language]))
        numbers = ", ".join(map(str, unknown[nearest]))
        raise MaterialError(
            f"not in the {nearest.replace('_', ' ')} word list: word {numbers}",
            code="client.import-word",
            hint="look for a typing error; the lists are those of BIP-39",
        )
    if not any(_checksum_holds(words, language) for language in fitting):
        raise MaterialError(
            "every word is in the list, but the checksum is wrong",
            code="client.import-checksum",
            hint="a word was exchanged for another one, or the order is wrong",
        )


def _checksum_holds(words: list[str], language: str) -> bool:
    """BIP-39, "Generating the mnemonic": 11 bits a word, the last of 33 is of the entropy's SHA-256."""
    bits = "".join(format(_list(language)[word], "011b") for word in words)
    checksum_bits = len(bits) // 33
    entropy = int(bits[:-checksum_bits], 2).to_bytes((len(bits) - checksum_bits) // 8, "big")
    return format(hashlib.sha256(entropy).digest()[0], "08b")[:checksum_bits] == bits[-checksum_bits:]


def _seed(words: list[str], passphrase: str) -> Secret:
    seed = Secret(SEED_BYTES)
    salt = b"mnemonic" + unicodedata.normalize("NFKD", passphrase).encode()
    PBKDF2HMAC(algorithm=SHA512(), length=SEED_BYTES, salt=salt, iterations=ROUNDS).derive_into(
        " ".join(words).encode(), seed.view
    )
    return seed


_ALL = tuple(sorted(Mnemonic.list_languages(), key=lambda language: (language != "english", language)))


@lru_cache
def _list(language: str) -> dict[str, int]:
    """Word -> number; the library's own check does not find words whose list has composed characters."""
    words = Mnemonic(language).wordlist
    return {unicodedata.normalize("NFKD", word): number for number, word in enumerate(words)}
