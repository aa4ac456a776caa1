"""A wider policy waits until no set of signers can lack it; a tighter one counts at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as change

from attestation.errors import CodedError
from enclave.certificate import KeyCertificate
from enclave.documents import PolicyDocument, sign_document
from enclave.policy.widening import widens
from enclave.wire.documents import Acknowledgement, ControlRequest, PolicyActivation
from tests.enclave.node.world import ALLOW_EVM, ALLOW_MESSAGES, World

MESSAGE = b"hello"
DENY = {"name": "no-messages", "effect": "deny", "kinds": ["message"]}
OTHER = {**ALLOW_EVM, "name": "other"}


def give(world: World, document: PolicyDocument, *slots: str) -> dict[str, Acknowledgement]:
    """Hand a policy to nodes without putting it in force."""
    envelope = sign_document(document, world.operator)
    return {slot: world.call(slot, "control", ControlRequest(document=envelope)) for slot in slots or world.slots}


def activate(world: World, slot: str, *acks: Acknowledgement) -> None:
    """Show a node who holds it."""
    request = PolicyActivation(policy=world.policy_id, digest=acks[0].digest, acknowledgements=list(acks))
    world.call(slot, "policy-activate", request)


def refused(work: Any, *arguments: Any, **options: Any) -> str:
    """The code of a refusal."""
    with pytest.raises(CodedError) as caught:
        work(*arguments, **options)
    return caught.value.code


@pytest.fixture
def key(ready: World) -> KeyCertificate:
    """A key under the policy, which allows messages."""
    return ready.create_key()


def test_a_tighter_policy_counts_on_receipt(ready: World, key: KeyCertificate) -> None:
    """Fewer allowances and more denials are in force as soon as a node has them."""
    ready.sign(key, MESSAGE)
    give(ready, ready.policy_document(ALLOW_MESSAGES, DENY, version=2))
    assert refused(ready.sign, key, MESSAGE) == "policy.denied"
    assert ready.nodes["node-1"].directory.waiting(ready.policy_id) is None


def test_a_wider_policy_waits_for_its_activation_and_survives_restarts(ready: World, key: KeyCertificate) -> None:
    """What a version newly allows is refused before enough holders acknowledged it, also after a restart."""
    ready.put(ready.policy_document(DENY, version=2))
    acks = give(ready, ready.policy_document(ALLOW_MESSAGES, version=3))
    assert refused(ready.sign, key, MESSAGE) == "policy.denied"
    ready.stop("node-1")
    ready.start("node-1")
    ready.attest()
    assert refused(ready.sign, key, MESSAGE) == "policy.denied"
    acks = give(ready, ready.policy_document(ALLOW_MESSAGES, version=3))
    for slot in ready.slots:
        activate(ready, slot, *acks.values())
    ready.now += 1
    ready.sign(key, MESSAGE)
    ready.stop("node-1")
    ready.start("node-1")
    ready.attest()
    ready.now += 1
    ready.sign(key, MESSAGE)


def test_what_a_mixed_version_takes_away_does_not_wait(ready: World, key: KeyCertificate) -> None:
    """A version that allows one thing more and another no longer: the second stops before the first begins."""
    give(ready, ready.policy_document(OTHER, version=2))
    assert refused(ready.sign, key, MESSAGE) == "policy.denied"
    assert ready.nodes["node-1"].directory.waiting(ready.policy_id) is not None


def test_fewer_than_meet_every_quorum_do_not_activate(ready: World, key: KeyCertificate) -> None:
    """Of a 3-of-5 key three holders have to know; two, one twice, and forged words are not enough."""
    assert key.signing_quorum == 3
    acks = give(ready, ready.policy_document(ALLOW_MESSAGES, OTHER, version=2))
    one, two, three = (acks[slot] for slot in ("node-1", "node-2", "node-3"))
    assert refused(activate, ready, "node-4", one, two) == "activation.quorum"
    assert refused(activate, ready, "node-4", one, two, two) == "activation.quorum"
    for forged in (change(three, signature=bytes(64)), change(three, slot="node-5"), change(three, slot="node-9")):
        assert refused(activate, ready, "node-4", one, two, forged) == "activation.quorum"
    assert refused(activate, ready, "node-4", *(change(ack, digest=bytes(32)) for ack in (one, two, three))) in (
        "activation.quorum",
        "activation.digest",
    )
    activate(ready, "node-4", one, two, three)
    assert ready.nodes["node-4"].directory.waiting(ready.policy_id) is None
    activate(ready, "node-4", one, two, three)


def test_a_later_version_takes_the_waiting_ones_place(ready: World, key: KeyCertificate) -> None:
    """While version 2 waits, a tighter version 3 counts at once and version 2 never does."""
    acks = give(ready, ready.policy_document(ALLOW_MESSAGES, OTHER, version=2))
    give(ready, ready.policy_document(DENY, version=3))
    assert refused(ready.sign, key, MESSAGE) == "policy.denied"
    assert refused(activate, ready, "node-1", *acks.values()) == "activation.digest"
    assert refused(give, ready, ready.policy_document(ALLOW_MESSAGES, OTHER, version=2)) == "document.sequence"


def test_a_policy_without_keys_counts_at_once(ready: World) -> None:
    """Where no key is affected nothing can be used too early."""
    give(ready, ready.policy_document(ALLOW_MESSAGES, OTHER, version=2))
    found = ready.nodes["node-1"].directory.policy(ready.policy_id)
    assert found is not None
    assert found.version == 2


@pytest.mark.parametrize(
    ("before", "after", "wider"),
    [
        ({}, {}, False),
        ({"rules": [ALLOW_MESSAGES, OTHER]}, {"rules": [ALLOW_MESSAGES]}, False),
        ({"rules": [ALLOW_MESSAGES]}, {"rules": [ALLOW_MESSAGES, DENY]}, False),
        ({"rules": [ALLOW_MESSAGES]}, {"rules": [OTHER]}, True),
        ({"rules": [ALLOW_MESSAGES, DENY]}, {"rules": [ALLOW_MESSAGES]}, True),
        ({"rules": [ALLOW_MESSAGES]}, {"rules": [{**ALLOW_MESSAGES, "kinds": ["message", "eip191"]}]}, True),
        ({}, {"nonce_guard": "off"}, True),
        ({"nonce_guard": "off"}, {"nonce_guard": "fee-bump"}, False),
        ({"nonce_guard": "fee-bump"}, {}, False),
    ],
)
def test_what_widens_a_policy(ready: World, before: dict[str, Any], after: dict[str, Any], wider: bool) -> None:
    """Only what surely gives nothing new is no widening."""
    base = ready.policy_document(ALLOW_MESSAGES)

    def made(changes: dict[str, Any]) -> PolicyDocument:
        return replace(base, **changes)

    assert widens(made(before), made(after)) is wider
    assert widens(None, made(after))
