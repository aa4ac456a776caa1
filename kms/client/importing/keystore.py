"""Ethereum keystore files, version 3 (Web3 Secret Storage): scrypt or PBKDF2, AES-128-CTR, a Keccak check value.

Made of the same primitives the client has anyway, so that the key goes from the cipher straight into the arena.
Exports of other curves use the same file with a member `holdfast` that says what it holds.
"""

from __future__ import annotations

import hmac
import os
import uuid
from typing import Any

from Crypto.Hash import keccak
from Crypto.Protocol.KDF import scrypt as loose_scrypt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from attestation.canonical import parse_json
from attestation.errors import CodedError, DocumentError
from enclave.addresses import evm_address
from enclave.fields import Fields
from enclave.imports.scalars import swallow
from enclave.secret import Secret
from kms.client.importing.material import (
    Curve,
    KeyMaterial,
    MaterialError,
    material_of,
    material_of_scalar,
    material_of_secret,
)

FILE_BYTES_MAX = 64 << 10
KEY_BYTES, HALF_BYTES = 32, 16
MEMORY_BYTES_MAX = 1 << 30
"""Most memory scrypt may ask for: a hostile file must not stop the machine.  Wallets use 256 MiB."""
ROUNDS_MAX = 1 << 24
LANES_MAX = 64

SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 18, 8, 1
"""What this module writes: the cost Ethereum's own clients write, about a second."""

FORMS = {"private": None, "scalar": Curve.ED25519}
"""What a file with a member `holdfast` holds: the usual encoding, or a bare Ed25519 scalar."""


def from_keystore(data: bytes | bytearray, password: bytes | bytearray) -> KeyMaterial:
    """Read and decrypt a file.

    Raises MaterialError: `client.import-form`, `client.import-password`, `client.import-scalar`,
    `client.import-address` if the key is not that of the address in the file.
    """
    try:
        value = parse_json(bytes(data), bytes_max=FILE_BYTES_MAX, depth_max=5)
    except DocumentError:
        raise MaterialError("expected a keystore file (JSON)", code="client.import-form") from None
    fields = Fields(value, where="", error=_malformed)
    fields.constant("version", 3)
    crypto = fields.fields("crypto" if "crypto" in fields else "Crypto")
    curve, form = _holds(fields)
    with _derived(crypto, password) as derived:
        key = _decrypted(crypto, derived)
    if form == "scalar":
        return material_of_scalar(key, "keystore")
    if curve is Curve.X25519:
        with key:
            return material_of(curve, bytearray(key.view), "keystore")
    material = material_of_secret(curve, key, "keystore")
    address = value.get("address")
    if curve is Curve.SECP256K1 and isinstance(address, str):
        found = evm_address(material.public_key).lower().removeprefix("0x")
        if address.lower().removeprefix("0x") != found:
            material.wipe()
            raise MaterialError("the key is not that of the address in the file", code="client.import-address")
    return material


def keystore_of(
    key: Secret, password: bytes | bytearray, *, holds: dict[str, str] | None, address: str | None, n: int = SCRYPT_N
) -> dict[str, Any]:
    """The file (as JSON value) that `from_keystore` and Ethereum's clients read; `n` is scrypt's cost."""
    salt, iv = os.urandom(KEY_BYTES), os.urandom(HALF_BYTES)
    with Secret(KEY_BYTES) as derived:
        Scrypt(salt=salt, length=KEY_BYTES, n=n, r=SCRYPT_R, p=SCRYPT_P).derive_into(bytes(password), derived.view)
        with derived.part(0, HALF_BYTES) as cipher_key:
            encryptor = Cipher(algorithms.AES(cipher_key.view), modes.CTR(iv)).encryptor()
            ciphertext = encryptor.update(key.view) + encryptor.finalize()
        check = _check_value(derived, ciphertext)
    value: dict[str, Any] = {
        "version": 3,
        "id": str(uuid.uuid4()),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": iv.hex()},
            "ciphertext": ciphertext.hex(),
            "kdf": "scrypt",
            "kdfparams": {"dklen": KEY_BYTES, "n": n, "r": SCRYPT_R, "p": SCRYPT_P, "salt": salt.hex()},
            "mac": check.hex(),
        },
    }
    if address is not None:
        value["address"] = address.lower().removeprefix("0x")
    return value | ({"holdfast": holds} if holds else {})


