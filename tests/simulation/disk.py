"""The disk under a node: SQLite in memory below the production store, with crashes, lost writes and old copies.

The store is `enclave.seal.SealedStore` itself; only the file is not one.  What a commit made durable survives a
crash, what it did not is gone; a crash in the middle of a commit leaves either of the two, never a mixture, which is
what SQLite's journal promises and `Torn` asks of it at every commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from enclave.errors import StorageError
from enclave.seal import SealedStore, _prepare, _raise
from enclave.tee import Tee


class PowerError(BaseException):
    """The machine lost power in the middle of a commit."""


class SimStore(SealedStore):
    """The production store on a disk of this simulation."""

    on_commit: Callable[[], None] | None = None
    """Asked before a commit that has something to write; may raise PowerError or StorageError."""
    after_commit: Callable[[], None] | None = None

    def commit(self) -> None:
        """As the production store, with what can go wrong around it."""
        writes = self._writing
        if writes and self.on_commit is not None:
            self.on_commit()
        super().commit()
        if writes and self.after_commit is not None:
            self.after_commit()


class Disk:
    """What survives a node: the image of its database, and copies that somebody kept of older ones."""

    def __init__(self, cluster: bytes, slot: str) -> None:
        self._cluster = cluster
        self._slot = slot
        self._connection: sqlite3.Connection | None = None
        self._image: bytes | None = None
        self.copies: list[bytes] = []

    def open(self, tee: Tee) -> SimStore:
        """The store as a starting node finds it; raises StorageError."""
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        try:
            if self._image is not None:
                connection.deserialize(self._image)
            _prepare(connection, cluster=self._cluster, slot=self._slot)
            store = SimStore(connection, cluster=self._cluster, slot=self._slot, tee=tee)
            store._check()
        except StorageError:
            connection.close()
            raise
        except sqlite3.Error as error:
            connection.close()
            _raise(error)  # as SealedStore.open does
        self._connection = connection
        return store

    def image(self) -> bytes:
        """What is durable now."""
        if self._connection is not None:
            if self._connection.in_transaction:
                # Only what was committed before counts, so the open transaction is undone: its node is dead.
                self._connection.execute("ROLLBACK")
            self._image = self._connection.serialize()
        return self._image or b""

    def crash(self) -> None:
        """The node is gone; what was not committed is lost."""
        self.image()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def keep_copy(self) -> None:
        """Somebody copies the disk of a running node, between two commits."""
        if self._connection is not None and not self._connection.in_transaction:
            self.copies.append(self._connection.serialize())

    def restore(self, copy: bytes) -> None:
        """Put an older copy back; the node must be down."""
        self._image = copy

    def wipe(self) -> None:
        """A new, empty disk."""
        self._image = None

    def corrupt(self, at: int) -> None:
        """Flip one bit somewhere in the stored values."""
        if self._image:
            image = bytearray(self._image)
            image[4096 + at % max(1, len(image) - 4096)] ^= 1
            self._image = bytes(image)
