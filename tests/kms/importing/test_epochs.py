"""What becomes of imported and exportable keys later: new epochs, committees and versions, and the nodes' logs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nacl.signing import VerifyKey

from attestation.receipts.entry import ALLOW, DENY, Decision, output_digest, parse_entry
from enclave.certificate import KeyCertificate
from enclave.imports.pending import WRAPPED
from enclave.key_specs import Origin
from enclave.wire.reconstruct import AssembleReply
from tests.enclave.ceremonies.driver import CeremonyWorld
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import ALLOW_MESSAGES, message_body
from tests.kms.importing.test_export_nodes import exported, exporting
from tests.kms.importing.world import ImportWorld


class LaterWorld(CeremonyWorld, ImportWorld):
    """A world that imports keys and runs ceremonies over them."""


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[LaterWorld]:
    """Five nodes, an agent that may sign messages and have keys."""
    world = LaterWorld(tmp_path)
    world.ready(ALLOW_MESSAGES, exporting(world.agent_id))
    yield world
    world.stop()


def check_p256(world: LaterWorld, key: KeyCertificate, public: bytes, message: bytes) -> None:
    """A signature by the key's first assembler, verified by OpenSSL under `public`."""
    holders = list(key.slots)[-key.shares_needed :]
    reply: AssembleReply = world.assemble(key, message_body(message), signers=holders, assembler=key.assemblers[0])
    r, s = int.from_bytes(reply.signature[:32], "big"), int.from_bytes(reply.signature[32:], "big")
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    point.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))


def test_a_refresh_keeps_key_origin_and_door(ready: LaterWorld) -> None:
    """New shares, the same key: still imported, still exportable, still the same private key when it leaves."""
    with ready.material() as material, ready.dealing(material, exportable=True) as dealing:
        key = ready.import_key(ready.sealed(dealing))
        (after,) = ready.run(ready.beginning("refresh", key))
        assert (after.epoch, after.public_key) == (2, key.public_key)
        assert (after.origin, after.exportable) == (Origin.IMPORTED, True)
        VerifyKey(key.public_key).verify(b"after", ready.sign(after, b"after"))
        with exported(ready, after, X25519PrivateKey.generate()) as scalar:
            assert scalar.same(material.secret)


def test_a_p256_key_moves_with_its_wrapping(ready: LaterWorld) -> None:
    """Refresh and reshare: the new holders have what the assembler unwraps, and it is the imported key."""
    with ready.material("p256-ecdsa") as material:
        public = material.public_key
        with ready.dealing(material, spec="p256-ecdsa", assemblers=["node-1"]) as dealing:
            key = ready.import_key(ready.sealed(dealing))
    check_p256(ready, key, public, b"first")
    (refreshed,) = ready.run(ready.beginning("refresh", key))
    check_p256(ready, refreshed, public, b"second")
    nodes = ("node-1", "node-2", "node-3")
    start = ready.beginning("reshare", refreshed, participants=ready.slots, nodes=nodes, shares_needed=2)
    (moved,) = ready.run(start)
    assert (moved.slots, moved.public_key, moved.wrapped_digest) == (nodes, public, key.wrapped_digest)
    check_p256(ready, moved, public, b"third")


def test_a_rotated_key_is_generated(ready: LaterWorld) -> None:
    """The next version was never in one place, whatever the first one was; the door stays as it was made."""
    key = ready.import_key(exportable=True)
    start = ready.beginning("rotate", key)
    commit = ready.certificate_of(start, ready.prepared(start))
    after = ready.verified([ready.commit(slot, commit) for slot in start.participants])
    assert (after.version, after.origin, after.exportable) == (2, Origin.GENERATED, True)


def test_wrappings_are_of_one_version(ready: LaterWorld) -> None:
    """The row of an imported first version serves no certificate that names no wrapping."""
    key = ready.import_key(spec="p256-ecdsa", exportable=True)
    assert all(node.store.get(WRAPPED, key.key) for node in ready.nodes.values())
    assert ready.export_at("node-1", key, X25519PrivateKey.generate()).wrapped
    other = ready.import_key(exportable=True)
    for node in ready.nodes.values():
        node.store.put(WRAPPED, other.key, os.urandom(60))
    assert ready.export_at("node-1", other, X25519PrivateKey.generate()).wrapped == b""


def test_imports_and_exports_are_in_every_nodes_log(ready: LaterWorld) -> None:
    """Who imported, when the key began, who took it and who was refused: each node's own word."""
    key = ready.import_key(exportable=True)
    kept = ready.import_key()
    recipient = X25519PrivateKey.generate()
    share = ready.export_at("node-2", key, recipient)
    assert code_of(ready.export_at, "node-2", kept, recipient) == "export.not-exportable"
    node = ready.nodes["node-2"]
    page = node.receipts.page(node.identity.public.boot_counter, 0, 100)
    entries = [entry for entry in map(parse_entry, page.entries) if isinstance(entry, Decision)]
    made = [(entry.verb, entry.outcome, entry.code) for entry in entries if entry.verb.startswith(("import", "export"))]
    assert made == [
        ("import-prepare", ALLOW, ""),
        ("import-commit", ALLOW, ""),
        ("import-prepare", ALLOW, ""),
        ("import-commit", ALLOW, ""),
        ("export", ALLOW, ""),
        ("export", DENY, "export.not-exportable"),
    ]
    taken = next(entry for entry in entries if entry.verb == "export")
    assert (taken.principal, taken.rule, taken.resource) == (ready.agent_id, "leave", f"{key.key}/1")
    assert taken.output == output_digest("share-exported", share.sealed)
    assert {entry.principal for entry in entries if entry.verb == "import-prepare"} == {ready.operator_id}
