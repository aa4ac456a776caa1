"""A registry's directory: configuration, log, heads, and the proposal waiting for signatures.

    registry.json      origin, members, threshold, freshness key
    log.jsonl          every line in force
    members.note       newest head signed by k members
    freshness.note     newest head signed by the freshness key
    proposal.jsonl     lines proposed and not yet signed by k members
    proposal.note      the head over log and proposal, with the signatures collected so far
    keys/              member and freshness keys, where this machine holds any

Order of writes when a proposal comes into force: members.note, then log.jsonl, then the proposal is
removed; `load` finishes a settlement that was cut short.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url, b64url_decode
from attestation.errors import StatementError
from attestation.proof_of_cloud.checkpoint import Checkpoint, Role
from attestation.proof_of_cloud.log import MerkleLog
from attestation.proof_of_cloud.note import Note, check_name
from attestation.proof_of_cloud.snapshot import SNAPSHOT_BYTES_MAX, check_roles

CONFIG_TYPE = "holdfast/registry/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """Who may say what: the two roles' public keys."""

    origin: str
    members: Mapping[str, bytes]
    threshold: int
    freshness_key: bytes

    def __post_init__(self) -> None:
        for name in (self.origin, *self.members):
            check_name(name)
        if self.origin in self.members:
            raise StatementError("a member has the name of the registry")
        check_roles(self.members, self.threshold, self.freshness_key)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read registry.json strictly; raises StatementError or DocumentError."""
        value = parse_json(data)
        expected = {"type", "origin", "members", "threshold", "freshness_key"}
        if not isinstance(value, dict) or set(value) != expected or value["type"] != CONFIG_TYPE:
            raise StatementError(f"expected exactly {sorted(expected)} in a registry configuration")
        if not isinstance(value["members"], dict) or not isinstance(value["origin"], str):
            raise StatementError("expected an origin and an object of members in a registry configuration")
        if not isinstance(value["threshold"], int) or isinstance(value["threshold"], bool):
            raise StatementError("expected an integer threshold in a registry configuration")
        return cls(
            origin=value["origin"],
            members={name: b64url_decode(key) for name, key in value["members"].items()},
            threshold=value["threshold"],
            freshness_key=b64url_decode(value["freshness_key"]),
        )

    def encode(self) -> bytes:
        """registry.json."""
        return canonical_json(
            {
                "type": CONFIG_TYPE,
                "origin": self.origin,
                "members": {name: b64url(key) for name, key in self.members.items()},
                "threshold": self.threshold,
                "freshness_key": b64url(self.freshness_key),
            }
        )


@dataclass(slots=True, kw_only=True)
class RegistryState:
    """What the directory holds, in memory."""

    lines: list[bytes] = field(default_factory=list)
    log: MerkleLog = field(default_factory=MerkleLog)
    members: Note | None = None
    freshness: Note | None = None
    proposed: list[bytes] = field(default_factory=list)
    proposal: Note | None = None

    def members_head(self) -> Checkpoint | None:
        """The newest members' head, if there is one."""
        return Checkpoint.parse(self.members, Role.MEMBERS) if self.members else None

    def freshness_head(self) -> Checkpoint | None:
        """The newest restated head, if there is one."""
        return Checkpoint.parse(self.freshness, Role.FRESHNESS) if self.freshness else None


class RegistryFiles:
    """Reads and writes one registry's directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory against other processes; a directory nobody here can write needs no lock."""
        try:
            file = (self.directory / ".lock").open("w")
        except OSError:
            yield
            return
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def config(self) -> RegistryConfig:
        """registry.json; raises StatementError if there is none."""
        return RegistryConfig.parse(self._read("registry.json", required=True))

    def write_config(self, config: RegistryConfig) -> None:
        """Write registry.json."""
        self.write("registry.json", config.encode())

    def load(self) -> RegistryState:
        """Everything else; finishes a settlement that was interrupted. Call it under `locked`.

        Raises StatementError if the files contradict each other.
        """
        lines = _lines(self._read("log.jsonl"))
        state = RegistryState(
            lines=lines,
            log=MerkleLog(lines),
            members=self._note("members.note"),
            freshness=self._note("freshness.note"),
            proposed=_lines(self._read("proposal.jsonl")),
            proposal=self._note("proposal.note"),
        )
        head = state.members_head()
        if head is not None and head.size > len(state.lines):
            missing = state.proposed[len(state.lines) - head.size :]
            self.append(state, missing)
            if state.log.root(head.size) != head.root:
                raise StatementError("the log does not hold what the members signed")
            self.write_proposal(state, [], None)
        return state

    def append(self, state: RegistryState, lines: Sequence[bytes]) -> None:
        """Append lines to the log, durably, and to `state`."""
        path = self.directory / "log.jsonl"
        with path.open("ab") as file:
            # Cut a line that a crash left half written: it was never covered by a head.
            file.truncate(sum(len(line) + 1 for line in state.lines))
            file.write(b"".join(line + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        for line in lines:
            state.lines.append(line)
            state.log.append(line)

    def write_proposal(self, state: RegistryState, lines: list[bytes], note: Note | None) -> None:
        """Replace the proposal."""
        state.proposed, state.proposal = lines, note
        for name, data in (
            ("proposal.jsonl", b"".join(line + b"\n" for line in lines)),
            ("proposal.note", _wire(note)),
        ):
            if note is not None:
                self.write(name, data)
            else:
                (self.directory / name).unlink(missing_ok=True)

    def write_head(self, state: RegistryState, role: Role, note: Note) -> None:
        """Replace the newest head of `role`."""
        if role is Role.MEMBERS:
            state.members = note
        else:
            state.freshness = note
        self.write(f"{role}.note", note.encode())

    def write(self, name: str, data: bytes) -> None:
        """Replace a file atomically."""
        temporary = self.directory / f".{name}.new"
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.directory / name)

    def stamp(self, *names: str) -> tuple[tuple[int, int] | None, ...]:
        """Inode and modification time of each file: every atomic replacement changes them."""
        found: list[tuple[int, int] | None] = []
        for name in names:
            try:
                status = (self.directory / name).stat()
                found.append((status.st_ino, status.st_mtime_ns))
            except FileNotFoundError:
                found.append(None)
        return tuple(found)

    def _note(self, name: str) -> Note | None:
        data = self._read(name)
        if not data:
            return None
        # An unsigned proposal is kept without signature lines, which the note format does not have.
        return Note(text=data.decode()) if b"\n\n" not in data else Note.parse(data)

    def _read(self, name: str, *, required: bool = False) -> bytes:
        path = self.directory / name
        try:
            if path.stat().st_size > SNAPSHOT_BYTES_MAX:
                raise StatementError(f"{path} is larger than any registry file")
            return path.read_bytes()
        except FileNotFoundError:
            if required:
                raise StatementError(f"no registry at {self.directory}", hint="attest registry init") from None
            return b""


def _lines(data: bytes) -> list[bytes]:
    """Complete lines only: a last line without a newline was cut by a crash."""
    return data.split(b"\n")[:-1]


def _wire(note: Note | None) -> bytes:
    if note is None:
        return b""
    return note.encode() if note.signatures else note.text.encode()
