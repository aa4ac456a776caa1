"""Heartbeats from hostile hands: each check refuses what breaks only it, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from enclave.heartbeats.bounds import BODY_BYTES_MAX, DOCUMENTS_MAX, HEARTBEATS_MAX, NOTE_BYTES_MAX
from enclave.wire.heartbeats import HeartbeatsRequest, SignedHeartbeat
from tests.enclave.heartbeats.kit import content, lie, refuses, signed_by
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import RELAY, World


def sequence_of(world: World, verifier: str, author: str) -> int:
    """Number of the newest heartbeat `verifier` took of `author`."""
    peer = world.nodes[verifier].heartbeats.peers.get(author)
    assert peer is not None
    assert peer.newest is not None
    return peer.newest.sequence


def test_an_honest_heartbeat_is_taken(ready: World) -> None:
    """The control: what the other tests spoil counts when it is not spoilt."""
    before = sequence_of(ready, "node-1", "node-2")
    assert ready.hear("node-1", lie(ready, "node-2")) == {}
    assert sequence_of(ready, "node-1", "node-2") == before + 1


def _flip(signed: SignedHeartbeat) -> SignedHeartbeat:
    return msgspec.structs.replace(signed, signature=bytes([signed.signature[0] ^ 1]) + signed.signature[1:])


def _unsigned_change(signed: SignedHeartbeat) -> SignedHeartbeat:
    body = msgspec.msgpack.encode(msgspec.structs.replace(content(signed), time=content(signed).time + 1))
    return msgspec.structs.replace(signed, body=body)


@pytest.mark.parametrize("spoil", [_flip, _unsigned_change, lambda it: msgspec.structs.replace(it, signature=b"")])
def test_forged_heartbeats_are_refused(ready: World, spoil: Callable[[SignedHeartbeat], SignedHeartbeat]) -> None:
    """A changed signature, a changed content, no signature: nobody but the attested key speaks for a slot."""
    before = sequence_of(ready, "node-1", "node-2")
    assert ready.hear("node-1", spoil(lie(ready, "node-2"))) == {"node-2": "heartbeat.signature"}
    assert sequence_of(ready, "node-1", "node-2") == before


def test_another_node_cannot_speak_for_a_slot(ready: World) -> None:
    """A good signature of node-3 under the name of node-2 is a forgery."""
    heartbeat = content(lie(ready, "node-2"))
    assert ready.hear("node-1", signed_by(ready.nodes["node-3"].identity, heartbeat)) == {
        "node-2": "heartbeat.signature"
    }


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cluster": bytes(32)}, "heartbeat.cluster"),
        ({"boot_counter": 9}, "heartbeat.boot"),
        ({"boot_counter": 0}, "heartbeat.older-boot"),
        ({"slot": "node-3"}, "heartbeat.malformed"),
        ({"log_root": b"short"}, "heartbeat.malformed"),
        ({"roster_digest": b""}, "heartbeat.malformed"),
        ({"restrictions_digest": bytes(31)}, "heartbeat.malformed"),
        ({"log_size": -1}, "heartbeat.malformed"),
        ({"registry": b"x" * (NOTE_BYTES_MAX + 1)}, "heartbeat.malformed"),
        ({"documents": [b""] * (DOCUMENTS_MAX + 1)}, "heartbeat.malformed"),
        ({"documents": [b"x" * BODY_BYTES_MAX]}, "heartbeat.too-large"),
    ],
)
def test_what_its_author_may_not_say(ready: World, changes: dict[str, Any], code: str) -> None:
    """Signed by the right key, and still not a heartbeat of this slot, boot and cluster, or not of its form."""
    signed = lie(ready, "node-2", **changes)
    assert ready.hear("node-1", msgspec.structs.replace(signed, slot="node-2")) == {"node-2": code}


def test_bytes_that_are_no_heartbeat(ready: World) -> None:
    """Garbage, an empty body and a heartbeat with a member more raise nothing but the typed refusal."""
    extra = msgspec.msgpack.encode(msgspec.to_builtins(content(ready.beat("node-2"))) | {"more": 1})
    for body in (b"", b"\xff" * 40, b"\xc1", extra):
        signed = SignedHeartbeat(slot="node-2", body=body, signature=bytes(64))
        assert ready.hear("node-1", signed) == {"node-2": "heartbeat.malformed"}


@pytest.mark.parametrize("slot", ["node-1", "node-9", ""])
def test_a_node_hears_only_other_slots_of_the_roster(ready: World, slot: str) -> None:
    """Neither its own heartbeats nor those of strangers are looked at."""
    signed = msgspec.structs.replace(ready.beat("node-2"), slot=slot)
    assert ready.hear("node-1", signed) == {slot: "heartbeat.slot"}


def test_a_node_whose_evidence_is_not_accepted_is_not_heard(ready: World) -> None:
    """A revoked machine's heartbeats count no more, so its echoes keep nobody at work and nobody echoes it."""
    ready.registry.revoke(ready.platform("node-2").platform_id, "stolen", ready.now)
    ready.push()
    assert ready.hear("node-1", lie(ready, "node-2")) == {"node-2": "heartbeat.unattested"}
    ready.now += 10
    ready.relay()
    assert refuses(ready, "node-2") == "lease-lost"
    assert refuses(ready, "node-1") == ""


def test_a_bad_heartbeat_does_not_keep_the_others_out(ready: World) -> None:
    """One forgery in a delivery costs itself only."""
    before = sequence_of(ready, "node-1", "node-3")
    assert ready.hear("node-1", _flip(lie(ready, "node-2")), lie(ready, "node-3")) == {"node-2": "heartbeat.signature"}
    assert sequence_of(ready, "node-1", "node-3") == before + 1


def test_a_delivery_is_bounded(ready: World) -> None:
    """More heartbeats than slots can be are refused whole."""
    request = HeartbeatsRequest(heartbeats=[ready.beat("node-2")] * (HEARTBEATS_MAX + 1))
    assert code_of(ready.ask, "node-1", "heartbeats", request, connection=RELAY) == "wire.too-large"


def test_asking_often_costs_no_signatures(ready: World) -> None:
    """Within 200 ms and without news the same heartbeat is given again."""
    first = ready.beat("node-1")
    assert ready.beat("node-1") == first
    ready.elapsed += 0.25
    assert content(ready.beat("node-1")).sequence == content(first).sequence + 1


def test_a_heartbeat_of_five_nodes_is_small(ready: World) -> None:
    """The quiet state of a cluster fits one network packet."""
    ready.relay()
    assert len(ready.beat("node-1").body) < 1400


def test_members_need_a_fresh_heartbeat_of_each_other(ready: World) -> None:
    """Trust in evidence is not enough to work with a node that has fallen silent."""
    others = [slot for slot in ready.slots if slot != "node-5"]
    for _ in range(11):
        ready.now += 1
        ready.relay(*others)
    table = ready.nodes["node-1"].verdicts
    assert code_of(table.require, ["node-5"], ready.now) == "attestation-stale"
    table.require(others, ready.now)
    assert {row.slot: row.alive for row in ready.ask("node-1", "verdicts").verdicts}["node-5"] is False
    ready.relay()
    table.require(ready.slots, ready.now)
