"""Restrictions that a relay withholds: they travel in the heartbeats without which nobody works."""

from __future__ import annotations

from dataclasses import replace

import pytest

from enclave.documents import sign_document
from enclave.heartbeats.bounds import DOCUMENTS_BYTES_MAX
from enclave.restrictions import Freeze, Scope
from enclave.wire.attestation import RegistryRequest
from enclave.wire.documents import ControlRequest
from tests.enclave.heartbeats.kit import content, lie, refuses, states
from tests.enclave.node.world import World


def freeze(world: World, scope: Scope = Scope.CLUSTER, target: str | None = None, sequence: int = 1) -> Freeze:
    """Everything in scope stands still."""
    return Freeze(
        cluster=world.roster.cluster_id,
        scope=scope,
        target=target,
        state="frozen",
        sequence=sequence,
        issued_at=world.now,
    )


def tell(world: World, slot: str, document: bytes) -> None:
    """Deliver a document to one node only."""
    world.ask(slot, "control", ControlRequest(document=document))


def test_a_withheld_freeze_reaches_every_node_by_heartbeat(ready: World) -> None:
    """Given to one node, a freeze is applied by all after one round, though nobody relays documents."""
    tell(ready, "node-1", sign_document(freeze(ready), ready.operator))
    assert [node.directory.is_frozen(Scope.CLUSTER) for node in ready.nodes.values()] == [True] + [False] * 4
    ready.relay(rounds=1)
    assert all(node.directory.is_frozen(Scope.CLUSTER) for node in ready.nodes.values())


def test_a_revoked_agent_and_a_disabled_key_travel_too(ready: World) -> None:
    """Every document that only takes power away does; what gives power does not."""
    revoked = ready.agent_document(state="revoked", sequence=2)
    disabled = ready.key_state("key_" + "a" * 26, "disabled", sequence=3)
    policy = ready.policy_document({"name": "more", "effect": "allow", "kinds": ["message"]}, version=9)
    for document in (revoked, disabled, policy):
        tell(ready, "node-2", sign_document(document, ready.operator))
    ready.relay()
    for node in ready.nodes.values():
        agent = node.directory.agent(ready.agent_id)
        assert agent is not None
        assert agent.state == "revoked"
        assert not node.directory.is_enabled(disabled.key)
    assert ready.nodes["node-1"].directory.policy(ready.policy_id) != ready.nodes["node-2"].directory.policy(
        ready.policy_id
    )


def test_nothing_travels_in_the_quiet_state(ready: World) -> None:
    """Documents are carried only while a peer's set differs."""
    tell(ready, "node-1", sign_document(freeze(ready), ready.operator))
    ready.elapsed += 1
    assert len(content(ready.beat("node-1")).documents) == 1
    ready.relay()
    ready.elapsed += 1
    assert content(ready.beat("node-1")).documents == []


def test_a_forged_restriction_in_a_genuine_heartbeat_counts_for_nothing(ready: World) -> None:
    """A corrupt node can pass on operators' words, not invent them, and cannot relax anything."""
    forged = sign_document(freeze(ready), ready.agent)
    unsigned = sign_document(freeze(ready))
    relaxing = sign_document(ready.agent_document(sequence=5, name="other"), ready.operator)
    documents = [forged, unsigned, relaxing, b"", b"{}", b"\xff" * 50]
    assert ready.hear("node-1", lie(ready, "node-2", documents=documents, restrictions_digest=b"\1" * 32)) == {}
    assert not ready.nodes["node-1"].directory.is_frozen(Scope.CLUSTER)
    agent = ready.nodes["node-1"].directory.agent(ready.agent_id)
    assert agent is not None
    assert agent.name == "shopper"
    assert refuses(ready, "node-1") == ""


def test_a_long_list_arrives_bit_by_bit(ready: World) -> None:
    """Each heartbeat stays within its bound, and a node that missed a hundred has them after some rounds."""
    for number in range(1, 101):
        tell(ready, "node-1", sign_document(freeze(ready, Scope.CHAIN, f"evm:{number}"), ready.operator))
    rounds = 0
    while len(ready.nodes["node-5"].directory.restrictions) < 100:
        ready.now += 1
        ready.relay(rounds=1)
        beat = content(ready.beat("node-1"))
        assert sum(map(len, beat.documents)) <= DOCUMENTS_BYTES_MAX
        rounds += 1
        assert rounds < 100


def test_a_thaw_is_not_undone_by_a_node_that_has_not_heard_of_it(ready: World) -> None:
    """The older freeze of a peer is refused by its sequence."""
    ready.put(freeze(ready))
    thaw = replace(freeze(ready, sequence=2), state="thawed")
    tell(ready, "node-1", sign_document(thaw, ready.operator))
    ready.relay()
    assert not ready.nodes["node-1"].directory.is_frozen(Scope.CLUSTER)
    assert ready.nodes["node-2"].directory.is_frozen(Scope.CLUSTER)


# --- registry ------------------------------------------------------------------------------------------


def test_a_node_that_is_kept_from_a_revocation_stops(ready: World) -> None:
    """A signed head with more lines than it holds: until it has them, it does nothing."""
    ready.registry.revoke(ready.platform("node-5").platform_id, "stolen", ready.now)
    for slot in ready.slots[:4]:
        if slot != "node-2":
            ready.push(slot)
    ready.relay()
    assert states(ready)[:4] == ["", "versions-behind", "", ""]
    ready.push("node-2")
    ready.relay()
    assert states(ready)[:4] == [""] * 4


def test_a_restated_head_stops_nobody(ready: World) -> None:
    """The same lines under a later date restrict nothing."""
    ready.registry.restate(ready.now + 1)
    ready.ask("node-1", "registry", RegistryRequest(snapshot=ready.snapshot()))
    ready.relay()
    assert states(ready) == [""] * 5


@pytest.mark.parametrize("spoil", [lambda note: note.replace(b"\n", b"9\n", 2), lambda note: note[:-8] + b"AAAAAAA\n"])
def test_a_forged_head_stops_nobody(ready: World, spoil: object) -> None:
    """Only the registry's own signature says that there is more."""
    assert callable(spoil)
    note = ready.nodes["node-2"].heartbeats.versions.registry
    assert ready.hear("node-1", lie(ready, "node-2", registry=spoil(note))) == {}
    assert refuses(ready, "node-1") == ""
