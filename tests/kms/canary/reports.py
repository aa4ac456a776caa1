"""Reads what the hook in node processes wrote."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

HEADER = struct.Struct("<BI")
PUBLISHED = 1


def records(report: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, content) of every record."""
    at = 0
    while at + HEADER.size <= len(report):
        kind, size = HEADER.unpack_from(report, at)
        at += HEADER.size
        yield kind, report[at : at + size]
        at += size


def secrets_of(directory: Path) -> dict[int, set[bytes]]:
    """Process id -> everything it wiped and never published, nor any other process."""
    found: dict[int, set[bytes]] = {}
    public: set[bytes] = set()
    for path in directory.iterdir():
        mine = found.setdefault(int(path.name), set())
        for kind, content in records(path.read_bytes()):
            (public if kind == PUBLISHED else mine).add(content)
    return {pid: mine - public for pid, mine in found.items()}
