"""What a node asks before it uses a share, each question failing alone, asked of nodes directly without a gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from nacl.signing import VerifyKey

from enclave.certificate import KeyCertificate
from enclave.signing_key import SigningKey
from enclave.tokens import key_resource
from enclave.wire.signing import NoncesRequest, Signer, SignRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World, evm_body, message_body

MESSAGE = b"pay nobody"
BODY = message_body(MESSAGE)


@pytest.fixture
def key(ready: World) -> KeyCertificate:
    """A FROST key, usable since a second."""
    certificate = ready.create_key()
    ready.now += 1
    return certificate


def asked(world: World, token: str, body: bytes = BODY, *, slots: list[str] | None = None) -> str:
    """The code with which the first signer refuses."""
    requests = world.sign_requests(slots or world.slots[:3], token, body)
    slot = next(iter(requests))
    return code_of(world.call, slot, "sign", requests[slot])


# --- it works -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [(1, 2, 3), (1, 3, 5), (2, 4, 5), (1, 2, 3, 4), (1, 2, 3, 4, 5)])
def test_any_quorum_signs(ready: World, key: KeyCertificate, chosen: tuple[int, ...]) -> None:
    """Every set of at least three nodes makes a signature an independent library accepts."""
    signature = ready.sign(key, MESSAGE, [f"node-{number}" for number in chosen])
    VerifyKey(key.public_key).verify(MESSAGE, signature)


# --- the token ------------------------------------------------------------------------------------------


def _wrong_signer(world: World, key: KeyCertificate) -> str:
    return world.token(key, BODY, signer=SigningKey.generate())


def _bad_signature(world: World, key: KeyCertificate) -> str:
    token = world.token(key, BODY)
    return token[:-8] + ("AAAAAAAA" if not token.endswith("AAAAAAAA") else "BBBBBBBB")


def _other_body(world: World, key: KeyCertificate) -> str:
    return world.token(key, message_body(b"pay somebody"))


def _other_cluster(world: World, key: KeyCertificate) -> str:
    return world.token(key, BODY, cluster=bytes(32))


def _other_act(world: World, key: KeyCertificate) -> str:
    return world.token(key, BODY, act="decrypt")


def _stranger(world: World, key: KeyCertificate) -> str:
    return world.token(key, BODY, issuer="agt_" + "a" * 26)


def _no_key(world: World, _key: KeyCertificate) -> str:
    return world.token("*", BODY)


def _no_version(world: World, key: KeyCertificate) -> str:
    return world.token(key.key, BODY)


def _other_version(world: World, key: KeyCertificate) -> str:
    return world.token(key_resource(key.key, 2), BODY)


def _other_key(world: World, _key: KeyCertificate) -> str:
    return world.token(key_resource("key_" + "a" * 26, 1), BODY)


def _expired(world: World, key: KeyCertificate) -> str:
    return world.token(key, BODY, now=world.now - 1, lifetime_s=1)


def _from_future(world: World, key: KeyCertificate) -> str:
    return world.token(key, BODY, now=world.now + 6)


def _garbage(_world: World, _key: KeyCertificate) -> str:
    return "a.b.c"


def _nothing(_world: World, _key: KeyCertificate) -> str:
    return "undefined"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_wrong_signer, "token.unknown-key"),
        (_bad_signature, "token.signature"),
        (_other_body, "token.body"),
        (_other_cluster, "token.audience"),
        (_other_act, "token.act"),
        (_stranger, "token.unknown-key"),
        (_no_key, "token.resource"),
        (_no_version, "token.resource"),
        (_other_version, "key.unknown"),
        (_other_key, "key.unknown"),
        (_expired, "token.expired"),
        (_from_future, "token.from-future"),
        (_garbage, "token.malformed"),
        (_nothing, "token.missing"),
    ],
)
def test_a_bad_token_is_refused_with_its_own_code(
    ready: World, key: KeyCertificate, make: Callable[[World, KeyCertificate], str], code: str
) -> None:
    """Each way a token can be wrong has its own code, and the node does not need a gateway to see it."""
    assert asked(ready, make(ready, key)) == code


def test_a_token_from_before_the_boot_is_refused(ready: World, key: KeyCertificate) -> None:
    """A restart forgets attempts, so what was signed before it is worth nothing."""
    token = ready.token(key, BODY)
    ready.now += 1
    ready.stop()
    ready.start()
    ready.attest()
    assert asked(ready, token) == "token.before-boot"
    VerifyKey(key.public_key).verify(MESSAGE, ready.sign(key, MESSAGE))


def test_a_token_from_before_the_key_is_refused(ready: World) -> None:
    """A token cannot be older than the key it names."""
    ready.now += 10
    certificate = ready.create_key()
    old = ready.token(certificate, BODY, now=certificate.activated_at - 1)
    assert asked(ready, old) == "token.before-boot"
    assert ready.sign(certificate, MESSAGE)


def test_an_operator_uses_keys_only_where_a_rule_names_it(ready: World, key: KeyCertificate) -> None:
    """An operator's own token passes as a credential and fails at the policy."""
    token = ready.token(key, BODY, issuer=ready.operator_id, signer=ready.operator)
    assert asked(ready, token) == "policy.denied"


