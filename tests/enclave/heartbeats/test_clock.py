"""The cluster's time: who is believed, what a wrong clock costs, and who may move it."""

from __future__ import annotations

import pytest

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from enclave.handlers.heartbeats import CLOCK_TYPE
from enclave.heartbeats.bounds import DRIFT_S_MAX
from enclave.heartbeats.clock import ClusterClock
from enclave.signing_key import SigningKey
from enclave.wire.heartbeats import ClockRequest, HeartbeatReply, HeartbeatsRequest
from enclave.wire.message import Empty
from tests.enclave.heartbeats.kit import content, states
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import RELAY, World

HOURS = 3 * 3600


class Skewed:
    """A world in which some nodes' clocks are set apart from the others'."""

    def __init__(self, world: World, **offsets: int) -> None:
        self.world = world
        self.offsets = {slot.replace("_", "-"): offset for slot, offset in offsets.items()}

    def own(self, slot: str) -> int:
        """What the clock of a node shows."""
        return self.world.now + self.offsets.get(slot, 0)

    def relay(self) -> None:
        """Two rounds, each node by its own clock."""
        nodes = self.world.nodes
        for _ in range(2):
            self.world.elapsed += 0.25
            beats = {slot: self._beat(slot).heartbeat for slot in nodes}
            for slot, node in nodes.items():
                others = [beat for author, beat in beats.items() if author != slot]
                node.handle(RELAY, "heartbeats", HeartbeatsRequest(heartbeats=others), self.own(slot))
                node.commit()

    def _beat(self, slot: str) -> HeartbeatReply:
        reply = self.world.nodes[slot].handle(RELAY, "heartbeat", Empty(), self.own(slot))
        assert isinstance(reply, HeartbeatReply)
        return reply

    def states(self) -> dict[str, str]:
        """Why each node does not work."""
        return {slot: self._beat(slot).refuses for slot in self.world.nodes}

    def time(self, slot: str) -> int:
        """The time a node judges by, less the true one."""
        return self.world.nodes[slot].tick(self.own(slot)) - self.world.now


@pytest.mark.parametrize("hours", [HOURS, -HOURS])
def test_one_clock_moved_by_hours_stops_only_its_own_node(ready: World, hours: int) -> None:
    """Either way: the others go on, the node itself refuses, and judges by the cluster's time meanwhile."""
    skewed = Skewed(ready, node_1=hours)
    skewed.relay()
    assert skewed.states() == {"node-1": "clock-skew"} | dict.fromkeys(ready.slots[1:], "")
    assert [abs(skewed.time(slot)) <= 1 for slot in ready.slots] == [True] * 5
    skewed.offsets.clear()
    skewed.relay()
    assert set(skewed.states().values()) == {""}


@pytest.mark.parametrize("hours", [HOURS, -HOURS])
def test_two_lying_clocks_of_five_move_nothing(ready: World, hours: int) -> None:
    """The median is one of the honest clocks'."""
    skewed = Skewed(ready, node_1=hours, node_2=hours)
    skewed.relay()
    assert [abs(skewed.time(slot)) <= 1 for slot in ready.slots[2:]] == [True] * 3
    assert [skewed.states()[slot] for slot in ready.slots[2:]] == [""] * 3


def test_a_drift_of_seconds_is_tolerated_to_its_bound(ready: World) -> None:
    """Five seconds are what request tokens tolerate, seven are refused."""
    skewed = Skewed(ready, node_1=DRIFT_S_MAX - 1)
    skewed.relay()
    assert skewed.states()["node-1"] == ""
    skewed.offsets["node-1"] = DRIFT_S_MAX + 2
    skewed.relay()
    assert skewed.states()["node-1"] == "clock-skew"


@pytest.mark.parametrize("hours", [HOURS, -HOURS])
def test_all_clocks_moved_at_once_wait_for_an_operator(ready: World, hours: int) -> None:
    """More than a minute is no drift: the nodes keep the time they had and refuse, until the clocks are right again."""
    skewed = Skewed(ready, **dict.fromkeys((slot.replace("-", "_") for slot in ready.slots), hours))
    skewed.relay()
    assert set(skewed.states().values()) == {"clock-jump"}
    assert all(abs(skewed.time(slot)) <= 1 for slot in ready.slots)
    skewed.offsets.clear()
    skewed.relay()
    assert set(skewed.states().values()) == {""}


