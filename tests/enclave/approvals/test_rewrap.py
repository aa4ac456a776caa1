"""Approvals before a plaintext moves from key to key: without them no partial leaves, and the opener seals nothing."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.handlers.decrypt import opened_info
from enclave.wire.decrypt import OpenRequest, PartialRequest
from tests.enclave.approvals.kit import TERMS, Asked, Person, both, refused_grant
from tests.enclave.node.codes import code_of
from tests.enclave.node.test_opening import ANYTHING, OPENER, SIGNERS, SUITE, body_of, open_at, rows, sealed
from tests.enclave.node.world import World

PLAINTEXT = b"the launch code"


def test_a_rewrap_waits_for_people(world: World, people: list[Person]) -> None:
    """The summary names the target; approved, the named node seals to it, and the target's readers open it."""
    source = world.create_key(spec="hpke-x25519", usage="decrypt")
    target = world.create_key(spec="hpke-x25519", usage="decrypt", session=b"t" * 32)
    rule = {
        "name": "moving",
        "effect": "allow",
        "kinds": ["rewrap"],
        "rewrap_to": [target.key],
        "approvals": TERMS,
    }
    world.put(world.policy_document(rule, ANYTHING, version=2))
    world.now += 1
    body = canonical_json(
        {"ciphertext": b64url(sealed(source, {}, PLAINTEXT)), "opened_in_enclave": OPENER, "to": target.key}
    )
    asked = Asked(world, source, body, act="decrypt")
    partial = PartialRequest(token=asked.text, body=body, signers=SIGNERS)
    assert code_of(world.call, "node-1", "partial", partial) == "approval.required"
    opening = OpenRequest(token=asked.text, body=body, signers=SIGNERS, rows=[])
    assert code_of(world.call, OPENER, "open", opening) == "approval.required"

    asked.park()
    world.now += 100
    alone = asked.request([people[0].decides(world, asked.fingerprint())])
    assert refused_grant(asked, alone) == "approval.missing"
    assert code_of(world.call, "node-1", "partial", partial) == "token.expired"
    assert both(asked, people)
    asked.grant(*people[:2])
    sent = rows(world, asked.text, body)
    reply = world.call(OPENER, "open", OpenRequest(token=asked.text, body=body, signers=SIGNERS, rows=sent))
    assert reply.target_version == target.version
    reader = X25519PrivateKey.generate()
    opened, request_id = open_at(world, target, body_of(reply.sealed, reader))
    assert SUITE.decrypt(opened.sealed, reader, info=opened_info(request_id, target.key, OPENER)) == PLAINTEXT


def test_rewrapping_elsewhere_is_not_what_was_approved(world: World, people: list[Person]) -> None:
    """Another target is another body, hence another token and fingerprint: the grant does not reach it."""
    source = world.create_key(spec="hpke-x25519", usage="decrypt")
    targets = [world.create_key(spec="hpke-x25519", usage="decrypt", session=bytes([n]) * 32) for n in (1, 2)]
    rule = {
        "name": "moving",
        "effect": "allow",
        "kinds": ["rewrap"],
        "rewrap_to": [target.key for target in targets],
        "approvals": TERMS,
    }
    world.put(world.policy_document(rule, version=2))
    world.now += 1
    bodies = [
        canonical_json(
            {"ciphertext": b64url(sealed(source, {}, PLAINTEXT)), "opened_in_enclave": OPENER, "to": target.key}
        )
        for target in targets
    ]
    asked = Asked(world, source, bodies[0], act="decrypt")
    asked.park()
    asked.grant(*people[:2])
    swapped = PartialRequest(token=asked.text, body=bodies[1], signers=SIGNERS)
    assert code_of(world.call, "node-1", "partial", swapped) == "token.body"
    assert code_of(open_at, world, source, bodies[1]) == "approval.required"
