"""The vectors of specs/receipts.md; `python -m tests.attestation.receipts.make_vectors` writes them anew."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.merkle import consistency_proof, inclusion_proof, leaf_hash, tree_root
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.entry import Boot, Decision, Entry, SeenVerdict, entry_digest, output_digest

FILE = Path(__file__).parents[3] / "specs" / "vectors" / "receipts.json"

SEED = hashlib.sha256(b"node-1").digest()


def digest(text: str) -> bytes:
    """A made-up hash."""
    return hashlib.sha256(text.encode()).digest()


def entries() -> list[Entry]:
    """A log of a boot, a verdict, an allowed and a refused request, and a document."""
    key = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    boot = Boot(
        cluster=digest("cluster"),
        slot="node-1",
        boot_counter=3,
        identity_key=key,
        roster_digest=digest("roster"),
        started_at=1_790_000_000,
        previous_boot=2,
        previous_size=1234,
        previous_root=digest("before"),
    )
    verdict = SeenVerdict(
        time=1_790_000_007,
        slot="node-2",
        boot_counter=1,
        identity_key=digest("node-2"),
        result="trusted",
        evidence=digest("evidence"),
        nonce=digest("nonce"),
        collateral=digest("collateral"),
        registry_sequence=1_790_000_000_000,
        registry_size=5,
        registry_root=digest("registry"),
        valid_until=1_790_086_400,
    )
    allowed = Decision(
        time=1_790_000_008,
        verb="sign",
        outcome="allow",
        request_id=digest("token"),
        principal="agt_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        credential="Jd3pqA4kdHXPAZrnJrIyVdmvrSj8hDyqQgIyu7eF6GU",
        resource="key_aaaaaaaaaaaaaaaaaaaaaaaaaa/1",
        epoch=1,
        certificate=digest("certificate"),
        policy="pol_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        policy_version=4,
        rule="payments",
        members=(("node-1", bytes(32)), ("node-2", entry_digest(verdict.encode()))),
        output=output_digest("frost-ed25519", digest("message"), digest("R"), digest("z")),
    )
    refused = Decision(
        time=1_790_000_009,
        verb="sign",
        outcome="deny",
        code="policy.denied",
        request_id=digest("other token"),
        principal="agt_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        resource="key_aaaaaaaaaaaaaaaaaaaaaaaaaa/1",
    )
    document = Decision(time=1_790_000_010, verb="control", outcome="allow", subject=digest("document"))
    return [boot, verdict, allowed, refused, document]


def vectors() -> dict[str, Any]:
    """Everything that is hashed or signed, in hex."""
    made = [entry.encode() for entry in entries()]
    hashes = [leaf_hash(data) for data in made]
    signer = Ed25519PrivateKey.from_private_bytes(SEED)
    head = LogCheckpoint(
        cluster=digest("cluster"),
        slot="node-1",
        boot_counter=3,
        size=len(made),
        root=tree_root(hashes),
        time=1_790_000_012,
        gateway_head=digest("gateway"),
    )
    note = head.note(signer.public_key().public_bytes_raw(), signer.sign(head.text().encode()))
    parts = [digest("message"), digest("R"), digest("z")]
    return {
        "identity_seed": SEED.hex(),
        "identity_key": signer.public_key().public_bytes_raw().hex(),
        "entries": [
            {"facts": entry.to_json(), "bytes": data.hex(), "size": len(data), "leaf": leaf.hex()}
            for entry, data, leaf in zip(entries(), made, hashes, strict=True)
        ],
        "roots": [tree_root(hashes[:size]).hex() for size in range(1, len(made) + 1)],
        "inclusion": {"index": 2, "size": 5, "proof": [item.hex() for item in inclusion_proof(hashes, 2)]},
        "consistency": {"old": 3, "size": 5, "proof": [item.hex() for item in consistency_proof(hashes, 3)]},
        "output": {
            "scheme": "frost-ed25519",
            "parts": [part.hex() for part in parts],
            "digest": output_digest("frost-ed25519", *parts).hex(),
        },
        "checkpoint": {"text": head.text(), "note": note.decode()},
    }


def text() -> str:
    """The published file."""
    return json.dumps(vectors(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
