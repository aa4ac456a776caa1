"""Restrictions that nobody can keep from a node that works (specs/heartbeats.md section 6).

Rules kept: a restriction travels inside the heartbeats without which no lease lasts, whole, and counts by its own
signatures alone; a signed registry head with more lines than this node's snapshot stops the node until
it has them; in the quiet state nothing travels but one digest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from attestation.envelope import Envelope
from attestation.errors import CodedError
from attestation.proof_of_cloud.checkpoint import Checkpoint, Role
from attestation.proof_of_cloud.note import Note
from enclave.directory import Directory
from enclave.documents import Document
from enclave.errors import RefusedError
from enclave.heartbeats.bounds import DOCUMENT_BYTES_MAX, DOCUMENTS_BYTES_MAX, DOCUMENTS_MAX, NOTE_BYTES_MAX
from enclave.roster import Roster
from enclave.verdicts import VerdictTable
from enclave.wire.heartbeats import Heartbeat

ALWAYS = 4
"""Newest restrictions sent first in every heartbeat while a peer lacks some; the others come by chance."""


class Versions:
    """What this node holds that only takes power away, and what it knows that it lacks."""

    def __init__(self, roster: Roster, directory: Directory, verdicts: VerdictTable) -> None:
        self._freshness_key = roster.proof_of_cloud.freshness_key
        self.directory = directory
        self._verdicts = verdicts
        self._told: Checkpoint | None = None
        """The longest registry head a peer has shown."""
        self._note = b""
        """The last head that was verified: peers mostly show the same."""

    def follow(self, roster: Roster) -> None:
        """Another roster says whose word on the registry counts."""
        if roster.proof_of_cloud.freshness_key != self._freshness_key:
            self._freshness_key = roster.proof_of_cloud.freshness_key
            self._told, self._note = None, b""

    @property
    def registry(self) -> bytes:
        """The signed head of the snapshot held here."""
        snapshot = self._verdicts.snapshot
        note = snapshot.freshness_note.encode() if snapshot is not None else b""
        return note if len(note) <= NOTE_BYTES_MAX else b""

    def hear(self, heartbeat: Heartbeat, now: int) -> None:
        """Take in what a verified heartbeat carries; what does not count by itself is passed over."""
        self._hear_registry(heartbeat.registry)
        if heartbeat.restrictions_digest != self.directory.restrictions_digest:
            for envelope in heartbeat.documents:
                self._hear_document(envelope, now)

    def outgoing(self, peers: Iterable[Heartbeat]) -> list[bytes]:
        """Documents to send along: none while every peer holds the same set."""
        own = self.directory.restrictions_digest
        if all(peer.restrictions_digest == own for peer in peers):
            return []
        names = self.directory.restrictions
        names.reverse()  # newest first
        # From a place drawn by lot, not in turns: whoever drops every second heartbeat would drop the same half.
        rest = names[ALWAYS:]
        start = int.from_bytes(os.urandom(4), "big") % max(1, len(rest))
        rest = rest[start:] + rest[:start]
        documents: list[bytes] = []
        room = DOCUMENTS_BYTES_MAX
        for name in (names[:ALWAYS] + rest)[:DOCUMENTS_MAX]:
            envelope = self.directory.envelope(name)
            if envelope is not None and len(envelope) <= min(room, DOCUMENT_BYTES_MAX):
                documents.append(envelope)
                room -= len(envelope)
        return documents

    def check(self) -> None:
        """Raise RefusedError (`versions-behind`) while a signed head shows more of the registry than is held here."""
        snapshot, told = self._verdicts.snapshot, self._told
        if told is not None and snapshot is not None and told.size > snapshot.size:
            raise RefusedError(
                f"the registry has {told.size} lines, this node holds {snapshot.size}",
                code="versions-behind",
                hint="give this node the newest registry snapshot",
            )

    def _hear_registry(self, data: bytes) -> None:
        snapshot = self._verdicts.snapshot
        if not data or data == self._note or snapshot is None:
            return
        try:
            note = Note.parse(data)
            head = Checkpoint.parse(note, Role.FRESHNESS)
        except CodedError:
            return
        if head.origin != snapshot.origin or not note.signers({head.origin: self._freshness_key}):
            return
        self._note = data
        if self._told is None or head.size > self._told.size:
            self._told = head

    def _hear_document(self, envelope: bytes, now: int) -> None:
        if len(envelope) > DOCUMENT_BYTES_MAX:
            return
        try:
            if not self.directory.holds(Envelope.parse(envelope).digest):
                self.directory.put(envelope, now, admit=_only_restrictions)
        except CodedError:
            return  # not signed as it must be, not newer, or about somebody not known here


def _only_restrictions(document: Document) -> None:
    """Only what takes power away may come this way."""
    if not document.restricts:
        raise RefusedError("expected a restriction", code="document.relaxes")
