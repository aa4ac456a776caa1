"""Where bundles are kept: a directory, or a bucket that speaks S3.  Neither is trusted with more than not losing them.

Rules kept: nothing is ever written over; a name appears with its whole content or not at all.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Protocol

from enclave.backup.bundle import BUNDLE_BYTES_MAX
from kms.client.errors import ConfigurationError, UnavailableError

_NAME = re.compile(r"[a-z0-9A-Z][a-z0-9A-Z._-]{0,127}(/[a-z0-9A-Z][a-z0-9A-Z._-]{0,127}){0,3}")


class Target(Protocol):
    """Named blobs.  Every method raises UnavailableError (`backup.target`) if the place fails."""

    def names(self, prefix: str) -> list[str]:
        """All names that begin with `prefix`, in order."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """The content; raises ConfigurationError (`backup.not-found`, `backup.too-large`)."""
        raise NotImplementedError

    def write(self, name: str, data: bytes) -> None:
        """Keep it; raises ConfigurationError (`backup.exists`) if the name is taken."""
        raise NotImplementedError

    def delete(self, name: str) -> None:
        """Remove it; a name that is not there is no error."""
        raise NotImplementedError


def open_target(place: str) -> Target:
    """`s3://bucket/prefix`, or a directory (made when first written to); raises ConfigurationError."""
    if place.startswith("s3://"):
        from kms.client.backup.bucket import BucketTarget

        return BucketTarget.open(place)
    return DirectoryTarget(Path(place))


class DirectoryTarget:
    """Files below a directory, mode 0600."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, prefix: str) -> list[str]:
        """Files below the root, hidden ones left out."""
        try:
            found = (path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if path.is_file())
            return sorted(name for name in found if name.startswith(prefix) and _NAME.fullmatch(name))
        except OSError as error:
            raise _failed(error) from None

    def read(self, name: str) -> bytes:
        """As Target.read."""
        try:
            with self._path(name).open("rb") as file:
                data = file.read(BUNDLE_BYTES_MAX + 1)
        except FileNotFoundError:
            raise missing(name) from None
        except OSError as error:
            raise _failed(error) from None
        if len(data) > BUNDLE_BYTES_MAX:
            raise ConfigurationError(f"{name} is larger than any bundle", code="backup.too-large")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Written beside its place, synced, then linked there: a link never replaces a file."""
        path = self._path(name)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            finally:
                draft.unlink()
            _sync(path.parent)
        except FileExistsError:
            raise taken(name) from None
        except OSError as error:
            raise _failed(error) from None

    def delete(self, name: str) -> None:
        """As Target.delete; an empty directory goes with its last file."""
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        except OSError as error:
            raise _failed(error) from None

    def _path(self, name: str) -> Path:
        check_name(name)
        return self._root / name


def check_name(name: str) -> None:
    """Raise ConfigurationError (`backup.name`) for a name that could leave its place."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"not a name of a backup: {name[:80]!r}", code="backup.name")


def missing(name: str) -> ConfigurationError:
    """Nothing is kept under that name."""
    return ConfigurationError(f"there is no {name}", code="backup.not-found", hint="see kms backup list")


def taken(name: str) -> ConfigurationError:
    """Something is kept under that name already."""
    return ConfigurationError(f"{name} exists and is never written over", code="backup.exists")


def _failed(error: OSError) -> UnavailableError:
    return UnavailableError(f"the place of the backups fails: {error.strerror or error}", code="backup.target")


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
