"""Rotate, reshare and repair among five nodes."""

from __future__ import annotations

from typing import Any

import pytest
from nacl.signing import VerifyKey

from enclave.keys import GRACE_S
from tests.enclave.ceremonies.driver import CeremonyWorld
from tests.enclave.node.codes import code_of

COMMITTEES = [
    (["node-1", "node-2", "node-3"], 2, ["node-1", "node-2", "node-3", "node-4"], 3),
    (["node-1", "node-2"], 2, ["node-3", "node-4", "node-5"], 2),
    (["node-1", "node-2", "node-3", "node-4", "node-5"], 3, ["node-2", "node-4", "node-5"], 2),
]
"""Old holders, their T, new holders, their T: grown, disjoint, shrunk."""


@pytest.mark.parametrize(("old", "needed", "new", "needed_after"), COMMITTEES)
def test_a_reshare_moves_the_key(
    ready: CeremonyWorld, old: list[str], needed: int, new: list[str], needed_after: int
) -> None:
    """The same key signs with the new committee, and the old one holds nothing any more."""
    key = ready.create_key(nodes=old, shares_needed=needed)
    participants = [slot for slot in ready.slots if slot in {*old, *new}]
    start = ready.beginning("reshare", key, participants=participants, nodes=tuple(new), shares_needed=needed_after)
    (after,) = ready.run(start)
    assert (after.public_key, after.epoch, after.shares_needed) == (key.public_key, 2, needed_after)
    assert after.slots == tuple(new)
    VerifyKey(key.public_key).verify(b"moved", ready.sign(after, b"moved", new[-needed_after:]))
    for slot in set(old) - set(new):
        assert not ready.nodes[slot].keys.knows(key.key)
    ready.now += GRACE_S + 1
    VerifyKey(key.public_key).verify(b"later", ready.sign(after, b"later", new[:needed_after]))


@pytest.mark.parametrize("changes", [{"shares_needed": 1}, {"shares_needed": 6}, {"nodes": ("node-1", "node-9")}])
def test_impossible_reshares_are_refused(ready: CeremonyWorld, changes: dict[str, Any]) -> None:
    """One share that is the key, more shares than nodes, and unknown nodes."""
    key = ready.create_key()
    terms = {"nodes": tuple(ready.slots), "shares_needed": 3} | changes
    start = ready.beginning("reshare", key, **terms)
    assert code_of(ready.call, "node-1", "ceremony-start", start) in (
        "order.malformed",
        "order.shares-needed",
        "order.nodes",
    )


def test_a_reshare_needs_enough_old_holders(ready: CeremonyWorld) -> None:
    """Two of five old holders of a 2-of-5 key could deal, but a quorum of the others would go on signing."""
    key = ready.create_key(shares_needed=2)
    start = ready.beginning("reshare", key, participants=ready.slots[:3], nodes=tuple(ready.slots[:3]), shares_needed=2)
    assert code_of(ready.call, "node-1", "ceremony-start", start) == "ceremony.quorum"


def test_a_rotation_makes_the_next_version(ready: CeremonyWorld) -> None:
    """Another public key under the same id; the version before still signs for who names it."""
    key = ready.create_key()
    start = ready.beginning("rotate", key)
    commit = ready.certificate_of(start, ready.prepared(start))
    after = ready.verified([ready.commit(slot, commit) for slot in start.participants])
    ready.now += 1
    assert (after.key, after.version, after.epoch, after.name) == (key.key, 2, 1, key.name)
    assert after.public_key != key.public_key
    VerifyKey(after.public_key).verify(b"new", ready.sign(after, b"new"))
    VerifyKey(key.public_key).verify(b"old", ready.sign(key, b"old"))
    again = ready.beginning("rotate", key)
    assert code_of(ready.call, "node-1", "ceremony-start", again) in ("key.version", "key.exists")


def lose_everything(world: CeremonyWorld, slot: str) -> None:
    """The node's disk is gone: it starts as a holder without shares, known to its peers."""
    node = world.nodes[slot]
    for held in list(node.keys._keys.values()):
        node.keys.drop(held.certificate.key, held.certificate.version, now=world.now)
    node.store.commit()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spec": "secp256k1-ecdsa", "usage": "evm", "custody": "threshold", "shares_needed": 2},
        {"spec": "hpke-x25519", "usage": "decrypt"},
    ],
)
def test_a_repair_gives_a_node_its_shares_back(ready: CeremonyWorld, changes: dict[str, Any]) -> None:
    """The very same share, under the very same certificate, from T helpers."""
    key = ready.create_key(**changes)
    other = ready.create_key(session=b"o" * 32, **changes)
    share = ready.nodes["node-4"].keys.newest(key.key).share.duplicate()
    lose_everything(ready, "node-4")
    helpers = ready.slots[: key.shares_needed]
    start = ready.beginning("repair", key, other, participants=[*helpers, "node-4"], target="node-4")
    commit = ready.certificate_of(start, ready.prepared(start))
    for slot in start.participants:
        ready.call(slot, "ceremony-commit", commit)
    ready.now += 1
    held = ready.nodes["node-4"].keys.newest(key.key)
    assert held.certificate == key
    assert held.share.same(share)
    assert ready.nodes["node-4"].keys.knows(other.key)
    if not changes:
        VerifyKey(key.public_key).verify(b"back", ready.sign(key, b"back", ["node-3", "node-4", "node-5"]))


def test_a_repair_needs_a_holder_as_its_target(ready: CeremonyWorld) -> None:
    """Nobody gets a share who holds none by the key's certificate."""
    key = ready.create_key(nodes=ready.slots[:4])
    start = ready.beginning("repair", key, participants=[*ready.slots[:3], "node-5"], target="node-5")
    assert code_of(ready.call, "node-1", "ceremony-start", start) == "ceremony.target"


def test_a_repair_order_for_everything_covers_any_key(ready: CeremonyWorld) -> None:
    """One order without key names repairs all a node holds, batch by batch."""
    key = ready.create_key()
    lose_everything(ready, "node-5")
    body = ready.ordered("repair", target="node-5")
    start = ready.beginning("repair", key, participants=[*ready.slots[:3], "node-5"], body=body)
    ready.run(start)
    assert ready.nodes["node-5"].keys.knows(key.key)
