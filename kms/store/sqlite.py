"""The SQLite engine: one file, one writing thread with group commit, one reading connection.

Only one process may use a data directory at a time; a lock file says so.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from kms.audit import Entry
from kms.errors import StoreError
from kms.store import audit_rows, document_rows, key_rows, operation_rows, request_rows
from kms.store.protocol import (
    Admission,
    Admitted,
    Replay,
    Settlement,
    StoredCeremony,
    StoredDocument,
    StoredKey,
    StoredOperation,
)
from kms.store.schema import connect, migrate
from kms.store.writer import GroupCommit, stop_process

T = TypeVar("T")

FILE_NAME = "gateway.sqlite"


class SqliteStore:
    """Implements kms.store.protocol.Store; see there for what each verb promises."""

    def __init__(self, directory: Path, *, on_fatal: Callable[[str], None] = stop_process) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _take_lock(directory / "gateway.lock")
        path = directory / FILE_NAME
        self._connection = connect(path)
        os.chmod(path, 0o600)
        migrate(self._connection)
        self._head = audit_rows.head(self._connection)
        self._reader = connect(path, read_only=True)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._writer = GroupCommit(
            self._connection, snapshot=lambda: self._head, restore=self._set_head, on_fatal=on_fatal
        )

    @property
    def audit_position(self) -> int:
        """See Store."""
        return self._head[0]

    @property
    def audit_head(self) -> bytes:
        """See Store."""
        return self._head[1]

    async def recover(self, *, now: int) -> int:
        """See Store."""

        def work() -> int:
            left = request_rows.interrupt_all(self._connection)
            for principal, key in left:
                self._append({"kind": "interrupted", "time": now, "principal": principal, "idempotency_key": key})
            return len(left)

        return await self._write(work)

    async def admit(self, admission: Admission) -> Admitted | Replay:
        """See Store."""

        def work() -> Admitted | Replay:
            answer = request_rows.admit(self._connection, admission)
            if isinstance(answer, Admitted):
                self._append(admission.intent)
            return answer

        return await self._write(work)

    async def settle(self, settlement: Settlement) -> None:
        """See Store."""

        def work() -> None:
            request_rows.settle(self._connection, settlement)
            self._append(settlement.result)

        await self._write(work)

    async def put_document(self, document: StoredDocument, audit: dict[str, Any]) -> bool:
        """See Store."""

        def work() -> bool:
            new = document_rows.put(self._connection, document)
            if new:
                self._append(audit)
            return new

        return await self._write(work)

    async def document(self, kind: str, subject: str) -> StoredDocument | None:
        """See Store."""
        return await self._read(lambda: document_rows.newest(self._reader, kind, subject))

    async def documents(self) -> list[StoredDocument]:
        """See Store."""
        return await self._read(lambda: document_rows.newest_of_all(self._reader))

    async def put_ceremony(self, ceremony: StoredCeremony) -> None:
        """See Store."""
        await self._write(lambda: key_rows.put_ceremony(self._connection, ceremony))

    async def ceremony(self, session: bytes) -> StoredCeremony | None:
        """See Store."""
        return await self._read(lambda: key_rows.ceremony(self._reader, session))

    async def ceremony_for(self, reference: str) -> StoredCeremony | None:
        """See Store."""
        return await self._read(lambda: key_rows.ceremony_for(self._reader, reference))

    async def unfinished(self) -> list[StoredCeremony]:
        """See Store."""
        return await self._read(lambda: key_rows.unfinished(self._reader))

    async def put_key(self, key: StoredKey, *, session: bytes | None = None) -> None:
        """See Store."""
        await self._write(lambda: key_rows.put_key(self._connection, key, session))

    async def key(self, key: str) -> StoredKey | None:
        """See Store."""
        return await self._read(lambda: key_rows.key(self._reader, key))

    async def key_policy(self, key: str) -> str | None:
        """See Store."""
        return await self._read(lambda: key_rows.policy(self._reader, key))

    async def keys(self, *, after: str, limit: int) -> list[StoredKey]:
        """See Store."""
        return await self._read(lambda: key_rows.page(self._reader, after, limit))

    async def put_operation(self, operation: StoredOperation, audit: dict[str, Any]) -> bool:
        """See Store."""

        def work() -> bool:
            new = operation_rows.put(self._connection, operation)
            if new:
                self._append(audit)
            return new

        return await self._write(work)

    async def change_operation(
        self, operation: StoredOperation, *, expected: frozenset[str], audit: dict[str, Any] | None
    ) -> bool:
        """See Store."""

        def work() -> bool:
            changed = operation_rows.change(self._connection, operation, expected)
            if changed and audit is not None:
                self._append(audit)
            return changed

        return await self._write(work)

    async def operation(self, operation: str) -> StoredOperation | None:
        """See Store."""
        return await self._read(lambda: operation_rows.one(self._reader, operation))

    async def operations(
        self, *, after: str, limit: int, principal: str | None = None, states: frozenset[str] = frozenset()
    ) -> list[StoredOperation]:
        """See Store."""
        return await self._read(lambda: operation_rows.page(self._reader, after, limit, principal, states))

    async def append_audit(self, value: dict[str, Any]) -> Entry:
        """See Store."""
        return await self._write(lambda: self._append(value))

    async def audit(self, *, after: int, limit: int) -> list[Entry]:
        """See Store."""
        return await self._read(lambda: audit_rows.page(self._reader, after, limit))

    async def close(self) -> None:
        """See Store."""
        await self._writer.close()
        self._reading.shutdown()
        self._reader.close()
        os.close(self._lock)

    def _append(self, value: dict[str, Any]) -> Entry:
        sequence, previous = self._head
        entry = Entry.after(sequence + 1, previous, value)
        audit_rows.insert(self._connection, entry)
        self._head = (entry.sequence, entry.hash)
        return entry

    def _set_head(self, head: tuple[int, bytes]) -> None:
        self._head = head

    async def _write(self, work: Callable[[], T]) -> T:
        result: T = await self._writer.submit(work)
        return result

    async def _read(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, work)
        except sqlite3.Error as error:
            raise StoreError(f"the database cannot be read ({type(error).__name__})") from None


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreError(
            f"another gateway uses {path.parent}", code="store.locked", hint="stop it, or give this one its own data"
        ) from None
    return descriptor
