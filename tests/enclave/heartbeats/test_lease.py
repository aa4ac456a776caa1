"""Leases: who may work, for how long, and which of two copies starves."""

from __future__ import annotations

import shutil

import msgspec
import pytest

from enclave.heartbeats.bounds import LEASE_S
from enclave.roster_terms import WitnessTerms
from enclave.seal import SealedStore
from enclave.state import NodeState
from enclave.wire.ceremonies import CeremonyRound
from enclave.wire.heartbeats import HeartbeatReply, HeartbeatsRequest
from enclave.wire.message import Empty
from tests.enclave.heartbeats.kit import content, lie, pass_time, refuses, states
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import RELAY, World, message_body

LEASE = int(LEASE_S)


def present_to_all(world: World, slot: str) -> None:
    """A node that started shows itself to all others and they to it, with nothing relayed."""
    world.push(slot)
    others = [other for other in world.nodes if other != slot]
    presentation = world.evidence(slot, *others)
    for other in others:
        world.call(other, "present", presentation)
        world.call(slot, "present", world.evidence(other, slot))


def test_a_fresh_cluster_waits_for_no_lease(world: World) -> None:
    """Nobody has worked before, so two rounds are enough: no time passes."""
    world.relays = False
    world.start()
    world.attest()
    world.relay(rounds=1)
    assert states(world) == ["lease-unclaimed"] * 5
    world.relay(rounds=1)
    assert states(world) == [""] * 5


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_small_clusters_work(tmp_path_factory: pytest.TempPathFactory, count: int) -> None:
    """One to four nodes work with all of them there; a node alone needs nobody."""
    world = World(tmp_path_factory.mktemp("small"), count=count)
    world.start()
    if count > 1:
        world.attest()
    world.relay()
    assert states(world) == [""] * count
    world.stop()


def test_a_withheld_exchange_stops_every_node_within_ten_seconds(ready: World) -> None:
    """Without heartbeats nobody works, and with the next two rounds everybody does."""
    ready.now += LEASE - 1
    assert states(ready) == [""] * 5
    ready.now += 1
    assert states(ready) == ["lease-lost"] * 5
    ready.relay()
    assert states(ready) == [""] * 5


def test_the_gate_stands_before_every_use(ready: World) -> None:
    """Without a lease a share is not touched and no ceremony begins, whatever token comes."""
    ready.relays = True
    key = ready.create_key()
    ready.now += 1
    body = message_body(b"x")
    requests = ready.sign_requests(ready.slots[:3], ready.token(key, body), body)
    ready.relays = False
    start = ready.ceremony_start(ready.order(), session=b"n" * 32)
    ready.now += LEASE
    assert code_of(ready.call, "node-1", "sign", requests["node-1"]) == "lease-lost"
    assert code_of(ready.call, "node-1", "ceremony-start", start) == "lease-lost"
    ready.relay()
    assert ready.call("node-1", "sign", requests["node-1"]).share


def test_the_gate_stands_between_rounds_too(ready: World) -> None:
    """A lease lost in the middle stops a ceremony before its next round."""
    start = ready.ceremony_start(ready.order(), session=b"n" * 32)
    messages = [ready.call(slot, "ceremony-start", start) for slot in ready.slots]
    ready.now += LEASE
    request = CeremonyRound(session=start.session, round=2, messages=messages)
    assert code_of(ready.call, "node-1", "ceremony-round", request) == "lease-lost"
    ready.relay()
    assert ready.call("node-1", "ceremony-round", request).round == 2


def test_two_peers_are_enough_and_one_is_not(ready: World) -> None:
    """a = 2 of five: with three nodes left all work, with two none does."""
    pass_time(ready, LEASE + 1, *ready.slots[:3])
    assert states(ready)[:3] == ["", "", ""]
    pass_time(ready, LEASE + 1, *ready.slots[:2])
    assert states(ready)[:2] == ["lease-lost", "lease-lost"]


def test_the_roster_can_ask_for_one_peer_more(ready: World) -> None:
    """a = 3: three nodes of five do not work any more."""
    for node in ready.nodes.values():
        node.heartbeats.lease.follow(WitnessTerms(q=3, f=1, a=3))
    pass_time(ready, LEASE + 1, *ready.slots[:4])
    assert states(ready)[:4] == [""] * 4
    pass_time(ready, LEASE + 1, *ready.slots[:3])
    assert states(ready)[:3] == ["lease-lost"] * 3


