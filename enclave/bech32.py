"""SegWit addresses: bech32 for witness version 0 (BIP-173), bech32m for all later ones (BIP-350)."""

from __future__ import annotations

from collections.abc import Iterable

from enclave.errors import CallerError

_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32, _BECH32M = 1, 0x2BC830A3
_VALUES = {character: value for value, character in enumerate(_CHARACTERS)}
_CHECKSUM_CHARACTERS = 6

WITNESS_VERSION_MAX = 16
PROGRAM_BYTES_MAX = 40


def segwit_address(prefix: str, version: int, program: bytes) -> str:
    """The address of a witness program; raises CallerError (`address.program`)."""
    if not _is_program(version, program):
        raise CallerError("expected a witness version of 0 to 16 and its program", code="address.program")
    data = [version, *_fives(program)]
    return prefix + "1" + "".join(_CHARACTERS[value] for value in data + _checksum(prefix, data))


def read_segwit_address(prefix: str, text: str) -> tuple[int, bytes]:
    """Witness version and program of an address with this prefix; raises CallerError (`address.bitcoin`)."""
    lower = text.lower()
    data = [_VALUES.get(character, -1) for character in lower[len(prefix) + 1 :]]
    if text not in (lower, text.upper()) or min(data, default=-1) < 0 or len(data) <= _CHECKSUM_CHARACTERS + 1:
        raise _refused()
    version, fives = data[0], data[1:-_CHECKSUM_CHARACTERS]
    program = _bytes(fives)
    # Writing it again is the check of everything at once: checksum, its constant, and padding bits.
    if program is None or not _is_program(version, program) or segwit_address(prefix, version, program) != lower:
        raise _refused()
    return version, program


def _is_program(version: int, program: bytes) -> bool:
    if version == 0:
        return len(program) in (20, 32)
    return 1 <= version <= WITNESS_VERSION_MAX and 2 <= len(program) <= PROGRAM_BYTES_MAX


def _bytes(fives: list[int]) -> bytes | None:
    size, spare = divmod(5 * len(fives), 8)
    if spare > 4:
        return None
    number = 0
    for value in fives:
        number = number << 5 | value
    return (number >> spare).to_bytes(size, "big")


def _fives(data: bytes) -> list[int]:
    """Groups of five bits, the last filled up with zeros."""
    bits = 8 * len(data)
    groups = -(-bits // 5)
    number = int.from_bytes(data, "big") << (5 * groups - bits)
    return [number >> 5 * (groups - 1 - position) & 31 for position in range(groups)]


def _checksum(prefix: str, data: list[int]) -> list[int]:
    expanded = [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]
    constant = _BECH32M if data[0] else _BECH32
    remainder = _polymod([*expanded, *data, *([0] * _CHECKSUM_CHARACTERS)]) ^ constant
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


def _refused() -> CallerError:
    return CallerError("expected a SegWit address", code="address.bitcoin", hint="copy the address again")
