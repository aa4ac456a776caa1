"""Evidence of TDX and SEV-SNP guests through the kernel's configfs reports (`/sys/kernel/config/tsm/report`).

Rules kept (Documentation/ABI/testing/configfs-tsm-report of the kernel): every request uses a directory
of its own with a random name and removes it; the generation must have moved by exactly one write both
before and after the report is read, or somebody else wrote in between; a report that does not carry the
report data asked for is never returned; a busy or interrupted provider is asked again, a refusing one is not.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from attestation.evidence import Tee as Platform
from enclave.tee import REPORT_DATA_BYTES, TeeError
from enclave.tee.report_data import carries

REPORTS = Path("/sys/kernel/config/tsm/report")

REPORT_BYTES_MAX = 32 << 10
"""What the kernel allows as one report."""

ATTEMPTS_MAX = 8
"""A provider stays busy for as long as one other quote takes: some hundred milliseconds."""

PAUSE_S = 0.05
"""First pause between attempts in seconds; it doubles, with jitter, to at most 1.6 s."""

_TEES = {"tdx_guest": Platform.TDX, "sev_guest": Platform.SEV_SNP}

_RETRIED = frozenset({errno.EBUSY, errno.EINTR, errno.ETIMEDOUT, errno.EAGAIN})

_HINTS = {
    errno.ENOENT: "mount configfs and load the guest's report driver (tdx_guest or sev_guest)",
    errno.ENXIO: "the kernel has no report provider: load tdx_guest or sev_guest",
    errno.EACCES: "the node's user needs write access to the configfs report directory",
    errno.EPERM: "the node's user needs write access to the configfs report directory",
    errno.EIO: "the platform failed to make a quote: is its quoting service running on the host?",
}


class Attributes(Protocol):
    """The five calls this adapter makes into configfs; each raises OSError."""

    def make(self, directory: Path) -> None:
        """mkdir(2): opens a report instance."""

    def remove(self, directory: Path) -> None:
        """rmdir(2): closes it."""

    def read(self, attribute: Path, bytes_max: int) -> bytes:
        """A whole attribute through one open file."""

    def write(self, attribute: Path, value: bytes) -> None:
        """An attribute in one write(2): a second write would be a second generation."""


class KernelAttributes:
    """`Attributes` of the running kernel."""

    def make(self, directory: Path) -> None:
        """See Attributes."""
        directory.mkdir(mode=0o700)

    def remove(self, directory: Path) -> None:
        """See Attributes."""
        directory.rmdir()

    def read(self, attribute: Path, bytes_max: int) -> bytes:
        """See Attributes."""
        handle = os.open(attribute, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = bytearray()
            while len(content) <= bytes_max and (piece := os.read(handle, bytes_max + 1 - len(content))):
                content += piece
            return bytes(content)
        finally:
            os.close(handle)

    def write(self, attribute: Path, value: bytes) -> None:
        """See Attributes."""
        handle = os.open(attribute, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.write(handle, value) != len(value):
                raise OSError(errno.EIO, "short write")
        finally:
            os.close(handle)


class TsmReports:
    """Makes evidence; safe to call from several threads."""

    def __init__(
        self,
        *,
        provider: str,
        attributes: Attributes | None = None,
        directory: Path = REPORTS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`provider` is `tdx_guest` or `sev_guest`: a report of any other kind is refused."""
        self._provider = provider
        self._attributes = attributes or KernelAttributes()
        self._directory = directory
        self._pause = pause
        self._one_at_a_time = threading.Lock()

    def quote(self, report_data: bytes) -> bytes:
        """Evidence over `report_data` (64 bytes).

        Raises TeeError: `tee.request`, `tee.unavailable` (no provider, or busy too long), `tee.provider` (the kernel
        speaks for another platform), `tee.answer` (not a report over this data).
        """
        if len(report_data) != REPORT_DATA_BYTES:
            raise TeeError(f"expected {REPORT_DATA_BYTES} bytes of report data", code="tee.request")
        pause_s = PAUSE_S
        with self._one_at_a_time:
            for attempt in range(1, ATTEMPTS_MAX + 1):
                try:
                    report = self._once(report_data)
                except OSError as error:
                    if error.errno not in _RETRIED or attempt == ATTEMPTS_MAX:
                        raise _unavailable(error) from None
                else:
                    if report is not None:
                        return self._checked(report, report_data)
                self._pause(pause_s * (128 + secrets.randbelow(128)) / 256)
                pause_s = min(2 * pause_s, 1.6)
        raise TeeError("another process kept writing into this node's report", code="tee.unavailable")

    def _once(self, report_data: bytes) -> bytes | None:
        """One report, or None if somebody else touched the instance meanwhile."""
        place = self._directory / f"holdfast-{secrets.token_hex(12)}"
        self._attributes.make(place)
        try:
            provider = self._attributes.read(place / "provider", 64).decode("ascii", "replace").strip()
            if provider != self._provider:
                raise TeeError(
                    f"expected provider {self._provider}, the kernel has {provider}",
                    code="tee.provider",
                    hint="set the node's tee kind to the platform it runs on",
                )
            expected = self._generation(place) + 1
            self._attributes.write(place / "inblob", report_data)
            if self._generation(place) != expected:
                return None
            report = self._attributes.read(place / "outblob", REPORT_BYTES_MAX)
            return report if self._generation(place) == expected else None
        finally:
            # A leftover instance holds no secret; a failure to remove it must not hide the report's own error.
            with suppress(OSError):
                self._attributes.remove(place)

    def _generation(self, place: Path) -> int:
        text = self._attributes.read(place / "generation", 32).strip()
        if not text.isdigit():
            raise TeeError("generation is not a number", code="tee.answer")
        return int(text)

    def _checked(self, report: bytes, report_data: bytes) -> bytes:
        if len(report) > REPORT_BYTES_MAX:
            raise TeeError("report is larger than the kernel allows", code="tee.answer")
        return carries(report_data, report, _TEES[self._provider])


def _unavailable(error: OSError) -> TeeError:
    return TeeError(
        f"the kernel gave no report: {error.strerror or type(error).__name__}",
        code="tee.unavailable",
        hint=_HINTS.get(error.errno or 0, "retry; if it stays, look at the kernel's log"),
    )
