"""The gateway's log store: proofs of any size, gaps, retention, restart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from attestation.merkle import leaf_hash, verify_consistency, verify_inclusion
from attestation.proof_of_cloud.log import MerkleLog
from attestation.receipts.entry import Decision
from enclave.wire.heartbeats import SignedHeartbeat
from kms.config import GatewayConfig
from kms.errors import ConfigurationError, NotFoundError, StoreError
from kms.receipts.store import LogStore
from tests.attestation.receipts.make_vectors import entries

SIZE = 66_000
"""Above 256 * 256: three levels of tiles."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LogStore]:
    """An empty store."""
    made = LogStore(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LogStore, MerkleLog]]:
    """A log of 66 000 leaves beside the same tree in memory."""
    made = LogStore(tmp_path_factory.mktemp("large"))
    lines = [b"%d" % number for number in range(SIZE)]
    at = 0
    for count in (1, 255, 1, 255, 1000, 40_000, SIZE):
        part = lines[at : at + count]
        made.append("node-1", 1, at, part, 100)
        at += len(part)
    yield made, MerkleLog(lines)
    made.close()


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 513, 1000, 32_768, 65_535, 65_536, 65_537, SIZE])
def test_proofs_are_those_of_the_whole_tree(large: tuple[LogStore, MerkleLog], size: int) -> None:
    """Root, inclusion and consistency equal an independent tree's and verify, at tile borders as well."""
    store, reference = large
    tree = store.tree(1)
    root = tree.root(size)
    assert root == reference.root(size)
    for number in {0, 1, size // 2, size - 1} & set(range(size)):
        path = tree.inclusion_proof(number, size)
        assert path == reference.inclusion_proof(number, size)
        verify_inclusion(leaf_hash(b"%d" % number), number, size, path, root)
    for old in {1, size // 3, size - 1, size} & set(range(1, size + 1)):
        path = tree.consistency_proof(old, size)
        assert path == reference.consistency_proof(old, size)
        verify_consistency(old, reference.root(old), size, root, path)


def test_overlaps_are_taken_once_and_gaps_end_a_log(store: LogStore) -> None:
    """What is stored already is not stored again; after a gap nothing is, and other logs go on."""
    assert store.append("node-1", 1, 0, [b"a", b"b"], 1).size == 2
    assert store.append("node-1", 1, 1, [b"b", b"c"], 1).size == 3
    assert [item.body for item in store.entries(1, 0, 10)] == [b"a", b"b", b"c"]
    assert store.append("node-1", 1, 5, [b"f"], 1).size == 3
    broken = store.log("node-1", 1)
    assert broken is not None
    assert broken.is_broken
    assert store.append("node-1", 1, 3, [b"d"], 1).size == 3
    assert store.append("node-1", 2, 0, [b"a"], 1).size == 1
    newest = store.newest("node-1")
    assert newest is not None
    assert (newest.boot_counter, newest.size) == (2, 1)


def test_decisions_are_found_by_request_and_verdicts_by_digest(store: LogStore) -> None:
    """The indexes of a receipt: request id to leaves, digest to verdict, certificates that are named."""
    made = [entry.encode() for entry in entries()]
    added = store.append("node-1", 3, 0, made, 1)
    allowed = entries()[2]
    assert isinstance(allowed, Decision)
    assert added.certificates == {allowed.certificate: allowed.resource}
    (found,) = store.about(allowed.request_id)
    assert (found.number, found.body) == (2, made[2])
    verdict = store.verdict(1, leaf_hash(made[1]))
    assert verdict is not None
    assert verdict.number == 1
    assert store.verdict(1, leaf_hash(made[0])) is None


def test_heads_are_chosen_by_size_and_countersignatures(store: LogStore) -> None:
    """The smallest head above a leaf that enough peers countersigned, or the newest."""
    store.append("node-1", 1, 0, [b"a"] * 9, 1)
    beat = SignedHeartbeat(slot="node-2", body=b"b", signature=b"s")
    store.put_checkpoint(1, 3, b"three", {"node-2": (1, beat)})
    store.put_checkpoint(1, 5, b"five", {"node-2": (1, beat), "node-3": (1, beat)})
    store.put_checkpoint(1, 7, b"seven", {"node-2": (1, beat), "node-3": (4, beat)})
    for options, note in (
        ({"above": 1, "needed": 1}, b"three"),
        ({"above": 1, "needed": 2}, b"five"),
        ({"above": 3}, b"five"),
        ({"needed": 2, "newest": True}, b"seven"),
    ):
        found = store.checkpoint(1, **options)
        assert found is not None
        assert found.note == note
    assert store.checkpoint(1, above=7) is None
    assert store.checkpoint(1, needed=3) is None


def test_pruning_keeps_proofs_and_forgets_content(store: LogStore) -> None:
    """Old entries lose their content and stay provable; old logs go; what is left still has its roots."""
    made = [entry.encode() for entry in entries()]
    store.append("node-1", 1, 0, made, 100)
    store.append("node-1", 2, 0, made, 100)
    store.append("node-1", 2, len(made), [b"new"], 500)
    root = store.tree(2).root(len(made) + 1)
    assert store.prune(300) == 2 * (len(made) - 1)
    assert store.log("node-1", 1) is None
    assert store.tree(2).root(len(made) + 1) == root
    assert store.entry(2, 0).body == made[0]
    assert store.entry(2, 1).body is None
    assert store.entry(2, len(made)).body == b"new"
    assert store.about(hashlib.sha256(b"token").digest()) == []
    with pytest.raises(NotFoundError):
        store.entry(1, 0)


def test_a_store_is_read_again_and_another_version_is_refused(tmp_path: Path) -> None:
    """Everything is there after a restart; a file of later code is not touched."""
    first = LogStore(tmp_path)
    first.append("node-1", 1, 0, [b"a", b"b"], 1)
    first.close()
    again = LogStore(tmp_path)
    assert again.append("node-1", 1, 2, [b"c"], 1).size == 3
    again._connection.execute("PRAGMA user_version = 99")
    again.close()
    with pytest.raises(StoreError):
        LogStore(tmp_path)


@pytest.mark.parametrize("days", [0, -1, "many", 1.5])
def test_retention_is_a_number_of_days(tmp_path: Path, days: object) -> None:
    """Zero days, or what is no number, is a mistake in the configuration; none keeps everything."""
    file = tmp_path / "gateway.json"
    value = {"listen": "127.0.0.1:0", "data": "data", "roster": "roster.json"}
    file.write_text(json.dumps(value))
    assert GatewayConfig.load(file).log_retention_days is None
    file.write_text(json.dumps(value | {"log_retention_days": 30}))
    assert GatewayConfig.load(file).log_retention_days == 30
    file.write_text(json.dumps(value | {"log_retention_days": days}))
    with pytest.raises(ConfigurationError):
        GatewayConfig.load(file)
