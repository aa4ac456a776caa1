"""What goes wrong in a timeline, drawn from its seed; every kind is counted when it really happens.

Rules kept: at most one slot is lost for good and at most one lies, which is what five nodes are built for; everything
else ends when the timeline heals.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from enclave.ceremonies.facts import Kind
from enclave.errors import StorageError
from tests.simulation.disk import Disk, PowerError
from tests.simulation.facts import Facts
from tests.simulation.liar import LIES, relay_lies
from tests.simulation.network import Weather
from tests.simulation.node_host import NodeHost
from tests.simulation.rogue import Rogue
from tests.simulation.workload import Request

PROFILES: dict[str, dict[str, float]] = {
    "weather": {"weather": 3, "gateway": 0.3},
    "crashes": {"crash": 3, "torn": 1.5, "gateway": 0.7, "weather": 0.5},
    "partitions": {"partition": 3, "weather": 0.5, "rogue": 1},
    "limits": {"rogue": 2, "weather": 0.5, "crash": 0.5, "relay": 0.3},
    "revocation": {"revoke": 1, "rogue": 2, "crash": 0.3},
    "disks": {"restore": 2, "disk error": 0.7, "corrupt": 0.3, "crash": 0.5, "ceremony": 1.5},
    "rollback": {"rollback": 1},
    "clocks": {"wall clock": 2, "monotonic clock": 1, "crash": 0.5},
    "relay": {"relay": 1, "rogue": 3, "weather": 1},
    "liar": {"liar": 1, "weather": 0.5},
    "twin": {"twin": 1, "rogue": 1},
    "ceremonies": {"ceremony": 2, "crash": 0.7, "torn": 0.7, "weather": 1, "relay": 0.5},
    "everything": {
        "weather": 1,
        "crash": 1,
        "partition": 0.7,
        "ceremony": 1,
        "rogue": 1,
        "wall clock": 0.5,
        "liar": 0.4,
    },
}
"""Mean number of times each fault is begun."""

JUMP_S = 60
ROLLBACK_S = 28.0
"""Long enough for a rejoin with half of the peers away: it waits out a lease."""

LASTS_S = (5.0, 13.0)
REQUESTS = (4, 11)

Action = Callable[[], None]


class Trouble:
    """All faults of one timeline."""

    def __init__(self, facts: Facts, rng: random.Random, profile: str) -> None:
        self.facts = facts
        self.cluster = facts.cluster
        self.loop = facts.cluster.loop
        self.counters = facts.cluster.counters
        self.observer = facts.cluster.observer
        self.rng = rng
        self.profile = profile
        self.lasts_s = rng.uniform(*LASTS_S) if profile != "rollback" else ROLLBACK_S
        self.crashed: set[str] = set()
        self.lost: set[str] = set()
        """Slots whose disk is gone for good."""
        self._lights: dict[str, Action] = {
            "weather": self._weather,
            "crash": self._crash,
            "torn": self._torn,
            "gateway": self._gateway_crash,
            "partition": self._partition,
            "restore": self._restore,
            "disk error": self._disk_error,
            "corrupt": self._corrupt,
            "wall clock": self._wall_clock,
            "monotonic clock": self._monotonic_clock,
            "relay": self._relay,
            "rogue": self._rogue,
            "liar": self._liar,
            "twin": self._twin,
            "ceremony": self._ceremony,
            "revoke": self._revoke,
            "rollback": self._rollback,
        }
        self._healed = False
        self._jumped = False

    # --- phases ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Schedule everything."""
        rng = self.rng
        for kind, mean in PROFILES[self.profile].items():
            count = max(1, round(rng.expovariate(1.0) * mean)) if rng.random() < min(1.0, mean) else 0
            for _ in range(min(count, 5)):
                moment = 0.5 if kind == "rollback" else rng.uniform(0.0, self.lasts_s * 0.8)
                self._at(moment, self._lights[kind])
        for _ in range(rng.randint(*REQUESTS) * (2 if self.profile == "limits" else 1)):
            self._at(rng.uniform(0.0, self.lasts_s), self._request)
        if rng.random() < 0.3:
            self._at(rng.uniform(0.0, self.lasts_s * 0.7), self._freeze)
        if rng.random() < 0.2:
            self._at(rng.uniform(0.0, self.lasts_s * 0.7), self._policy)

    def heal(self) -> None:
        """Everything that can end, ends."""
        self.observer.event("everything heals")
        self._healed = True
        self.cluster.network.weather = Weather()
        self.cluster.network.on_call = None
        self._mend()
        for twin in self.facts.twins:
            twin.crash()
        self.cluster.network.routes.clear()
        for host in self.cluster.nodes.values():
            host.wall_offset = 0.0
            host.fault = None
            if host.state is not None:
                host.state.fault = None
                store: Any = host.state.store
                store.on_commit = store.after_commit = None
            if not host.is_up and host.slot not in self.lost - self.facts.revoked and not host.start():
                self.lost.add(host.slot)
        for gateway in self.cluster.gateways:
            gateway.start()

    def _at(self, delay: float, action: Callable[[], Any]) -> None:
        self.loop.inject(None, delay, self._unless_healed, action)

    def _unless_healed(self, action: Callable[[], Any]) -> None:
        if not self._healed:
            action()

    def _event(self, text: str) -> None:
        self.counters[text.split(":")[0]] += 1
        self.observer.event(text)

    # --- what people ask -------------------------------------------------------------------------------

    def _request(self) -> None:
        book, rng = self.facts.book, self.rng
        kind = rng.random()
        if self.profile == "limits":
            # As much as the budget has, and again: what nodes refuse is what is looked at.
            request = book.message("limited") if kind < 0.8 else book.transaction(rng.randrange(2))
        elif kind < 0.45:
            request = book.message("frost")
        elif kind < 0.7:
            request = book.message("limited")
        elif kind < 0.95 or not self.cluster.real:
            request = book.transaction(rng.randrange(3))
        else:
            request = book.decryption(self.cluster.ciphertext)
        self.loop.spawn(None, self._carry_out(request))

    async def _carry_out(self, request: Request) -> None:
        book = self.facts.book
        await book.carry_out(request, self.cluster.gateway)
        if request.succeeded and self.rng.random() < 0.3:
            await asyncio.sleep(self.rng.uniform(0.0, 2.0))
            await book.send_once(request, self.cluster.gateway)

    def _freeze(self) -> None:
        book = self.facts.book
        key = self.rng.choice(["limited", "frost"])
        self.loop.spawn(None, self._freeze_for_a_while(book.freeze(key, "frozen"), key))

    async def _freeze_for_a_while(self, document: Any, key: str) -> None:
        book, gateway = self.facts.book, self.cluster.gateway
        await book.put(gateway, "POST", "/v1/freeze", document)
        self.counters["freeze"] += 1
        await asyncio.sleep(self.rng.uniform(0.5, 4.0))
        while True:
            await book.put(gateway, "POST", "/v1/thaw", book.freeze(key, "thawed"))
            if book.documents[-1][2] == 200:
                break
            await asyncio.sleep(2.0)

    def _policy(self) -> None:
        document = self.cluster.policy_document(version=2)
        path = f"/v1/policies/{self.cluster.policy_id}"
        self.counters["policy update"] += 1
        self.loop.spawn(None, self.facts.book.put(self.cluster.gateway, "PUT", path, document))

    # --- network ---------------------------------------------------------------------------------------

    def _weather(self) -> None:
        rng = self.rng
        level = rng.choice([0.02, 0.08, 0.25])
        self.cluster.network.weather = Weather(
            loss=rng.random() * level,
            duplicate=rng.random() * level,
            delay=rng.random() * level,
            replay=rng.random() * level / 2,
        )
        self._event(f"bad weather: {self.cluster.network.weather}")
        self._at(rng.uniform(1.0, 8.0), self._calm)

    def _calm(self) -> None:
        self.cluster.network.weather = Weather()

    def _partition(self) -> None:
        rng = self.rng
        away = rng.sample(self.cluster.slots, rng.choice([1, 1, 2, 3]))
        gateways = [gateway.name for gateway in self.cluster.gateways]
        self.cluster.network.cut |= {frozenset((slot, name)) for slot in away for name in gateways}
        self._event(f"partition: {away}")
        self._at(rng.uniform(0.5, 12.0), self._mend)

    def _mend(self) -> None:
        network = self.cluster.network
        for wire in list(network.wires):
            # What was swallowed has broken the stream: both sides notice once they can reach each other.
            if network.is_cut(wire.client.machine.host.name, wire.server.machine.host.name):
                wire.close()
        network.cut.clear()

    # --- crashes and disks -----------------------------------------------------------------------------

    def _some_host(self) -> NodeHost | None:
        up = [host for host in self.cluster.nodes.values() if host.is_up and host.slot not in self.lost]
        down = len(self.cluster.slots) - len(up)
        # More than two down at once is allowed, but rare: it tests waiting, not working.
        if not up or (down >= 2 and self.rng.random() < 0.8):
            return None
        return self.rng.choice(up)

    def _crash(self) -> None:
        host = self._some_host()
        if host is not None:
            self._event(f"crash: {host.slot}")
            self._down(host)

    def _down(self, host: NodeHost, *, back_s: float | None = None) -> None:
        host.crash(notice=self.rng.random() < 0.8)
        self.crashed.add(host.slot)
        self._at(self.rng.uniform(0.2, 6.0) if back_s is None else back_s, lambda: self._back(host))

    def _back(self, host: NodeHost) -> None:
        if not host.is_up and host.slot not in self.lost and not host.start():
            self.lost.add(host.slot)

    def _torn(self) -> None:
        """Power fails in the middle of a commit: the disk has it or has not, and nobody was told."""
        host = self._some_host()
        if host is None or host.state is None:
            return
        store: Any = host.state.store
        after = self.rng.random() < 0.5
        skip = self.rng.randrange(4)

        def cut() -> None:
            nonlocal skip
            if skip:
                skip -= 1
                return
            self._event(f"torn commit: {host.slot}, {'after' if after else 'before'} it was durable")
            self._down(host)
            raise PowerError

        if after:
            store.after_commit = cut
        else:
            store.on_commit = cut

    def _disk_error(self) -> None:
        host = self._some_host()
        if host is None or host.state is None:
            return
        store: Any = host.state.store

        def fail() -> None:
            store.on_commit = None
            self._event(f"disk error: {host.slot}")
            store._broken = True
            self.crashed.add(host.slot)
            self._at(self.rng.uniform(1.0, 4.0), lambda: self._back(host))
            raise StorageError("the disk does not take it")

        store.on_commit = fail

    def _restore(self) -> None:
        """Somebody copies a disk, and puts it back later."""
        host = self._some_host()
        if host is None or self.facts.rolled_back or self.facts.liars:
            return
        host.disk.keep_copy()
        self._at(self.rng.uniform(1.0, self.lasts_s), lambda: self._put_back(host))

    def _rollback(self) -> None:
        """The worst case of the witness protocol: one peer lies, two are away when the state advances.

        Then the disk of before is put back while those who saw it advance are away.
        """
        rng, cluster = self.rng, self.cluster
        if self.facts.liars:
            return
        victim, liar, *honest = rng.sample(cluster.slots, 5)
        self.facts.liars.add(liar)
        host = cluster.nodes[liar]
        host.fault = LIES["forgotten counters"](self.facts, rng, self._event)
        if host.state is not None:
            host.state.fault = host.fault
        node = cluster.nodes[victim]
        if not node.is_up:
            return
        node.disk.keep_copy()
        seen_by = honest[: rng.choice([1, 2])]
        self._event(f"rollback: {victim}, while {liar} lies and {seen_by} know better")
        self._away([slot for slot in honest if slot not in seen_by])
        # A freeze advances the state of everyone who takes it, and what is frozen may be used again after the thaw.
        self.loop.inject(None, 0.3, self._freeze)
        for moment in (0.8, 1.2, 1.6, 2.2, 16.0, 17.0, 18.0, 19.0, 20.0):
            self._at(moment + rng.random() / 2, self._request)
        self.loop.inject(None, 3.0 + rng.uniform(0.0, 1.0), self._roll_back, node, seen_by)

    def _roll_back(self, node: NodeHost, seen_by: list[str]) -> None:
        self._mend()
        self._away(seen_by)
        self._put_back(node)
        self._at(18.0, self._mend)

    def _away(self, slots: list[str]) -> None:
        gateways = [gateway.name for gateway in self.cluster.gateways]
        self.cluster.network.cut |= {frozenset((slot, name)) for slot in slots for name in gateways}

    def _put_back(self, host: NodeHost) -> None:
        if not host.disk.copies or self.facts.rolled_back:
            return
        self._event(f"restored disk: {host.slot}")
        host.crash()
        self.facts.rolled_back.add(host.slot)
        host.disk.restore(host.disk.copies[-1])
        self._back(host)

    def _corrupt(self) -> None:
        host = self._some_host()
        if host is None or self.lost or self.facts.rolled_back:
            return
        host.crash()
        host.disk.corrupt(self.rng.randrange(1 << 20))
        self.facts.rolled_back.add(host.slot)
        self._event(f"bit flip: {host.slot}")
        if not host.start():
            self.counters["bit flip noticed"] += 1
            self.lost.add(host.slot)

    # --- clocks ----------------------------------------------------------------------------------------

    def _wall_clock(self) -> None:
        slot = self.rng.choice(self.cluster.slots)
        if len(self.facts.skewed | {slot}) > 1:
            return
        step = self.rng.choice([-7200, -90, -20, -4, 4, 20, 90, 7200])
        self.cluster.nodes[slot].wall_offset += step
        self.facts.skewed.add(slot)
        self._event(f"wall clock jump: {slot} by {step} s")

    def _monotonic_clock(self) -> None:
        slot = self.rng.choice(self.cluster.slots)
        # More than a minute is not followed without an operator (specs/heartbeats.md section 5): one node at most.
        step = self.rng.choice([3, 15, 600] if not self._jumped else [3, 15])
        self._jumped = self._jumped or step > JUMP_S
        self.cluster.nodes[slot].boot_offset += step
        self._event(f"monotonic clock jump: {slot} by {step} s")

    def _gateway_crash(self) -> None:
        gateway = self.cluster.gateway
        if gateway.gateway is None:
            return
        self._event("gateway crash")
        gateway.crash()
        self._at(self.rng.uniform(0.2, 3.0), gateway.start)

    def _revoke(self) -> None:
        """A machine is taken off the registry: every other node stops working with it."""
        if self.facts.revoked or self.lost:
            return
        slot = self.rng.choice(self.cluster.slots)
        self.facts.revoked.add(slot)
        self.lost.add(slot)
        self.cluster.sources.put(self.cluster.revoked[slot])
        self._event(f"revoked: {slot}")

    # --- malice ----------------------------------------------------------------------------------------

    def _relay(self) -> None:
        """The gateway's wires lie: calls are dropped by kind, changed, or given to some nodes only."""
        self.facts.has_malicious_relay = True
        self.cluster.network.on_call = relay_lies(self.facts, self.rng, self._event)
        self._at(self.rng.uniform(1.0, 10.0), self._honest)

    def _honest(self) -> None:
        self.cluster.network.on_call = None

    def _rogue(self) -> None:
        """Somebody with a client's tokens talks to nodes directly."""
        rogue = Rogue(self.facts, self.rng, self._event)
        self.loop.spawn(rogue.machine, rogue.run())

    def _liar(self) -> None:
        if self.facts.liars or self.facts.rolled_back:
            return
        slot = self.rng.choice(self.cluster.slots)
        self.facts.liars.add(slot)
        lie = self.rng.choice(sorted(LIES))
        host = self.cluster.nodes[slot]
        host.fault = LIES[lie](self.facts, self.rng, self._event)
        if host.state is not None:
            host.state.fault = host.fault
        self.observer.event(f"{slot} lies from now on: {lie}")

    def _twin(self) -> None:
        """A second copy of a node starts from a copy of its disk, on the same platform, and gets half of the wires."""
        host = self._some_host()
        if host is None or self.facts.twins:
            return
        host.disk.keep_copy()
        if not host.disk.copies:
            return
        disk = Disk(self.cluster.roster.cluster_id, host.slot)
        disk.restore(host.disk.copies[-1])
        port = host.port + 1000
        twin = NodeHost(
            host.slot,
            self.loop,
            self.cluster.network,
            links=self.cluster.links,
            tee=host.tee,
            verifier=host._verifier,
            observer=self.observer,
            port=port,
            disk=disk,
        )
        self.facts.twins.append(twin)
        self.facts.rolled_back.add(host.slot)
        twin.start()
        self._event(f"twin: {host.slot}")
        self.cluster.network.routes["gateway-1", host.port] = port
        for wire in list(self.cluster.network.wires):
            if wire.server.machine is host.machine and self.rng.random() < 0.7:
                wire.close()
        self._at(self.rng.uniform(2.0, 8.0), lambda: self.cluster.network.routes.clear())

    # --- ceremonies ------------------------------------------------------------------------------------

    def _ceremony(self) -> None:
        rng, book = self.rng, self.facts.book
        key = rng.choice(["frost", "evm", "limited"])
        gateway = self.cluster.gateway.gateway
        if gateway is None:
            return
        action = rng.choice([Kind.REFRESH, Kind.REFRESH, Kind.RESHARE, Kind.REPAIR])
        epoch = self._epoch_of(key)
        changes: dict[str, Any] = {}
        if action is Kind.RESHARE:
            changes = {"nodes": tuple(self.cluster.slots), "shares_needed": 2 if key == "evm" else 3}
        if action is Kind.REPAIR:
            changes = {"target": rng.choice(self.cluster.slots)}
        self._event(f"{action}: {key} from epoch {epoch}")
        self.loop.spawn(None, book.carry_order(self.cluster.gateway, book.order(action, key, epoch, **changes)))

    def _epoch_of(self, key: str) -> int:
        name = f"{self.cluster.keys[key]['key']}/1"
        epochs = [node.keys._keys[name].certificate.epoch for node in self.facts.states if name in node.keys._keys]
        return max(epochs, default=1)
