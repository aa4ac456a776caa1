"""The registry as static files (C2SP tlog-tiles): checkpoint, hash tiles, entry bundles, snapshot.

Everything is a pure function of a verified snapshot, so any web server or bucket can hold it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from attestation.errors import DocumentError
from attestation.proof_of_cloud.snapshot import RegistrySnapshot

TILE_WIDTH = 256
"""Hashes in a full tile, entries in a full bundle."""

TILE_HEIGHT = 8

_PATH = re.compile(r"/tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII)
_TEXT = "text/plain; charset=utf-8"
_BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What a path leads to."""

    body: bytes
    content_type: str
    immutable: bool
    """A full tile never changes; everything else does."""


def resource(snapshot: RegistrySnapshot, path: str) -> Resource | None:
    """The resource at `path`, or `None` (404)."""
    if path == "/checkpoint":
        return Resource(body=snapshot.freshness_note.encode(), content_type=_TEXT, immutable=False)
    if path == "/members":
        return Resource(body=snapshot.members_note.encode(), content_type=_TEXT, immutable=False)
    if path == "/snapshot":
        return Resource(body=snapshot.encode(), content_type=_BINARY, immutable=False)
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    index = int(match[2].replace("/", "").replace("x", ""))
    width = TILE_WIDTH if match[3] is None else int(match[3])
    if not 0 < width <= TILE_WIDTH or (match[3] is not None and width == TILE_WIDTH) or tile_path(index) != match[2]:
        return None
    body = _entries(snapshot, index, width) if match[1] == "entries" else _hashes(snapshot, int(match[1]), index, width)
    if body is None:
        return None
    return Resource(body=body, content_type=_BINARY, immutable=match[3] is None)


def tile_path(index: int) -> str:
    """The index as a path: groups of three digits, all but the last marked with x."""
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    return "/".join([*("x" + group for group in groups[:-1]), groups[-1]])


def _hashes(snapshot: RegistrySnapshot, level: int, index: int, width: int) -> bytes | None:
    depth = level * TILE_HEIGHT
    try:
        return snapshot.log.subtrees(depth, index * TILE_WIDTH, width)
    except DocumentError:
        return None


def _entries(snapshot: RegistrySnapshot, index: int, width: int) -> bytes | None:
    start = index * TILE_WIDTH
    if start + width > snapshot.size:
        return None
    lines = (snapshot.line(number) for number in range(start, start + width))
    return b"".join(len(line).to_bytes(2, "big") + line for line in lines)
