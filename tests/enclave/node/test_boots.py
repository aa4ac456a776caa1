"""Which boot of a node its peers let in: by its sealed chain, by an operator's enrolment, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as change

from attestation.errors import CodedError
from attestation.simulated.authority import simulated_measurement
from enclave.boots import BootBook
from enclave.documents import sign_document
from enclave.enrolment import Enrolment
from enclave.signing_key import SigningKey
from enclave.wire.attestation import PeerVerdict, Presentation
from enclave.wire.documents import ControlRequest
from tests.enclave.node.roster_world import Rosters, with_code
from tests.enclave.node.world import MRTD, World

MESSAGE = b"after the reboot"
NEEDS = "an operator has to enrol it"


def show(world: World, peer: str, verifier: str = "node-1", **changed: Any) -> PeerVerdict:
    """A node's fresh evidence, as presented or with its boot proof changed, judged by another."""
    presentation: Presentation = world.evidence(peer, verifier)
    verdict: PeerVerdict = world.call(verifier, "present", change(presentation, **changed))
    return verdict


def new_disk(world: World, slot: str, **changes: Any) -> None:
    """Stop a node, lose its disk, and start it."""
    world.stop(slot)
    for path in world.store_path(slot).parent.glob("node.db*"):
        path.unlink()
    world.start(slot, **changes)
    world.push(slot)


def enrolment(world: World, slot: str, sequence: int = 1, **changes: Any) -> Enrolment:
    """Admits what runs in a slot now."""
    own = world.nodes[slot].identity.public
    document = Enrolment(
        cluster=world.roster.cluster_id,
        slot=slot,
        identity_key=own.identity_key,
        boot_counter=own.boot_counter,
        sequence=sequence,
        issued_at=world.now,
    )
    return replace(document, **changes)


def deliver(world: World, document: Enrolment, *slots: str, signer: SigningKey | None = None) -> None:
    """Hand a signed enrolment to nodes."""
    envelope = sign_document(document, signer or world.operator)
    for slot in slots or tuple(world.nodes):
        world.call(slot, "control", ControlRequest(document=envelope))


def test_a_restart_on_its_own_disk_needs_nobody(ready: World) -> None:
    """The sealed chain and unchanged code admit the next boot, and the peers' own restarts forget nothing."""
    key = ready.create_key()
    ready.stop("node-2", "node-1")
    ready.start("node-2", "node-1")
    ready.attest()
    ready.sign(key, MESSAGE)


def test_a_boot_without_its_chain_needs_an_operator(ready: World) -> None:
    """No proof, another chain's proof, a changed key, scalar or signature: each alone stops a later boot."""
    ready.stop("node-2")
    ready.start("node-2")
    ready.push("node-2")
    proof = ready.nodes["node-2"].boot_proof
    foreign = ready.nodes["node-3"].boot_proof
    for wrong in (
        None,
        foreign,
        change(proof, chain_key=foreign.chain_key),
        change(proof, commitment=foreign.commitment),
        change(proof, response=bytes(32)),
        change(proof, signature=bytes(64)),
        change(proof, chain_key=b""),
    ):
        verdict = show(ready, "node-2", boot=wrong)
        assert (verdict.result, NEEDS in verdict.reason) == ("attestation-denied", True)
    assert show(ready, "node-2").result == "trusted"


def test_a_chain_proof_is_for_one_boot_only(ready: World) -> None:
    """The proof of the boot before, shown with a later boot's evidence, proves nothing."""
    old = ready.nodes["node-2"].boot_proof
    ready.stop("node-2")
    ready.start("node-2")
    ready.push("node-2")
    assert NEEDS in show(ready, "node-2", boot=old).reason


