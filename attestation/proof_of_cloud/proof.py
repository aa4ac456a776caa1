"""Proofs in a few kilobytes, for auditors: one line is in the registry; the registry extends an earlier one.

An inclusion proof (C2SP tlog-proof) shows that a line is in the log the freshness key signed; it cannot show that
no later line restricts the platform, so decisions use snapshots.  A consistency proof is text of the same kind.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Self

from attestation.errors import DocumentError, StatementError
from attestation.merkle import leaf_hash, verify_consistency, verify_inclusion
from attestation.proof_of_cloud.checkpoint import Checkpoint, Role
from attestation.proof_of_cloud.entries import LINE_BYTES_MAX, Entry
from attestation.proof_of_cloud.note import NOTE_BYTES_MAX, Note
from attestation.proof_of_cloud.snapshot import RegistrySnapshot

INCLUSION_HEADER = "c2sp.org/tlog-proof@v1"

CONSISTENCY_HEADER = "holdfast-registry-consistency/v1"

PATH_MAX = 63
"""RFC 6962 trees have at most 2^63 leaves."""

PROOF_BYTES_MAX = NOTE_BYTES_MAX + 2 * LINE_BYTES_MAX + 64 * 48


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """Line number `index` with the hashes that lead from it to the head in `note`."""

    line: bytes
    index: int
    path: tuple[bytes, ...]
    note: Note

    @classmethod
    def of(cls, snapshot: RegistrySnapshot, index: int) -> Self:
        """The proof for line `index` of a verified snapshot; raises StatementError."""
        try:
            path = tuple(snapshot.log.inclusion_proof(index))
        except DocumentError:
            raise StatementError(f"the registry has {snapshot.size} lines, no number {index}") from None
        return cls(line=snapshot.line(index), index=index, path=path, note=snapshot.freshness_note)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the text form strictly; raises StatementError."""
        if len(data) > PROOF_BYTES_MAX:
            raise StatementError(f"expected a proof of at most {PROOF_BYTES_MAX} bytes, found {len(data)}")
        head, blank, note = data.partition(b"\n\n")
        lines = head.decode("utf-8", "replace").split("\n")
        if not blank or len(lines) < 3 or lines[0] != INCLUSION_HEADER or len(lines) > 3 + PATH_MAX:
            raise StatementError("expected a tlog-proof, version 1, with the line as its extra data")
        extra = lines[1].removeprefix("extra ")
        if extra == lines[1] or not lines[2].startswith("index "):
            raise StatementError("expected extra data and an index in a proof")
        path = tuple(_hash(item) for item in lines[3:])
        index = _index(lines[2].removeprefix("index "))
        return cls(line=_base64(extra), index=index, path=path, note=Note.parse(note))

    def encode(self) -> bytes:
        """The text form."""
        hashes = "".join(base64.b64encode(item).decode() + "\n" for item in self.path)
        head = f"{INCLUSION_HEADER}\nextra {base64.b64encode(self.line).decode()}\nindex {self.index}\n{hashes}\n"
        return head.encode() + self.note.encode()

    def verify(self, freshness_key: bytes, *, origin: str | None = None) -> tuple[Entry, Checkpoint]:
        """The proven entry and the head it is in.

        Raises StatementError (`proof-of-cloud.signatures`, `.malformed`) if the head is not signed by
        `freshness_key` or the path does not lead to it.
        """
        head = _signed_head(self.note, freshness_key, origin)
        try:
            verify_inclusion(leaf_hash(self.line), self.index, head.size, self.path, head.root)
        except DocumentError:
            raise StatementError("the proof does not lead to the signed root") from None
        return Entry.parse(self.line), head


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """The hashes that lead from an earlier size and root to the head in `note`."""

    old_size: int
    old_root: bytes
    path: tuple[bytes, ...]
    note: Note

    @classmethod
    def of(cls, snapshot: RegistrySnapshot, old_size: int) -> Self:
        """The proof that a verified snapshot extends its own first `old_size` lines; raises StatementError."""
        try:
            path = tuple(snapshot.log.consistency_proof(old_size))
        except DocumentError:
            raise StatementError(f"the registry has {snapshot.size} lines, never {old_size}") from None
        return cls(old_size=old_size, old_root=snapshot.log.root(old_size), path=path, note=snapshot.freshness_note)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the text form strictly; raises StatementError."""
        if len(data) > PROOF_BYTES_MAX:
            raise StatementError(f"expected a proof of at most {PROOF_BYTES_MAX} bytes, found {len(data)}")
        head, blank, note = data.partition(b"\n\n")
        lines = head.decode("utf-8", "replace").split("\n")
        if not blank or not 3 <= len(lines) <= 4 + 2 * PATH_MAX or lines[0] != CONSISTENCY_HEADER:
            raise StatementError("expected a consistency proof, version 1")
        old_size = _index(lines[1].removeprefix("from "))
        hashes = tuple(_hash(item) for item in lines[2:])
        return cls(old_size=old_size, old_root=hashes[0], path=hashes[1:], note=Note.parse(note))

    def encode(self) -> bytes:
        """The text form."""
        hashes = "".join(base64.b64encode(item).decode() + "\n" for item in (self.old_root, *self.path))
        return f"{CONSISTENCY_HEADER}\nfrom {self.old_size}\n{hashes}\n".encode() + self.note.encode()

    def verify(self, freshness_key: bytes, *, origin: str | None = None) -> Checkpoint:
        """The signed head, which extends the old one; raises StatementError (`.signatures`, `.rollback`)."""
        head = _signed_head(self.note, freshness_key, origin)
        try:
            verify_consistency(self.old_size, self.old_root, head.size, head.root, self.path)
        except DocumentError:
            raise StatementError("the registry does not extend the old head", code="proof-of-cloud.rollback") from None
        return head


def _signed_head(note: Note, freshness_key: bytes, origin: str | None) -> Checkpoint:
    head = Checkpoint.parse(note, Role.FRESHNESS)
    if origin not in (None, head.origin):
        raise StatementError(f"expected registry {origin}, found {head.origin}")
    if not note.signers({head.origin: freshness_key}):
        raise StatementError("the head is not signed by the freshness key", code="proof-of-cloud.signatures")
    return head


def _index(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16 or (len(text) > 1 and text[0] == "0"):
        raise StatementError("expected a decimal number in a proof")
    return int(text)


def _hash(text: str) -> bytes:
    value = _base64(text)
    if len(value) != 32:
        raise StatementError("expected hashes of 32 bytes in a proof")
    return value


def _base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise StatementError("a proof holds something that is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise StatementError("a proof holds base64 that is not canonical")
    return data
