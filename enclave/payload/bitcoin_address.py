"""Bitcoin addresses and the scripts they stand for: P2PKH, P2SH, and SegWit outputs of every version.

Sources: BIP-173 (bech32), BIP-350 (bech32m), Base58Check.  Prefixes of the main and the test networks are read
alike; a script has no network.
"""

from __future__ import annotations

import hashlib

from enclave.addresses import base58_decode, base58_encode
from enclave.bech32 import read_segwit_address, segwit_address
from enclave.errors import CallerError

PREFIXES = ("bc", "tb", "bcrt")

_P2PKH, _P2SH = (0x00, 0x6F), (0x05, 0xC4)
_OP_RETURN = 0x6A


def parse_bitcoin_address(text: object) -> bytes:
    """The output script of an address; raises CallerError (`address.bitcoin`)."""
    if not isinstance(text, str) or not 14 <= len(text) <= 90:
        raise _refused()
    prefix = text.lower().rpartition("1")[0]
    if prefix in PREFIXES:
        version, program = read_segwit_address(prefix, text)
        return bytes([version + 0x50 if version else 0, len(program)]) + program
    try:
        data = base58_decode(text)
    except CallerError:
        raise _refused() from None
    if len(data) != 25 or hashlib.sha256(hashlib.sha256(data[:21]).digest()).digest()[:4] != data[21:]:
        raise _refused()
    if data[0] in _P2PKH:
        return b"\x76\xa9\x14" + data[1:21] + b"\x88\xac"
    if data[0] in _P2SH:
        return b"\xa9\x14" + data[1:21] + b"\x87"
    raise _refused()


def script_text(script: bytes) -> str:
    """The mainnet address of a script, or `script:` and its hex."""
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return _base58check(b"\x00" + script[3:23])
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[22:] == b"\x87":
        return _base58check(b"\x05" + script[2:22])
    if 4 <= len(script) <= 42 and script[1] == len(script) - 2 and (script[0] == 0 or 0x51 <= script[0] <= 0x60):
        version = script[0] - 0x50 if script[0] else 0
        if version or len(script) in (22, 34):
            return segwit_address(PREFIXES[0], version, script[2:])
    return f"script:{script.hex()}"


def is_data(script: bytes) -> bool:
    """Whether a script only carries data: nobody can spend it."""
    return script[:1] == bytes([_OP_RETURN])


def _base58check(data: bytes) -> str:
    return base58_encode(data + hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4])


def _refused() -> CallerError:
    return CallerError("expected a Bitcoin address", code="address.bitcoin", hint="copy the address again")
