"""Frames in, frames out: the asyncio side of a node.

Rules kept: one thread touches the state; all answers of a tick leave after one commit of the store; no
connection can hold up the others or make this process buffer without bound; a StorageError ends the
node before anything it did not store is acknowledged.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import msgspec

from attestation.errors import CodedError
from enclave.ceremonies.steps import Work
from enclave.errors import EnclaveError, RefusedError, StorageError, WireError
from enclave.logs import place_of
from enclave.long_work import JOBS_MAX, Job, LongWork
from enclave.state import NodeState
from enclave.wire.attestation import EvidenceRequest
from enclave.wire.frame import Answer, Call, Fault, FrameReader, decode_calls, frame
from enclave.wire.message import Message, encode
from enclave.wire.verbs import decode_request

CONNECTIONS_MAX = 64
"""Gateways and operators at once; each may hold 1024 nonces in locked memory."""

QUEUE_MAX = 2048
"""Calls waiting per connection before reading from it stops."""

BUFFERED_BYTES_MAX = 48 << 20
"""Bytes of unfinished frames and waiting calls, all connections together: a node stays below 100 MB."""

SLICE_S = 0.005
"""Longest run of work before the loop gets to read and write again, in seconds."""

QUOTES_WAITING_MAX = 64
"""Evidence requests waiting for the platform."""

FRAME_BYTES_AIM = 1 << 20
"""Answers are split into frames of about this size, well below the 8 MiB a peer accepts."""

SWEEP_S = 1.0
"""How often expired secrets are looked for, in seconds."""

REFUSALS_PER_SECOND = 20
"""Refused requests logged per second: a flood must not fill a disk."""

_HEADER_BYTES = 4
_NIL = msgspec.Raw(b"\xc0")


class Connection(asyncio.Protocol):
    """One gateway connection: splits frames, queues calls, writes answers."""

    def __init__(self, server: NodeServer, number: int) -> None:
        self.number = number
        self.calls: deque[Call] = deque()
        self.answers: list[Answer] = []
        self.transport: asyncio.Transport | None = None
        self.is_writable = True
        self._is_reading = True
        self.buffered = 0
        """Bytes received and not yet worked on."""
        self._server = server
        self._reader = FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register, or hang up when there are too many."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has the methods but not the base class
        if not self._server.admit(self):
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Queue the calls of every completed frame; a malformed frame ends the connection."""
        self.count(len(data))
        try:
            for body in self._reader.feed(data):
                calls = decode_calls(body)
                self.calls.extend(calls)
                self.count(sum(len(call.body) for call in calls) - len(body) - _HEADER_BYTES)
        except WireError as error:
            self.hang_up(error.code)
            return
        if self._server.buffered > BUFFERED_BYTES_MAX:
            self._server.shed()
        self.balance()
        self._server.wake(self)

    def count(self, size: int) -> None:
        """Account for bytes taken in (or, negative, dealt with)."""
        self.buffered += size
        self._server.buffered += size

    def hang_up(self, code: str) -> None:
        """End the connection at once, for a reason worth a line in the log."""
        self._server.log("hung-up", level="warning", connection=self.number, code=code)
        if self.transport is not None:
            self.transport.abort()

    def balance(self) -> None:
        """Stop reading while too much is queued, start again at half of it."""
        if self.transport is None or self.transport.is_closing():
            return
        if self._is_reading and len(self.calls) > QUEUE_MAX:
            self._is_reading = False
            self.transport.pause_reading()
        elif not self._is_reading and len(self.calls) < QUEUE_MAX // 2:
            self._is_reading = True
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """The peer does not read: do no more work for it."""
        self.is_writable = False

    def resume_writing(self) -> None:
        """The peer reads again."""
        self.is_writable = True
        self._server.wake(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget everything of this connection."""
        self.calls.clear()
        self.answers.clear()
        self.count(-self.buffered)
        self.transport = None
        self._server.leave(self)

    def flush(self) -> None:
        """Write the answers gathered so far."""
        if self.transport is None or self.transport.is_closing():
            self.answers.clear()
            return
        part: list[Answer] = []
        size = 0
        for answer in self.answers:
            part.append(answer)
            size += len(answer.body)
            if size >= FRAME_BYTES_AIM:
                self.transport.write(frame(part))
                part, size = [], 0
        if part:
            self.transport.write(frame(part))
        self.answers.clear()


class NodeServer:
    """Shares one NodeState among all connections; `stopped` resolves when the node has to stop: None, or why."""

    def __init__(self, state: NodeState, log: Callable[..., None]) -> None:
        self.state = state
        self.log = log
        self.stopped: asyncio.Future[StorageError | None] = asyncio.get_running_loop().create_future()
        self.buffered = 0
        self._connections: dict[int, Connection] = {}
        self._ready: deque[Connection] = deque()
        self._numbers = 0
        self._is_scheduled = False
        self._long = LongWork(self._fail)
        self._quoting: set[asyncio.Task[None]] = set()
        self._platform = ThreadPoolExecutor(max_workers=1, thread_name_prefix="platform")
        self._refusals = (0, 0)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def protocol(self) -> Connection:
        """Protocol factory for asyncio."""
        self._numbers += 1
        return Connection(self, self._numbers)

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more connection."""
        if len(self._connections) >= CONNECTIONS_MAX:
            self.log("too-many-connections", level="warning", connection=connection.number)
            return False
        self._connections[connection.number] = connection
        return True

    def leave(self, connection: Connection) -> None:
        """A connection is gone."""
        if self._connections.pop(connection.number, None) is not None:
            self.state.disconnect(connection.number)

    def shed(self) -> None:
        """Too much is buffered: hang up on whoever fills most of it."""
        max(self._connections.values(), key=lambda connection: connection.buffered).hang_up("too-much-buffered")

    def wake(self, connection: Connection) -> None:
        """Have a connection's calls worked on at the end of this tick."""
        if connection not in self._ready:
            self._ready.append(connection)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def ask_to_stop(self) -> None:
        """An orderly stop, from a signal."""
        if not self.stopped.done():
            self.stopped.set_result(None)

    async def close(self) -> None:
        """Hang up, wait for the platform's last answer."""
        self._sweeper.cancel()
        self._long.close()
        for connection in list(self._connections.values()):
            if connection.transport is not None:
                connection.transport.close()
        for task in self._quoting:
            task.cancel()
        await asyncio.gather(*self._quoting, return_exceptions=True)
        self._platform.shutdown(wait=False, cancel_futures=True)

    def _work(self) -> None:
        """Take calls from all ready connections in turn until the slice is over, then commit and answer."""
        self._is_scheduled = False
        if self.stopped.done():
            return
        deadline = time.monotonic() + SLICE_S
        touched: dict[int, Connection] = {}
        try:
            while self._ready and time.monotonic() < deadline:
                connection = self._ready.popleft()
                if not connection.is_writable:
                    continue
                touched[connection.number] = connection
                if connection.calls:
                    call = connection.calls.popleft()
                    connection.count(-len(call.body))
                    self._one(connection, call)
                    connection.balance()
                if connection.calls:
                    self._ready.append(connection)
            self.state.commit()
        except StorageError as error:
            self._fail(error)
            return
        for connection in touched.values():
            connection.flush()
        if self._ready and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def _sweep(self) -> None:
        """Let time pass on an idle node, too: what has expired is wiped, not only refused."""
        self.state.tick(int(time.time()))
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _one(self, connection: Connection, call: Call) -> None:
        try:
            request = decode_request(call.verb, call.body)
            if isinstance(request, EvidenceRequest):
                self._quote(connection, call.id, request)
                return
            reply = self.state.begin(connection.number, call.verb, request, int(time.time()))
            if not isinstance(reply, Message):
                self._take_time(connection, call, reply)
                return
            self._long.note_served()
            answer = Answer(call.id, None, msgspec.Raw(encode(reply)))
        except StorageError:
            raise
        except Exception as error:
            answer = self._refusal(connection, call.id, call.verb, error)
        connection.answers.append(answer)

    def _take_time(self, connection: Connection, call: Call, work: Work[Message]) -> None:
        """Answer once long work is done and on disk, whatever else is asked meanwhile."""

        def done(value: Message | None, error: Exception | None) -> None:
            if value is not None:
                try:
                    self.state.commit()
                except StorageError as failure:
                    self._fail(failure)
                    return
                answer = Answer(call.id, None, msgspec.Raw(encode(value)))
            else:
                answer = self._refusal(connection, call.id, call.verb, error or RuntimeError())
            connection.answers.append(answer)
            self.wake(connection)

        if len(self._long) >= JOBS_MAX:
            work.close()
            raise RefusedError("too many ceremonies are at work", code="ceremony.busy", hint="retry shortly")
        self._long.add(Job(work=work, done=done))

    def _quote(self, connection: Connection, number: int, request: EvidenceRequest) -> None:
        if len(self._quoting) >= QUOTES_WAITING_MAX:
            raise RefusedError("too many quotes are waiting", code="evidence.rate", hint="retry in a second")
        nonces, bound = self.state.begin_evidence(request, int(time.time()))
        task = asyncio.get_running_loop().create_task(self._quoted(connection, number, nonces, bound))
        self._quoting.add(task)
        task.add_done_callback(self._quoting.discard)

    async def _quoted(self, connection: Connection, number: int, nonces: list[bytes], bound: bytes) -> None:
        """The platform may take seconds, so it is asked from a thread; the state is touched only here."""
        loop = asyncio.get_running_loop()
        try:
            evidence = await loop.run_in_executor(self._platform, self.state.tee.quote, bound)
            presentation = self.state.finish_evidence(nonces, evidence, int(time.time()))
            answer = Answer(number, None, msgspec.Raw(encode(presentation)))
        except StorageError as error:
            self._fail(error)
            return
        except Exception as error:
            answer = self._refusal(connection, number, "evidence", error)
        connection.answers.append(answer)
        self.wake(connection)

    def _refusal(self, connection: Connection, number: int, verb: str, error: Exception) -> Answer:
        if isinstance(error, CodedError):
            self._log_refusal(connection, verb, error.code)
            culprits = list(error.culprits) if isinstance(error, EnclaveError) else []
            return Answer(number, Fault(error.code, error.detail, error.hint, culprits), _NIL)
        self.log(
            "internal-error",
            level="error",
            connection=connection.number,
            verb=verb,
            error=type(error).__name__,
            where=place_of(error),
        )
        return Answer(number, Fault("internal", "the node met an internal error"), _NIL)

    def _log_refusal(self, connection: Connection, verb: str, code: str) -> None:
        second, count = self._refusals
        now = int(time.monotonic())
        self._refusals = (now, count + 1 if second == now else 1)
        if self._refusals[1] <= REFUSALS_PER_SECOND:
            self.log("refused", connection=connection.number, verb=verb[:32], code=code)

    def _fail(self, error: StorageError) -> None:
        if not self.stopped.done():
            self.stopped.set_result(error)
