"""The collateral directory: one file per platform, each complete in itself, replaced whole or not at all.

Rules: a file is written beside its place, flushed to the disk and renamed, and so is the
directory's entry, so that a reader finds the old set or the new one, after a crash too; two
runs never work on one directory at once, and the second finds what the first has just fetched.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attestation.collateral import Collateral
from attestation.errors import CollateralError

LOCK_NAME = ".fetch.lock"


class CollateralDirectory:
    """A directory that `Collateral.load` reads and `attest fetch` fills."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def held(self) -> Collateral:
        """Everything in it, unverified; an empty set if it does not exist; raises CollateralError."""
        return Collateral.load([self.path]) if self.path.is_dir() else Collateral()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory alone, creating it if need be; waits for another run to end."""
        self._make()
        descriptor = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def written_since(self, name: str, moment_ns: int) -> bool:
        """Whether the file was written after this moment of the wall clock (nanoseconds): by a run we waited for."""
        try:
            return (self.path / name).stat().st_mtime_ns > moment_ns
        except OSError:
            return False

    def write(self, name: str, data: bytes) -> None:
        """Replace one file atomically; raises CollateralError (`collateral.unreadable`) if the disk refuses."""
        temporary = self.path / f".{name}.{secrets.token_hex(8)}.new"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
            self._sync()
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise CollateralError(f"cannot write {name}: {error.strerror}", code="collateral.unreadable") from None

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CollateralError(
                f"cannot make {self.path.name}: {error.strerror}", code="collateral.unreadable"
            ) from None

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
