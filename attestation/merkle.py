"""Merkle tree hashing (RFC 6962 section 2.1): roots, inclusion and consistency proofs.

Used for registry and receipt logs, and to let one quote answer several verifiers' nonces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from attestation.errors import DocumentError

HASH_BYTES = 32


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data), 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root over already hashed leaves, 32 bytes; SHA-256 of nothing for an empty tree."""
    if not leaf_hashes:
        return hashlib.sha256(b"").digest()
    level = list(leaf_hashes)
    # An odd last node moves up unchanged, which equals RFC 6962's split at the largest power of two.
    while len(level) > 1:
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index` (RFC 6962 section 2.1.1), lowest level first."""
    if not 0 <= index < len(leaf_hashes):
        raise DocumentError("leaf index outside the tree", code="merkle.index")
    path: list[bytes] = []
    level = list(leaf_hashes)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
        index //= 2
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that leaf hash `leaf` is number `index` of the tree of `size` leaves with `root` (RFC 9162 2.1.3.2).

    Raises DocumentError (`merkle.inclusion`) if it is not.
    """
    computed, first, last = leaf, index, size - 1
    valid = 0 <= index < size
    for sibling in path:
        if last == 0:
            valid = False
            break
        if first & 1 or first == last:
            computed = node_hash(sibling, computed)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        first >>= 1
        last >>= 1
    if not valid or last != 0 or computed != root:
        raise DocumentError("inclusion proof does not lead to the root", code="merkle.inclusion")


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """The proof that the first `old_size` leaves are a prefix of the tree (RFC 6962 section 2.1.2)."""
    size = len(leaf_hashes)
    if not 0 < old_size <= size:
        raise DocumentError("old size outside the tree", code="merkle.index")
    return _subproof(leaf_hashes, old_size, complete=True)


def _subproof(leaf_hashes: Sequence[bytes], old_size: int, *, complete: bool) -> list[bytes]:
    size = len(leaf_hashes)
    if old_size == size:
        return [] if complete else [tree_root(leaf_hashes)]
    split = 1 << (size - 1).bit_length() - 1
    if old_size <= split:
        return [*_subproof(leaf_hashes[:split], old_size, complete=complete), tree_root(leaf_hashes[split:])]
    rest = _subproof(leaf_hashes[split:], old_size - split, complete=False)
    return [*rest, tree_root(leaf_hashes[:split])]


def verify_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree (`old_size`, `old_root`) is a prefix of (`size`, `root`) (RFC 9162 2.1.4.2).

    Raises DocumentError (`merkle.consistency`) if it is not.
    """
    if not _consistent(old_size, old_root, size, root, list(proof)):
        raise DocumentError("consistency proof does not connect the two roots", code="merkle.consistency")


def _consistent(old_size: int, old_root: bytes, size: int, root: bytes, proof: list[bytes]) -> bool:
    if not 0 < old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == root
    if old_size & (old_size - 1) == 0:
        proof = [old_root, *proof]
    if not proof:
        return False
    first, last = old_size - 1, size - 1
    while first & 1:
        first >>= 1
        last >>= 1
    old_computed = computed = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            old_computed = node_hash(sibling, old_computed)
            computed = node_hash(sibling, computed)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        first >>= 1
        last >>= 1
    return last == 0 and old_computed == old_root and computed == root
