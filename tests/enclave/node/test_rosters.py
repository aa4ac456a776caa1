"""Later rosters at a node: what enters, what counts at once, what waits, and what a hostile relay cannot do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as change

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from attestation.errors import CodedError
from enclave.diversity import Dimension, DiversityTerms
from enclave.documents import sign_document
from enclave.ids import new_id
from enclave.roster import PAYLOAD_TYPE, OperatorEntry, Role
from enclave.roster_chain import Link
from enclave.rosters import GRACE_S, PENDING_MAX
from enclave.seal import SealedStore
from enclave.signing_key import SigningKey
from enclave.wire.documents import ControlRequest
from enclave.wire.rosters import RosterOffer
from tests.enclave.node.roster_world import NEW_CODE, Rosters, successor, with_code
from tests.enclave.node.test_boots import enrolment
from tests.enclave.node.world import MRTD, World

MESSAGE = b"still signing"


@pytest.fixture
def rosters(ready: World) -> Rosters:
    """A working cluster at version 1."""
    return Rosters(ready)


def an_operator(*roles: Role) -> tuple[SigningKey, OperatorEntry]:
    """A new operator."""
    key = SigningKey.generate()
    entry = OperatorEntry(operator=new_id("opr"), name="new", key=key.public.key, roles=frozenset(roles))
    return key, entry


def code_of(world: World, slot: str, envelope: bytes) -> str:
    """The code with which a node refuses a version."""
    with pytest.raises(CodedError) as caught:
        world.call(slot, "roster", RosterOffer(roster=envelope))
    return caught.value.code


def test_a_restriction_counts_on_receipt_and_signing_goes_on(rosters: Rosters) -> None:
    """A roster that only takes away is in force at once, without activation; old evidence carries over to the new."""
    world = rosters.world
    key = world.create_key()
    rosters.offer(rosters.sign(limits={"keys": 5}))
    assert {rosters.version(slot) for slot in world.slots} == {2}
    world.sign(key, MESSAGE)  # nobody has shown new evidence yet
    world.attest()
    world.sign(key, MESSAGE)
    assert world.nodes["node-1"].identity.public.roster_digest == rosters.chain[-1].digest


def test_a_relaxation_waits_for_activation_and_survives_restarts(rosters: Rosters) -> None:
    """A new operator counts nowhere until a certificate activates the roster, before and after a restart."""
    world = rosters.world
    key, entry = an_operator(Role.ADMIN)
    acks = rosters.offer(rosters.sign(operators=(*world.roster.operators, entry)))
    document = replace(world.agent_document(agent=new_id("agt")), name="by-the-new-one")

    def put() -> None:
        world.call("node-1", "control", ControlRequest(document=sign_document(document, key)))

    assert rosters.version("node-1") == 1
    assert rosters.refused(put) == "envelope.signatures"
    rosters.restart("node-1")
    assert rosters.refused(put) == "envelope.signatures"
    assert [item.version for item in world.nodes["node-1"].rosters.pending()] == [2]
    acks = rosters.offer(rosters.envelopes[-1])
    assert {status.version for status in rosters.activate(acks.values()).values()} == {2}
    put()
    rosters.restart("node-1")
    assert rosters.version("node-1") == 2


def test_a_removed_operator_and_node_stop_counting_at_once(rosters: Rosters) -> None:
    """Mixed with a relaxation, what is removed stops on receipt while the rest waits."""
    world = rosters.world
    second, entry = an_operator(Role.ADMIN)
    acks = rosters.offer(rosters.sign(operators=(*world.roster.operators, entry)))
    rosters.activate(acks.values())
    world.attest()
    key = world.create_key()
    _, third = an_operator(Role.ADMIN)
    auditor_only = tuple(
        replace(e, roles=frozenset({Role.AUDITOR})) if e.operator == world.operator_id else e
        for e in rosters.chain[-1].operators
    )
    rosters.offer(
        rosters.sign(world.operator, second, operators=(*auditor_only, third), slots=rosters.chain[-1].slots[:4])
    )
    assert rosters.version("node-1") == 2  # the third operator waits
    with pytest.raises(CodedError) as caught:
        world.put(world.agent_document(agent=new_id("agt")))
    assert caught.value.code == "document.role"
    assert rosters.refused(world.sign, key, MESSAGE, ["node-1", "node-2", "node-5"]) == "attestation-denied"
    world.sign(key, MESSAGE, ["node-1", "node-2", "node-3"])


BAD: dict[str, Any] = {
    "skipped version": ({"version": 3}, "roster.chain"),
    "another cluster": ({"cluster": bytes(32)}, "roster.chain"),
    "another predecessor": ({"previous": bytes(32)}, "roster.chain"),
    "an earlier time": ({"created_at": 1}, "roster.chain"),
    "two incarnations on": ({"incarnation": 3}, "roster.chain"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_roster_that_does_not_continue_is_refused(rosters: Rosters, name: str) -> None:
    """Each break of the chain alone is refused, and nothing of it is held."""
    changes, code = BAD[name]
    envelope = successor(rosters.world.roster, **changes).sign(rosters.world.operator)
    assert code_of(rosters.world, "node-1", envelope) == code
    assert rosters.world.nodes["node-1"].rosters.newest.version == 1


def test_signatures_of_both_sides_are_needed(rosters: Rosters) -> None:
    """Too few, duplicate, foreign and only-new signatures are refused; removed operators count for nothing later."""
    world = rosters.world
    intruder, entry = an_operator(Role.ADMIN)
    new = successor(world.roster, operators=(*world.roster.operators, entry), quorum={"roster": 2})
    assert code_of(world, "node-1", _signed(new.payload(), intruder)) == "roster.signatures"
    assert code_of(world, "node-1", _signed(new.payload(), world.operator)) == "roster.signatures"
    twice = json.loads(_signed(new.payload(), world.operator))
    twice["signatures"] *= 2
    assert code_of(world, "node-1", canonical_json(twice)) == "roster.signatures"
    assert code_of(world, "node-1", _signed(new.payload(), world.auditor, world.operator)) == "roster.signatures"
    rosters.offer(rosters.sign(world.operator, intruder, operators=new.operators, quorum={"roster": 2}))
    # Version 3 needs both of version 2; the first operator, alone since version 1, is not enough any more.
    third = successor(rosters.chain[-1], quorum={"roster": 1})
    assert code_of(world, "node-1", _signed(third.payload(), world.operator)) == "roster.signatures"


def test_older_and_forked_versions_are_refused(rosters: Rosters) -> None:
    """A replayed version is held already, another roster of the same number is a rollback, nothing goes back."""
    world = rosters.world
    other = successor(world.roster, limits={"keys": 9}).sign(world.operator)
    rosters.offer(rosters.sign(limits={"keys": 5}))
    rosters.offer(rosters.sign(limits={"keys": 4}))
    first = rosters.offer(rosters.envelopes[0], "node-1")["node-1"]
    assert (first.version, rosters.version("node-1")) == (1, 3)
    assert code_of(world, "node-1", other) == "roster.rollback"
    rosters.restart("node-1")
    assert code_of(world, "node-1", other) == "roster.rollback"
    assert rosters.version("node-1") == 3


def test_nodes_of_two_forks_never_accept_each_other(rosters: Rosters) -> None:
    """Two rosters of one version, both signed: nodes that hold one refuse evidence that names the other."""
    world = rosters.world
    rosters.offer(successor(world.roster, limits={"keys": 9}).sign(world.operator), "node-1")
    rosters.offer(successor(world.roster, limits={"keys": 5}).sign(world.operator), "node-2")
    row = world.call("node-1", "present", world.evidence("node-2", "node-1"))
    assert (row.result, "another roster" in row.reason) == ("attestation-denied", True)


def test_half_a_delivery_activates_nothing(rosters: Rosters) -> None:
    """Acknowledgements of fewer nodes than meet every quorum do not activate, however often they are shown."""
    world = rosters.world
    world.create_key(shares_needed=2)  # 2 of 5 sign, so 4 nodes have to know
    _, entry = an_operator(Role.ADMIN)
    envelope = rosters.sign(operators=(*world.roster.operators, entry))
    acks = rosters.offer(envelope, "node-1", "node-2", "node-3")
    shown = [*acks.values(), *acks.values()]
    assert rosters.refused(rosters.activate, shown, "node-1") == "activation.quorum"
    acks |= rosters.offer(envelope, "node-4")
    assert rosters.activate(acks.values(), "node-1")["node-1"].version == 2
    # The others are shown nothing: they stay where they are, and both sides go on working together.
    assert rosters.version("node-2") == 1
    late = rosters.offer(envelope, "node-5")
    world.attest()
    assert rosters.activate([*acks.values(), *late.values()], "node-5")["node-5"].version == 2


def test_forged_and_foreign_acknowledgements_do_not_count(rosters: Rosters) -> None:
    """A changed time, another version's word, a node's word under another's name and a stranger's are left out."""
    world = rosters.world
    _, entry = an_operator(Role.ADMIN)
    acks = rosters.offer(rosters.sign(operators=(*world.roster.operators, entry)))
    one = acks["node-1"]
    wrong = [
        change(one, received_at=one.received_at - 1),
        change(one, received_at=-1),
        change(one, received_at=1 << 63),
        change(one, slot="node-2"),
        change(one, slot="node-9"),
        change(one, version=3),
        change(one, digest=bytes(32)),
        change(one, signature=bytes(64)),
    ]
    for forged in wrong:
        others = [acks["node-4"], acks["node-5"]]
        assert rosters.refused(rosters.activate, [*others, forged], "node-3") == "activation.quorum"
    assert rosters.activate([*others, one], "node-3")["node-3"].version == 2


def test_new_code_waits_for_the_delay(rosters: Rosters) -> None:
    """An admitted measurement counts only after the delay, by the times that nodes sealed, not by one that is told."""
    world = rosters.world
    rosters.offer(rosters.sign(upgrade_delay_s=3600))
    acks = rosters.offer(rosters.sign(slots=with_code(world.roster, MRTD.hex(), NEW_CODE)))
    assert rosters.refused(rosters.activate, acks.values(), "node-1") == "activation.delay"
    assert world.nodes["node-1"].roster.slot("node-2").measurements == {"mrtd": frozenset({MRTD.hex()})}
    world.now += 3599
    world.attest()
    assert rosters.refused(rosters.activate, acks.values(), "node-1") == "activation.delay"
    rosters.restart("node-1")
    world.now += 1
    world.attest()
    acks = rosters.offer(rosters.envelopes[-1])
    assert rosters.activate(acks.values(), "node-1")["node-1"].version == 3
    assert NEW_CODE in world.nodes["node-1"].roster.slot("node-2").measurements["mrtd"]


def test_an_upgrade_can_be_called_off_while_it_waits(rosters: Rosters) -> None:
    """A later version without the new code is in force with all its restrictions before the upgrade ever was."""
    world = rosters.world
    rosters.offer(rosters.sign(upgrade_delay_s=3600))
    rosters.offer(rosters.sign(slots=with_code(world.roster, MRTD.hex(), NEW_CODE)))
    acks = rosters.offer(rosters.sign(slots=with_code(world.roster, MRTD.hex())))
    assert {status.version for status in rosters.activate(acks.values()).values()} == {4}
    world.now += 7200
    world.attest()
    assert NEW_CODE not in world.nodes["node-1"].roster.slot("node-2").measurements["mrtd"]


def test_shortening_the_delay_does_not_shorten_it_for_itself(rosters: Rosters) -> None:
    """A roster that brings new code and a shorter delay waits for the delay in force before it."""
    rosters.offer(rosters.sign(upgrade_delay_s=3600))
    acks = rosters.offer(rosters.sign(slots=with_code(rosters.world.roster, MRTD.hex(), NEW_CODE), upgrade_delay_s=0))
    assert rosters.refused(rosters.activate, acks.values(), "node-1") == "activation.delay"


def test_evidence_under_the_roster_before_counts_for_a_while(rosters: Rosters) -> None:
    """A peer that has not shown itself anew works for ten minutes after a change, and no longer."""
    world = rosters.world
    key = world.create_key()
    rosters.offer(rosters.sign(limits={"keys": 5}))
    world.now += GRACE_S
    world.push()
    world.sign(key, MESSAGE)
    world.now += 1
    assert rosters.refused(world.sign, key, MESSAGE) == "attestation-stale"
    world.attest()
    world.sign(key, MESSAGE)


def test_a_node_that_lacks_a_version_its_peers_hold_stops(rosters: Rosters) -> None:
    """With more peers ahead than may lie, a node kept from the roster refuses to work until it has it."""
    world = rosters.world
    key = world.create_key()
    envelope = rosters.sign(limits={"keys": 5})
    rosters.offer(envelope, "node-2")
    world.relay()
    signers = ["node-1", "node-2", "node-3"]
    world.sign(key, MESSAGE, signers)  # one peer may lie
    rosters.offer(envelope, "node-3", "node-4", "node-5")
    world.relay()
    assert rosters.refused(world.sign, key, MESSAGE, signers) == "versions-behind"
    rosters.offer(envelope, "node-1")
    world.attest()
    world.relay()
    world.sign(key, MESSAGE, signers)


def test_a_waiting_roster_cannot_be_piled_up(rosters: Rosters) -> None:
    """A node holds a bounded number of versions that wait."""
    for number in range(PENDING_MAX):
        rosters.offer(rosters.sign(limits={"keys": number + 1, f"l{number}": 1}, incarnation=number + 2), "node-1")
    envelope = rosters.sign(incarnation=PENDING_MAX + 2)
    assert code_of(rosters.world, "node-1", envelope) == "roster.full"


def test_diversity_is_loosened_only_after_activation(rosters: Rosters) -> None:
    """Tighter terms refuse a new key at once; looser ones allow it only when they are in force."""
    world = rosters.world
    world.create_key(session=b"1" * 32)
    rosters.offer(rosters.sign(diversity=DiversityTerms(accept_common=frozenset({Dimension.PROVIDER}))))
    assert rosters.refused(world.create_key, session=b"2" * 32) == "diversity.operator"
    acks = rosters.offer(rosters.sign(diversity=world.diversity))
    assert rosters.refused(world.create_key, session=b"3" * 32) == "diversity.operator"
    rosters.activate(acks.values())
    world.attest()
    world.create_key(session=b"4" * 32)


def _signed(payload: dict[str, Any], *signers: SigningKey) -> bytes:
    envelope = Envelope.of(PAYLOAD_TYPE, payload)
    for signer in signers:
        envelope = envelope.signed(signer.ed25519)
    return canonical_json(envelope.to_json())


def test_a_disk_wiped_under_a_newer_chain_does_not_shorten_the_delay(rosters: Rosters) -> None:
    """A node started anew with a chain that has the new code says when it saw it, not what date operators wrote."""
    world = rosters.world
    rosters.offer(rosters.sign(upgrade_delay_s=3600))
    world.now += 7200
    world.attest()
    envelope = rosters.sign(slots=with_code(world.roster, MRTD.hex(), NEW_CODE))
    wiped = ["node-3", "node-4", "node-5"]
    for slot in wiped:
        world.stop(slot)
        for path in world.store_path(slot).parent.glob("node.db*"):
            path.unlink()
        later = tuple(
            Link(roster=roster, envelope=made)
            for roster, made in zip(rosters.chain[1:], rosters.envelopes[1:], strict=True)
        )
        store = SealedStore.open(
            world.store_path(slot), cluster=world.roster.cluster_id, slot=slot, tee=world.tee(slot)
        )
        world.boot(slot, store, rosters=later)
    acks = rosters.offer(envelope)
    for (
        slot
    ) in wiped:  # one operator admits the disks; they take no evidence under the version before, node-1 takes theirs
        world.call("node-1", "control", ControlRequest(document=sign_document(enrolment(world, slot), world.operator)))
    world.push()
    for slot in wiped:
        assert world.call("node-1", "present", world.evidence(slot, "node-1")).result == "trusted"
    assert rosters.refused(rosters.activate, acks.values(), "node-1") == "activation.delay"
    assert {acks[slot].received_at for slot in wiped} == {world.now}
