"""A disk that was put back: refused by what the peers remember, kept as it is, and never made to look newer."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from enclave.restrictions import Freeze, Scope
from enclave.wire.attestation import CollateralRequest
from enclave.wire.ceremonies import CeremonyRound
from enclave.wire.message import encode
from enclave.witness.statement import Maker, Statement, read
from tests.enclave.heartbeats.kit import content, lie, refuses
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World


def freeze(world: World, number: int) -> None:
    """Something that every node seals."""
    world.put(
        Freeze(
            cluster=world.roster.cluster_id,
            scope=Scope.CHAIN,
            target=f"evm:{number}",
            state="frozen",
            sequence=1,
            issued_at=world.now,
        )
    )
    world.now += 2
    world.relay(rounds=3)


def snapshot(world: World, slot: str) -> Path:
    """A copy of a node's disk, taken while it runs."""
    path = world.store_path(slot)
    copy = path.parent / "snapshot"
    copy.mkdir()
    for source in path.parent.glob("node.db*"):
        shutil.copy(source, copy / source.name)
    return copy


def put_back(world: World, slot: str, copy: Path) -> None:
    """The old disk in place of the present one."""
    path = world.store_path(slot)
    for present in path.parent.glob("node.db*"):
        present.unlink()
    for source in copy.iterdir():
        shutil.copy(source, path.parent / source.name)


def restart(world: World, slot: str) -> None:
    """Start a node, show it to all and wait out every lease."""
    world.start(slot)
    world.attest()
    for _ in range(12):
        world.now += 1
        world.relay(rounds=1)


def test_a_node_that_restarts_with_its_own_disk_works(ready: World) -> None:
    """The control: what its peers remember is what it holds."""
    freeze(ready, 1)
    ready.crash("node-1")
    restart(ready, "node-1")
    assert refuses(ready, "node-1") == ""


def test_a_disk_that_was_put_back_is_refused_and_kept(ready: World) -> None:
    """The node says so, does nothing, and deletes nothing of what it found."""
    old = snapshot(ready, "node-1")
    found = ready.nodes["node-1"].store.verify()
    freeze(ready, 1)
    ready.crash("node-1")
    put_back(ready, "node-1", old)
    restart(ready, "node-1")
    assert refuses(ready, "node-1") == "state-rolled-back"
    start = ready.ceremony_start(ready.order(), session=b"n" * 32)
    assert code_of(ready.call, "node-1", "ceremony-start", start) == "state-rolled-back"
    kept = ready.nodes["node-1"].store.verify()
    assert all(kept[kind] >= count for kind, count in found.items())
    ready.crash("node-1")
    restart(ready, "node-1")
    assert refuses(ready, "node-1") == "state-rolled-back"


def test_restarts_do_not_make_an_old_state_look_newer(ready: World) -> None:
    """Nothing advances before the state is settled, however often the node is started."""
    old = snapshot(ready, "node-1")
    freeze(ready, 1)
    ready.crash("node-1")
    put_back(ready, "node-1", old)
    for _ in range(4):
        ready.start("node-1")
        assert ready.nodes["node-1"].witness.counter < ready.nodes["node-2"].heartbeats.peers.kept()["node-1"].counter
        ready.stop("node-1")
    restart(ready, "node-1")
    assert refuses(ready, "node-1") == "state-rolled-back"


def test_a_rolled_back_node_teaches_its_peers_nothing(ready: World) -> None:
    """Who does not know whether its own state is the newest is not remembered with it."""
    freeze(ready, 1)
    held = ready.nodes["node-2"].heartbeats.peers.kept()["node-1"]
    ready.relays = False
    ready.elapsed += 1
    said = content(ready.beat("node-1"))
    newer = read(said.statement)
    assert newer is not None
    claim = encode(msgspec.structs.replace(newer, counter=newer.counter + 5))
    ready.hear("node-2", lie(ready, "node-1", statement=claim, warm=False))
    assert ready.nodes["node-2"].heartbeats.peers.kept()["node-1"] == held
    ready.hear("node-2", lie(ready, "node-1", sequence=10_000, statement=claim, warm=True))
    assert ready.nodes["node-2"].heartbeats.peers.kept()["node-1"].counter == newer.counter + 5


