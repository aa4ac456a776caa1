"""The level-by-level Merkle log equals the reference functions of attestation.merkle."""

from __future__ import annotations

import pytest

from attestation import merkle
from attestation.errors import DocumentError
from attestation.proof_of_cloud.log import MerkleLog

LINES = [b"line %d" % number for number in range(70)]
LEAVES = [merkle.leaf_hash(line) for line in LINES]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 8, 21, 64, 70])
def test_roots_of_every_earlier_size(size: int) -> None:
    """Built at once or line by line, the root of every prefix is the reference root."""
    built, grown = MerkleLog(LINES[:size]), MerkleLog()
    for line in LINES[:size]:
        grown.append(line)
    assert len(built) == len(grown) == size
    for prefix in range(size + 1):
        assert built.root(prefix) == grown.root(prefix) == merkle.tree_root(LEAVES[:prefix])


def test_proofs_equal_the_reference() -> None:
    """Inclusion and consistency proofs of all trees up to 33 leaves, hash for hash."""
    log = MerkleLog(LINES)
    for size in range(1, 34):
        for index in range(size):
            assert log.inclusion_proof(index, size) == merkle.inclusion_proof(LEAVES[:size], index)
        for old in range(1, size + 1):
            assert log.consistency_proof(old, size) == merkle.consistency_proof(LEAVES[:size], old)


def test_a_copy_grows_alone() -> None:
    """Appending to a copy leaves the original as it was."""
    log = MerkleLog(LINES[:9])
    before, copy = log.root(), log.copy()
    copy.append(LINES[9])
    assert log.root() == before != copy.root()


@pytest.mark.parametrize(
    "question",
    [
        lambda log: log.root(71),
        lambda log: log.root(-1),
        lambda log: log.inclusion_proof(70),
        lambda log: log.inclusion_proof(3, 3),
        lambda log: log.consistency_proof(0),
        lambda log: log.consistency_proof(9, 8),
        lambda log: log.subtrees(3, 8, 2),
        lambda log: log.subtrees(9, 0, 1),
        lambda log: log.subtrees(0, 0, 0),
    ],
)
def test_questions_outside_the_tree_are_refused(question: object) -> None:
    """Beyond the log there is no root, no proof and no tile."""
    assert callable(question)
    with pytest.raises(DocumentError):
        question(MerkleLog(LINES))
