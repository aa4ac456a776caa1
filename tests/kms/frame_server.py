"""A server that speaks frames over TLS and answers as a test says: for everything that links must survive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self, cast

import msgspec

from enclave.tls import new_server_context
from enclave.wire.attestation import Status
from enclave.wire.frame import Answer, Call, Fault, FrameReader, decode_calls, frame
from enclave.wire.message import Empty, Message, encode

Reply = Callable[[Call], Message | Fault | bytes | None]
"""What a call gets: a message, a fault, raw bytes on the wire, or silence."""

NIL = msgspec.Raw(b"\xc0")


def status(slot: str = "node-1", *, boot_counter: int = 1) -> Status:
    """What a node says first."""
    return Status(
        slot=slot,
        boot_counter=boot_counter,
        identity_key=bytes(32),
        roster_digest=bytes(32),
        started_at=0,
        now=0,
        keys=0,
        registry_sequence=0,
        collateral_digest=b"",
        version="1",
    )


class FrameServer:
    """Counts frames and connections; `reply` may be changed at any time."""

    def __init__(self, reply: Reply | None = None, *, slot: str = "node-1", port: int = 0) -> None:
        self.frames: list[list[Call]] = []
        self.connections: list[_Served] = []
        self.slot = slot
        self.port = port
        self.tls, self.spki = new_server_context(slot)
        self.reply: Reply = reply or (lambda call: status(self.slot) if call.verb == "status" else Empty())

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Served(self), "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.drop()
        await asyncio.sleep(0.02)

    @property
    def url(self) -> str:
        """As a roster writes it."""
        return f"tls://127.0.0.1:{self.port}"

    def drop(self) -> None:
        """Reset every connection."""
        for connection in self.connections:
            connection.transport.abort()
        self.connections.clear()


class _Served(asyncio.Protocol):
    def __init__(self, server: FrameServer) -> None:
        self._server = server
        self._reader = FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.connections.append(self)

    def data_received(self, data: bytes) -> None:
        for body in self._reader.feed(data):
            calls = decode_calls(body)
            self._server.frames.append(calls)
            for call in calls:
                self._answer(call, self._server.reply(call))

    def _answer(self, call: Call, answer: Message | Fault | bytes | None) -> None:
        if isinstance(answer, bytes):
            self.transport.write(answer)
        elif isinstance(answer, Fault):
            self.transport.write(frame([Answer(call.id, answer, NIL)]))
        elif answer is not None:
            self.transport.write(frame([Answer(call.id, None, msgspec.Raw(encode(answer)))]))
