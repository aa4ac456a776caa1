"""The gateway's database on a disk of this simulation: the production engine, without its threads and its file.

What a commit made durable survives a crash of the gateway; what waits for one is gone.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

from kms.errors import StoreError
from kms.store import audit_rows
from kms.store.schema import migrate
from kms.store.sqlite import SqliteStore
from kms.store.writer import GroupCommit, _Job, _settle

COMMIT_S = 0.002
"""Time from handing over to durable."""


class _Inline(GroupCommit):
    """Group commit by the loop instead of by a thread."""

    def __init__(
        self, connection: sqlite3.Connection, *, snapshot: Callable[[], Any], restore: Callable[[Any], None]
    ) -> None:
        self._connection = connection
        self._snapshot = snapshot
        self._restore = restore
        self._on_fatal = lambda reason: None
        self._collected: list[_Job] = []
        self._closed = False

    def _hand_over(self) -> None:
        jobs, self._collected = self._collected, []
        if jobs:
            asyncio.get_running_loop().call_later(COMMIT_S, self._written, jobs)

    def _written(self, jobs: list[_Job]) -> None:
        self._commit(jobs)

    def _deliver(self, batch: list[_Job]) -> None:
        _settle(batch)

    async def close(self) -> None:
        """Commit what is queued."""
        self._closed = True
        jobs, self._collected = self._collected, []
        if jobs:
            self._commit(jobs)


class SimGatewayStore(SqliteStore):
    """The production store over a database in memory."""

    def __init__(self, image: bytes | None = None) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        if image:
            self._connection.deserialize(image)
        migrate(self._connection)
        self._head = audit_rows.head(self._connection)
        self._reader = self._connection
        self._reading = None  # type: ignore[assignment]
        self._writer = _Inline(self._connection, snapshot=lambda: self._head, restore=self._set_head)

    def image(self) -> bytes:
        """What is durable now."""
        if self._connection.in_transaction:
            raise StoreError("a transaction is open between callbacks")
        return self._connection.serialize()

    async def close(self) -> None:
        """As the production store."""
        await self._writer.close()
