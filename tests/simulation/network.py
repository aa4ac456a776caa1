"""The wires between gateways and nodes, and what an untrusted relay does to what they carry.

Rules kept: an undisturbed connection delivers everything in order, after a seeded delay; loss, duplication and
reordering happen to single calls and answers, as a relay would do it (frames are decoded and put together again);
partitions swallow what is sent, and reset what lasts too long; every fault is counted.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from enclave.wire.frame import FrameReader, decode_answers, decode_calls, frame
from tests.simulation.loop import MACHINE, SimLoop

if TYPE_CHECKING:
    from tests.simulation.clocks import Machine

LATENCY_S = (0.0005, 0.006)
"""Bounds of an undisturbed delay."""

SLOW_S = 3.0
"""Longest delay of a disturbed message: beyond what a caller waits for some verbs, below others."""

HANDSHAKE_S = 0.004


@dataclass(slots=True, kw_only=True)
class Weather:
    """How likely each call or answer meets a fault now."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    replay: float = 0.0
    """How likely a call of the past is sent once more."""

    @property
    def is_calm(self) -> bool:
        """Whether nothing can happen to a message."""
        return not (self.loss or self.duplicate or self.delay or self.replay)


class Network:
    """Who can be reached where, and in what weather."""

    def __init__(self, loop: SimLoop, counters: Counter[str]) -> None:
        self.loop = loop
        self.counters = counters
        self.rng = random.Random(0)
        self.weather = Weather()
        self.cut: set[frozenset[str]] = set()
        """Pairs of hosts that cannot reach each other."""
        self.listeners: dict[int, Listener] = {}
        self.on_call: Callable[[str, str, Any], Any] | None = None
        """A malicious relay: sees (gateway, node, call) and gives the call to deliver, or None."""
        self.wires: list[Wire] = []
        self.routes: dict[tuple[str, int], int] = {}
        """(host, port) -> the port that host reaches instead: whoever runs the network decides where wires end."""
        self.carried: list[bytes] | None = None
        """Everything on a wire, once somebody wants it."""

    def is_cut(self, one: str, other: str) -> bool:
        """Whether a partition lies between two hosts."""
        return bool(self.cut) and frozenset((one, other)) in self.cut

    def latency(self) -> float:
        """One undisturbed delay."""
        return self.rng.uniform(*LATENCY_S)

    async def connect(self, factory: Callable[[], asyncio.Protocol], _host: str, port: int) -> Any:
        """The client side of `create_connection`."""
        machine = MACHINE.get()
        assert machine is not None
        port = self.routes.get((machine.host.name, port), port)
        await asyncio.sleep(HANDSHAKE_S + self.latency())
        listener = self.listeners.get(port)
        if listener is None or listener.machine.is_dead:
            raise ConnectionRefusedError("nobody listens")
        if self.is_cut(machine.host.name, listener.machine.host.name):
            await asyncio.sleep(30.0)
            raise TimeoutError
        protocol = factory()
        wire = Wire(self, machine, listener, protocol)
        self.wires.append(wire)
        return wire.client, protocol


class Listener:
    """A node that takes connections."""

    def __init__(self, machine: Machine, factory: Callable[[], asyncio.Protocol], spki: bytes) -> None:
        self.machine = machine
        self.factory = factory
        self.spki = spki


class Wire:
    """One connection: two ends, and the frames between them."""

    def __init__(self, network: Network, machine: Machine, listener: Listener, protocol: asyncio.Protocol) -> None:
        self.network = network
        self.is_open = True
        self.past: list[Any] = []
        server = listener.factory()
        self.client = End(self, machine, protocol, spki=listener.spki, decode=decode_calls)
        self.server = End(self, listener.machine, server, spki=b"", decode=decode_answers)
        self.client.peer, self.server.peer = self.server, self.client
        protocol.connection_made(self.client)  # type: ignore[arg-type]
        network.loop.inject(listener.machine, 0.0, server.connection_made, self.server)

    def close(self, *, notice: bool = True) -> None:
        """Both ends lose the connection; `notice` False leaves them waiting, as when a cable is cut."""
        if not self.is_open:
            return
        self.is_open = False
        if self in self.network.wires:
            self.network.wires.remove(self)
        if notice:
            self.client.hear_of_end()
            self.server.hear_of_end()


