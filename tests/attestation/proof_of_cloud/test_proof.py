"""Inclusion and consistency proofs: they verify offline, and nothing near them does."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.errors import StatementError
from attestation.proof_of_cloud.keys import FRESHNESS
from attestation.proof_of_cloud.proof import ConsistencyProof, InclusionProof
from attestation.proof_of_cloud.registry import Registry

from .conftest import MACHINE, NOW, code_of, verified


@pytest.fixture
def grown(registry: Registry) -> Registry:
    """A registry of eleven lines."""
    for number in range(10):
        registry.add_platform(bytes([number]) * 32, provider="acme", now=NOW)
    return registry


def test_every_line_can_be_proven(grown: Registry) -> None:
    """Each proof reads back from its text and leads to the signed head."""
    snapshot = verified(grown)
    for number in range(snapshot.size):
        proof = InclusionProof.parse(InclusionProof.of(snapshot, number).encode())
        entry, head = proof.verify(grown.config.freshness_key, origin=grown.config.origin)
        assert entry.line == snapshot.line(number)
        assert head == snapshot.freshness


def test_a_proof_has_the_common_shape(grown: Registry) -> None:
    """The text is a C2SP tlog-proof: header, extra, index, hashes, blank line, checkpoint."""
    lines = InclusionProof.of(verified(grown), 4).encode().decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert base64.b64decode(lines[1].removeprefix("extra ")) == grown.lines[4]
    assert lines[2] == "index 4"
    assert lines[lines.index("") + 1] == grown.config.origin


def test_inclusion_needs_the_line_the_place_and_the_path(grown: Registry) -> None:
    """Another line, another index, a shorter path: none leads to the root."""
    proof = InclusionProof.of(verified(grown), 4)
    for wrong in (
        replace(proof, line=grown.lines[5]),
        replace(proof, index=5),
        replace(proof, path=proof.path[:-1]),
        replace(proof, path=proof.path[::-1]),
    ):
        assert code_of(lambda wrong=wrong: wrong.verify(grown.config.freshness_key)) == "malformed"  # type: ignore[misc]


def test_inclusion_needs_the_freshness_key(grown: Registry) -> None:
    """A head signed by a member, or for another registry, proves nothing."""
    proof = InclusionProof.of(verified(grown), 4)
    member = grown.config.members["member-1"]
    assert code_of(lambda: proof.verify(member)) == "signatures"
    assert code_of(lambda: proof.verify(grown.config.freshness_key, origin="other.example")) == "malformed"


def test_every_earlier_size_is_extended(grown: Registry) -> None:
    """Consistency proofs from each size verify and read back."""
    snapshot = verified(grown)
    for size in range(1, snapshot.size + 1):
        proof = ConsistencyProof.parse(ConsistencyProof.of(snapshot, size).encode())
        assert proof.old_root == snapshot.log.root(size)
        assert proof.verify(grown.config.freshness_key, origin=grown.config.origin).size == snapshot.size


def test_another_past_is_not_extended(grown: Registry) -> None:
    """A different old root or size is a rollback."""
    proof = ConsistencyProof.of(verified(grown), 4)
    for wrong in (replace(proof, old_root=bytes(32)), replace(proof, old_size=5), replace(proof, path=proof.path[1:])):
        assert code_of(lambda wrong=wrong: wrong.verify(grown.config.freshness_key)) == "rollback"  # type: ignore[misc]


def test_consistency_needs_the_freshness_key(grown: Registry) -> None:
    """The head must be signed by the online role and nobody else."""
    proof = ConsistencyProof.of(verified(grown), 4)
    assert code_of(lambda: proof.verify(grown.config.members["member-1"])) == "signatures"


def test_a_members_head_proves_no_inclusion(grown: Registry) -> None:
    """Only the newest head's role is accepted in a proof."""
    snapshot = verified(grown)
    head = snapshot.members.note().signed(grown.config.origin, grown.keys.load(FRESHNESS))
    proof = replace(InclusionProof.of(snapshot, 4), note=head)
    assert code_of(lambda: proof.verify(grown.config.freshness_key)) == "malformed"


def test_beyond_the_log_there_is_no_proof(grown: Registry) -> None:
    """Line 11 of 11 does not exist, nor a past of 12 lines."""
    snapshot = verified(grown)
    assert code_of(lambda: InclusionProof.of(snapshot, 11)) == "malformed"
    assert code_of(lambda: ConsistencyProof.of(snapshot, 12)) == "malformed"
    assert code_of(lambda: ConsistencyProof.of(snapshot, 0)) == "malformed"


HASH = b"A" * 43 + b"=\n"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"@v1", b"@v2", "version 1"),
        (b"extra ", b"extr ", "extra data and an index"),
        (b"index 4", b"inde 4", "extra data and an index"),
        (b"index 4", b"index 04", "decimal number"),
        (b"index 4", b"index x", "decimal number"),
        (b"\n\n", b"\n", "version 1"),
        (b"index 4\n", b"index 4\nAAAA\n", "32 bytes"),
        (b"index 4\n", b"index 4\n!\n", "not base64"),
        (b"index 4\n", b"index 4\n" + b"A" * 42 + b"B=\n", "not canonical"),
        (b"index 4\n", b"index 4\n" + HASH * 64, "version 1"),
        (b"index 4\n", b"index 4\n" + HASH * 900, "at most"),
    ],
)
def test_other_spellings_of_a_proof_are_refused(grown: Registry, old: bytes, new: bytes, reason: str) -> None:
    """Wrong header, leading zeros, short hashes, loose base64, paths longer than any tree: each at its own check."""
    data = InclusionProof.of(verified(grown), 4).encode()
    assert old in data
    with pytest.raises(StatementError, match=reason):
        InclusionProof.parse(data.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"/v1", b"/v2", "version 1"),
        (b"from 4", b"from 04", "decimal number"),
        (b"from 4\n", b"from 4\n" + HASH * 130, "version 1"),
        (b"from 4\n", b"from 4\n" + HASH * 900, "at most"),
    ],
)
def test_other_spellings_of_a_consistency_proof(grown: Registry, old: bytes, new: bytes, reason: str) -> None:
    """The same care for the other kind."""
    data = ConsistencyProof.of(verified(grown), 4).encode()
    assert old in data
    with pytest.raises(StatementError, match=reason):
        ConsistencyProof.parse(data.replace(old, new))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_typed_error(data: bytes) -> None:
    """Hostile proofs raise StatementError only."""
    for prefix in (b"", b"c2sp.org/tlog-proof@v1\n", b"holdfast-registry-consistency/v1\n"):
        for kind in (InclusionProof, ConsistencyProof):
            with pytest.raises(StatementError):
                kind.parse(prefix + data)


def test_a_proof_does_not_hide_a_revocation(registry: Registry) -> None:
    """The stated limit: the old statement is still provable after the platform was revoked, the snapshot tells."""
    registry.revoke(MACHINE, "stolen", NOW + 1)
    snapshot = verified(registry)
    entry, _ = InclusionProof.of(snapshot, 0).verify(registry.config.freshness_key)
    assert entry.kind == "statement"
    assert snapshot.lookup(MACHINE.commitment).revoked
