"""RFC 6962 trees: published roots, every proof of small trees, and proofs that must fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.errors import DocumentError
from attestation.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# Leaves and root of the certificate-transparency reference implementation's test tree (RFC 6962 section 2.1.3 shape).
REFERENCE = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
REFERENCE += [bytes.fromhex("606162636465666768696a6b6c6d6e6f")]
REFERENCE_ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
LEAVES = [leaf_hash(bytes([number])) for number in range(20)]


def test_reference_root() -> None:
    """The eight reference leaves hash to the published root; an empty tree to SHA-256 of nothing."""
    assert tree_root([leaf_hash(leaf) for leaf in REFERENCE]).hex() == REFERENCE_ROOT
    assert tree_root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_every_proof_of_small_trees() -> None:
    """All inclusion and consistency proofs up to 20 leaves verify."""
    for size in range(1, 21):
        root = tree_root(LEAVES[:size])
        for index in range(size):
            verify_inclusion(LEAVES[index], index, size, inclusion_proof(LEAVES[:size], index), root)
        for old in range(1, size + 1):
            verify_consistency(old, tree_root(LEAVES[:old]), size, root, consistency_proof(LEAVES[:size], old))


@given(st.integers(1, 20), st.integers(0, 19), st.integers(0, 19), st.integers(0, 4), st.booleans())
def test_wrong_inclusion_is_refused(size: int, index: int, claimed: int, cut: int, extend: bool) -> None:
    """A proof for another index, a shortened or a lengthened path does not verify."""
    index %= size
    path = inclusion_proof(LEAVES[:size], index)
    bad = [*path, LEAVES[0]] if extend else path[: max(len(path) - cut, 0)]
    if bad == path and claimed == index:
        return
    with pytest.raises(DocumentError):
        verify_inclusion(LEAVES[index], claimed, size, bad, tree_root(LEAVES[:size]))


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 5))
def test_forked_history_is_refused(size: int, old: int, at: int) -> None:
    """A tree whose old part differs in one leaf is never consistent."""
    old = min(old, size)
    forked = list(LEAVES[:old])
    forked[at % old] = leaf_hash(b"another")
    with pytest.raises(DocumentError):
        verify_consistency(
            old, tree_root(forked), size, tree_root(LEAVES[:size]), consistency_proof(LEAVES[:size], old)
        )
    with pytest.raises(DocumentError):
        verify_consistency(0, tree_root([]), size, tree_root(LEAVES[:size]), [])
