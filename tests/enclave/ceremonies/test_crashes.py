"""A crash of every node at every step of every ceremony, and certificates that reach only some nodes."""

from __future__ import annotations

import itertools

import pytest
from nacl.signing import VerifyKey

from enclave.certificate import KeyCertificate
from enclave.wire.ceremonies import CeremonyStart
from tests.enclave.ceremonies.driver import ROUNDS, CeremonyWorld

KINDS = ("refresh", "reshare", "rotate", "repair")
MOMENTS = ["start", "round", "prepared by one", "prepared", "committed by one"]


def beginning(world: CeremonyWorld, kind: str, key: KeyCertificate) -> CeremonyStart:
    """A ceremony of that kind about the key of nodes 1 to 4."""
    if kind == "reshare":
        return world.beginning(
            kind, key, participants=world.slots, nodes=("node-2", "node-3", "node-5"), shares_needed=2
        )
    if kind == "repair":
        node = world.nodes["node-4"]
        node.keys.drop(key.key, key.version, now=world.now)
        node.store.commit()
        return world.beginning(kind, key, participants=["node-1", "node-2", "node-4"], target="node-4")
    return world.beginning(kind, key)


def check_usable(world: CeremonyWorld, key: KeyCertificate) -> None:
    """Whatever became of the ceremony, every node that should can sign for the old public key."""
    held = [
        found.certificate
        for node in world.nodes.values()
        if (found := node.keys.find(key.key, key.version)) is not None
    ]
    newest = max(held, key=lambda item: item.epoch)
    signers = [slot for slot in newest.slots if world.nodes[slot].keys.find(key.key, key.version) is not None]
    assert len(signers) >= len(newest.slots) - 1
    signature = world.sign(newest, b"still here", signers[-newest.shares_needed :])
    VerifyKey(key.public_key).verify(b"still here", signature)
    for slot, node in world.nodes.items():
        assert node.keys.sessions == [], slot
        assert not node.keys.reserved


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_everybody_crashes(ready: CeremonyWorld, kind: str, moment: str) -> None:
    """All nodes lose power at once, at each step; any relay resolves what is left, and a second try succeeds."""
    key = ready.create_key(nodes=ready.slots[:4], shares_needed=2)
    start = beginning(ready, kind, key)
    messages = ready.begin(start)
    last = ROUNDS[kind]
    stop_at = {"start": 1, "round": last - 1}.get(moment, last)
    for number in range(2, stop_at + 1):
        if number == last and moment == "prepared by one":
            ready.round(CeremonyStart(**{**as_fields(start), "participants": start.participants[:1]}), number, messages)
            break
        messages = ready.round(start, number, messages)
    if moment == "committed by one":
        ready.call(start.participants[-1], "ceremony-commit", ready.certificate_of(start, messages))
    ready.crash(*ready.slots)
    outcome = ready.resolve(start.session, start.participants)
    assert outcome == ("committed" if moment in ("prepared", "committed by one") else "aborted")
    ready.now += 1
    if outcome == "aborted":
        again = beginning(ready, kind, key)
        ready.run(again)
    check_usable(ready, key)


def as_fields(start: CeremonyStart) -> dict[str, object]:
    """A start as keyword arguments."""
    return {name: getattr(start, name) for name in start.__struct_fields__}


@pytest.mark.parametrize("kind", ["refresh", "reshare"])
@pytest.mark.parametrize("informed", [(0,), (0, 1), (1, 2, 3)])
def test_a_commit_that_reaches_only_some(ready: CeremonyWorld, kind: str, informed: tuple[int, ...]) -> None:
    """A gateway withholds the certificate; another relay takes it from the nodes and brings it to the rest."""
    key = ready.create_key(nodes=ready.slots[:4], shares_needed=2)
    start = beginning(ready, kind, key)
    commit = ready.certificate_of(start, ready.prepared(start))
    for place in informed:
        ready.call(start.participants[place], "ceremony-commit", commit)
    others = [slot for place, slot in enumerate(start.participants) if place not in informed]
    assert all(ready.standing(slot, start.session).state == "prepared" for slot in others)
    assert ready.resolve(start.session, start.participants) == "committed"
    ready.now += 1
    check_usable(ready, key)


def test_one_node_prepares_and_vanishes(ready: CeremonyWorld) -> None:
    """Four prepared, the fifth answers no more: the others wait, then stop the key; when it is back all commits."""
    key = ready.create_key()
    start = ready.beginning("refresh", key)
    prepares = ready.prepared(start)
    ready.stop("node-5")
    del prepares
    ready.now += 599
    ready.attest()
    assert ready.sign(key, b"meanwhile", ready.slots[:3])
    ready.now += 5
    ready.attest()
    from tests.enclave.node.codes import code_of

    assert code_of(ready.sign, key, b"too long", ready.slots[:3]) == "ceremony-unresolved"
    ready.start("node-5")
    ready.now += 1
    ready.attest()
    assert ready.resolve(start.session, start.participants) == "committed"
    ready.now += 1
    check_usable(ready, key)


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
def test_two_gateways_drive_the_same_refresh(ready: CeremonyWorld, order: tuple[int, ...]) -> None:
    """Both get some prepares and neither gets all; each is aborted by a node of the other, and a third try works."""
    key = ready.create_key()
    starts = [ready.beginning("refresh", key), ready.beginning("refresh", key)]
    seconds = []
    for start in starts:
        seconds.append(ready.round(start, 2, ready.begin(start)))
    from enclave.wire.ceremonies import CeremonyRound
    from tests.enclave.node.codes import code_of

    for place, slots in zip(order, (ready.slots[:3], ready.slots[3:]), strict=True):
        third = CeremonyRound(session=starts[place].session, round=3, messages=seconds[place])
        for slot in slots:
            ready.call(slot, "ceremony-round", third)
    for place, slots in zip(order, (ready.slots[3:], ready.slots[:3]), strict=True):
        third = CeremonyRound(session=starts[place].session, round=3, messages=seconds[place])
        assert {code_of(ready.call, slot, "ceremony-round", third) for slot in slots} == {"ceremony.unresolved"}
    for start in starts:
        assert ready.resolve(start.session, start.participants) == "aborted"
    ready.run(ready.beginning("refresh", key))
    check_usable(ready, key)
