"""One thread that writes: everything waiting becomes one transaction and one fsync (group commit).

A failed commit is never tried again: what the disk holds is then unknown, so the process stops and
the next start reads what is really there.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from kms.errors import StoreError

BATCH_MAX = 512
"""Writes after which a transaction takes no more: keeps the first of them from waiting on too many others."""

EXIT_STORAGE = 70
"""Exit status after a failed commit (EX_SOFTWARE): a supervisor starts the gateway again."""

Work = Callable[[], Any]


def stop_process(reason: str) -> NoReturn:
    """End the process at once, without running anything that might write."""
    sys.stderr.write(f'{{"event":"storage-failed","level":"critical","reason":"{reason}"}}\n')
    sys.stderr.flush()
    os._exit(EXIT_STORAGE)


@dataclass(slots=True, eq=False)
class _Job:
    work: Work
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class GroupCommit:
    """Runs writes in their order of arrival; `snapshot` and `restore` keep the owner's state in step with the disk."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        snapshot: Callable[[], Any],
        restore: Callable[[Any], None],
        on_fatal: Callable[[str], None] = stop_process,
    ) -> None:
        self._connection = connection
        self._snapshot = snapshot
        self._restore = restore
        self._on_fatal = on_fatal
        self._queue: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._collected: list[_Job] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> asyncio.Future[Any]:
        """Queue one write; the future answers once it is on the disk, with its result or its error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self._closed:
            future.set_exception(StoreError("the store is closed"))
            return future
        if not self._collected:
            loop.call_soon(self._hand_over)  # one wake-up of the thread for everything of this tick
        self._collected.append(_Job(work, loop, future))
        return future

    async def close(self) -> None:
        """Commit what is queued, then end the thread."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._queue.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _hand_over(self) -> None:
        if self._collected:
            self._queue.put(self._collected)
            self._collected = []

    def _run(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._take()
            if batch and not self._commit(batch):
                return
        self._connection.close()

    def _take(self) -> tuple[list[_Job], bool]:
        jobs = self._queue.get()
        batch: list[_Job] = []
        while True:
            if jobs is None:
                return batch, False
            batch += jobs
            if len(batch) >= BATCH_MAX:
                return batch, True
            try:
                jobs = self._queue.get_nowait()
            except queue.Empty:
                return batch, True

    def _commit(self, batch: list[_Job]) -> bool:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                self._apply(job)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._fail(batch, error)
            return False
        self._deliver(batch)
        return True

    def _apply(self, job: _Job) -> None:
        """One write under its own savepoint, so that a refused one takes nothing of the others with it."""
        held = self._snapshot()
        self._connection.execute("SAVEPOINT one")
        try:
            job.result = job.work()
        except sqlite3.IntegrityError:
            self._undo(held)
            job.error = StoreError("a constraint of the database forbids this write", code="store.constraint")
        except sqlite3.Error:
            raise
        except Exception as error:
            self._undo(held)
            job.error = error
        self._connection.execute("RELEASE one")

    def _undo(self, held: Any) -> None:
        self._connection.execute("ROLLBACK TO one")
        self._restore(held)

    def _fail(self, batch: list[_Job], error: sqlite3.Error) -> None:
        self._closed = True
        name = getattr(error, "sqlite_errorname", "") or type(error).__name__
        for job in batch:
            job.error = StoreError(f"the database could not commit ({name})")
        self._on_fatal(name)
        self._connection.close()
        self._deliver(batch)

    def _deliver(self, batch: list[_Job]) -> None:
        loops = {job.loop for job in batch}
        for loop in loops:
            jobs = [job for job in batch if job.loop is loop]
            try:
                loop.call_soon_threadsafe(_settle, jobs)
            except RuntimeError:  # that loop has ended; nobody waits any more
                continue


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