def test_replayed_heartbeats_keep_nobody_at_work(ready: World) -> None:
    """An echo counts from when the echoed heartbeat was made, so repeating it gains nothing."""
    kept = [ready.beat(slot) for slot in ready.slots[1:]]
    ready.hear("node-1", *kept)
    for _ in range(LEASE):
        ready.now += 1
        ready.hear("node-1", *kept)
    assert refuses(ready, "node-1") == "lease-lost"


def test_delayed_heartbeats_end_when_they_would_have(ready: World) -> None:
    """Heartbeats held back for nine seconds extend the lease by one, not by ten."""
    ready.relay(rounds=1)
    echoes = [ready.beat(slot) for slot in ready.slots[1:]]
    ready.now += LEASE - 1
    ready.hear("node-1", *echoes)
    assert refuses(ready, "node-1") == ""
    ready.now += 1
    assert refuses(ready, "node-1") == "lease-lost"


def test_reordered_heartbeats_change_nothing(ready: World) -> None:
    """An older heartbeat after a newer one is passed over; the newest decides."""
    older = [ready.beat(slot) for slot in ready.slots[1:]]
    ready.now += 2
    ready.relay()
    newest = ready.nodes["node-1"].heartbeats.peers.get("node-2")
    assert newest is not None
    assert newest.newest is not None
    before = newest.newest.sequence
    assert ready.hear("node-1", *older) == {}
    assert newest.newest.sequence == before
    assert refuses(ready, "node-1") == ""


def test_an_echo_of_another_log_counts_for_nothing(ready: World) -> None:
    """A peer that names another checkpoint than this node announced has not countersigned it."""
    pass_time(ready, 2)
    liars = []
    for slot in ready.slots[1:]:
        said = content(ready.beat(slot))
        seen = [msgspec.structs.replace(echo, log_root=b"\1" * 32) for echo in said.seen]
        liars.append(lie(ready, slot, seen=seen))
    before = ready.nodes["node-1"].heartbeats.lease._until
    ready.hear("node-1", *liars)
    assert ready.nodes["node-1"].heartbeats.lease._until == before


# --- restarts ------------------------------------------------------------------------------------------


def test_a_crashed_node_waits_out_its_own_lease(ready: World) -> None:
    """Peers say what is left of the lease they gave to the boot before: ten seconds less the time down."""
    ready.crash("node-1")
    pass_time(ready, 4, *ready.slots[1:])
    ready.start("node-1")
    present_to_all(ready, "node-1")
    ready.relay()
    assert refuses(ready, "node-1") == "lease-waiting"
    pass_time(ready, LEASE - 5)
    assert refuses(ready, "node-1") == "lease-waiting"
    pass_time(ready, 2)
    assert refuses(ready, "node-1") == ""


def test_an_orderly_stop_leaves_nothing_to_wait_for(ready: World) -> None:
    """A boot that sealed its end works no more, so the next one begins at once."""
    ready.stop("node-1")
    ready.start("node-1")
    present_to_all(ready, "node-1")
    ready.relay()
    assert refuses(ready, "node-1") == ""


def test_only_a_boot_that_worked_spares_the_next_its_wait(ready: World) -> None:
    """A boot that never held the lease cannot vouch that the one before it is over."""
    ready.crash("node-1")
    ready.start("node-1")
    ready.stop("node-1")
    ready.start("node-1")
    present_to_all(ready, "node-1")
    ready.relay()
    assert refuses(ready, "node-1") == "lease-waiting"


def test_peers_that_restarted_assume_the_worst(ready: World) -> None:
    """A peer that does not know when it last echoed the older boot takes its own start for it."""
    ready.crash("node-1", "node-2", "node-3")
    ready.start("node-1", "node-2", "node-3")
    for slot in ("node-1", "node-2", "node-3"):
        present_to_all(ready, slot)
    ready.relay()
    ready.relay()
    assert refuses(ready, "node-1") == "lease-waiting"
    pass_time(ready, LEASE + 1)
    assert states(ready) == [""] * 5


def test_a_restart_needs_as_many_peers_as_witness_it(ready: World) -> None:
    """With two peers a running node works, but a boot is not claimed by fewer than three."""
    ready.stop("node-1", "node-4", "node-5")
    ready.start("node-1")
    present_to_all(ready, "node-1")
    pass_time(ready, 2 * LEASE)
    assert [refuses(ready, slot) for slot in ("node-1", "node-2", "node-3")] == ["lease-unclaimed", "", ""]


