"""The Merkle log behind a registry: append, root of any earlier size, inclusion and consistency proofs.

Same hashing as attestation.merkle (RFC 6962), kept level by level so that a log of 100 000 entries is
read in one pass and every proof costs a logarithmic number of hashes.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from attestation.errors import DocumentError
from attestation.merkle import leaf_hash, node_hash


class MerkleLog:
    """The complete subtrees of a growing list of leaves; `levels[k][i]` covers leaves i*2^k to (i+1)*2^k."""

    __slots__ = ("levels",)

    def __init__(self, lines: Iterable[bytes] = ()) -> None:
        level = [sha256(b"\x00" + line).digest() for line in lines]
        self.levels: list[list[bytes]] = [level]
        while len(level) > 1:
            # One contiguous buffer per level: slicing 64 bytes out of it is cheaper than joining pairs.
            buffer = b"".join(level)
            level = [sha256(b"\x01" + buffer[i : i + 64]).digest() for i in range(0, len(buffer) - 63, 64)]
            self.levels.append(level)

    def copy(self) -> MerkleLog:
        """An independent log with the same leaves."""
        other = MerkleLog()
        other.levels = [list(level) for level in self.levels]
        return other

    def __len__(self) -> int:
        return len(self.levels[0])

    def append(self, line: bytes) -> None:
        """Add one leaf."""
        self.levels[0].append(leaf_hash(line))
        depth = 0
        while len(self.levels[depth]) % 2 == 0:
            if depth + 1 == len(self.levels):
                self.levels.append([])
            self.levels[depth + 1].append(node_hash(*self.levels[depth][-2:]))
            depth += 1

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves (all by default), 32 bytes."""
        size = len(self) if size is None else size
        if not 0 <= size <= len(self):
            raise DocumentError("tree size beyond the log", code="merkle.index")
        return self._range(0, size) if size else sha256(b"").digest()

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """The audit path of leaf `index` in the tree of the first `size` leaves, lowest level first."""
        size = len(self) if size is None else size
        if not 0 <= index < size <= len(self):
            raise DocumentError("leaf index outside the tree", code="merkle.index")
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return path[::-1]

    def consistency_proof(self, old_size: int, size: int | None = None) -> list[bytes]:
        """The proof that the first `old_size` leaves are a prefix of the first `size` (RFC 6962 section 2.1.2)."""
        size = len(self) if size is None else size
        if not 0 < old_size <= size <= len(self):
            raise DocumentError("old size outside the tree", code="merkle.index")
        path: list[bytes] = []
        start, end, wanted, complete = 0, size, old_size, True
        while wanted != end:
            middle = start + _split(end - start)
            if wanted <= middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start, complete = middle, False
        if not complete:
            path.append(self._range(start, end))
        return path[::-1]

    def subtrees(self, depth: int, start: int, count: int) -> bytes:
        """`count` consecutive hashes of complete subtrees of 2^depth leaves, joined: the content of a tile."""
        level = self.levels[depth] if depth < len(self.levels) else []
        if count < 1 or start + count > len(level):
            raise DocumentError("subtrees outside the tree", code="merkle.index")
        return b"".join(level[start : start + count])

    def _range(self, start: int, end: int) -> bytes:
        """The subtree over leaves start..end, where `start` is a multiple of the next power of two >= the length."""
        size = end - start
        depth = size.bit_length() - 1
        if size == 1 << depth:
            return self.levels[depth][start >> depth]
        middle = start + _split(size)
        return node_hash(self._range(start, middle), self._range(middle, end))


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
