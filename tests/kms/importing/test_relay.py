"""Imports through a relay that drops, mixes and repeats: nobody has a key before everybody said so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nacl.signing import VerifyKey

from attestation.canonical import canonical_json
from enclave.certificate import KeyCertificate
from enclave.imports import pending as pending_module
from enclave.imports.upload import KeyUpload
from enclave.restrictions import Scope
from enclave.wire.imports import ImportAccepted, ImportQuery
from tests.enclave.node.codes import code_of
from tests.enclave.node.test_freeze import freeze
from tests.enclave.node.world import ALLOW_MESSAGES
from tests.kms.importing.world import ImportWorld


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


def test_a_relay_changes_nothing(ready: ImportWorld) -> None:
    """The administrator's token is over the exact body: foreign commitments, nodes and shares all show."""
    upload, other = ready.upload(), ready.upload()
    token = ready.import_token(upload.key, upload.body())
    for changes in (
        {"commitments": [point.hex() for point in other.commitments]},
        {"shares": json.loads(other.body())["shares"]},
        {"order": json.loads(upload.body())["order"] | {"shares_needed": 2}},
        {"order": json.loads(upload.body())["order"] | {"exportable": True}},
    ):
        body = changed(upload, **changes)
        codes = {code_of(ready.prepare_at, slot, upload, body=body, token=token) for slot in ready.slots}
        assert codes <= {"token.body", "import.malformed"}


def test_shares_are_sealed_for_one_upload_slot_and_boot(ready: ImportWorld) -> None:
    """A share moved to another node, boot or upload does not open, even for an administrator's fresh token."""
    upload, other = ready.upload(), ready.upload()
    first, second = upload.shares[0], upload.shares[1]
    swapped = replace(
        upload,
        shares=(replace(first, sealed=second.sealed), replace(second, sealed=first.sealed), *upload.shares[2:]),
    )
    assert code_of(ready.prepare_at, "node-1", swapped) == "share.unreadable"
    mixed = replace(upload, shares=(replace(first, sealed=other.shares[0].sealed), *upload.shares[1:]))
    assert code_of(ready.prepare_at, "node-1", mixed) == "share.unreadable"
    later = replace(upload, shares=(replace(first, boot_counter=2), *upload.shares[1:]))
    assert code_of(ready.prepare_at, "node-1", later) == "import.boot"


def test_acceptances_are_everybodys_and_of_this_import(ready: ImportWorld) -> None:
    """One missing, one twice, one of another import, one forged, one under another name: nobody gets a key."""
    upload, other = ready.upload(), ready.upload()
    right, wrong = ready.prepare(upload), ready.prepare(other)
    first = right[0]
    for mixed in (
        [],
        right[1:],
        [first, *right[:4]],
        [*right, first],
        [wrong[0], *right[1:]],
        [msgspec.structs.replace(first, signature=bytes(64)), *right[1:]],
        [msgspec.structs.replace(first, signature=right[1].signature), *right[1:]],
        [msgspec.structs.replace(first, slot="node-9"), *right[1:]],
        [msgspec.structs.replace(first, boot_counter=9), *right[1:]],
    ):
        codes = {code_of(ready.commit_at, slot, upload, mixed) for slot in ready.slots}
        assert codes == {"import.acceptances"}
    assert all(len(node.keys) == 0 for node in ready.nodes.values())
    assert ready.verified([ready.commit_at(slot, upload, right) for slot in ready.slots])


def test_acceptances_of_an_untrusted_node_do_not_count(ready: ImportWorld) -> None:
    """Who accepted must be trusted in the node's own table when the key begins."""
    upload = ready.upload()
    accepted = ready.prepare(upload)
    ready.nodes["node-1"].verdicts._rows.pop("node-4")
    assert code_of(ready.commit_at, "node-1", upload, accepted).startswith("attestation-")


def test_a_commit_that_was_never_prepared(ready: ImportWorld) -> None:
    """A node that did not accept has nothing to begin with."""
    upload = ready.upload()
    accepted = ready.prepare(upload, ready.slots[1:])
    assert code_of(ready.commit_at, "node-1", upload, accepted) == "import.unknown"


