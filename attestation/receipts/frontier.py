"""A growing Merkle tree that keeps only what its next root needs: one hash per set bit of its size (RFC 6962)."""

from __future__ import annotations

from hashlib import sha256


class Frontier:
    """Roots of the complete subtrees that make up the tree, largest first."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> int:
        """Add a leaf hash; returns its index.  Costs one further hash on average."""
        peaks, index = self._peaks, self.size
        node, bits = leaf, index
        while bits & 1:
            node = sha256(b"\x01" + peaks.pop() + node).digest()
            bits >>= 1
        peaks.append(node)
        self.size = index + 1
        return index

    def root(self) -> bytes:
        """The root over everything appended, 32 bytes."""
        if not self._peaks:
            return sha256(b"").digest()
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = sha256(b"\x01" + peak + root).digest()
        return root
