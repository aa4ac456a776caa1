"""A host with one node on it: the production server and state, started, crashed and started again.

Rules kept: a crash keeps what the disk had and nothing else; every boot is a new machine run, so that callbacks of
the boot before never run again; what leaves a node is told to the observer only after it was committed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attestation.collateral import Collateral
from attestation.errors import CodedError
from attestation.verifier import Verifier
from enclave.ceremonies.steps import Work
from enclave.errors import StorageError
from enclave.roster_chain import Link
from enclave.server import NodeServer
from enclave.state import NodeState
from enclave.tee import Tee
from enclave.wire.message import Message
from tests.simulation.clocks import Host, Machine
from tests.simulation.disk import Disk, PowerError
from tests.simulation.loop import MACHINE, SimLoop
from tests.simulation.network import Listener, Network
from tests.simulation.quotes import StandInVerifier

if TYPE_CHECKING:
    from tests.simulation.observer import Observer

Fault = Callable[[str, Message, Message], Message]
"""(verb, request, honest reply) -> what a malicious node answers; it may raise, too."""


class SimNode(NodeState):
    """The production node, watched, and malicious if told so."""

    fault: Fault | None = None
    observer: Observer
    refusal: Callable[[str, Message], None] | None = None

    def begin(self, connection: int, verb: str, request: Message, now: int) -> Message | Work[Message]:
        """The honest reply, or what the fault makes of it."""
        try:
            reply = super().begin(connection, verb, request, now)
        except CodedError as error:
            self.observer.refused(self, verb, request, error)
            raise
        if not isinstance(reply, Message):
            return self._later(connection, verb, request, reply)
        return self._answered(connection, verb, request, reply)

    def _later(self, connection: int, verb: str, request: Message, work: Work[Message]) -> Work[Message]:
        try:
            reply = yield from work
        except CodedError as error:
            self.observer.refused(self, verb, request, error)
            raise
        return self._answered(connection, verb, request, reply)

    def _answered(self, connection: int, verb: str, request: Message, reply: Message) -> Message:
        if self.fault is not None:
            reply = self.fault(verb, request, reply)
        self.observer.answering(self, connection, verb, request, reply)
        return reply

    def commit(self) -> None:
        """What was answered leaves now."""
        super().commit()
        self.observer.committed(self)


class NodeHost(Host):
    """One slot's computer."""

    def __init__(
        self,
        slot: str,
        loop: SimLoop,
        network: Network,
        *,
        links: tuple[Link, ...],
        tee: Tee,
        verifier: Verifier,
        observer: Observer,
        port: int,
        disk: Disk | None = None,
    ) -> None:
        super().__init__(slot, loop)
        self.slot = slot
        self.tee = tee
        self.disk = disk or Disk(links[0].roster.cluster_id, slot)
        self.port = port
        self._network = network
        self._links = links
        self._verifier = verifier
        self.observer = observer
        self.machine: Machine | None = None
        self.state: SimNode | None = None
        self.server: NodeServer | None = None
        self.fault: Fault | None = None
        self.boots = 0
        self.why_down = ""

    @property
    def is_up(self) -> bool:
        """Whether a node runs here."""
        return self.state is not None

    def start(self) -> bool:
        """Boot; False, with the reason kept, if the disk does not let it."""
        if self.state is not None:
            return True
        machine = Machine(self)
        token = MACHINE.set(machine)
        try:
            return self._boot(machine)
        finally:
            MACHINE.reset(token)

    def crash(self, *, notice: bool = True) -> None:
        """End without warning: memory is gone, the disk keeps what was durable."""
        if self.state is None or self.machine is None or self.server is None:
            return
        self.observer.crashed(self.state)
        self.machine.is_dead = True
        self._network.listeners.pop(self.port, None)
        for wire in [wire for wire in self._network.wires if wire.server.machine is self.machine]:
            wire.close(notice=notice)
        self.disk.crash()
        self._forget(self.state)
        self.machine = self.state = self.server = None

    def _forget(self, state: NodeState) -> None:
        """Memory that loses its power: wiped here so that a long run of timelines does not grow."""
        for number in {*state._pools, *state._schnorr_pools}:
            state.disconnect(number)
        state.ecdsa.wipe()
        state.ceremonies.wipe()
        state.keys.wipe()
        state.identity.wipe()

    def _boot(self, machine: Machine) -> bool:
        try:
            store = self.disk.open(self.tee)
            state = SimNode.__new__(SimNode)
            state.observer = self.observer
            NodeState.__init__(
                state,
                roster=self._links[0].roster,
                rosters=self._links[1:],
                slot=self.slot,
                store=store,
                tee=self.tee,
                tls_spki=b"".join(self.slot.encode() for _ in range(32))[:32],
                now=math.ceil(machine.wall()),
                verifier=self._verifier,
                monotonic=machine.steady,
            )
        except CodedError as error:
            self.why_down = error.code
            self.disk.crash()
            self.observer.event(f"{self.slot} does not start: {error.code}")
            return False
        if state.verdicts.collateral is None and isinstance(self._verifier, StandInVerifier):
            state.verdicts.collateral = Collateral()  # stand-in quotes need none
        self.boots += 1
        state.fault = self.fault
        self.machine, self.state = machine, state
        self._loop_prepare(state, machine)
        return True

    def _loop_prepare(self, state: SimNode, machine: Machine) -> None:
        import asyncio

        previous = asyncio._get_running_loop()
        asyncio._set_running_loop(self.loop)
        try:
            self.server = NodeServer(state, self.observer.log_of(self.slot))
        finally:
            asyncio._set_running_loop(previous)
        self.server.stopped.add_done_callback(self._stopped)
        self._network.listeners[self.port] = Listener(machine, self.server.protocol, state.identity.public.tls_spki)
        self.observer.booted(state)

    def _stopped(self, future: Any) -> None:
        """The node ended itself, for instance because its disk failed."""
        failure = future.result()
        self.observer.event(f"{self.slot} stops: {failure.code if isinstance(failure, StorageError) else 'asked to'}")
        self.crash()


def lose_power(host: NodeHost) -> Callable[[], None]:
    """For `SimStore.on_commit`: the machine dies inside this commit."""

    def cut() -> None:
        host.loop.call_soon(host.crash)
        raise PowerError

    return cut
