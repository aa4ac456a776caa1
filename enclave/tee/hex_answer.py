"""One secret out of a JSON answer, without a copy that Python would keep.

`json` would make `str` objects that nobody can erase, so the hex digits are found and turned into bytes in
buffers of this module alone, which are wiped.
"""

from __future__ import annotations

from enclave.secret import Secret
from enclave.tee import SEALING_KEY_BYTES, TeeError

_HEX = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))


def secret_from_hex(answer: bytearray, field: str) -> Secret:
    """The 32 bytes behind `"field": "<64 hex digits>"`; the caller wipes `answer`.  Raises TeeError (`tee.answer`)."""
    name = f'"{field}":'.encode()
    digits = bytearray(2 * SEALING_KEY_BYTES)
    key = bytearray(SEALING_KEY_BYTES)
    nibbles = bytearray()
    try:
        at = answer.find(name)
        start = answer.find(b'"', at + len(name)) + 1
        if at < 0 or answer.find(b'"', start) - start != len(digits):
            raise TeeError(f"expected {SEALING_KEY_BYTES} bytes of hex as {field}", code="tee.answer")
        with memoryview(answer) as source:
            digits[:] = source[start : start + len(digits)]
        if digits.strip(b"0123456789abcdef"):
            raise TeeError(f"expected hex digits as {field}", code="tee.answer")
        nibbles = digits.translate(_HEX)
        for i in range(SEALING_KEY_BYTES):
            key[i] = nibbles[2 * i] << 4 | nibbles[2 * i + 1]
        return Secret.take(key)
    finally:
        for buffer in (digits, nibbles, key):
            buffer[:] = bytes(len(buffer))