def test_an_older_statement_does_not_replace_a_newer_one(ready: World) -> None:
    """Peers keep the highest counter, and of two with one counter the first."""
    freeze(ready, 1)
    peers = ready.nodes["node-2"].heartbeats.peers
    held = peers.kept()["node-1"]
    for changes in ({"counter": held.counter - 1}, {"digest": b"\1" * 32}):
        ready.elapsed += 1
        other = encode(msgspec.structs.replace(held, **changes))
        ready.hear("node-2", lie(ready, "node-1", statement=other))
        assert peers.kept()["node-1"] == held
        ready.relay()


# --- answers -------------------------------------------------------------------------------------------


class Answers:
    """A restarted node-1 whose peers answer what the test wants."""

    def __init__(self, world: World) -> None:
        freeze(world, 1)
        world.crash("node-1")
        world.start("node-1")
        world.attest()
        world.relays = False
        self.world = world
        self.own = world.nodes["node-1"].witness.own
        assert self.own is not None

    def give(self, peer: str, kept: bytes, *, warm: bool = True) -> None:
        """One peer's answer."""
        world = self.world
        world.elapsed += 0.25
        world.hear(peer, world.beat("node-1"))
        said = content(world.beat(peer))
        seen = [msgspec.structs.replace(echo, kept=kept) if echo.slot == "node-1" else echo for echo in said.seen]
        world.elapsed += 0.25
        assert world.hear("node-1", lie(world, peer, seen=seen, warm=warm)) == {}

    def made(self, **changes: object) -> bytes:
        """A statement of node-1's own platform."""
        assert self.own is not None
        maker = Maker(self.world.tee("node-1"), cluster=self.world.roster.cluster_id, slot="node-1")
        return maker.make(msgspec.structs.replace(self.own, mac=b"", **changes))

    @property
    def code(self) -> str:
        """What the witness says."""
        return code_of(self.world.nodes["node-1"].witness.check)


def test_three_honest_answers_settle(ready: World) -> None:
    """q = 3 of five: two are not enough, the third is."""
    answers = Answers(ready)
    for peer in ("node-2", "node-3"):
        answers.give(peer, answers.made())
        assert answers.code == "state-unsettled"
    answers.give("node-4", answers.made())
    ready.nodes["node-1"].witness.check()


@pytest.mark.parametrize(
    "changes",
    [{"counter": 1_000_000}, {"digest": b"\7" * 32}],
    ids=["a higher counter", "the same counter with another digest"],
)
def test_one_genuine_answer_that_shows_more_refuses_the_state(ready: World, changes: dict[str, object]) -> None:
    """It bears this slot's own MAC, so it is this slot's own word, and three agreeing answers do not outvote it."""
    answers = Answers(ready)
    answers.give("node-2", answers.made(**changes))
    for peer in ("node-3", "node-4", "node-5"):
        answers.give(peer, answers.made())
    assert answers.code == "state-rolled-back"


def test_a_liar_can_make_nobody_refuse(ready: World) -> None:
    """A statement without the slot's MAC, or of another slot's platform, counts for nothing, not even as an answer."""
    answers = Answers(ready)
    assert answers.own is not None
    higher = msgspec.structs.replace(answers.own, counter=1_000_000)
    foreign = Maker(ready.tee("node-2"), cluster=ready.roster.cluster_id, slot="node-1").make(higher)
    other_slot = Maker(ready.tee("node-1"), cluster=ready.roster.cluster_id, slot="node-2").make(higher)
    other_cluster = Maker(ready.tee("node-1"), cluster=bytes(32), slot="node-1").make(higher)
    for kept in (encode(higher), foreign, other_slot, other_cluster, b"garbage"):
        answers.give("node-2", kept)
    for peer in ("node-3", "node-4"):
        answers.give(peer, answers.made())
    assert answers.code == "state-unsettled"
    answers.give("node-5", answers.made())
    ready.nodes["node-1"].witness.check()


