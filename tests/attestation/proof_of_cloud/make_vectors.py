"""Writes specs/vectors/proof-of-cloud.json from fixed keys: `python -m tests.attestation.proof_of_cloud.make_vectors`.

Everything in it is deterministic (Ed25519, canonical JSON), so a changed byte shows in review.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.merkle import leaf_hash
from attestation.proof_of_cloud import proposal
from attestation.proof_of_cloud.entries import Entry
from attestation.proof_of_cloud.keys import public_bytes
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.proof import ConsistencyProof, InclusionProof
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.registry_files import RegistryFiles
from attestation.proof_of_cloud.statement import Method

PATH = Path(__file__).resolve().parents[3] / "specs" / "vectors" / "proof-of-cloud.json"
NOW = 1_790_000_000
MEMBERS = {name: Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed, name in enumerate("abc", 1)}
FRESHNESS = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
IDS = ("intel:ppid:" + "01" * 16, "intel:piid:" + "01" * 16, "amd:chipid:0102030405060708", "amd:chipid:" + "02" * 64)


def vectors() -> dict[str, Any]:
    """Ids, a small registry's snapshot with its standing, and one proof of each kind."""
    machine, other = PlatformId.parse(IDS[0]), PlatformId.parse(IDS[2])
    with tempfile.TemporaryDirectory() as directory:
        registry = Registry.init(
            Path(directory) / "r",
            origin="registry.example",
            members={name: public_bytes(key) for name, key in MEMBERS.items()},
            threshold=2,
            freshness_key=public_bytes(FRESHNESS),
        )
        registry.add_platform(machine, provider="acme", region="eu-1", now=NOW, issuer="a")
        registry.add_platform(other, provider="acme", region="eu-2", now=NOW, issuer="a")
        _sign(registry)
        registry.endorse(machine, issuer="b", method=Method.WITNESS, evidence=["ab" * 32], now=NOW)
        _sign(registry)
        files = RegistryFiles(registry.directory)
        revocation = {
            "commitment": other.commitment.hex(),
            "issued_at": NOW + 5,
            "issuer": "registry.example",
            "kind": "revocation",
            "reason": "sold",
        }
        proposal.restrict(files, registry.config, files.load(), Entry.of(revocation), FRESHNESS, NOW + 5)
        snapshot = Registry.open(registry.directory).published()
        return {
            "platform_ids": [{"text": text, "commitment": PlatformId.parse(text).commitment.hex()} for text in IDS],
            "registry": json.loads(registry.config.encode()),
            "lines": [
                {"line": snapshot.line(number).decode(), "leaf_hash": leaf_hash(snapshot.line(number)).hex()}
                for number in range(snapshot.size)
            ],
            "roots": [snapshot.log.root(size).hex() for size in range(snapshot.size + 1)],
            "snapshot": snapshot.encode().decode(),
            "verify_at": NOW + 10,
            "expect": [
                {"platform": str(machine), "listed": True, "revoked": False, "level": 2},
                {"platform": str(other), "listed": True, "revoked": True, "level": 1},
            ],
            "inclusion_proof": InclusionProof.of(snapshot, 1).encode().decode(),
            "consistency_proof": ConsistencyProof.of(snapshot, 2).encode().decode(),
        }


def _sign(registry: Registry) -> None:
    for name in ("a", "b"):
        registry.sign(name, MEMBERS[name], NOW)


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n")