# --- agent, key, policy -----------------------------------------------------------------------------------


def test_a_revoked_agent_is_refused(ready: World, key: KeyCertificate) -> None:
    """From the revocation on, by each node itself."""
    ready.put(ready.agent_document(state="revoked", sequence=2))
    assert asked(ready, ready.token(key, BODY)) == "agent.revoked"


def test_a_revocation_survives_a_restart(ready: World, key: KeyCertificate) -> None:
    """An acknowledged restriction is still there after all nodes restarted, and its predecessor is refused."""
    ready.put(ready.agent_document(state="revoked", sequence=2))
    ready.stop()
    ready.now += 1
    ready.start()
    ready.attest()
    assert asked(ready, ready.token(key, BODY)) == "agent.revoked"
    assert code_of(ready.put, ready.agent_document()) == "document.revoked"


def test_a_replaced_agent_key_is_refused(ready: World, key: KeyCertificate) -> None:
    """After a rotation only the new key counts."""
    token = ready.token(key, BODY)
    ready.put(ready.agent_document(keys=(SigningKey.generate().public,), sequence=2))
    assert asked(ready, token) == "token.unknown-key"


def test_a_disabled_key_is_refused_until_enabled(ready: World, key: KeyCertificate) -> None:
    """Disabling stops a key at every node; enabling needs a newer document."""
    ready.put(ready.key_state(key.key, "disabled"))
    assert asked(ready, ready.token(key, BODY)) == "key.disabled"
    assert code_of(ready.put, ready.key_state(key.key, "enabled")) == "document.conflict"
    ready.put(ready.key_state(key.key, "enabled", sequence=2))
    assert ready.sign(key, MESSAGE)


def test_an_agent_cannot_be_numbered_beyond_revocation(ready: World, key: KeyCertificate) -> None:
    """One registrar signs agents alone; a number no later document could exceed is refused, and revoking needs none."""
    far = 2**53 - 1
    assert code_of(ready.put, ready.agent_document(sequence=far)) == "document.from-future"
    ahead = (ready.now + 60) * 1000
    assert code_of(ready.put, ready.agent_document(sequence=ahead + 1)) == "document.from-future"
    ready.put(ready.agent_document(sequence=ahead))
    ready.put(ready.agent_document(state="revoked", sequence=2))
    assert asked(ready, ready.token(key, BODY)) == "agent.revoked"


def test_a_revocation_needs_no_clock(ready: World, key: KeyCertificate) -> None:
    """A node whose clock is behind still takes a revocation."""
    ready.put(ready.agent_document(state="revoked", sequence=2**53 - 1))
    assert asked(ready, ready.token(key, BODY)) == "agent.revoked"


def test_one_administrator_cannot_disable_a_key_beyond_enabling(ready: World, key: KeyCertificate) -> None:
    """Disabling needs one signature, so its number must leave room for the quorum that enables."""
    assert code_of(ready.put, ready.key_state(key.key, "disabled", 2**53 - 1)) == "document.from-future"
    ready.put(ready.key_state(key.key, "disabled", (ready.now + 60) * 1000))
    ready.now += 61
    ready.put(ready.key_state(key.key, "enabled", ready.now * 1000))
    assert ready.sign(key, MESSAGE)


def test_a_document_needs_the_right_role(ready: World) -> None:
    """An auditor's signature moves nothing."""
    assert code_of(ready.put, ready.agent_document(sequence=2), signer=ready.auditor) == "document.role"
    assert code_of(ready.put, ready.agent_document(sequence=2), signer=SigningKey.generate()) == "envelope.signatures"


def test_the_same_document_again_changes_nothing(ready: World) -> None:
    """Delivery is idempotent: nothing is written and the acknowledgement names the same digest."""
    before = ready.call("node-1", "holdings").documents
    ready.put(ready.agent_document(issued_at=ready.nodes["node-1"].started_at + 1))
    assert ready.call("node-1", "holdings").documents == before


