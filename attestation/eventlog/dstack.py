"""The dstack event log: boot events by digest, runtime events recomputed from name and payload.

Rules (specs/event-logs.md): the digest a log states for a runtime event is ignored, because only name and payload
mean anything; boot events keep their digest and their payload proves nothing; before `system-ready` only the known
names may appear, each once; after it nothing may repeat an earlier name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json, parse_json
from attestation.errors import DocumentError, EvidenceError
from attestation.eventlog.replay import REGISTER_BYTES, REGISTER_COUNT, check_registers, replay
from attestation.evidence import Claims

LOG_BYTES_MAX = 4 << 20
"""Largest log accepted, in bytes; real ones have 10 kB."""

EVENTS_MAX = 4096
"""Most events; real logs have about 30."""

PAYLOAD_BYTES_MAX = 64 << 10
"""Largest runtime payload in bytes; the largest known one (key provider) has 204."""

RUNTIME_EVENT = 0x08000001
RUNTIME_REGISTER = 3
BOUNDARY = "system-ready"

BOOT_NAMES: dict[str, frozenset[int] | None] = {
    "system-preparing": frozenset({0}),
    "app-id": frozenset({20}),
    "compose-hash": frozenset({32}),
    "instance-id": frozenset({0, 20}),
    "boot-mr-done": frozenset({0}),
    "os-image-hash": frozenset({32}),
    "key-provider": None,
    "storage-fs": None,
    BOUNDARY: frozenset({0}),
}
"""Names the guest OS itself emits before handing over, with their payload sizes in bytes (None: any)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_FIELDS = frozenset({"imr", "event_type", "digest", "event", "event_payload"})
_OPTIONAL_FIELDS = frozenset({"version", "preimage"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DstackLog:
    """A parsed log: every event's register and digest, and the runtime events' names and payloads."""

    events: tuple[tuple[int, bytes], ...]
    boot: Mapping[str, bytes]
    """Known names measured before the boundary."""
    application: Mapping[str, bytes]
    """What the application measured after the boundary."""

    @classmethod
    def parse(cls, data: bytes) -> DstackLog:
        """Read the JSON array; raises EvidenceError (`eventlog.*`) for anything but the stated form."""
        try:
            entries = parse_json(data, bytes_max=LOG_BYTES_MAX)
        except DocumentError as error:
            raise EvidenceError(f"event log: {error.detail}", code="eventlog.malformed") from None
        if not isinstance(entries, list) or not 0 < len(entries) <= EVENTS_MAX:
            raise EvidenceError(f"expected 1 to {EVENTS_MAX} events", code="eventlog.malformed")
        events: list[tuple[int, bytes]] = []
        boot: dict[str, bytes] = {}
        application: dict[str, bytes] = {}
        for entry in entries:
            register, name, payload, digest = _event(entry)
            events.append((register, digest))
            if name is not None:
                _record(name, payload, boot, application)
        return cls(events=tuple(events), boot=boot, application=application)

    def check(self, claims: Claims) -> None:
        """Require that the log replays to RTMR0 to RTMR3 of verified claims and crossed its boundary.

        Raises EvidenceError (`eventlog.rtmr-mismatch`, `eventlog.no-boundary`).
        """
        check_registers(dict(enumerate(replay(self.events))), claims)
        if BOUNDARY not in self.boot:
            raise EvidenceError(f"the log has no {BOUNDARY} event", code="eventlog.no-boundary")


def runtime_digest(name: str, payload: bytes) -> bytes:
    """Version 1 digest: SHA-384(LE32(type) || ":" || name || ":" || payload)."""
    kind = RUNTIME_EVENT.to_bytes(4, "little")
    return hashlib.sha384(kind + b":" + name.encode() + b":" + payload).digest()


def runtime_preimage_v2(name: str, payload: bytes) -> bytes:
    """Version 2 preimage: the RFC 8785 form of {name, payload in hex, type}."""
    return canonical_json({"name": name, "payload": payload.hex(), "type": RUNTIME_EVENT})


def _event(entry: Any) -> tuple[int, str | None, bytes, bytes]:
    """(register, name of a runtime event or None, payload, digest) of one entry."""
    if not isinstance(entry, dict) or not _FIELDS <= set(entry) <= _FIELDS | _OPTIONAL_FIELDS:
        raise EvidenceError("event has missing or unknown fields", code="eventlog.malformed")
    register, kind = entry["imr"], entry["event_type"]
    if type(register) is not int or not 0 <= register < REGISTER_COUNT:
        raise EvidenceError("register index outside 0 to 3", code="eventlog.register")
    if type(kind) is not int or not 0 <= kind < 1 << 32:
        raise EvidenceError("event type is not a 32-bit number", code="eventlog.malformed")
    if (kind == RUNTIME_EVENT) != (register == RUNTIME_REGISTER):
        raise EvidenceError("runtime events, and only they, are measured into RTMR3", code="eventlog.register")
    if kind != RUNTIME_EVENT:
        return register, None, b"", _hex(entry["digest"], "digest", size=REGISTER_BYTES)
    name = entry["event"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise EvidenceError("event name has characters that make its digest ambiguous", code="eventlog.name")
    payload = _hex(entry["event_payload"], "payload", size_max=PAYLOAD_BYTES_MAX)
    return register, name, payload, _runtime_event_digest(entry, name, payload)


def _runtime_event_digest(entry: dict[str, Any], name: str, payload: bytes) -> bytes:
    version = entry.get("version", "V1")
    if version in ("V1", None) and entry.get("preimage") is None:
        return runtime_digest(name, payload)
    expected = runtime_preimage_v2(name, payload)
    if version != "V2" or entry.get("preimage") not in (expected.decode(), expected.hex()):
        raise EvidenceError("event version or preimage is not canonical", code="eventlog.version")
    return hashlib.sha384(expected).digest()


def _record(name: str, payload: bytes, boot: dict[str, bytes], application: dict[str, bytes]) -> None:
    if name in boot or name in application:
        raise EvidenceError(f"event {name} appears twice", code="eventlog.duplicate")
    if BOUNDARY in boot:
        if name in BOOT_NAMES:
            raise EvidenceError(f"{name} after the boundary is the application's word", code="eventlog.boundary")
        application[name] = payload
        return
    if name not in BOOT_NAMES:
        raise EvidenceError(f"unknown event {name} before the boundary", code="eventlog.name")
    sizes = BOOT_NAMES[name]
    if sizes is not None and len(payload) not in sizes:
        raise EvidenceError(f"{name} has {len(payload)} bytes of payload", code="eventlog.payload")
    boot[name] = payload


def _hex(value: Any, what: str, *, size: int | None = None, size_max: int = REGISTER_BYTES) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * max(size or 0, size_max) or not _HEX.fullmatch(value):
        raise EvidenceError(f"{what} is not lower-case hex of the expected size", code="eventlog.malformed")
    data = bytes.fromhex(value)
    if size is not None and len(data) != size:
        raise EvidenceError(f"{what} has {len(data)} bytes, expected {size}", code="eventlog.malformed")
    return data
