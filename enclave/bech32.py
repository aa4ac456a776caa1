"""Bech32m text of SegWit version 1 outputs (BIP-350), written only: addresses are shown, never parsed here.

Source: BIP-173 for the checksum, BIP-350 for its constant.  Correct for witness versions from 1 on; version 0 uses
another constant and has no place here.
"""

from __future__ import annotations

from collections.abc import Iterable

from enclave.errors import CallerError

_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M = 0x2BC830A3
_CHECKSUM_CHARACTERS = 6

WITNESS_VERSION_MAX = 16
PROGRAM_BYTES_MAX = 40


def segwit_address(prefix: str, version: int, program: bytes) -> str:
    """The address of a witness program of version 1 to 16; raises CallerError (`address.program`)."""
    if not 1 <= version <= WITNESS_VERSION_MAX or not 2 <= len(program) <= PROGRAM_BYTES_MAX:
        raise CallerError("expected witness version 1 to 16 and a program of 2 to 40 bytes", code="address.program")
    data = [version, *_fives(program)]
    return prefix + "1" + "".join(_CHARACTERS[value] for value in data + _checksum(prefix, data))


def _fives(data: bytes) -> list[int]:
    """Groups of five bits, the last filled up with zeros."""
    bits = 8 * len(data)
    groups = -(-bits // 5)
    number = int.from_bytes(data, "big") << (5 * groups - bits)
    return [number >> 5 * (groups - 1 - position) & 31 for position in range(groups)]


def _checksum(prefix: str, data: list[int]) -> list[int]:
    expanded = [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]
    remainder = _polymod([*expanded, *data, *([0] * _CHECKSUM_CHARACTERS)]) ^ _BECH32M
    return [remainder >> 5 * (_CHECKSUM_CHARACTERS - 1 - position) & 31 for position in range(_CHECKSUM_CHARACTERS)]


def _polymod(values: Iterable[int]) -> int:
    """The remainder of the values, read as a polynomial over GF(32), by the code's generator."""
    remainder = 1
    for value in values:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                remainder ^= generator
    return remainder
