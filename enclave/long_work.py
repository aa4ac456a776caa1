"""Work too long for one turn of the loop, done in slices behind everything else a node is asked.

Rules kept: while others are served it takes at most a tenth of one core, so that a ceremony about many keys does not
delay signatures; it never starves altogether; one slice ends before the loop reads and writes again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from enclave.ceremonies.steps import Work
from enclave.errors import StorageError

SLICE_S = 0.001
"""Longest slice in seconds, one piece of work more or less: a piece is one key of a ceremony."""

PAUSE_S = 0.009
"""Pause between slices while others are served."""

QUIET_S = 1.0
"""Seconds without another request after which slices follow each other at once: less, and a lightly used node would
work at full speed just when the next request comes."""

JOBS_MAX = 64
"""Jobs waiting at once: a gateway runs two ceremonies at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of long work, and whom to tell."""

    work: Work[Any]
    done: Callable[[Any, Exception | None], None]
    """Called with the value, or with why there is none."""


class LongWork:
    """The jobs of one node, in turn."""

    def __init__(self, failed: Callable[[StorageError], None]) -> None:
        self._failed = failed
        self._jobs: deque[Job] = deque()
        self._is_scheduled = False
        self._is_over = False
        self._served_at = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Queue a job."""
        self._jobs.append(job)
        self._schedule()

    def note_served(self) -> None:
        """Something else was asked of the node just now."""
        self._served_at = time.monotonic()

    def close(self) -> None:
        """Give up everything: the node stops."""
        self._is_over = True
        while self._jobs:
            self._jobs.popleft().work.close()

    def _schedule(self) -> None:
        if self._is_scheduled or self._is_over or not self._jobs:
            return
        self._is_scheduled = True
        quiet = time.monotonic() - self._served_at > QUIET_S
        loop = asyncio.get_running_loop()
        if quiet:
            loop.call_soon(self._slice)
        else:
            loop.call_later(PAUSE_S, self._slice)

    def _slice(self) -> None:
        self._is_scheduled = False
        if self._is_over or not self._jobs:
            return
        job = self._jobs[0]
        deadline = time.monotonic() + SLICE_S
        try:
            while time.monotonic() < deadline:
                next(job.work)
        except StopIteration as stop:
            self._end(job, stop.value, None)
        except StorageError as error:
            self._failed(error)
            return
        except Exception as error:
            self._end(job, None, error)
        else:
            self._jobs.rotate(-1)
        self._schedule()

    def _end(self, job: Job, value: Any, error: Exception | None) -> None:
        self._jobs.popleft()
        job.done(value, error)
