"""Frames: everything of one event-loop tick in one piece, with the bounds a reader enforces."""

from __future__ import annotations

import msgspec

from enclave.errors import WireError
from enclave.wire.message import ENCODER, LENGTH, decode

FRAME_BYTES_MAX = 8 << 20
"""Largest frame in bytes: a tick's worth of coalesced requests of 1 MiB bodies never gets near; bounds memory."""


CALLS_MAX = 4096
"""Most calls in one frame."""


class Call(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One request in a frame."""

    id: int
    verb: str
    body: msgspec.Raw


class Fault(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A refusal: a stable code, a detail for people, a hint, and proven culprits (slots)."""

    code: str
    detail: str
    hint: str | None = None
    culprits: list[str] = []


class Answer(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One reply in a frame: either `fault` or `body`."""

    id: int
    fault: Fault | None
    body: msgspec.Raw


_CALLS = msgspec.msgpack.Decoder(list[Call])


_ANSWERS = msgspec.msgpack.Decoder(list[Answer])


def frame(content: list[Call] | list[Answer]) -> bytes:
    """One frame on the wire."""
    body = ENCODER.encode(content)
    return LENGTH.pack(len(body)) + body


def decode_calls(body: bytes) -> list[Call]:
    """The calls of one frame body; raises WireError."""
    calls = decode(_CALLS, body)
    if len(calls) > CALLS_MAX:
        raise WireError("too many calls in one frame", code="wire.too-large")
    return calls


def decode_answers(body: bytes) -> list[Answer]:
    """The answers of one frame body; raises WireError."""
    return decode(_ANSWERS, body)


class FrameReader:
    """Splits a byte stream into frame bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Frame bodies completed by `data`; raises WireError (`wire.too-large`) before buffering an oversized one."""
        self._buffer += data
        bodies = []
        start = 0
        while len(self._buffer) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer, start)
            if length > FRAME_BYTES_MAX:
                raise WireError("frame larger than 8 MiB", code="wire.too-large")
            end = start + LENGTH.size + length
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[start + LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return bodies