def test_repeats_repeat_the_answer(ready: ImportWorld) -> None:
    """The same upload before and after it began, also much later; another one under the id is refused."""
    upload = ready.upload()
    first = ready.prepare(upload)
    assert ready.prepare(upload) == first
    other = ready.upload(key=upload.key)
    assert code_of(ready.prepare_at, "node-1", other) == "import.exists"
    certificate = ready.import_key(upload)
    ready.now += 1000
    assert ready.prepare(upload) == first
    assert ready.commit_at("node-1", upload, first).body == certificate.body()
    assert ready.commit_at("node-1", upload, []).body == certificate.body()
    assert code_of(ready.prepare_at, "node-1", ready.upload(key=upload.key)) == "import.exists"


def test_a_node_that_restarts_in_between(ready: ImportWorld) -> None:
    """What was accepted is on disk; the new boot says so again, the old boot's word is worth nothing."""
    with ready.material() as material, ready.dealing(material) as dealing:
        upload = ready.sealed(dealing)
        old = ready.prepare(upload)
        ready.stop("node-2")
        ready.now += 1
        ready.start("node-2")
        ready.attest()
        ready.now += 1
        assert code_of(ready.commit_at, "node-1", upload, old) == "import.acceptances"
        new = ready.prepare(ready.sealed(dealing))
    assert [item.boot_counter for item in new] == [1, 2, 1, 1, 1]
    certificate = ready.verified([ready.commit_at(slot, upload, new) for slot in ready.slots])
    ready.now += 1
    VerifyKey(certificate.public_key).verify(
        b"hello", ready.sign(certificate, b"hello", ["node-1", "node-2", "node-3"])
    )


def test_a_second_import_of_the_same_key_cannot_begin(ready: ImportWorld) -> None:
    """Two uploads of one key may both be accepted; the first that begins shuts the other out."""
    with ready.material() as material, ready.dealing(material) as one, ready.dealing(material) as two:
        first, second = ready.sealed(one), ready.sealed(two)
    accepted, also = ready.prepare(first), ready.prepare(second)
    ready.commit_at("node-1", first, accepted)
    assert code_of(ready.commit_at, "node-1", second, also) == "import.duplicate"


def test_pending_imports_are_few_and_forgotten(ready: ImportWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the limit wait; after their time they make room."""
    monkeypatch.setattr(pending_module, "PENDING_MAX", 2)
    monkeypatch.setattr(pending_module, "PENDING_S", 60)
    for _ in range(2):
        ready.prepare_at("node-1", ready.upload())
    assert code_of(ready.prepare_at, "node-1", ready.upload()) == "import.unresolved"
    ready.now += 61
    assert isinstance(ready.prepare_at("node-1", ready.upload()), ImportAccepted)
    assert len(list(ready.nodes["node-1"].store.items("import"))) == 1


def test_nothing_is_imported_into_a_frozen_cluster(ready: ImportWorld) -> None:
    """As for new keys."""
    freeze(ready, Scope.CLUSTER)
    assert code_of(ready.prepare_at, "node-1", ready.upload()) == "frozen.cluster"


def test_anybody_can_bring_an_accepted_import_to_its_end(ready: ImportWorld) -> None:
    """Who accepted says so again to any relay, before and after; a node that did not has nothing to say."""
    upload = ready.upload()
    query = ImportQuery(transcript=upload.transcript(ready.roster.cluster_id))
    ready.prepare(upload, ready.slots[:4])
    (waiting,) = ready.call("node-1", "import-pending").imports
    assert KeyCertificate.parse(waiting.body).key == upload.key
    assert ready.call("node-5", "import-pending").imports == []
    assert code_of(ready.call, "node-5", "import-standing", query) == "import.unknown"
    four = [ready.call(slot, "import-standing", query) for slot in ready.slots[:4]]
    assert code_of(ready.commit_at, "node-1", upload, four) == "import.acceptances"
    ready.prepare_at("node-5", upload)
    everybody = [ready.call(slot, "import-standing", query) for slot in ready.slots]
    ready.commit_at("node-1", upload, everybody)
    assert ready.call("node-1", "import-pending").imports == []
    again = [ready.call(slot, "import-standing", query) for slot in ready.slots]
    assert ready.verified([ready.commit_at(slot, upload, again) for slot in ready.slots]).key == upload.key
