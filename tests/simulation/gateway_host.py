"""A host with one gateway on it: the production gateway and its HTTP application, called without sockets."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from enclave.roster import Roster
from kms.app import build
from kms.audit import Entry
from kms.config import GatewayConfig
from kms.fleet.sources import WatchedFiles
from kms.gateway import Gateway
from tests.simulation.clocks import Host, Machine
from tests.simulation.gateway_store import SimGatewayStore
from tests.simulation.loop import SimLoop
from tests.simulation.observer import Observer

_AUDIT = "SELECT sequence, body, previous, hash FROM audit ORDER BY sequence"
_SETTLED = "SELECT body FROM requests WHERE state = 'done'"

CLIENT_PATIENCE_S = 30.0


class Sources(WatchedFiles):
    """Files that somebody keeps current, without files."""

    def __init__(self, *contents: bytes) -> None:
        super().__init__([])
        self._next = tuple(contents)

    def put(self, *contents: bytes) -> None:
        """Write them anew."""
        self._next = tuple(contents)

    def poll(self) -> bool:
        """See WatchedFiles."""
        changed = self._next != self.contents
        self.contents = self._next
        return changed


class GatewayHost(Host):
    """One gateway's computer."""

    def __init__(
        self,
        name: str,
        loop: SimLoop,
        *,
        config: GatewayConfig,
        roster: Roster,
        registry: Sources,
        collateral: Sources,
        observer: Observer,
    ) -> None:
        super().__init__(name, loop)
        self.config = config
        self.roster = roster
        self.registry = registry
        self.collateral = collateral
        self.observer = observer
        self.image: bytes | None = None
        self.machine: Machine | None = None
        self.gateway: Gateway | None = None
        self._server: Any = None

    def start(self) -> asyncio.Future[Any] | None:
        """Begin; the future is done once it serves."""
        if self.machine is not None:
            return None
        self.machine = Machine(self)
        return self.loop.spawn(self.machine, self._start(), name=self.name)

    async def _start(self) -> None:
        store = SimGatewayStore(self.image)
        gateway = Gateway(self.config, store)
        for mine, theirs in ((self.registry, "registry"), (self.collateral, "collateral")):
            setattr(gateway, theirs, mine)
        gateway._admittance._collateral_files = self.collateral
        gateway._admittance._registry_files = self.registry
        self.gateway = gateway
        await gateway.start()
        runner = web.AppRunner(build(gateway), access_log=None)
        await runner.setup()
        self._server = runner.server
        self.observer.event(f"{self.name} serves")

    @property
    def store(self) -> SimGatewayStore:
        """The database."""
        assert self.gateway is not None
        store = self.gateway.store
        assert isinstance(store, SimGatewayStore)
        return store

    @property
    def is_trusted_by_all(self) -> bool:
        """Whether every node is usable and trusts every other."""
        return self.gateway is not None and len(self.gateway.fleet.trusting()) == len(self.roster.slots)

    @property
    def is_up(self) -> bool:
        """Whether requests are served."""
        return self._server is not None

    def crash(self) -> None:
        """End without warning."""
        if self.machine is None or self.gateway is None:
            return
        self.observer.event(f"{self.name} crashes")
        self.machine.is_dead = True
        self.image = self.store.image()
        for link in self.gateway.fleet.links.values():
            if link._connection is not None and link._connection._transport is not None:
                link._connection._transport.abort()
        self.machine = self.gateway = self._server = None

    # --- what is in the database ------------------------------------------------------------------------

    def database(self) -> bytes:
        """All bytes, logs of nodes included."""
        held = self.store.image() if self.gateway is not None else self.image or b""
        logs = self.gateway.logs.store._connection.serialize() if self.gateway is not None else b""
        return held + logs

    def chain(self) -> list[Entry]:
        """The audit chain."""
        return [Entry(sequence=row[0], body=row[1], previous=row[2], hash=row[3]) for row in self._rows(_AUDIT)]

    def entries(self) -> list[dict[str, Any]]:
        """The bodies of the audit chain."""
        return [json.loads(entry.body) for entry in self.chain()]

    def settled(self) -> set[str]:
        """Request ids of kept responses."""
        return {
            str(json.loads(row[0])["request_id"]) for row in self._rows(_SETTLED) if row[0] and b"request_id" in row[0]
        }

    def _rows(self, query: str) -> list[Any]:
        held = self.store.image() if self.gateway is not None else self.image
        if not held:
            return []
        connection = sqlite3.connect(":memory:")
        try:
            connection.deserialize(held)
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def send(
        self, method: str, path: str, *, token: str | None = None, body: bytes = b"", headers: Mapping[str, str] = {}
    ) -> asyncio.Future[tuple[int, Any]]:
        """One HTTP exchange; the future holds status and JSON, or ConnectionError if the gateway dies meanwhile."""
        future: asyncio.Future[tuple[int, Any]] = self.loop.create_future()
        if self._server is None or self.machine is None:
            future.set_exception(ConnectionRefusedError(f"{self.name} is down"))
            return future
        lines = {"Host": "gateway", "Content-Length": str(len(body)), "Connection": "close", **headers}
        if token is not None:
            lines["Authorization"] = f"Bearer {token}"
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        data = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body
        self.loop.inject(self.machine, 0.001, self._accept, future, data)
        # A client that hears nothing gives up, also when the gateway's host is gone.
        self.loop.inject(None, CLIENT_PATIENCE_S, _give_up, future)
        return future

    def _accept(self, future: asyncio.Future[tuple[int, Any]], data: bytes) -> None:
        if self._server is None:
            return
        protocol = self._server()
        exchange = _Exchange(future)
        protocol.connection_made(exchange)
        protocol.data_received(data)


class _Exchange(asyncio.Transport):
    """The client's side of one request."""

    def __init__(self, future: asyncio.Future[tuple[int, Any]]) -> None:
        super().__init__()
        self._future = future
        self._data = bytearray()
        self._is_closing = False

    def write(self, data: Any) -> None:
        """Collect; done when the body is whole."""
        self._data += data
        head, gap, body = bytes(self._data).partition(b"\r\n\r\n")
        if not gap or self._future.done():
            return
        lines = head.decode().split("\r\n")
        length = next((int(line[16:]) for line in lines if line.lower().startswith("content-length: ")), 0)
        if len(body) >= length:
            self._future.set_result((int(lines[0].split()[1]), json.loads(body) if body else None))

    def writelines(self, list_of_data: Any) -> None:
        """See `write`."""
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        """Whether the server has hung up."""
        return self._is_closing

    def close(self) -> None:
        """The server hangs up."""
        self._is_closing = True

    def abort(self) -> None:
        """See `close`."""
        self.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What there is to know: nothing."""
        del name
        return default


def _give_up(future: asyncio.Future[tuple[int, Any]]) -> None:
    if not future.done():
        future.set_exception(TimeoutError("no answer"))
