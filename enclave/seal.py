"""The node's database: SQLite in which every value is sealed under the platform's sealing key.

Rules kept (specs/sealed-store.md): a value opens only in the cluster, slot, kind, id and counter it was
sealed for; a keyed head over all rows makes a deleted, added or older row visible at opening; a
committed value is on disk; after a failed write nothing is tried again; a damaged store is kept, never
repaired or overwritten.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac

from enclave.aead import ArenaAead
from enclave.errors import StorageError
from enclave.secret import Secret
from enclave.tee import Tee
from enclave.wire.message import tagged

FORMAT_VERSION = 1
"""Version of the file and of every value in it; a higher one was written by newer code and is refused."""

APPLICATION_ID = 0x484C4446
"""`HLDF`: tells our files from other SQLite databases (PRAGMA application_id)."""

LABEL_VALUES = "holdfast/store/v1"
LABEL_HEAD = "holdfast/store-head/v1"

_NONCE_BYTES = 12
_TAG_BYTES = 16
_OVERHEAD = 1 + _NONCE_BYTES + _TAG_BYTES
_HEAD = struct.Struct(">QQ32s")
_MODULUS = 1 << 256
_SCHEMA = """
CREATE TABLE sealed (kind TEXT NOT NULL, id TEXT NOT NULL, counter INTEGER NOT NULL, value BLOB NOT NULL,
                     PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;
CREATE TABLE owner (cluster TEXT NOT NULL, slot TEXT NOT NULL) STRICT;
"""
_HEAD_KEY = ("head", "")


class SealedStore:
    """Values by (kind, id).  Writes gather in one transaction until `commit`: that is the group commit."""

    def __init__(self, connection: sqlite3.Connection, *, cluster: bytes, slot: str, tee: Tee) -> None:
        self._connection = connection
        self._cluster = cluster
        self._slot = slot.encode()
        with tee.sealing_key(LABEL_VALUES) as key:
            self._aead = ArenaAead(key)
        with tee.sealing_key(LABEL_HEAD) as key:
            self._mac = hmac.HMAC(key.view, hashes.SHA256())
        self._counters: dict[tuple[str, str], int] = {}
        self._sum = 0
        self._counter = 0
        self.written: set[str] = set()
        """Kinds of rows written or removed; whoever watches them empties it (enclave.witness)."""
        self._writing = False
        self._broken = False

    @classmethod
    def open(cls, path: Path, *, cluster: bytes, slot: str, tee: Tee) -> SealedStore:
        """Open or create the file and check every row against the head.

        Raises StorageError with `storage.locked`, `storage.version`, `storage.foreign`, `storage.corrupt`,
        `storage.torn`, `storage.tampered` or `storage.head`.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = not path.exists()
        if fresh:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        try:
            connection = _connect(path)
        except sqlite3.OperationalError as error:
            _raise(error)
        except sqlite3.DatabaseError:
            raise StorageError("file is not a database", code="storage.corrupt") from None
        try:
            _prepare(connection, cluster=cluster, slot=slot)
            store = cls(connection, cluster=cluster, slot=slot, tee=tee)
            store._check()
            if fresh:
                _sync_directory(path.parent)
        except StorageError:
            connection.close()
            raise
        except sqlite3.Error as error:
            connection.close()
            _raise(error)
        return store

    def get(self, kind: str, name: str) -> bytes | None:
        """The value, or None; raises StorageError."""
        row = self._row(kind, name)
        return None if row is None else self._open(kind, name, *row)

    def get_secret(self, kind: str, name: str) -> Secret:
        """A value opened straight into the arena; raises StorageError (`storage.missing` if absent)."""
        row = self._row(kind, name)
        if row is None:
            raise StorageError(f"no {kind} of that id in the store", code="storage.missing")
        counter, sealed = row
        self._check_form(sealed)
        secret = Secret.zero(len(sealed) - _OVERHEAD)
        try:
            with secret.view as target, memoryview(sealed) as source:
                self._aead.decrypt_into(
                    bytes(source[1 : 1 + _NONCE_BYTES]),
                    source[1 + _NONCE_BYTES :],
                    self._aad(kind, name, counter),
                    target,
                )
        except InvalidTag:
            secret.wipe()
            raise _tampered(kind) from None
        return secret

    def items(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """All (id, value) of a kind, ordered by id; raises StorageError."""
        for name in sorted(name for known, name in self._counters if known == kind):
            value = self.get(kind, name)
            assert value is not None
            yield name, value

    def names(self, kind: str) -> list[str]:
        """The ids of a kind, in order."""
        return sorted(name for known, name in self._counters if known == kind)

    def put(self, kind: str, name: str, value: bytes | memoryview) -> None:
        """Write a value; durable after the next `commit`.  Raises StorageError."""
        self.written.add(kind)
        self._counter += 1
        nonce = os.urandom(_NONCE_BYTES)
        sealed = bytearray(len(value) + _OVERHEAD)
        sealed[0] = FORMAT_VERSION
        sealed[1 : 1 + _NONCE_BYTES] = nonce
        with memoryview(sealed) as view:
            self._aead.encrypt_into(nonce, value, self._aad(kind, name, self._counter), view[1 + _NONCE_BYTES :])
        self._forget(kind, name)
        self._write(kind, name, self._counter, bytes(sealed))
        self._counters[kind, name] = self._counter
        self._sum += self._leaf(kind, name, self._counter, sealed)

    def put_secret(self, kind: str, name: str, secret: Secret) -> None:
        """Write a secret, sealed straight from the arena; durable after the next `commit`."""
        with secret.view as view:
            self.put(kind, name, view)

    def delete(self, kind: str, name: str) -> None:
        """Remove a value if present; durable after the next `commit`."""
        if (kind, name) in self._counters:
            self.written.add(kind)
            self._forget(kind, name)
            self._execute("DELETE FROM sealed WHERE kind = ? AND id = ?", (kind, name))

    def commit(self) -> None:
        """Write the head and wait until everything is on disk; raises StorageError and then refuses all work."""
        if not self._writing:
            if self._broken:
                self._fail()
            return
        self._counter += 1
        head = _HEAD.pack(self._counter, len(self._counters), (self._sum % _MODULUS).to_bytes(32, "big"))
        nonce = os.urandom(_NONCE_BYTES)
        sealed = bytes([FORMAT_VERSION]) + nonce
        sealed += self._aead.encrypt(nonce, head, self._aad(*_HEAD_KEY, self._counter))
        self._write(*_HEAD_KEY, self._counter, sealed)
        self._execute("COMMIT", ())
        self._writing = False

    @property
    def digest(self) -> bytes:
        """32 bytes over every row as it is now, keyed."""
        return (self._sum % _MODULUS).to_bytes(32, "big")

    def verify(self) -> dict[str, int]:
        """Open every value once; returns how many there are of each kind.  Raises StorageError."""
        found: dict[str, int] = {}
        for kind, name in self._counters:
            self.get_secret(kind, name).wipe()
            found[kind] = found.get(kind, 0) + 1
        return found

    def next_boot(self) -> int:
        """Increase the boot counter, durably, and return it: the first call of every start."""
        previous = self.get("boot", "counter")
        counter = 1 + (int.from_bytes(previous, "big") if previous else 0)
        self.put("boot", "counter", counter.to_bytes(8, "big"))
        self.commit()
        return counter

    def start_boots_after(self, counter: int) -> None:
        """Let the boots of a fresh store go on after `counter`, durably; one that counts already goes on by itself.

        Raises StorageError.
        """
        if self.get("boot", "counter") is not None:
            return
        self.put("boot", "counter", counter.to_bytes(8, "big"))
        self.commit()

    def close(self) -> None:
        """Close the file; uncommitted writes are dropped."""
        self._broken = True
        self._connection.close()

    # --- sealing -------------------------------------------------------------------------------------

    def _aad(self, kind: str, name: str, counter: int) -> bytes:
        return tagged(
            "sealed-value", self._cluster, self._slot, kind.encode(), name.encode(), counter.to_bytes(8, "big")
        )

    def _open(self, kind: str, name: str, counter: int, sealed: bytes) -> bytes:
        self._check_form(sealed)
        try:
            return self._aead.decrypt(
                sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :], self._aad(kind, name, counter)
            )
        except InvalidTag:
            raise _tampered(kind) from None

    @staticmethod
    def _check_form(sealed: bytes) -> None:
        if len(sealed) < _OVERHEAD:
            raise StorageError("a sealed value is shorter than its header and tag", code="storage.torn")
        if sealed[0] != FORMAT_VERSION:
            raise StorageError(
                f"expected value format {FORMAT_VERSION}, found {sealed[0]}",
                code="storage.version",
                hint="was this file written by a newer version?",
            )

    def _leaf(self, kind: str, name: str, counter: int, sealed: bytes | bytearray) -> int:
        # Keyed additive multiset hash: order does not matter, and without the key no set of rows can be chosen to fit.
        mac = self._mac.copy()
        mac.update(self._aad(kind, name, counter) + hashlib.sha256(sealed).digest())
        return int.from_bytes(mac.finalize(), "big")

    def _check(self) -> None:
        """Compare all rows with the sealed head."""
        head: bytes | None = None
        for kind, name, counter, sealed in self._connection.execute("SELECT kind, id, counter, value FROM sealed"):
            if (kind, name) == _HEAD_KEY:
                head = self._open(kind, name, counter, sealed)
                self._counter = counter
                continue
            self._check_form(sealed)
            self._counters[kind, name] = counter
            self._sum += self._leaf(kind, name, counter, sealed)
        expected = _HEAD.pack(self._counter, len(self._counters), (self._sum % _MODULUS).to_bytes(32, "big"))
        if head is None:
            if self._counters:
                raise StorageError("store has rows but no head", code="storage.head")
        elif head != expected:
            self.verify()  # raises the more exact error if one row does not even open
            raise StorageError(
                "rows do not match the sealed head: one was removed, added or replaced by an older one",
                code="storage.head",
                hint="keep the file; repair this node from its peers",
            )

    # --- SQLite --------------------------------------------------------------------------------------

    def _row(self, kind: str, name: str) -> tuple[int, bytes] | None:
        known = self._counters.get((kind, name))
        if known is None:
            return None
        row = self._execute("SELECT counter, value FROM sealed WHERE kind = ? AND id = ?", (kind, name)).fetchone()
        if row is None or row[0] != known:
            raise StorageError("a row changed under a running node", code="storage.head")
        return known, row[1]

    def _forget(self, kind: str, name: str) -> None:
        counter = self._counters.get((kind, name))
        if counter is not None:
            row = self._row(kind, name)
            assert row is not None
            self._sum -= self._leaf(kind, name, counter, row[1])
            del self._counters[kind, name]

    def _write(self, kind: str, name: str, counter: int, sealed: bytes) -> None:
        self._execute(
            "INSERT INTO sealed VALUES (?, ?, ?, ?) "
            "ON CONFLICT (kind, id) DO UPDATE SET counter = excluded.counter, value = excluded.value",
            (kind, name, counter, sealed),
        )

    def _execute(self, statement: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        if self._broken:
            self._fail()
        try:
            if not self._writing and not statement.startswith("SELECT"):
                self._connection.execute("BEGIN IMMEDIATE")
                self._writing = True
            return self._connection.execute(statement, values)
        except sqlite3.Error:
            # The kernel may have dropped the dirty pages of a failed fsync: trying again would lie.
            self._broken = True
            self._fail()

    def _fail(self) -> NoReturn:
        raise StorageError("store failed earlier and is closed for all work", hint="restart the node") from None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=0.0, check_same_thread=False)
    for pragma in (
        "locking_mode=EXCLUSIVE",  # a second process on the same file is a twin: refuse it
        "trusted_schema=OFF",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
        "mmap_size=0",  # a bit flip on disk must not reach memory we have checked
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _prepare(connection: sqlite3.Connection, *, cluster: bytes, slot: str) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT_VERSION:
        raise StorageError(
            f"expected store format {FORMAT_VERSION}, found {version}",
            code="storage.version",
            hint="this file was written by a newer version",
        )
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}")
        connection.execute("INSERT INTO owner VALUES (?, ?)", (cluster.hex(), slot))
        connection.execute(f"PRAGMA user_version={FORMAT_VERSION}")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("COMMIT")
    # Only for a clear message: what binds a value to its owner is the associated data of its seal.
    if connection.execute("SELECT cluster, slot FROM owner").fetchall() != [(cluster.hex(), slot)]:
        raise StorageError("store belongs to another cluster or slot", code="storage.foreign")


def _raise(error: sqlite3.Error) -> NoReturn:
    if "locked" in str(error):
        raise StorageError("another process has this store open", code="storage.locked") from None
    raise StorageError("SQLite refuses the file", code="storage.corrupt") from None


def _tampered(kind: str) -> StorageError:
    return StorageError(
        f"a sealed {kind} does not open: altered, swapped, or sealed by another platform or measurement",
        code="storage.tampered",
        hint="keep the file; repair this node from its peers",
    )


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
