"""Exports at the nodes: only keys made for it, only by a rule, each node by itself, sealed to who asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.certificate import KeyCertificate
from enclave.documents import sign_document
from enclave.group import GROUPS
from enclave.payload.export import ExportBody, exported_share_info
from enclave.secret import Secret
from enclave.threshold import shamir
from enclave.wire.documents import ControlRequest
from kms.client.importing.material import material_of_scalar
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import ALLOW_MESSAGES
from tests.kms.importing.world import SUITE, ImportWorld


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[ImportWorld]:
    """Five nodes, an agent that may sign messages and have keys."""
    world = ImportWorld(tmp_path)
    world.ready(ALLOW_MESSAGES, exporting(world.agent_id))
    yield world
    world.stop()


def exporting(*agents: str, **members: Any) -> dict[str, Any]:
    """A rule that lets keys out."""
    rule = {"name": "leave", "effect": "allow", "kinds": ["export"], "export": "allow", "agents": list(agents)}
    return rule | members


def exported(
    world: ImportWorld, key: KeyCertificate, recipient: X25519PrivateKey, slots: list[str] | None = None
) -> Secret:
    """The shared scalar out of T nodes' sealed shares."""
    slots = slots or world.slots[: key.shares_needed]
    body = ExportBody(recipient=recipient.public_key().public_bytes_raw()).body()
    token = world.token(key, body, act="keys.export")
    request_id = world.request_id(token, body)
    shares = {}
    for slot in slots:
        reply = world.export_at(slot, key, recipient, body=body, token=token)
        info = exported_share_info(request_id, key.key, key.version, key.epoch, slot)
        node = key.node(slot)
        assert node is not None
        shares[node.index] = Secret.take(bytearray(SUITE.decrypt(reply.sealed, recipient, info=info)))
    return shamir.combine(GROUPS[key.kind.group], shares)


@pytest.mark.parametrize("spec", ["ed25519", "secp256k1-ecdsa", "secp256k1-schnorr"])
def test_exportable_keys_leave_sealed(ready: ImportWorld, spec: str) -> None:
    """T sealed shares make the key that was imported, for the holder of the recipient key."""
    with ready.material(spec) as material, ready.dealing(material, spec=spec, exportable=True) as dealing:
        certificate = ready.import_key(ready.sealed(dealing))
        assert certificate.exportable
        with exported(
            ready, certificate, X25519PrivateKey.generate(), ready.slots[-certificate.shares_needed :]
        ) as key:
            assert key.same(material.secret)


@pytest.mark.parametrize("imported", [True, False])
def test_keys_are_not_exportable_unless_made_so(ready: ImportWorld, imported: bool) -> None:
    """The certificate decides, whatever the policy says."""
    certificate = ready.import_key() if imported else ready.create_key()
    ready.now += 1
    for slot in ready.slots:
        assert code_of(ready.export_at, slot, certificate, X25519PrivateKey.generate()) == "export.not-exportable"


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (ALLOW_MESSAGES,),
        ({"name": "leave", "effect": "allow", "kinds": ["export"]},),
        (exporting("agt_" + "a" * 26),),
        (exporting("AGENT", keys=["key_" + "a" * 26]),),
        (exporting("AGENT"), {"name": "stay", "effect": "deny", "kinds": ["export"]}),
    ],
)
def test_policy_must_let_it_go(ready: ImportWorld, rules: tuple[dict[str, Any], ...]) -> None:
    """No rule, a rule without the leaf, for another agent or key, or one that forbids it: each node refuses."""
    certificate = ready.import_key(exportable=True)
    named = json.loads(json.dumps(rules).replace("AGENT", ready.agent_id))
    ready.put(ready.policy_document(*named, version=2))
    for slot in ready.slots:
        assert code_of(ready.export_at, slot, certificate, X25519PrivateKey.generate()) == "policy.denied"


def test_each_node_decides_by_its_own_policy(ready: ImportWorld) -> None:
    """Nodes that have the stricter policy already refuse, whatever the others do."""
    certificate = ready.import_key(exportable=True)
    document = sign_document(ready.policy_document(ALLOW_MESSAGES, version=2), ready.operator)
    ready.call("node-1", "control", ControlRequest(document=document))
    recipient = X25519PrivateKey.generate()
    assert code_of(ready.export_at, "node-1", certificate, recipient) == "policy.denied"
    assert ready.export_at("node-2", certificate, recipient).sealed


def test_operators_export_where_a_rule_names_them(ready: ImportWorld) -> None:
    """An administrator alone is refused like anybody else."""
    certificate = ready.import_key(exportable=True)
    who: dict[str, Any] = {"issuer": ready.operator_id, "signer": ready.operator}
    recipient = X25519PrivateKey.generate()
    assert code_of(ready.export_at, "node-1", certificate, recipient, **who) == "policy.denied"
    ready.put(ready.policy_document(exporting(ready.operator_id), version=2))
    assert ready.export_at("node-1", certificate, recipient, **who).sealed


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"recipient": b64url(bytes(32))}, "payload.recipient"),
        ({"recipient": b64url(b"\x01" + bytes(31))}, "payload.recipient"),
        ({"recipient": b64url(bytes(31))}, "payload.recipient"),
        ({}, "payload.malformed"),
        ({"recipient": b64url(b"\x09" + bytes(31)), "slots": []}, "payload.malformed"),
    ],
)
def test_recipients_are_usable_keys(ready: ImportWorld, body: dict[str, Any], code: str) -> None:
    """Keys of small order would seal to everybody."""
    certificate = ready.import_key(exportable=True)
    recipient = X25519PrivateKey.generate()
    assert code_of(ready.export_at, "node-1", certificate, recipient, body=canonical_json(body)) == code


def test_exports_are_one_request_three_attempts(ready: ImportWorld) -> None:
    """The token is for this act, key and body, and runs out."""
    certificate = ready.import_key(exportable=True)
    recipient = X25519PrivateKey.generate()
    for act in ("sign", "keys.get", "keys.import"):
        body = canonical_json({"recipient": b64url(recipient.public_key().public_bytes_raw())})
        token = ready.token(certificate, body, act=act)
        assert code_of(ready.export_at, "node-1", certificate, recipient, body=body, token=token) == "token.act"
    token = ready.token(certificate, body, act="keys.export")
    for _ in range(3):
        ready.export_at("node-1", certificate, recipient, body=body, token=token)
    assert code_of(ready.export_at, "node-1", certificate, recipient, body=body, token=token) == "token.replayed"
    other = canonical_json({"recipient": b64url(X25519PrivateKey.generate().public_key().public_bytes_raw())})
    assert code_of(ready.export_at, "node-2", certificate, recipient, body=other, token=token) == "token.body"


def test_disabled_keys_stay(ready: ImportWorld) -> None:
    """An export is a use like any other."""
    certificate = ready.import_key(exportable=True)
    ready.put(ready.key_state(certificate.key, "disabled"))
    assert code_of(ready.export_at, "node-1", certificate, X25519PrivateKey.generate()) == "key.disabled"


def test_a_generated_key_is_not_imported_again(ready: ImportWorld) -> None:
    """Two keys of one private key would have two policies, whichever way the first came in."""
    certificate = ready.create_key(exportable=True)
    ready.now += 1
    recipient = X25519PrivateKey.generate()
    scalar = exported(ready, certificate, recipient)
    with material_of_scalar(scalar, "export") as material, ready.dealing(material) as dealing:
        assert code_of(ready.prepare_at, "node-1", ready.sealed(dealing)) == "import.duplicate"