def test_a_replaced_disk_is_admitted_by_one_operator(ready: World) -> None:
    """A node whose counter starts again is refused until exactly its identity is enrolled, and works afterwards."""
    ready.stop("node-2")
    ready.start("node-2")
    ready.attest()
    key = ready.create_key(nodes=["node-1", "node-2", "node-3", "node-4"], shares_needed=3)
    new_disk(ready, "node-2")
    assert "boot counter went back" in show(ready, "node-2").reason
    deliver(ready, enrolment(ready, "node-2", identity_key=bytes(range(32))))
    assert show(ready, "node-2").result == "attestation-denied"
    deliver(ready, enrolment(ready, "node-2", sequence=2, boot_counter=7))
    assert show(ready, "node-2").result == "attestation-denied"
    deliver(ready, enrolment(ready, "node-2", sequence=3))
    assert show(ready, "node-2").result == "trusted"
    ready.now += 11  # the lease the run before may hold
    ready.attest()
    ready.relay()
    ready.create_key(session=b"2" * 32)
    assert key.node("node-2") is not None


def test_an_enrolment_is_spent_by_the_next_boot(ready: World) -> None:
    """Once a later boot of the new disk was admitted, neither the enrolled boot nor the old disk comes back."""
    old = ready.evidence("node-2", "node-3")
    new_disk(ready, "node-2")
    deliver(ready, enrolment(ready, "node-2"))
    ready.attest()
    enrolled = ready.nodes["node-2"].identity.public
    ready.stop("node-2")
    ready.start("node-2")
    ready.attest()  # boot 2 of the new disk, by its chain
    book = ready.nodes["node-1"].verdicts.boots
    assert "boot counter went back" in (book.refusal(enrolled) or "")
    later = change(old.identity, boot_counter=9)
    assert book.refusal(later) is None  # a higher counter is no contradiction by itself
    assert NEEDS in (book.admit(change(old, identity=later), {}) or "")


def test_an_enrolment_survives_the_peers_restart(ready: World) -> None:
    """A peer that restarts remembers which boot was admitted, and refuses the one before it still."""
    first = ready.nodes["node-2"].identity.public
    ready.stop("node-2")
    ready.start("node-2")
    ready.attest()
    ready.stop("node-1")
    ready.start("node-1")
    assert "boot counter went back" in (ready.nodes["node-1"].verdicts.boots.refusal(first) or "")


def test_other_code_needs_an_operator_even_on_its_chain(ready: World) -> None:
    """A boot that proves its chain but measures differently is refused; the same boot with equal code is not."""
    first = ready.evidence("node-2", "node-1")
    ready.stop("node-2")
    ready.start("node-2")
    ready.push("node-2")
    second = ready.evidence("node-2", "node-1")
    other = simulated_measurement("next").hex()
    book = BootBook()
    assert book.admit(first, {"mrtd": MRTD.hex()}) is None
    assert "with other code" in (book.admit(second, {"mrtd": other}) or "")
    # A register that the roster has only now begun to name was not seen before, and says nothing about a change.
    assert book.admit(second, {"mrtd": MRTD.hex(), "rtmr0": "00" * 48}) is None


def test_an_upgraded_node_is_refused_until_it_is_enrolled(ready: World) -> None:
    """New code on a new disk: the roster admits it, its peers wait for an operator, and then work with it."""
    other = simulated_measurement("next")
    rosters = Rosters(ready)
    acks = rosters.offer(rosters.sign(slots=with_code(ready.roster, MRTD.hex(), other.hex())))
    rosters.activate(acks.values())
    ready.attest()
    new_disk(ready, "node-2", tee=ready.tee("node-2", mrtd=other))
    node = ready.nodes["node-2"]
    for envelope in rosters.envelopes[1:]:
        rosters.offer(envelope, "node-2")
    node.rosters._set_active(2, ready.now)  # its configuration holds the chain
    node.follow_rosters(ready.now)
    assert show(ready, "node-2").result == "attestation-denied"
    deliver(ready, enrolment(ready, "node-2"))
    assert show(ready, "node-2").result == "trusted"


def test_only_operators_enrol(ready: World) -> None:
    """An auditor's and a stranger's signature, another cluster's document and a boot of zero are refused."""
    document = enrolment(ready, "node-2")
    cases = {
        "document.role": (document, ready.auditor),
        "envelope.signatures": (document, SigningKey.generate()),
        "document.cluster": (replace(document, cluster=bytes(32)), ready.operator),
        "document.malformed": (replace(document, boot_counter=0), ready.operator),
    }
    for code, (wrong, signer) in cases.items():
        with pytest.raises(CodedError) as caught:
            deliver(ready, wrong, "node-1", signer=signer)
        assert caught.value.code == code
