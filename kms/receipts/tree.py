"""Proofs over a stored log: hashes of full tiles of 256 leaves are kept, everything else is computed when asked for."""

from __future__ import annotations

import sqlite3

from attestation.merkle import node_hash, tree_root
from kms.errors import NotFoundError

TILE = 256


class StoredTree:
    """The Merkle tree of one log."""

    def __init__(self, connection: sqlite3.Connection, log: int) -> None:
        self._connection = connection
        self._log = log

    def fill(self, old_size: int, size: int) -> None:
        """Keep the hashes of the tiles that growth from `old_size` to `size` completed."""
        level, first, last = 1, old_size // TILE, size // TILE
        while first < last:
            for number in range(first, last):
                root = tree_root(self._level(level - 1, number * TILE, TILE))
                self._connection.execute(
                    "INSERT OR IGNORE INTO tiles (log, level, number, hash) VALUES (?, ?, ?, ?)",
                    (self._log, level, number, root),
                )
            level, first, last = level + 1, first // TILE, last // TILE

    def root(self, size: int) -> bytes:
        """The root over the first `size` leaves, 32 bytes."""
        return self._range(0, size) if size else tree_root([])

    def inclusion_proof(self, number: int, size: int) -> list[bytes]:
        """The audit path of leaf `number` in the tree of `size` leaves, lowest level first."""
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if number < middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return path[::-1]

    def consistency_proof(self, old_size: int, size: int) -> list[bytes]:
        """The proof that the first `old_size` leaves are a prefix of the first `size` (RFC 6962 section 2.1.2)."""
        path: list[bytes] = []
        start, end, complete = 0, size, True
        while old_size != end:
            middle = start + _split(end - start)
            if old_size <= middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start, complete = middle, False
        if not complete:
            path.append(self._range(start, end))
        return path[::-1]

    def _range(self, start: int, end: int) -> bytes:
        size = end - start
        if size <= TILE:
            return tree_root(self._level(0, start, size))
        level, width = 0, 1
        while width * TILE <= size:
            level, width = level + 1, width * TILE
        if size % width == 0 and size // width <= TILE and size & (size - 1) == 0:
            return tree_root(self._level(level, start // width, size // width))
        middle = start + _split(size)
        return node_hash(self._range(start, middle), self._range(middle, end))

    def _level(self, level: int, start: int, count: int) -> list[bytes]:
        """`count` consecutive hashes of leaves (level 0) or of full tiles."""
        if level == 0:
            rows = self._connection.execute(
                "SELECT hash FROM entries WHERE log = ? AND number >= ? AND number < ? ORDER BY number",
                (self._log, start, start + count),
            )
        else:
            rows = self._connection.execute(
                "SELECT hash FROM tiles WHERE log = ? AND level = ? AND number >= ? AND number < ? ORDER BY number",
                (self._log, level, start, start + count),
            )
        found = [row[0] for row in rows]
        if len(found) != count:
            raise NotFoundError("that part of the log is not stored here", code="log.not-stored")
        return found


def _split(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1
