"""The lasting way to one node: connects, reconnects with jitter, and knows how the node is doing.

The TLS certificate is self-signed per boot: nothing is believed because of it.  What binds it is the
node's verified evidence, which names the hash of its key; `admit` closes the door to a connection that
ends anywhere else.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from enclave.wire.attestation import Status
from enclave.wire.message import Empty, Message
from kms.errors import ConfigurationError, KmsError, LinkError
from kms.fleet.connection import NodeConnection

CONNECT_TIMEOUT_S = 5.0
"""Longest wait for TCP and TLS together."""

RETRY_MIN_S, RETRY_MAX_S = 0.1, 2.0
"""Bounds of the pause before the next attempt; it doubles and is drawn at random below its bound."""

BOOT_WAIT_S_MAX = 1.5
"""Longest wait for a node's first whole second; more would be a clock that differs, which the nodes notice."""

CALL_TIMEOUT_S = 5.0
"""Default wait for an answer."""

SUSPECT_S = 10.0
"""How long a node that let a call time out is chosen only when nobody else is left."""

SILENCE_S_MAX = 20.0
"""A connection on which nothing is answered for so long is taken for dead (a machine that vanished sends no reset)."""

UNHEARD = "unheard"
"""Why a node is not asked to work before its first heartbeat on a connection."""

QUARANTINE_S = 120.0
"""How long a node caught with a wrong share is avoided."""


class NodeLink:
    """One node as the gateway sees it."""

    def __init__(
        self,
        slot: str,
        url: str,
        *,
        on_up: Callable[[NodeLink], None],
        on_down: Callable[[NodeLink], None],
    ) -> None:
        self.slot = slot
        self.url = url
        self.host, self.port = _address(url)
        self.generation = 0
        """Counts connections: whatever belongs to one connection (nonces) is void in the next."""
        self.status: Status | None = None
        """What the node said of itself on this connection."""
        self.admitted = False
        """Whether its evidence names the key of this TLS connection."""
        self.refuses = UNHEARD
        """Why the node says that it does not work now; empty if it does (kms.fleet.heartbeats)."""
        self.why = ""
        self._suspect_until = 0.0
        self._silent_since: float | None = None
        self._on_up = on_up
        self._on_down = on_down
        self._connection: NodeConnection | None = None
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, and stay connected until `close`."""
        self._task = asyncio.create_task(self._run(), name=f"link-{self.slot}")

    async def close(self) -> None:
        """End the connection for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self.reset()

    @property
    def connected(self) -> bool:
        """Whether calls can be made; the first answer (`status`) has come."""
        return self._connection is not None and self.status is not None

    @property
    def usable(self) -> bool:
        """Whether requests may be sent here."""
        return self.connected and self.admitted and not self.refuses

    @property
    def suspect(self) -> bool:
        """Whether a call timed out a moment ago."""
        return asyncio.get_running_loop().time() < self._suspect_until

    @property
    def in_flight(self) -> int:
        """Calls without an answer."""
        return self._connection.in_flight if self._connection is not None else 0

    def call(self, verb: str, message: Message, *, timeout_s: float = CALL_TIMEOUT_S) -> asyncio.Future[Any]:
        """Queue one call; the future holds the typed reply, a NodeRefusal or a LinkError."""
        if self._connection is None:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_exception(LinkError(f"{self.slot} is not connected"))
            return future
        return self._connection.call(verb, message, timeout_s)

    def note_timeout(self) -> None:
        """Avoid this node for a while; after too long a silence, connect anew."""
        now = asyncio.get_running_loop().time()
        self._suspect_until = max(self._suspect_until, now + SUSPECT_S)
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > SILENCE_S_MAX:
            self._silent_since = None
            self.reset()

    def note_answer(self) -> None:
        """The node answers."""
        self._silent_since = None

    def note_doubt(self) -> None:
        """Avoid a node that took part where something failed and others did not fail."""
        self._suspect_until = max(self._suspect_until, asyncio.get_running_loop().time() + SUSPECT_S)

    def note_misbehaviour(self) -> None:
        """Avoid a node that sent a wrong share for longer."""
        self._suspect_until = asyncio.get_running_loop().time() + QUARANTINE_S

    def admit(self, tls_spki: bytes) -> bool:
        """Whether the connection ends in the machine whose evidence names `tls_spki`; another is dropped."""
        self.admitted = self._connection is not None and self._connection.spki == tls_spki
        if self._connection is not None and not self.admitted:
            self.reset()
        return self.admitted

    def reset(self) -> None:
        """Drop the connection; the link makes a new one."""
        if self._connection is not None:
            self._connection.close()

    async def _run(self) -> None:
        pause = RETRY_MIN_S
        while True:
            try:
                await self._connect()
                pause = RETRY_MIN_S
                await self._gone.wait()
            except (OSError, TimeoutError, KmsError):
                self.reset()
                await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  spreads load, guards nothing
                pause = min(RETRY_MAX_S, pause * 2)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._gone.clear()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: NodeConnection(self.slot, on_lost=self._lost), self.host, self.port, ssl=_TLS
            )
        self._connection = connection
        self.generation += 1
        self.admitted = False
        self.refuses = UNHEARD
        status = await connection.call("status", Empty(), CONNECT_TIMEOUT_S)
        assert isinstance(status, Status)
        if status.slot != self.slot:
            connection.close()
            raise LinkError(f"expected {self.slot}, found a node of another slot")
        # Before this second the node refuses every token as older than its boot: it is not up yet.
        await asyncio.sleep(min(BOOT_WAIT_S_MAX, max(0.0, status.started_at - time.time())))
        if self._connection is not connection:
            raise LinkError(f"{self.slot} closed the connection")
        self.status = status
        self._on_up(self)

    def _lost(self, connection: NodeConnection) -> None:
        if connection is not self._connection:
            return
        was_up = self.connected
        self._connection = None
        self.status = None
        self.admitted = False
        self.refuses = UNHEARD
        self._gone.set()
        if was_up:
            self._on_down(self)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "tls" or not parts.hostname or not parts.port:
        raise ConfigurationError(f"expected a node URL of the form tls://host:port, found {url[:80]!r}")
    return parts.hostname, parts.port


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # bound by the evidence instead, see `NodeLink.admit`
    return context


_TLS = _tls()
