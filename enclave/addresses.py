"""Public keys as users know them: EVM, Solana and SegWit addresses (those of Taproot: enclave.taproot)."""

from __future__ import annotations

import hashlib
import re

from Crypto.Hash import RIPEMD160, keccak
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from enclave.bech32 import segwit_address
from enclave.errors import CallerError

_EVM = re.compile(r"0x[0-9a-fA-F]{40}")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BASE58_CHARACTERS_MAX = 128
"""Longest base58 text that is decoded: the work grows with the square."""

_BASE58_VALUES = {character: value for value, character in enumerate(_BASE58)}


def keccak256(data: bytes) -> bytes:
    """The hash of Ethereum (Keccak with its original padding, not SHA3-256)."""
    return keccak.new(digest_bits=256, data=data).digest()


def evm_address(public_key: bytes) -> str:
    """EIP-55 address of a secp256k1 public key (33 bytes compressed); raises CallerError (`address.key`)."""
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
    except ValueError:
        raise CallerError("expected a compressed secp256k1 public key", code="address.key") from None
    encoded = point.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return checksum_address(keccak256(encoded[1:])[12:])


def p2wpkh_address(public_key: bytes) -> str:
    """The mainnet address of a native SegWit output under a compressed secp256k1 key (BIP-141, BIP-143)."""
    if len(public_key) != 33:
        raise CallerError("expected a compressed secp256k1 public key", code="address.key")
    return segwit_address("bc", 0, RIPEMD160.new(hashlib.sha256(public_key).digest()).digest())


def checksum_address(address: bytes) -> str:
    """EIP-55 text of 20 address bytes: the case of each letter carries a checksum."""
    digits = address.hex()
    marks = keccak256(digits.encode()).hex()
    # Hex digits compare like their values: "8" to "f" are those of eight and more.
    return "0x" + "".join([digit.upper() if mark >= "8" else digit for digit, mark in zip(digits, marks, strict=False)])


def parse_evm_address(text: object) -> bytes:
    """20 bytes of an address in one case or with a right EIP-55 checksum; raises CallerError (`address.evm`)."""
    if not isinstance(text, str) or not _EVM.fullmatch(text):
        raise CallerError("expected 0x and 40 hex digits", code="address.evm")
    address = bytes.fromhex(text[2:])
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and text != checksum_address(address):
        raise CallerError("address checksum (EIP-55) is wrong", code="address.evm", hint="copy the address again")
    return address


def solana_address(public_key: bytes) -> str:
    """Base58 text of a 32-byte Ed25519 public key; raises CallerError (`address.key`)."""
    if len(public_key) != 32:
        raise CallerError("expected a 32-byte Ed25519 public key", code="address.key")
    return base58_encode(public_key)


def parse_solana_address(text: object) -> bytes:
    """32 bytes of a base58 address; raises CallerError (`address.solana`)."""
    if not isinstance(text, str) or not 32 <= len(text) <= 44 or not set(text) <= _BASE58_VALUES.keys():
        raise CallerError("expected a base58 address of 32 to 44 characters", code="address.solana")
    address = base58_decode(text)
    if len(address) != 32:
        raise CallerError("expected 32 bytes in base58", code="address.solana")
    return address


def base58_decode(text: str) -> bytes:
    """The bytes of a base58 text of at most 128 characters; raises CallerError (`address.base58`)."""
    if len(text) > BASE58_CHARACTERS_MAX or not set(text) <= _BASE58_VALUES.keys():
        raise CallerError("expected base58 text", code="address.base58")
    value = 0
    for character in text:
        value = value * 58 + _BASE58_VALUES[character]
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + value.to_bytes((value.bit_length() + 7) // 8, "big")


def base58_encode(data: bytes) -> str:
    """Base58 with the Bitcoin alphabet; each leading zero byte is one `1`."""
    value = int.from_bytes(data, "big")
    text = ""
    while value:
        value, digit = divmod(value, 58)
        text = _BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\x00"))) + text