def _confirmation(world: World, time: int, *, signer: SigningKey | None = None, cluster: bytes | None = None) -> bytes:
    payload = {"type": "holdfast/clock/v1", "cluster": (cluster or world.roster.cluster_id).hex(), "time": time}
    envelope = Envelope.of(CLOCK_TYPE, payload).signed((signer or world.operator).ed25519)
    return canonical_json(envelope.to_json())


def test_an_operator_confirms_a_step_forward(ready: World) -> None:
    """With one administrator's word the nodes follow the time their clocks agree on."""
    skewed = Skewed(ready, **dict.fromkeys((slot.replace("-", "_") for slot in ready.slots), HOURS))
    skewed.relay()
    request = ClockRequest(document=_confirmation(ready, ready.now + HOURS + 20))
    for slot, node in ready.nodes.items():
        node.handle(RELAY, "clock-follow", request, skewed.own(slot))
        assert abs(skewed.time(slot) - HOURS) <= 1
    assert "clock-jump" not in skewed.states().values()


def test_confirmations_that_do_not_count(ready: World) -> None:
    """Of another cluster, by somebody without the role, of another time, backwards, or where nothing waits."""
    ask = ready.nodes["node-1"].handle
    skewed = Skewed(ready, **dict.fromkeys((slot.replace("-", "_") for slot in ready.slots), HOURS))

    def code(document: bytes) -> str:
        return code_of(ask, RELAY, "clock-follow", ClockRequest(document=document), skewed.own("node-1"))

    assert code(_confirmation(ready, ready.now + HOURS)) == "clock.no-step"
    skewed.relay()
    assert code(_confirmation(ready, ready.now + HOURS, cluster=bytes(32))) == "document.cluster"
    assert code(_confirmation(ready, ready.now + HOURS, signer=ready.auditor)) == "document.role"
    assert code(_confirmation(ready, ready.now + HOURS + 120)) == "clock.other-time"
    assert code(b"{}") == "envelope.malformed"
    skewed.offsets = dict.fromkeys(ready.slots, -HOURS)
    skewed.relay()
    assert code(_confirmation(ready, ready.now - HOURS)) == "clock.other-time"


def test_a_node_that_started_with_a_wrong_clock_takes_its_start_from_the_cluster(ready: World) -> None:
    """Set back before its start, a node would take tokens that the boot before executed; it does not."""
    ready.stop("node-1")
    true = ready.now
    ready._now -= HOURS
    ready.start("node-1")
    ready._now = true
    ready.attest()
    ready.relay()
    assert ready.nodes["node-1"].started_at >= true
    assert states(ready) == [""] * 5


def test_time_runs_by_the_monotonic_clock_between_agreements() -> None:
    """Setting the time of day moves nothing, and a step back of the agreed time shows as standing still."""
    at = 100.0
    clock = ClusterClock(lambda: at, own=1000, peers_needed=2)
    assert clock.now(1000) == 1000
    clock.agree([(1000, 1001)])
    assert not clock.is_agreed
    clock.agree([(1000, 1001), (1000, 1001)])
    assert clock.is_agreed
    at += 5
    assert clock.now(9999) == 1005
    clock.now(1005)
    clock.agree([(1001, 1002), (1001, 1002)])
    assert clock.now(1005) == 1005
    at += 10
    assert clock.now(1015) == 1012


def test_late_heartbeats_move_no_time(ready: World) -> None:
    """A relay that holds heartbeats back for nine seconds gets neither a refusal nor an earlier time."""
    ready.relay(rounds=1)
    late = [ready.beat(slot) for slot in ready.slots[1:]]
    assert content(late[0]).time == ready.now
    ready.now += 9
    ready.hear("node-1", *late)
    assert ready.nodes["node-1"].tick(ready.now) == ready.now
    assert states(ready)[0] == ""
