"""Imports at the nodes: what each checks by itself, and that nobody has a key before everybody said so."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import VerifyKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.certificate import KeyCertificate
from enclave.diversity import Dimension, DiversityTerms
from enclave.errors import CallerError
from enclave.group import GROUPS
from enclave.group.ed25519 import ED25519
from enclave.group.secp256k1 import ORDER, SECP256K1
from enclave.imports.upload import KeyUpload
from enclave.key_specs import Custody, Origin
from enclave.restrictions import Scope
from enclave.secret import Secret, declassify
from enclave.wire.documents import CertificateRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.test_freeze import freeze
from tests.enclave.node.world import ALLOW_MESSAGES
from tests.kms.importing.world import ORDERS, ImportWorld


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[ImportWorld]:
    """Five nodes, an agent that may sign messages."""
    world = ImportWorld(tmp_path)
    world.ready(ALLOW_MESSAGES)
    yield world
    world.stop()


def changed(upload: KeyUpload, **members: Any) -> bytes:
    """An upload's body with members replaced (None takes one out)."""
    value = json.loads(upload.body()) | members
    return canonical_json({name: item for name, item in value.items() if item is not None})


# --- honest imports --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", list(ORDERS))
def test_every_spec(ready: ImportWorld, spec: str) -> None:
    """All nodes certify what the client computed beforehand: its public key, and that it was imported."""
    with ready.material(spec) as material, ready.dealing(material, spec=spec) as dealing:
        certificate = ready.import_key(ready.sealed(dealing))
        assert certificate == dealing.certificate
        assert certificate.public_key == material.public_key
    assert (certificate.origin, certificate.exportable, certificate.epoch) == (Origin.IMPORTED, False, 1)
    assert json.loads(certificate.body())["origin"] == "imported"
    assert all(len(node.keys) == 1 for node in ready.nodes.values())


def test_an_imported_ed25519_key_signs(ready: ImportWorld) -> None:
    """FROST signatures verify under the public key that the seed had."""
    seed = os.urandom(32)
    with ready.material(key=seed) as material, ready.dealing(material) as dealing:
        certificate = ready.import_key(ready.sealed(dealing))
    VerifyKey(certificate.public_key).verify(b"hello", ready.sign(certificate, b"hello"))


def test_generated_keys_say_nothing_new(ready: ImportWorld) -> None:
    """The members are absent where they say nothing unusual; no second spelling is read."""
    certificate = ready.create_key()
    value = json.loads(certificate.body())
    assert (certificate.origin, certificate.exportable) == (Origin.GENERATED, False)
    assert not {"origin", "exportable"} & set(value)
    for members in ({"origin": "generated"}, {"exportable": False}, {"exportable": 1}, {"origin": "found"}):
        assert code_of(lambda m=members: KeyCertificate.parse(canonical_json(value | m))) == "certificate.malformed"
    assert KeyCertificate.parse(canonical_json(value | {"exportable": True})).exportable


def test_imported_keys_survive_a_restart(ready: ImportWorld) -> None:
    """Share and certificate are on disk."""
    certificate = ready.import_key()
    for slot in ready.slots:
        ready.stop(slot)
        ready.start(slot)
    ready.attest()
    ready.now += 2
    signatures = [ready.call(slot, "certificate", CertificateRequest(key=certificate.key)) for slot in ready.slots]
    assert ready.verified(signatures) == certificate
    VerifyKey(certificate.public_key).verify(b"hello", ready.sign(certificate, b"hello"))


# --- what an importer may try ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"5", b"{", b"\xff", b'{"private_key":"0xdeadbeef"}', b'{"commitments":[]}', b'["word word word"]']
)
def test_plain_keys_are_refused_with_a_hint(ready: ImportWorld, body: bytes) -> None:
    """Whatever brings no sealed shares is taken for a private key; the refusal repeats none of it."""
    with pytest.raises(CallerError) as caught:
        ready.prepare_at("node-1", ready.upload(), body=body)
    assert caught.value.code == "import.plaintext"
    assert "kms keys import" in (caught.value.hint or "")
    assert "dead" not in str(caught.value)


