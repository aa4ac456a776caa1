"""The audit chain: what an entry is, how entries are linked, and how anyone checks them (specs/audit-log.md).

The gateway writes it, so it proves order and completeness only against later change by somebody who
does not hold a newer head: whoever keeps a head hash can show that history before it was altered.
Entries never hold a plaintext, a token or a share: digests, ids, codes and counts only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from attestation.canonical import canonical_json, parse_json
from attestation.errors import DocumentError
from enclave.wire.message import tagged
from kms.errors import AuditError

GENESIS = hashlib.sha256(tagged("audit-genesis")).digest()
"""Head of the empty chain."""

ENTRY_BYTES_MAX = 16 << 10
"""Largest entry in bytes: a dozen short members, with room for a long culprit list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One link of the chain: `body` is the canonical JSON that was hashed, `sequence` counts from 1."""

    sequence: int
    body: bytes
    previous: bytes
    hash: bytes

    @classmethod
    def after(cls, sequence: int, previous: bytes, value: dict[str, Any]) -> Entry:
        """The entry that follows the head (`sequence` - 1, `previous`); `value` is JSON with ASCII member names."""
        body = msgspec.json.encode(value, order="sorted")  # canonical for ASCII member names, and 10 times faster
        return cls(sequence=sequence, body=body, previous=previous, hash=link(sequence, previous, body))

    def to_json(self) -> dict[str, Any]:
        """The form served by `GET /v1/audit`: hashes in hex, the body as the JSON it is."""
        return {
            "sequence": self.sequence,
            "entry": parse_json(self.body),
            "previous": self.previous.hex(),
            "hash": self.hash.hex(),
        }

    @classmethod
    def from_json(cls, value: Any) -> Entry:
        """Inverse of `to_json`; raises AuditError (`audit.malformed`)."""
        if not isinstance(value, dict) or set(value) != {"sequence", "entry", "previous", "hash"}:
            raise AuditError("expected sequence, entry, previous and hash", code="audit.malformed")
        sequence = value["sequence"]
        if isinstance(sequence, bool) or not isinstance(sequence, int) or sequence < 1:
            raise AuditError("expected a sequence from 1 on", code="audit.malformed")
        if not isinstance(value["entry"], dict):
            raise AuditError("expected an object as entry", code="audit.malformed")
        try:
            body = canonical_json(value["entry"])
        except DocumentError as error:
            raise AuditError(error.detail, code="audit.malformed") from None
        return cls(sequence=sequence, body=body, previous=_hash(value["previous"]), hash=_hash(value["hash"]))


def link(sequence: int, previous: bytes, body: bytes) -> bytes:
    """SHA-256 over the tag, the big-endian u64 sequence, the previous hash and the body."""
    return hashlib.sha256(tagged("audit", sequence.to_bytes(8, "big"), previous, body)).digest()


def verify_chain(entries: Iterable[Entry], *, sequence: int = 0, head: bytes = GENESIS) -> tuple[int, bytes]:
    """Check that `entries` continue the chain whose last link is (`sequence`, `head`); returns the new last link.

    Raises AuditError: `audit.gap` (a number is missing or repeated), `audit.broken` (an entry was
    changed, removed or put elsewhere), `audit.malformed`.
    """
    for entry in entries:
        if entry.sequence != sequence + 1:
            raise AuditError(f"expected entry {sequence + 1}, found {entry.sequence}", code="audit.gap")
        if len(entry.body) > ENTRY_BYTES_MAX:
            raise AuditError(f"entry {entry.sequence} is larger than 16 KiB", code="audit.malformed")
        if entry.previous != head:
            raise AuditError(f"entry {entry.sequence} does not follow the entry before it", code="audit.broken")
        if entry.hash != link(entry.sequence, head, entry.body):
            raise AuditError(f"entry {entry.sequence} was changed after it was written", code="audit.broken")
        sequence, head = entry.sequence, entry.hash
    return sequence, head


def _hash(text: Any) -> bytes:
    if not isinstance(text, str) or len(text) != 64 or text.lower() != text:
        raise AuditError("expected a hash of 64 lower-case hex digits", code="audit.malformed")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise AuditError("expected a hash of 64 lower-case hex digits", code="audit.malformed") from None
