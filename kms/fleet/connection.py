"""One connection to a node: calls of one event-loop tick travel in one frame, answers find their callers by id.

Raises only LinkError (the node did not answer) and NodeRefusal (it said no).  Whatever a node sends
that is not its stated form ends the connection (specs/wire.md).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, cast

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from enclave.errors import WireError
from enclave.wire.frame import CALLS_MAX, FRAME_BYTES_MAX, Answer, Call, FrameReader, decode_answers
from enclave.wire.frame import frame as encode_frame
from enclave.wire.message import Message
from enclave.wire.message import encode as encode_message
from enclave.wire.verbs import decode_reply
from kms.errors import LinkError, NodeRefusal

PENDING_MAX = 8192
"""Most unanswered calls of one connection: beyond it the node is too slow to be worth waiting for."""

FRAME_FILL_MAX = FRAME_BYTES_MAX // 2
"""Bytes of calls after which a new frame begins, half the limit so that overhead never exceeds it."""


class NodeConnection(asyncio.Protocol):
    """Frames over one TLS 1.3 connection."""

    def __init__(self, slot: str, *, on_lost: Callable[[NodeConnection], None]) -> None:
        self.slot = slot
        self.spki = b""
        """SHA-256 of the SubjectPublicKeyInfo of the certificate the node showed."""
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._next_id = 1
        self._queue: list[Call] = []
        self._queue_bytes = 0
        self._pending: dict[int, tuple[asyncio.Future[Any], str, asyncio.TimerHandle]] = {}

    @property
    def in_flight(self) -> int:
        """Calls without an answer."""
        return len(self._pending)

    def call(self, verb: str, message: Message, timeout_s: float) -> asyncio.Future[Any]:
        """Queue one call; the future holds the typed reply, a NodeRefusal or a LinkError."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._transport is None or len(self._pending) >= PENDING_MAX:
            future.set_exception(self._lost("is not connected" if self._transport is None else "is overloaded"))
            return future
        body = encode_message(message)
        if self._queue and (self._queue_bytes + len(body) > FRAME_FILL_MAX or len(self._queue) == CALLS_MAX):
            self._flush()
        if not self._queue:
            self._loop.call_soon(self._flush)
        number = self._next_id
        self._next_id += 1
        self._queue.append(Call(number, verb, msgspec.Raw(body)))
        self._queue_bytes += len(body)
        self._pending[number] = (future, verb, self._loop.call_later(timeout_s, self._expire, number))
        return future

    def close(self) -> None:
        """Drop the connection; waiting calls fail."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TLS handshake is done."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class does not derive from it
        self.spki = _spki(self._transport)

    def data_received(self, data: bytes) -> None:
        """Settle the calls that `data` completes."""
        try:
            for body in self._reader.feed(data):
                for answer in decode_answers(body):
                    self._settle(answer)
        except WireError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the reason does not change what to do
        """Fail what is waiting."""
        self._transport = None
        pending, self._pending = self._pending, {}
        self._queue.clear()
        for future, _, timer in pending.values():
            timer.cancel()
            if not future.done():
                future.set_exception(self._lost("closed the connection"))
        self._on_lost(self)

    def _flush(self) -> None:
        calls, self._queue, self._queue_bytes = self._queue, [], 0
        if calls and self._transport is not None:
            self._transport.write(encode_frame(calls))

    def _settle(self, answer: Answer) -> None:
        entry = self._pending.pop(answer.id, None)
        if entry is None:
            return  # the caller gave up before the answer came
        future, verb, timer = entry
        timer.cancel()
        if future.done():
            return
        if answer.fault is not None:
            fault = answer.fault
            future.set_exception(
                NodeRefusal(fault.detail, code=fault.code, hint=fault.hint, slot=self.slot, culprits=fault.culprits)
            )
            return
        try:
            future.set_result(decode_reply(verb, answer.body))
        except WireError:
            future.set_exception(self._lost("sent a reply that does not have its stated form"))
            raise

    def _expire(self, number: int) -> None:
        entry = self._pending.pop(number, None)
        if entry is not None and not entry[0].done():
            entry[0].set_exception(self._lost("did not answer in time", code="node-timeout"))

    def _lost(self, what: str, code: str | None = None) -> LinkError:
        return LinkError(f"{self.slot} {what}", code=code)


def _spki(transport: asyncio.Transport) -> bytes:
    tls: Any = transport.get_extra_info("ssl_object")
    if tls is None:
        return b""
    certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).digest()