POINT, OTHER, THIRD = (ED25519.base_mult_public(k).hex() for k in (7, 8, 9))


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"extra": 1}, "import.malformed"),
        ({"key": "sec_" + "a" * 26}, "id.malformed"),
        ({"key": None}, "import.malformed"),
        ({"commitments": []}, "import.malformed"),
        ({"commitments": [POINT, OTHER]}, "import.malformed"),
        ({"commitments": [POINT, OTHER, THIRD, ED25519.base_mult_public(10).hex()]}, "import.malformed"),
        ({"commitments": [POINT, OTHER, THIRD.upper()]}, "import.malformed"),
        ({"commitments": [POINT, OTHER, "01" + "00" * 31]}, "import.commitments"),
        ({"commitments": [POINT, OTHER, "ff" * 32]}, "import.commitments"),
        ({"commitments": [POINT, OTHER, "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"]},
         "import.commitments"),
        ({"public_key": POINT}, "import.public-key"),
        ({"public_key": ""}, "import.public-key"),
        ({"public_key": "zz"}, "import.malformed"),
        ({"chain_code": "00" * 31}, "import.malformed"),
        ({"wrapped": b64url(bytes(60))}, "import.malformed"),
        ({"created_at": "now"}, "import.malformed"),
        ({"proof": b64url(bytes(64))}, "import.proof"),
        ({"proof": b64url(bytes(63))}, "import.proof"),
        ({"proof": ""}, "import.proof"),
        ({"shares": []}, "import.malformed"),
        ({"order": {}}, "order.malformed"),
        ({"order": 5}, "import.malformed"),
    ],
)  # fmt: skip
def test_malformed_uploads(ready: ImportWorld, members: dict[str, Any], code: str) -> None:
    """Each member has its form; small-order and identity points are no commitments."""
    upload = ready.upload()
    assert code_of(ready.prepare_at, "node-1", upload, body=changed(upload, **members)) == code
    assert not list(ready.nodes["node-1"].store.items("import"))


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"spec": "opaque-secret"}, "order.spec"),
        ({"usage": "evm"}, "order.usage"),
        ({"custody": "release"}, "order.custody"),
        ({"shares_needed": 1}, "order.shares-needed"),
        ({"nodes": ["node-1", "node-2", "node-3"]}, "import.malformed"),
        ({"nodes": ["node-1", "node-2", "node-9"]}, "order.nodes"),
        ({"exportable": "yes"}, "order.malformed"),
        ({"assemblers": ["node-1"]}, "order.assemblers"),
    ],
)
def test_orders_that_do_not_exist(ready: ImportWorld, order: dict[str, Any], code: str) -> None:
    """An import obeys the rules of orders, and its shares are those of the order's nodes."""
    upload = ready.upload()
    value = json.loads(upload.body())["order"] | order
    assert code_of(ready.prepare_at, "node-1", upload, body=changed(upload, order=value)) == code


@pytest.mark.parametrize("spec", ["ed25519", "secp256k1-ecdsa", "p256-ecdsa"])
def test_an_inconsistent_share_stops_the_import(ready: ImportWorld, spec: str) -> None:
    """The node that got a share of another polynomial refuses, and the others never get a key without its word."""
    group = GROUPS["secp256k1" if spec == "secp256k1-ecdsa" else "ed25519"]
    with ready.material(spec) as material, ready.dealing(material, spec=spec) as dealing:
        dealing._shares[2] = group.random_scalar()
        upload = ready.sealed(dealing)
    others = [slot for slot in ready.slots if slot != "node-3"]
    accepted = ready.prepare(upload, others)
    assert code_of(ready.prepare_at, "node-3", upload) == "import.share"
    for slot in others:
        assert code_of(ready.commit_at, slot, upload, accepted) == "import.acceptances"
        assert len(ready.nodes[slot].keys) == 0


def test_shares_that_are_no_scalars(ready: ImportWorld) -> None:
    """Zero, the order, and a share plus the order, which has the same point."""
    with ready.material() as material, ready.dealing(material) as dealing:
        share = int.from_bytes(declassify(dealing._shares[0]), "little")
        for value in (0, ED25519.order, share + ED25519.order):
            dealing._shares[0] = Secret.take(bytearray(value.to_bytes(32, "little")))
            assert code_of(ready.prepare_at, "node-1", ready.sealed(dealing)) == "import.share"


def test_the_proof_is_of_this_upload(ready: ImportWorld) -> None:
    """A proof made for another upload of the very same key does not count: whoever copies one has no key."""
    with ready.material() as material, ready.dealing(material) as one, ready.dealing(material) as other:
        first, second = ready.sealed(one), ready.sealed(other)
    assert code_of(ready.prepare_at, "node-1", first.with_proof(second.proof)) == "import.proof"


def test_a_p256_key_proves_itself(ready: ImportWorld) -> None:
    """The wrapped key is another than the stated public key's: the proof is of the stated one and needs its key."""
    with ready.material("p256-ecdsa") as mine, ready.material("p256-ecdsa") as theirs:
        with ready.dealing(mine, spec="p256-ecdsa") as dealing:
            upload = ready.sealed(dealing)
        stolen = replace(upload, public_key=theirs.public_key)
    assert code_of(ready.prepare_at, "node-1", stolen) == "import.proof"
    without = changed(upload, wrapped=None)
    assert code_of(ready.prepare_at, "node-1", upload, body=without) == "import.malformed"
    off_curve = changed(upload, public_key="02" + "ff" * 32)
    assert code_of(ready.prepare_at, "node-1", upload, body=off_curve) == "import.public-key"


