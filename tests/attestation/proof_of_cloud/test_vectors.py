"""The published vectors: the stored bytes still verify, and are still what the code writes."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.proof import ConsistencyProof, InclusionProof
from attestation.proof_of_cloud.registry_files import RegistryConfig
from attestation.proof_of_cloud.snapshot import RegistrySnapshot

from .make_vectors import PATH, vectors


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    """The file in the repository."""
    loaded: dict[str, Any] = json.loads(PATH.read_text())
    return loaded


@pytest.fixture(scope="module")
def config(stored: dict[str, Any]) -> RegistryConfig:
    """The registry's keys, as published."""
    return RegistryConfig.parse(json.dumps(stored["registry"]).encode())


def test_the_code_writes_the_stored_bytes(stored: dict[str, Any]) -> None:
    """A change of any byte on disk or on the wire is a change of the specification's major version."""
    assert vectors() == stored


def test_ids_and_lines_by_their_definitions(stored: dict[str, Any]) -> None:
    """Commitments and leaf hashes recomputed with nothing but SHA-256."""
    for item in stored["platform_ids"]:
        digest = hashlib.sha256(b"holdfast/platform-id/v1\x00" + item["text"].encode()).hexdigest()
        assert item["commitment"] == digest
    for item in stored["lines"]:
        assert item["leaf_hash"] == hashlib.sha256(b"\x00" + item["line"].encode()).hexdigest()


def test_the_stored_snapshot_verifies(stored: dict[str, Any], config: RegistryConfig) -> None:
    """Old bytes keep their meaning: root, standing, sticky revocation."""
    snapshot = RegistrySnapshot.parse(stored["snapshot"].encode()).verify(
        config.members, config.threshold, config.freshness_key, stored["verify_at"], 60, origin=config.origin
    )
    assert snapshot.root.hex() == stored["roots"][-1]
    for expected in stored["expect"]:
        found = snapshot.lookup(PlatformId.parse(expected["platform"]).commitment)
        assert (found.listed, found.revoked, found.level) == (
            expected["listed"],
            expected["revoked"],
            expected["level"],
        )


def test_the_stored_proofs_verify(stored: dict[str, Any], config: RegistryConfig) -> None:
    """Both kinds of proof, from their text."""
    entry, head = InclusionProof.parse(stored["inclusion_proof"].encode()).verify(config.freshness_key)
    assert entry.line.decode() == stored["lines"][1]["line"]
    consistency = ConsistencyProof.parse(stored["consistency_proof"].encode())
    assert consistency.old_root.hex() == stored["roots"][2]
    assert consistency.verify(config.freshness_key) == head
    assert base64.b64encode(head.root).decode() in stored["snapshot"]
