"""Events of the gateway's audit chain, as they happen and from any position on (specs/events.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from attestation.canonical import parse_json
from attestation.errors import DocumentError
from kms.client.caller import Caller
from kms.client.errors import UnavailableError, VerificationError

RETRY_S = 1.0
"""Pause before a stream that ended is opened again, in seconds."""

LINE_BYTES_MAX = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the audit chain (informative: the gateway wrote it)."""

    position: int
    kind: str
    entry: dict[str, Any]


class Events:
    """`client.events`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def follow(self, *, after: int | None = None) -> AsyncIterator[Event]:
        """Every event one may see, for ever: after the position, or from now on.

        A lost connection is opened again where it broke.  Raises RequestRefusedError.
        """
        position = after
        while True:
            try:
                async for event in self._once(position):
                    position = event.position
                    yield event
            except UnavailableError:
                await asyncio.sleep(RETRY_S)

    async def _once(self, after: int | None) -> AsyncIterator[Event]:
        path = "/v1/events"
        token = self._caller.token("GET", path, act="events.read", resource="*")
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        fields: dict[bytes, bytes] = {}
        async for line in self._caller.transport.lines(path, token=token, headers=headers, bytes_max=LINE_BYTES_MAX):
            if not line:
                if b"data" in fields:
                    yield _event(fields)
                fields = {}
            elif not line.startswith(b":"):
                name, _, value = line.partition(b":")
                fields[name] = value.removeprefix(b" ")


def _event(fields: dict[bytes, bytes]) -> Event:
    try:
        entry = parse_json(fields[b"data"])
        return Event(position=int(fields[b"id"]), kind=fields[b"event"].decode(), entry=dict(entry))
    except (DocumentError, KeyError, ValueError, TypeError):
        raise VerificationError("an event does not have its stated form", code="verify.event") from None