def test_a_full_directory_still_takes_restrictions(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no more documents fit, new grants are refused and revocations are not."""
    monkeypatch.setattr("enclave.directory.DOCUMENTS_MAX", 2)
    other = ready.agent_document(agent="agt_" + "b" * 26, keys=(SigningKey.generate().public,))
    assert code_of(ready.put, other) == "documents.full"
    ready.put(ready.agent_document(state="revoked", sequence=2))
    ready.put(replace(other, state="revoked"))
    assert len(ready.call("node-1", "holdings").documents) == 3


def test_without_its_policy_a_key_does_nothing(ready: World) -> None:
    """A key whose policy a node does not hold is denied there, whatever other policies allow."""
    ready.policy_id = "pol_" + "z" * 26
    certificate = ready.create_key()
    ready.now += 1
    assert asked(ready, ready.token(certificate, BODY)) == "policy.unknown"


def test_a_tighter_policy_counts_at_once(ready: World, key: KeyCertificate) -> None:
    """The newest version decides, and an older one does not come back."""
    ready.put(ready.policy_document({"name": "no", "effect": "deny", "kinds": ["message"]}, version=2))
    assert asked(ready, ready.token(key, BODY)) == "policy.denied"
    assert code_of(ready.put, ready.policy_document(version=1)) in ("document.sequence", "document.conflict")


def test_a_policy_with_unknown_fields_is_not_taken(ready: World, key: KeyCertificate) -> None:
    """A rule a node does not understand is refused at delivery and the old version goes on."""
    with pytest.raises(Exception, match="colour"):
        ready.put(ready.policy_document({"name": "x", "effect": "allow", "kinds": ["message"], "colour": 1}, version=2))
    assert ready.sign(key, MESSAGE)


def test_a_request_past_its_own_deadline_is_refused(ready: World, key: KeyCertificate) -> None:
    """`not_after` inside the signed body bounds execution."""
    import json

    body = json.dumps(json.loads(BODY) | {"not_after": ready.now - 1}).encode()
    assert asked(ready, ready.token(key, body), body) == "payload.expired"


# --- kinds do not leak into each other ----------------------------------------------------------------------


def test_a_key_signs_only_kinds_of_its_usage(ready: World, key: KeyCertificate) -> None:
    """A generic key builds no EVM transaction, and a digest is nothing an Ed25519 key signs."""
    body = evm_body()
    assert asked(ready, ready.token(key, body), body) == "payload.usage"
    digest = b'{"kind":"digest","digest":"' + b"A" * 43 + b'"}'
    assert asked(ready, ready.token(key, digest), digest) == "payload.usage"


def test_a_decryption_key_does_not_sign(ready: World) -> None:
    """The group is the same, the usage is not."""
    certificate = ready.create_key(spec="hpke-x25519", usage="decrypt")
    ready.now += 1
    assert asked(ready, ready.token(certificate, BODY)) == "key.spec"


def test_a_reconstruct_key_gives_no_frost_share(ready: World) -> None:
    """A secp256k1 key is not used by the verb of another protocol."""
    certificate = ready.create_key(spec="secp256k1-ecdsa", usage="generic", custody="reconstruct")
    ready.now += 1
    assert asked(ready, ready.token(certificate, BODY)) == "key.spec"


# --- signer sets and nonces -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slots", "code"),
    [
        (["node-1", "node-2"], "signers.too-few"),
        (["node-1", "node-1", "node-2"], "signers.order"),
        (["node-3", "node-2", "node-1"], "signers.order"),
        (["node-1", "node-2", "node-9"], "signers.unknown"),
        (["node-2", "node-3", "node-4"], "signers.not-member"),
    ],
)
def test_signer_sets_are_checked(ready: World, key: KeyCertificate, slots: list[str], code: str) -> None:
    """Too few, doubled, unordered, unknown signers and sets without the asked node are refused."""
    requests = ready.sign_requests(["node-1", "node-2", "node-3"], ready.token(key, BODY), BODY)
    point = requests["node-1"].signers[0]
    signers = [Signer(slot, point.hiding, point.binding) for slot in slots]
    changed = msgspec.structs.replace(requests["node-1"], signers=signers)
    assert code_of(ready.call, "node-1", "sign", changed) == code


def request_for(world: World, key: KeyCertificate) -> SignRequest:
    """A good request for node-1."""
    return world.sign_requests(world.slots[:3], world.token(key, BODY), BODY)["node-1"]


def test_nonces_of_an_unknown_suite_are_refused(ready: World) -> None:
    """Only ciphersuites this node signs with have nonces."""
    assert code_of(ready.call, "node-1", "nonces", NoncesRequest(suite="p256", count=1)) == "nonces.suite"


def test_a_nonce_is_used_once_even_by_a_failed_request(ready: World, key: KeyCertificate) -> None:
    """Two messages never meet one nonce: it is gone before the share is computed."""
    request = request_for(ready, key)
    ready.call("node-1", "sign", request)
    other = message_body(b"another")
    again = msgspec.structs.replace(request, token=ready.token(key, other), body=other)
    assert code_of(ready.call, "node-1", "sign", again) == "nonces.unknown"


def test_a_foreign_commitment_in_ones_own_place_spends_the_nonce(ready: World, key: KeyCertificate) -> None:
    """A list without the node's own commitments is refused, and that nonce cannot be tried again."""
    request = request_for(ready, key)
    swapped = [Signer("node-1", *_points(request.signers[1])), *request.signers[1:]]
    changed = msgspec.structs.replace(request, signers=swapped)
    assert code_of(ready.call, "node-1", "sign", changed) == "signers.own-commitment"
    assert code_of(ready.call, "node-1", "sign", request) == "nonces.unknown"


def _points(signer: Signer) -> tuple[bytes, bytes]:
    return signer.hiding, signer.binding


def test_a_nonce_of_another_connection_is_unknown(ready: World, key: KeyCertificate) -> None:
    """Nonces belong to the connection they were published to, and die with it."""
    request = request_for(ready, key)
    assert code_of(ready.call, "node-1", "sign", request, connection=2) == "nonces.unknown"
    ready.nodes["node-1"].disconnect(1)
    assert code_of(ready.call, "node-1", "sign", request) == "nonces.unknown"


def test_a_nonce_of_an_earlier_boot_is_unknown(ready: World, key: KeyCertificate) -> None:
    """Nothing of a nonce survives a restart."""
    nonce = request_for(ready, key).nonce
    ready.stop()
    ready.now += 1
    ready.start()
    ready.attest()
    changed = msgspec.structs.replace(request_for(ready, key), nonce=nonce)
    assert code_of(ready.call, "node-1", "sign", changed) == "nonces.unknown"


@pytest.mark.parametrize("bad", [bytes(32), b"\1" + bytes(31), b"\xff" * 32, b"short"])
def test_a_point_that_is_none_is_refused(ready: World, key: KeyCertificate, bad: bytes) -> None:
    """Identity, small-order, non-canonical and short commitments of another signer end the request."""
    request = request_for(ready, key)
    signers = [request.signers[0], Signer("node-2", bad, request.signers[1].binding), request.signers[2]]
    changed = msgspec.structs.replace(request, signers=signers)
    assert code_of(ready.call, "node-1", "sign", changed).startswith("point.")


def test_a_fourth_attempt_is_refused(ready: World, key: KeyCertificate) -> None:
    """One request is executed three times with fresh nonces, and not once more."""
    token = ready.token(key, BODY)
    for _ in range(3):
        requests = ready.sign_requests(ready.slots[:3], token, BODY)
        ready.call("node-1", "sign", requests["node-1"])
    assert asked(ready, token) == "token.replayed"


def test_a_refused_request_spends_no_attempt(ready: World, key: KeyCertificate) -> None:
    """Requests that policy or the signer set stops can be corrected and sent again."""
    token = ready.token(key, BODY)
    ready.put(ready.key_state(key.key, "disabled"))
    for _ in range(4):
        assert asked(ready, token) == "key.disabled"
    ready.put(ready.key_state(key.key, "enabled", sequence=2))
    requests = ready.sign_requests(ready.slots[:3], token, BODY)
    assert ready.call("node-1", "sign", requests["node-1"]).share


def test_unknown_verbs_are_refused(ready: World) -> None:
    """What is not a verb is not guessed at."""
    assert code_of(ready.call, "node-1", "export-share") == "wire.unknown-verb"


def test_every_verb_of_the_wire_has_a_handler() -> None:
    """The node serves exactly what the wire describes."""
    from enclave.state import HANDLERS
    from enclave.wire.verbs import VERBS

    assert set(HANDLERS) == set(VERBS)


def test_time_does_not_run_backwards(ready: World, key: KeyCertificate) -> None:
    """Clocks that are set back, all of them at once, do not revive an expired token."""
    token: Any = ready.token(key, BODY, lifetime_s=5)
    ready.now += 6
    assert asked(ready, token) == "token.expired"
    ready.now -= 4
    assert asked(ready, token) == "token.expired"
    ready.now -= 2
    assert asked(ready, token) == "clock-skew"
