"""The CCEL boot log of confidential VMs: TCG2 crypto-agile format with SHA-384 digests.

Source: TCG PC Client Platform Firmware Profile section 10, UEFI CC measurement protocol (register n+1 is RTMRn).
"""

from __future__ import annotations

from dataclasses import dataclass

from attestation.errors import EvidenceError
from attestation.eventlog.replay import REGISTER_BYTES, REGISTER_COUNT, check_registers, replay
from attestation.evidence import Claims

LOG_BYTES_MAX = 4 << 20
"""Largest file accepted, in bytes; firmware reserves 64 KiB to 1 MiB and pads."""

EVENTS_MAX = 65536

_NO_ACTION = 3
_SHA384 = 0x000C
_SIGNATURE = b"Spec ID Event03\x00"
_END = frozenset({0, 0xFFFFFFFF})
_HEADER_BYTES = 4 + 4 + 20 + 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CcelEvent:
    """One measured event: register 0 to 3, event type, 48-byte digest, event data (unauthenticated text)."""

    register: int
    kind: int
    digest: bytes
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CcelLog:
    """All events of one log in order."""

    events: tuple[CcelEvent, ...]

    @classmethod
    def parse(cls, data: bytes) -> CcelLog:
        """Read a log up to its padding; raises EvidenceError (`ccel.*`)."""
        if len(data) > LOG_BYTES_MAX:
            raise EvidenceError(f"expected at most {LOG_BYTES_MAX} bytes", code="ccel.too-large")
        reader = _Reader(data)
        _check_header(reader)
        events: list[CcelEvent] = []
        while (event := _event(reader)) is not None:
            if len(events) == EVENTS_MAX:
                raise EvidenceError(f"more than {EVENTS_MAX} events", code="ccel.too-large")
            events.append(event)
        return cls(events=tuple(event for event in events if event.kind != _NO_ACTION))

    def check(self, claims: Claims) -> None:
        """Require that the log replays to RTMR0 to RTMR2 of verified claims.

        RTMR3 is the workload's own: it is compared only if this log speaks of it.
        Raises EvidenceError (`eventlog.rtmr-mismatch`).
        """
        registers = dict(enumerate(replay((event.register, event.digest) for event in self.events)))
        if not any(event.register == REGISTER_COUNT - 1 for event in self.events):
            del registers[REGISTER_COUNT - 1]
        check_registers(registers, claims)


class _Reader:
    """Bounds-checked little-endian reads."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes; raises EvidenceError (`ccel.truncated`)."""
        if count > self.left:
            raise EvidenceError("the log ends inside an event", code="ccel.truncated")
        chunk = self.data[self.position : self.position + count]
        self.position += count
        return chunk

    def number(self, size: int) -> int:
        """A little-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")


def _check_header(reader: _Reader) -> None:
    """The first event is in the old format and declares the digest algorithms: SHA-384 only."""
    head = reader.take(_HEADER_BYTES)
    if int.from_bytes(head[4:8], "little") != _NO_ACTION:
        raise EvidenceError("expected a specification id event first", code="ccel.header")
    body = reader.take(int.from_bytes(head[28:32], "little"))
    count = int.from_bytes(body[24:28], "little") if body.startswith(_SIGNATURE) else 0
    algorithms = body[28 : 28 + 4 * count]
    if count != 1 or algorithms != _SHA384.to_bytes(2, "little") + REGISTER_BYTES.to_bytes(2, "little"):
        raise EvidenceError("expected a crypto-agile log with SHA-384 digests alone", code="ccel.header")


def _event(reader: _Reader) -> CcelEvent | None:
    """The next event, or None at the padding."""
    if reader.left < 4:
        return None
    index = reader.number(4)
    if index in _END:
        return None
    kind, count = reader.number(4), reader.number(4)
    if not 1 <= index <= REGISTER_COUNT:
        raise EvidenceError("register index outside 1 to 4", code="ccel.register")
    if count != 1 or reader.number(2) != _SHA384:
        raise EvidenceError("expected one SHA-384 digest per event", code="ccel.digest")
    digest = reader.take(REGISTER_BYTES)
    return CcelEvent(register=index - 1, kind=kind, digest=digest, data=reader.take(reader.number(4)))
