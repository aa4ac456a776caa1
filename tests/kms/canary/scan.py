"""Finds any of thousands of secrets, in any of the forms Python may give them, in memory or in files, in one pass.

Every form of a secret is known by its first eight bytes.  A place is read as 64-bit words at each of the eight
alignments; words that begin a form are then compared in full.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20
FORM_BYTES_MAX = 4096
"""Longest form looked for, and so how far chunks overlap: no scalar, key or row has a longer one."""

DISTINCT_MIN = 12
"""Distinct bytes that 32 random ones have at the very least; constants and small numbers have fewer."""

_WORD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One mapping of a process."""

    start: int
    end: int
    name: str
    is_arena: bool
    """Excluded from dumps and wiped on fork: what only arenas are."""


def forms(secret: bytes) -> Iterator[bytes]:
    """How a secret could lie about: raw in both byte orders, hexadecimal, base64 at any offset, digits of an int."""
    for raw in (secret, secret[::-1]):
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        yield _digits(int.from_bytes(raw, "big"))
    for skipped in range(3):
        # Whole groups only: what stands before and after a secret changes the letters at its edges.
        whole = secret[skipped : skipped + (len(secret) - skipped) // 3 * 3]
        yield base64.b64encode(whole)
        yield base64.urlsafe_b64encode(whole)


def _is_telling(secret: bytes) -> bool:
    """Whether finding it says anything: not for what is short, regular, or a test's `bytes(range(n))`."""
    counted = secret.strip(b"\0") in bytes(range(256))
    return len(secret) >= 16 and len(set(secret)) >= DISTINCT_MIN and not counted


def _digits(value: int) -> bytes:
    """What CPython's int holds: 30-bit digits in 32-bit words, lowest first."""
    found = bytearray()
    while value:
        found += (value & (2**30 - 1)).to_bytes(4, "little")
        value >>= 30
    return bytes(found)


class Scanner:
    """Looks for all forms of all secrets; those too short or too regular to be told from chance are left out."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self.secrets = {secret for secret in secrets if _is_telling(secret)}
        self._forms: dict[int, set[bytes]] = {}
        for secret in self.secrets:
            for form in forms(secret):
                if _WORD <= len(form) <= FORM_BYTES_MAX and len(set(form[:_WORD])) > 2:
                    self._forms.setdefault(int.from_bytes(form[:_WORD], "little"), set()).add(form)
        self._words = frozenset(self._forms)

    def __len__(self) -> int:
        return len(self.secrets)

    def find(self, place: bytes) -> set[bytes]:
        """The forms that occur in `place`."""
        found: set[bytes] = set()
        view = memoryview(place)
        for offset in range(_WORD):
            end = offset + (len(view) - offset) // _WORD * _WORD
            for word in self._words.intersection(view[offset:end].cast("Q")):
                found |= {form for form in self._forms[word] if form in place}
        return found

    def find_in_process(self, pid: int | str) -> dict[str, set[bytes]]:
        """Region -> forms, over everything a process may write except its arenas."""
        hits: dict[str, set[bytes]] = {}
        for region in regions(pid):
            if region.is_arena:
                continue
            for chunk in read(pid, region):
                if found := self.find(chunk):
                    hits.setdefault(f"{region.name or 'anonymous'} at {region.start:x}", set()).update(found)
        return hits

    def find_in_file(self, path: Path) -> set[bytes]:
        """The forms that occur in a file."""
        found: set[bytes] = set()
        with path.open("rb") as file:
            tail = b""
            while content := file.read(CHUNK_BYTES):
                found |= self.find(tail + content)
                tail = content[-FORM_BYTES_MAX:]
        return found


def regions(pid: int | str) -> Iterator[Region]:
    """The private writable mappings of a process, stacks and arenas among them."""
    start = end = 0
    name, is_private_writable = "", False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        field, _, rest = line.partition(" ")
        if not field.endswith(":"):
            low, _, high = field.partition("-")
            start, end = int(low, 16), int(high, 16)
            words = rest.split(maxsplit=4)
            is_private_writable = words[0].startswith("rw") and words[0].endswith("p")
            name = words[4] if len(words) > 4 else ""
        elif field == "VmFlags:" and is_private_writable:
            yield Region(start=start, end=end, name=name, is_arena={"dd", "wf"} <= set(rest.split()))


def read(pid: int | str, region: Region) -> Iterator[bytes]:
    """The content of a region in overlapping chunks, without those that are zero throughout."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for at in range(region.start, region.end, CHUNK_BYTES):
            try:
                content = os.pread(memory.fileno(), min(CHUNK_BYTES + FORM_BYTES_MAX, region.end - at), at)
            except OSError:
                continue  # unmapped meanwhile, or a guard page
            if content.strip(b"\0"):
                yield content


def live_slots(pid: int | str) -> set[bytes]:
    """What the arenas of a process hold now, slot by slot."""
    found: set[bytes] = set()
    for region in regions(pid):
        if region.is_arena:
            content = b"".join(read(pid, region))
            found |= {content[at : at + 32] for at in range(0, len(content), 32)}
    return found - {bytes(32)}