class End:
    """The transport of one side."""

    def __init__(
        self,
        wire: Wire,
        machine: Machine,
        protocol: asyncio.Protocol,
        *,
        spki: bytes,
        decode: Callable[[bytes], list[Any]],
    ) -> None:
        self.wire = wire
        self.machine = machine
        self.protocol = protocol
        self.spki = spki
        self.peer: End = self
        self._decode = decode
        self._reader = FrameReader()
        self._arrives = 0.0
        self._is_closing = False
        self._knows = False

    # --- what asyncio protocols ask of a transport -----------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send; what happens to it is up to the weather."""
        wire, network = self.wire, self.wire.network
        if not wire.is_open or self._is_closing:
            return
        if network.is_cut(self.machine.host.name, self.peer.machine.host.name):
            network.counters["partitioned message"] += 1
            return
        if network.weather.is_calm and network.on_call is None:
            self._send(data, network.latency())
            return
        for body in self._reader.feed(data):
            for item in self._decode(body):
                self._disturb(item)

    def close(self) -> None:
        """Orderly or not is the same here."""
        self.abort()

    def abort(self) -> None:
        """End the connection."""
        self._is_closing = True
        self.wire.close()
        self.hear_of_end()

    def hear_of_end(self) -> None:
        """Have the protocol told, once."""
        if not self._knows:
            self._knows = True
            self.wire.network.loop.inject(self.machine, self.wire.network.latency(), self.lost)

    def is_closing(self) -> bool:
        """Whether no more is sent."""
        return self._is_closing or not self.wire.is_open

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What there is to know."""
        return self.spki if name == "sim_spki" else default

    def pause_reading(self) -> None:
        """Nothing here ever fills up."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""

    # --- inside ----------------------------------------------------------------------------------------

    def _disturb(self, item: Any) -> None:
        network, weather = self.wire.network, self.wire.network.weather
        rng, counters = network.rng, network.counters
        is_call = self._decode is decode_calls
        if is_call and network.on_call is not None:
            changed = network.on_call(self.machine.host.name, self.peer.machine.host.name, item)
            if changed is None:
                return
            item = changed
        delay = network.latency()
        if rng.random() < weather.loss:
            counters["message lost"] += 1
            return
        if rng.random() < weather.delay:
            counters["message delayed"] += 1
            self._send(frame([item]), delay + rng.uniform(0.05, SLOW_S), in_order=False)
            return
        self._send(frame([item]), delay)
        if rng.random() < weather.duplicate:
            counters["message duplicated"] += 1
            self._send(frame([item]), delay + rng.uniform(0.0, SLOW_S), in_order=False)
        if is_call and weather.replay:
            if len(self.wire.past) < 64:
                self.wire.past.append(item)
            if rng.random() < weather.replay:
                counters["message replayed"] += 1
                self._send(frame([rng.choice(self.wire.past)]), delay + rng.uniform(0.0, SLOW_S), in_order=False)

    def _send(self, data: bytes, delay: float, *, in_order: bool = True) -> None:
        loop = self.wire.network.loop
        if self.wire.network.carried is not None:
            self.wire.network.carried.append(data)
        if in_order:
            # Bytes of one connection do not overtake each other unless a relay makes them.
            self._arrives = max(self._arrives + 1e-6, loop.time() + delay)
            delay = self._arrives - loop.time()
        else:
            self.wire.network.counters["message reordered"] += 1
        loop.inject(self.peer.machine, delay, self.peer.deliver, data)

    def deliver(self, data: bytes) -> None:
        """Bytes arrive."""
        if self.wire.is_open:
            self.protocol.data_received(data)

    def lost(self) -> None:
        """The connection is gone."""
        self._is_closing = True
        protocol, self.protocol = self.protocol, _NOBODY
        protocol.connection_lost(None)


class _Nobody(asyncio.Protocol):
    """Where the events of a finished connection go."""


_NOBODY = _Nobody()