@pytest.mark.parametrize("spec", ["p256-ecdsa", "secp256k1-ecdsa"])
def test_assemblers_hold_shares(ready: ImportWorld, spec: str) -> None:
    """An assembler that is no holder has no record of the key, and nothing to unwrap."""
    upload = ready.upload(spec, nodes=ready.slots[:4], assemblers=["node-5"], custody="reconstruct")
    assert code_of(ready.prepare_at, "node-1", upload) == "order.assemblers"


def test_holders_are_trusted(ready: ImportWorld) -> None:
    """A node that does not trust another holder accepts nothing that it would hold together with it."""
    ready.nodes["node-1"].verdicts._rows.pop("node-4")
    assert code_of(ready.prepare_at, "node-1", ready.upload()).startswith("attestation-")


def test_holders_are_diverse(tmp_path: Path) -> None:
    """What the roster asks of a key's nodes holds for imported keys, too."""
    accepted = frozenset({Dimension.OPERATOR, Dimension.PROVIDER})
    terms = DiversityTerms(limits={Dimension.VENDOR: 4}, accept_common=accepted)
    world = ImportWorld(tmp_path, diversity=terms)
    world.ready(ALLOW_MESSAGES)
    try:
        assert code_of(world.prepare_at, "node-1", world.upload()) == "diversity.vendor"
        assert world.prepare_at("node-1", world.upload(nodes=world.slots[:4])).slot == "node-1"
    finally:
        world.stop()


def test_a_frozen_cluster_begins_no_accepted_import(ready: ImportWorld) -> None:
    """A freeze between acceptance and commit counts."""
    upload = ready.upload()
    accepted = ready.prepare(upload)
    freeze(ready, Scope.CLUSTER)
    assert code_of(ready.commit_at, "node-1", upload, accepted) == "frozen.cluster"


def test_one_key_is_imported_once(ready: ImportWorld) -> None:
    """The same private key under another id, name or spec is refused; for secp256k1 its negative, too."""
    key = os.urandom(32)
    with ready.material("secp256k1-ecdsa", key) as material, ready.dealing(material, spec="secp256k1-ecdsa") as one:
        ready.import_key(ready.sealed(one))
    negative = (ORDER - int.from_bytes(key, "big")).to_bytes(32, "big")
    for spec, again in (("secp256k1-ecdsa", key), ("secp256k1-schnorr", key), ("secp256k1-schnorr", negative)):
        with ready.material(spec, again) as material, ready.dealing(material, spec=spec, name="other") as dealing:
            assert code_of(ready.prepare_at, "node-1", ready.sealed(dealing)) == "import.duplicate"


@pytest.mark.parametrize(("offset", "code"), [(-601, "import.time"), (6, "import.time")])
def test_uploads_are_of_now(ready: ImportWorld, offset: int, code: str) -> None:
    """An old upload, and one of the future that would make today's tokens too old."""
    assert code_of(ready.prepare_at, "node-1", ready.upload(created_at=ready.now + offset)) == code


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"resource": "*"}, "token.resource"),
        ({"act": "keys.create"}, "token.act"),
        ({"who": "agent"}, "token.unknown-key"),
        ({"who": "auditor"}, "operator.role"),
    ],
)
def test_only_an_administrator_imports(ready: ImportWorld, claims: dict[str, Any], code: str) -> None:
    """The token is an administrator's, for this key and act."""
    who = {"agent": (ready.agent_id, ready.agent), "auditor": (ready.auditor_id, ready.auditor)}
    if "who" in claims:
        issuer, signer = who[claims["who"]]
        claims = {"issuer": issuer, "signer": signer}
    assert code_of(ready.prepare_at, "node-1", ready.upload(), **claims) == code


def test_the_importer_is_told_apart(ready: ImportWorld) -> None:
    """Custody and thresholds are those of any key; only the origin says that somebody had it whole."""
    imported, made = ready.import_key(), ready.create_key()
    assert imported.custody is made.custody is Custody.THRESHOLD
    assert imported.privacy_threshold == made.privacy_threshold == 3
    assert (imported.origin, made.origin) == ("imported", "generated")


def test_secp256k1_chain_codes_are_kept(ready: ImportWorld) -> None:
    """Children of a key from a BIP-32 wallet are that wallet's."""
    spec = "secp256k1-ecdsa"
    with ready.material(spec) as material:
        kept = replace(material, chain_code=bytes(range(32)))
        with ready.dealing(kept, spec=spec) as dealing:
            assert dealing.certificate.chain_code == bytes(range(32))
        with (
            ready.dealing(material, spec="secp256k1-ecdsa") as one,
            ready.dealing(material, spec="secp256k1-ecdsa") as two,
        ):
            assert one.certificate.chain_code != two.certificate.chain_code
        assert SECP256K1.base_mult(material.secret) == material.public_key
