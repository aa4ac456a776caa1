"""Logs that peers countersign: what stops a node, and what convicts one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from enclave.errors import PeerError
from enclave.heartbeats.bounds import LEAVES_UNSIGNED_MAX
from enclave.heartbeats.forks import verify_fork
from enclave.wire.heartbeats import ForkProof
from tests.enclave.heartbeats.kit import content, lie, refuses, signed_by
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World


def proofs(world: World, slot: str) -> list[ForkProof]:
    """What a node holds against others."""
    held: list[ForkProof] = world.ask(slot, "forks").proofs
    return held


@pytest.mark.parametrize(
    "second",
    [
        {"sequence": 1_000_001, "log_size": 50, "log_root": b"\2" * 32},
        {"sequence": 1_000_001, "log_size": 49, "log_root": b"\1" * 32},
        {"sequence": 1_000_000, "time": 5},
    ],
    ids=["another log of the same length", "a log that became shorter", "one number for two heartbeats"],
)
def test_a_node_that_contradicts_itself_convicts_itself(ready: World, second: dict[str, Any]) -> None:
    """Its two heartbeats are kept as proof, and it is not heard again in this boot."""
    first = {"sequence": 1_000_000, "log_size": 50, "log_root": b"\1" * 32}
    assert ready.hear("node-1", lie(ready, "node-2", **first)) == {}
    assert ready.hear("node-1", lie(ready, "node-2", **(first | second))) == {"node-2": "heartbeat.forked"}
    (proof,) = proofs(ready, "node-1")
    assert verify_fork(proof, cluster=ready.roster.cluster_id) == "node-2"
    later = lie(ready, "node-2", sequence=2_000_000, log_size=60)
    assert ready.hear("node-1", later) == {"node-2": "heartbeat.forked"}
    assert all(echo.slot != "node-2" for echo in content(lie(ready, "node-1")).seen)


def test_a_proof_survives_a_restart(ready: World) -> None:
    """It is sealed, so the node that found it out cannot be made to forget."""
    for root in (b"\1" * 32, b"\2" * 32):
        ready.hear("node-1", lie(ready, "node-2", log_size=9_000, log_root=root))
    before = proofs(ready, "node-1")
    ready.stop("node-1")
    ready.start("node-1")
    assert proofs(ready, "node-1") == before != []


def test_an_honest_log_grows_without_contradiction(ready: World) -> None:
    """More entries, a quiet time, entries again: nobody is convicted."""
    for _ in range(5):
        ready.nodes["node-1"].receipts.append(b"an entry")
        ready.now += 1
        ready.relay()
        ready.relay()
    assert [proofs(ready, slot) for slot in ready.slots] == [[]] * 5


def test_what_proves_nothing(ready: World) -> None:
    """Two heartbeats that agree, of two boots, under another key, changed, or garbage: nobody is convicted by them."""
    identity = ready.nodes["node-2"].identity
    said = content(ready.beat("node-2"))
    one = signed_by(identity, said, log_size=7, log_root=b"\1" * 32)
    other = signed_by(identity, said, log_size=7, log_root=b"\2" * 32, sequence=said.sequence + 1)
    proof = ForkProof(identity_key=identity.public.identity_key, first=one, second=other)
    cluster = ready.roster.cluster_id
    assert verify_fork(proof, cluster=cluster) == "node-2"
    longer = signed_by(identity, said, log_size=8, log_root=b"\2" * 32, sequence=said.sequence + 1)
    rebooted = signed_by(identity, said, boot_counter=9, log_size=7, log_root=b"\2" * 32)
    unproven = [
        msgspec.structs.replace(proof, second=one),
        msgspec.structs.replace(proof, second=longer),
        msgspec.structs.replace(proof, second=rebooted),
        msgspec.structs.replace(proof, identity_key=ready.nodes["node-3"].identity.public.identity_key),
        msgspec.structs.replace(proof, second=msgspec.structs.replace(other, signature=bytes(64))),
        msgspec.structs.replace(proof, second=msgspec.structs.replace(other, body=b"\xc1")),
    ]
    for bad in unproven:
        assert code_of(verify_fork, bad, cluster=cluster) == "fork.unproven"
    with pytest.raises(PeerError):
        verify_fork(proof, cluster=bytes(32))


def test_a_log_that_nobody_countersigns_stops_its_node(ready: World) -> None:
    """Fifty thousand entries may lie beyond the newest countersigned checkpoint, one more may not."""
    node = ready.nodes["node-1"]
    covered = node.heartbeats.lease.countersigned
    while node.receipts.size < covered + LEAVES_UNSIGNED_MAX:
        node.receipts.append(b"x")
    assert refuses(ready, "node-1") == ""
    node.receipts.append(b"x")
    assert refuses(ready, "node-1") == "log-behind"
    ready.elapsed += 0.25
    ready.relay()
    assert refuses(ready, "node-1") == ""
    assert node.receipts.uncountersigned == 0