def test_an_older_answer_is_an_answer(ready: World) -> None:
    """A peer that missed the last advances, or never heard of this slot, agrees with what is held."""
    answers = Answers(ready)
    assert answers.own is not None
    answers.give("node-2", answers.made(counter=answers.own.counter - 1, digest=b"\3" * 32))
    answers.give("node-3", b"")
    answers.give("node-4", answers.made())
    ready.nodes["node-1"].witness.check()


def test_a_statement_of_an_ended_incarnation_is_void(ready: World) -> None:
    """After a restore the counters of the life before mean nothing."""
    answers = Answers(ready)
    for peer in ("node-2", "node-3", "node-4"):
        answers.give(peer, answers.made(incarnation=0, counter=1_000_000))
    ready.nodes["node-1"].witness.check()


def test_answers_of_unsettled_peers_are_not_enough(ready: World) -> None:
    """A peer that was just restarted may have been put back itself."""
    answers = Answers(ready)
    for peer in ("node-2", "node-3"):
        answers.give(peer, answers.made())
    for peer in ("node-4", "node-5"):
        answers.give(peer, answers.made(), warm=False)
    assert answers.code == "cold-start"


# --- acknowledgements ----------------------------------------------------------------------------------


def test_a_new_state_is_covered_once_three_peers_have_stored_it(ready: World) -> None:
    """The round in which it is told is not enough: they answer in the next."""
    witness = ready.nodes["node-1"].witness
    witness.check_covered(b"one")
    ready.relays = False
    before = witness.counter
    ready.ask("node-1", "collateral", CollateralRequest(blobs=ready.authority.collateral(ready.now + 1)))
    witness.check_covered(b"two")  # what is learnt again needs no witnesses
    ready.nodes["node-1"].store.put("document", "agent:someone", b"x")
    assert code_of(witness.check_covered, b"three") == "witness-pending"
    ready.elapsed += 1
    ready.relay("node-1", "node-2", "node-3", rounds=3)
    assert witness.counter == before + 1
    assert code_of(witness.check_covered, b"three") == "witness-pending"
    ready.nodes["node-1"].store.put("document", "agent:another", b"x")
    ready.elapsed += 1
    ready.relay("node-1", "node-4", rounds=3)
    witness.check_covered(b"three")  # waits for its own advance, not for later ones
    assert code_of(witness.check_covered, b"four") == "witness-pending"


def test_a_prepare_leaves_only_when_peers_have_stored_it(ready: World) -> None:
    """Sealed but not witnessed, it is kept back; asked again after an exchange, it is given."""
    start = ready.ceremony_start(ready.order(), session=b"p" * 32)
    messages = [ready.call(slot, "ceremony-start", start) for slot in ready.slots]
    second = CeremonyRound(session=start.session, round=2, messages=messages)
    messages = [ready.call(slot, "ceremony-round", second) for slot in ready.slots]
    third = CeremonyRound(session=start.session, round=3, messages=messages)
    ready.relays = False
    assert code_of(ready.ask, "node-1", "ceremony-round", third) == "witness-pending"
    assert code_of(ready.ask, "node-1", "ceremony-round", third) == "witness-pending"
    ready.elapsed += 1
    ready.relay()
    assert ready.ask("node-1", "ceremony-round", third).round == 3


def test_what_a_peer_acknowledged_survives_its_restart(ready: World) -> None:
    """It is on the peer's disk before the acknowledgement leaves."""
    freeze(ready, 1)
    held = ready.nodes["node-2"].heartbeats.peers.kept()
    assert set(held) == {"node-1", "node-3", "node-4", "node-5"}
    ready.crash("node-2")
    ready.start("node-2")
    assert ready.nodes["node-2"].heartbeats.peers.kept() == held


def test_hostile_statements_are_none() -> None:
    """Garbage, numbers out of range, digests of another size and long ones are no statements."""
    good = Statement(incarnation=1, boot_counter=1, counter=1, digest=bytes(32), mac=bytes(32))
    assert read(encode(good)) == good
    for bad in (
        b"",
        b"\xc1",
        encode(msgspec.structs.replace(good, counter=-1)),
        encode(msgspec.structs.replace(good, counter=1 << 63)),
        encode(msgspec.structs.replace(good, digest=bytes(31))),
        encode(msgspec.structs.replace(good, mac=bytes(300))),
    ):
        assert read(bad) is None