# --- twins ---------------------------------------------------------------------------------------------


class Twins:
    """Two runs of node-1 from one disk; a relay that serves both."""

    def __init__(self, world: World, *, at: str) -> None:
        """`at`: `same` copies the disk so that both claim one boot, `newer` so that the copy claims the next."""
        self.world = world
        path = world.store_path("node-1")
        copy = path.with_name("copy.db")
        world.crash("node-1")
        if at == "same":
            shutil.copy(path, copy)
        world.start("node-1")
        present_to_all(world, "node-1")
        pass_time(world, LEASE + 1)
        if at == "newer":
            for suffix in ("", "-wal"):
                shutil.copy(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
        self.first = world.nodes["node-1"]
        tee = world.tee("node-1")
        store = SealedStore.open(copy, cluster=world.roster.cluster_id, slot="node-1", tee=tee)
        world.boot("node-1", store, tee=tee)
        self.second = world.nodes["node-1"]

    def run(self, node: NodeState, seconds: int) -> None:
        """Relay between one of the two and the others for a while; the other one keeps its clock."""
        self.world.nodes["node-1"] = node
        pass_time(self.world, seconds)

    def refuses(self, node: NodeState) -> str:
        """Why one of the two does not work."""
        reply = node.handle(RELAY, "heartbeat", Empty(), self.world.now)
        assert isinstance(reply, HeartbeatReply)
        return reply.refuses

    def close(self) -> None:
        """End the one the world does not know."""
        for node in (self.first, self.second):
            if node is not self.world.nodes.get("node-1"):
                node.store.close()


def test_of_two_runs_of_one_boot_the_second_starves(ready: World) -> None:
    """Both claim one boot counter: peers keep to the identity they acknowledged, so the later comer never works."""
    twins = Twins(ready, at="same")
    ready.push("node-1")
    for peer in ready.slots[1:]:
        ready.call("node-1", "present", ready.evidence(peer, "node-1"))
        assert ready.call(peer, "present", ready.evidence("node-1", peer)).result == "attestation-denied"
    twins.run(twins.second, 2 * LEASE)
    assert twins.refuses(twins.second) == "lease-fenced"
    twins.run(twins.first, 2)
    assert twins.refuses(twins.first) == ""
    twins.close()


def test_of_two_boots_the_newer_wins_and_never_beside_the_older(ready: World) -> None:
    """The copy boots higher: it waits until the older one's lease is over, and the older one is fenced."""
    twins = Twins(ready, at="newer")
    assert twins.second.identity.public.boot_counter == twins.first.identity.public.boot_counter + 1
    present_to_all(ready, "node-1")
    both = 0
    for _ in range(2 * LEASE):
        twins.run(twins.second, 1)
        for peer in ready.slots[1:]:  # the relay serves the older run just as well
            twins.first.handle(RELAY, "heartbeats", HeartbeatsRequest(heartbeats=[ready.beat(peer)]), ready.now)
        at_work = [twins.refuses(node) == "" for node in (twins.first, twins.second)]
        both += all(at_work)
    assert both == 0
    assert (twins.refuses(twins.first), twins.refuses(twins.second)) == ("lease-fenced", "")
    twins.close()


def test_a_peer_acknowledges_one_identity_per_boot_after_its_own_restart(ready: World) -> None:
    """What a peer acknowledged is sealed: a second identity is refused by peers that restarted, too."""
    peers = ready.nodes["node-2"].heartbeats.peers
    held = peers.get("node-1")
    assert held is not None
    ready.stop("node-2")
    ready.start("node-2")
    again = ready.nodes["node-2"].heartbeats.peers.get("node-1")
    assert again is not None
    assert (again.boot_counter, again.identity) == (held.boot_counter, held.identity)


def test_one_lying_peer_neither_starves_nor_fences_a_node(ready: World) -> None:
    """A peer that claims a newer boot of others only withdraws its own echo."""
    for _ in range(2 * LEASE):
        ready.now += 1
        beats = {slot: ready.beat(slot) for slot in ready.slots[:4]}
        said = content(ready.beat("node-5"))
        seen = [msgspec.structs.replace(echo, boot_counter=echo.boot_counter + 7) for echo in said.seen]
        beats["node-5"] = lie(ready, "node-5", seen=seen)
        for slot in ready.slots[:4]:
            ready.hear(slot, *(beat for author, beat in beats.items() if author != slot))
    assert states(ready)[:4] == [""] * 4
