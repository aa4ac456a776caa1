"""Checkpoints of the registry log: a C2SP tlog-checkpoint with one extension line, `role sequence time`.

The role is inside the signed text, so a member's signature never counts as a restatement or the reverse.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from attestation.canonical import INTEGER_MAX
from attestation.errors import StatementError
from attestation.proof_of_cloud.note import Note, check_name


class Role(StrEnum):
    """Who speaks: the quorum of members, or the online freshness key."""

    MEMBERS = "members"
    FRESHNESS = "freshness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A log head: `size` entries with Merkle `root` (32 bytes), published as number `sequence` at `time`."""

    origin: str
    size: int
    root: bytes
    role: Role
    sequence: int
    time: int
    """Unix seconds."""

    @classmethod
    def parse(cls, note: Note, role: Role) -> Self:
        """The head in `note`'s text; raises StatementError unless it has exactly the form of `role`."""
        lines = note.text.split("\n")
        if len(lines) != 5 or lines[4]:
            raise StatementError("expected origin, size, root and one extension line in a checkpoint")
        extension = lines[3].split(" ")
        if len(extension) != 3 or extension[0] != role:
            raise StatementError(f"expected a {role} checkpoint")
        try:
            root = base64.b64decode(lines[2], validate=True)
        except (binascii.Error, ValueError):
            raise StatementError("a checkpoint root is not base64") from None
        if len(root) != 32 or base64.b64encode(root).decode() != lines[2]:
            raise StatementError("expected a root of 32 bytes")
        return cls(
            origin=check_name(lines[0]),
            size=_decimal(lines[1]),
            root=root,
            role=role,
            sequence=_decimal(extension[1]),
            time=_decimal(extension[2]),
        )

    def note(self) -> Note:
        """The unsigned note over this head."""
        root = base64.b64encode(self.root).decode()
        return Note(text=f"{self.origin}\n{self.size}\n{root}\n{self.role} {self.sequence} {self.time}\n")


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16 or (len(text) > 1 and text[0] == "0"):
        raise StatementError(f"expected a decimal number in a checkpoint, found {text[:20]!r}")
    value = int(text)
    if value > INTEGER_MAX:
        raise StatementError("a checkpoint number is beyond 2^53 - 1")
    return value
