"""Replay of measured events into TDX runtime registers, and the comparison with verified claims.

Source: Intel TDX module ABI, TDG.MR.RTMR.EXTEND: RTMR := SHA-384(RTMR || digest), from 48 zero bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from attestation.errors import EvidenceError
from attestation.evidence import Claims, Tee

REGISTER_BYTES = 48
REGISTER_COUNT = 4


def extend(register: bytes, digest: bytes) -> bytes:
    """One extension of a 48-byte register."""
    return hashlib.sha384(register + digest).digest()


def replay(events: Iterable[tuple[int, bytes]]) -> tuple[bytes, ...]:
    """RTMR0 to RTMR3 after the (register index, 48-byte digest) events in order."""
    registers = [bytes(REGISTER_BYTES)] * REGISTER_COUNT
    for index, digest in events:
        registers[index] = extend(registers[index], digest)
    return tuple(registers)


def check_registers(registers: Mapping[int, bytes], claims: Claims) -> None:
    """Compare replayed registers with verified TDX claims.

    Raises EvidenceError: `eventlog.platform` for other evidence, `eventlog.rtmr-mismatch` naming the register.
    """
    if claims.tee is not Tee.TDX:
        raise EvidenceError("this log speaks of TDX registers", code="eventlog.platform")
    for index, register in sorted(registers.items()):
        if claims.measurements.get(f"rtmr{index}") != register.hex():
            raise EvidenceError(f"the log does not replay to RTMR{index}", code="eventlog.rtmr-mismatch")
