"""Everything restarted at once: nodes wait for one operator, who names where every slot stood."""

from __future__ import annotations

from typing import Any

import pytest

from attestation.canonical import canonical_json
from enclave.signing_key import SigningKey
from enclave.wire.witness import ColdStartRequest
from enclave.witness.cold_start import ColdStart
from tests.enclave.heartbeats.kit import states
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World
from tests.enclave.witness.test_rollback import freeze, put_back, snapshot


def restart_all(world: World) -> None:
    """Every node stops, starts, and has waited out every lease."""
    for slot in list(world.nodes):
        world.crash(slot)
    world.start()
    world.attest()
    for _ in range(12):
        world.now += 1
        world.relay(rounds=1)


def document(world: World, *, signer: SigningKey | None = None, **changes: Any) -> ColdStartRequest:
    """What an operator signs after looking at every node."""
    counters = {slot: (node.witness.counter, node.witness.digest) for slot, node in world.nodes.items()}
    fields: dict[str, Any] = {"cluster": world.roster.cluster_id, "incarnation": 1, "counters": counters} | changes
    envelope = ColdStart(**fields).envelope().signed((signer or world.operator).ed25519)
    return ColdStartRequest(document=canonical_json(envelope.to_json()))


def test_a_new_cluster_needs_nobody(ready: World) -> None:
    """Where nothing ever advanced there is nothing to put back."""
    assert states(ready) == [""] * 5


def test_two_restarted_nodes_need_nobody(ready: World) -> None:
    """Three peers that stayed up answer for them."""
    ready.crash("node-1", "node-2")
    ready.start("node-1", "node-2")
    ready.attest()
    for _ in range(12):
        ready.now += 1
        ready.relay(rounds=1)
    assert states(ready) == [""] * 5


def test_a_restart_of_all_waits_for_one_operator(ready: World) -> None:
    """Nobody is left who knows, so nobody works until one administrator has confirmed the counters."""
    freeze(ready, 1)
    restart_all(ready)
    assert states(ready) == ["cold-start"] * 5
    request = document(ready)
    for slot in ready.slots:
        assert ready.call(slot, "cold-start", request).settled
    ready.relay()
    assert states(ready) == [""] * 5


def test_a_disk_that_was_put_back_among_them_is_found_out(ready: World) -> None:
    """Its peers' disks know better: it refuses whatever is signed, and the others refuse the operator's table."""
    old = snapshot(ready, "node-1")
    freeze(ready, 1)
    for slot in ready.slots:
        ready.crash(slot)
    put_back(ready, "node-1", old)
    ready.start()
    ready.attest()
    for _ in range(12):
        ready.now += 1
        ready.relay(rounds=1)
    assert states(ready) == ["state-rolled-back"] + ["cold-start"] * 4
    request = document(ready)
    assert {code_of(ready.call, slot, "cold-start", request) for slot in ready.slots} == {"cold-start.differs"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cluster": bytes(32)}, "document.cluster"),
        ({"incarnation": 2}, "cold-start.incarnation"),
        ({"counters": {"node-1": (0, bytes(32))}}, "cold-start.differs"),
    ],
)
def test_confirmations_that_do_not_fit(ready: World, changes: dict[str, Any], code: str) -> None:
    """Another cluster's, another incarnation's, or of another moment of this cluster's life."""
    freeze(ready, 1)
    restart_all(ready)
    assert code_of(ready.call, "node-1", "cold-start", document(ready, **changes)) == code
    assert states(ready) == ["cold-start"] * 5


def test_confirmations_by_nobody_entitled(ready: World) -> None:
    """An auditor, a stranger and garbage start nothing."""
    freeze(ready, 1)
    restart_all(ready)
    for signer in (ready.auditor, SigningKey.generate()):
        assert code_of(ready.call, "node-1", "cold-start", document(ready, signer=signer)) == "document.quorum"
    for data in (b"", b"{}", b'{"payload":"","payloadType":"x","signatures":[]}'):
        request = ColdStartRequest(document=data)
        assert code_of(ready.call, "node-1", "cold-start", request).split(".")[0] in ("envelope", "json", "document")
    assert states(ready) == ["cold-start"] * 5
