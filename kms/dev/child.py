"""One child process of the developer cluster, with its log; ended by its own process id only."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from kms.errors import UnavailableError

STOP_S = 5.0
"""How long a child may take to end after SIGTERM, in seconds, before SIGKILL."""

LOG_TAIL_BYTES = 2000
"""How much of a log an error message shows."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Child:
    """A process started from this Python with `program` (an import and a call) and its arguments."""

    def __init__(self, name: str, program: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-c", program, *arguments]
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._ended_by_us = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it; its output is appended to the log."""
        self._ended_by_us = False
        handle = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                # Its own session: Ctrl-C reaches only the supervisor, which ends children in order.
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        finally:
            os.close(handle)

    @property
    def ended_alone(self) -> bool:
        """Whether it has ended without being asked to."""
        return self._process is not None and self._process.returncode is not None and not self._ended_by_us

    def check_running(self) -> None:
        """Raises UnavailableError (`dev.child`) with the end of its log if it has ended on its own."""
        if not self.ended_alone:
            return
        assert self._process is not None
        raise UnavailableError(
            f"{self.name} ended with status {self._process.returncode}:\n{self.log_tail()}",
            code="dev.child",
            hint=f"the whole log is {self._log}",
        )

    async def stop(self) -> None:
        """Ask it to end, and make it end if it does not."""
        if self._process is None or self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it at once (SIGKILL), as a crash or a power cut would."""
        if self._process is not None and self._process.returncode is None:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def memory_mib(self) -> float | None:
        """Resident memory in MiB (VmRSS), or None if it does not run."""
        if self.pid is None:
            return None
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        return None

    def log_tail(self) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace").strip()
        return ""

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._ended_by_us = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


def _end_with_parent() -> None:
    """Runs in the child before exec: end when the supervisor ends, even if that was killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