def _holds(fields: Fields) -> tuple[Curve, str]:
    if "holdfast" not in fields:
        return Curve.SECP256K1, "private"
    member = fields.fields("holdfast")
    curve, form = Curve(member.choice("curve", list(Curve))), member.choice("form", FORMS)
    if FORMS[form] not in (None, curve):
        member.refuse("expected a form that the curve has", "form")
    return curve, form


def _derived(crypto: Fields, password: bytes | bytearray) -> Secret:
    kdf, terms = crypto.choice("kdf", ("scrypt", "pbkdf2")), crypto.fields("kdfparams")
    salt = _hexadecimal(terms, "salt", size_max=1024)
    terms.constant("dklen", KEY_BYTES)
    derived = Secret(KEY_BYTES)
    if kdf == "scrypt":
        n, r = terms.integer("n", 2, 1 << 24), terms.integer("r", 1, 1 << 10)
        p = terms.integer("p", 1, LANES_MAX)
        if n & (n - 1) or 128 * n * r > MEMORY_BYTES_MAX:
            terms.refuse(f"expected a power of two, and at most {MEMORY_BYTES_MAX >> 20} MiB of memory", "n")
        if n < 1 << 16 * r:
            Scrypt(salt=salt, length=KEY_BYTES, n=n, r=r, p=p).derive_into(bytes(password), derived.view)
            return derived
        # Early wallets (and the format's own test vector) exceed a bound of RFC 7914 that OpenSSL insists on.
        derived.wipe()
        return swallow(loose_scrypt(bytes(password), salt, KEY_BYTES, n, r, p))  # type: ignore[arg-type]
    terms.constant("prf", "hmac-sha256")
    rounds = terms.integer("c", 1, ROUNDS_MAX)
    PBKDF2HMAC(algorithm=SHA256(), length=KEY_BYTES, salt=salt, iterations=rounds).derive_into(
        bytes(password), derived.view
    )
    return derived


def _decrypted(crypto: Fields, derived: Secret) -> Secret:
    crypto.constant("cipher", "aes-128-ctr")
    ciphertext = _hexadecimal(crypto, "ciphertext", size=KEY_BYTES)
    iv = _hexadecimal(crypto.fields("cipherparams"), "iv", size=HALF_BYTES)
    if not hmac.compare_digest(_check_value(derived, ciphertext), _hexadecimal(crypto, "mac", size=KEY_BYTES)):
        raise MaterialError("the password does not open the keystore", code="client.import-password")
    # The cipher asks for room for one more block than it writes.
    with derived.part(0, HALF_BYTES) as key, Secret(KEY_BYTES + HALF_BYTES) as plain:
        decryptor = Cipher(algorithms.AES(key.view), modes.CTR(iv)).decryptor()
        decryptor.update_into(ciphertext, plain.view)
        return plain.part(0, KEY_BYTES)


def _check_value(derived: Secret, ciphertext: bytes) -> bytes:
    with derived.part(HALF_BYTES, HALF_BYTES) as half:
        return keccak.new(digest_bits=256).update(half.view).update(ciphertext).digest()


def _hexadecimal(fields: Fields, name: str, *, size: int | None = None, size_max: int | None = None) -> bytes:
    """Hex in either case, as the world's files have it."""
    text = fields.take(name)
    try:
        data = bytes.fromhex(text) if isinstance(text, str) and text.isalnum() else b""
    except ValueError:
        data = b""
    if not data or (size is not None and len(data) != size) or (size_max is not None and len(data) > size_max):
        fields.refuse("expected hex digits of the right number", name)
    return data


def _malformed(detail: str) -> CodedError:
    return MaterialError(f"keystore: {detail}", code="client.import-form")
