"""Files the operator keeps current beside the gateway: attestation collateral and the proof-of-cloud registry.

They are polled, because a revocation must reach every node within seconds of the file changing.  What
follows from them is for the nodes to decide; the gateway uses them to know whom it talks to.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kms.errors import ConfigurationError

FILE_BYTES_MAX = 8 << 20
"""Largest file read, in bytes: one frame must hold it."""


class WatchedFiles:
    """The contents of some files, read again when any of them changes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._seen: tuple[tuple[int, int, int], ...] = ()
        self.contents: tuple[bytes, ...] = ()

    def load(self) -> None:
        """First reading; raises ConfigurationError if a file is missing or too large."""
        try:
            self.poll()
        except OSError as error:
            raise ConfigurationError(f"cannot read {error.filename}: {error.strerror}") from None

    def poll(self) -> bool:
        """Read what changed; True if anything did.  Raises OSError while a file is away."""
        stats = [path.stat() for path in self._paths]
        seen = tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)
        if seen == self._seen:
            return False
        contents = []
        for path, stat in zip(self._paths, stats, strict=True):
            if stat.st_size > FILE_BYTES_MAX:
                raise ConfigurationError(f"expected at most {FILE_BYTES_MAX} bytes in {path.name}")
            contents.append(path.read_bytes())
        changed = tuple(contents) != self.contents
        self.contents, self._seen = tuple(contents), seen
        return changed
