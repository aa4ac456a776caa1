"""Import of an existing key and export: prepare at every holder, commit with everybody's acceptance, seal a share."""

from __future__ import annotations

from enclave.wire.message import Message


class ImportPrepare(Message, frozen=True):
    """Hand in a key that a client split (request token over the exact body)."""

    token: str
    body: bytes


class ImportAccepted(Message, frozen=True):
    """A holder's word that its share is right and on disk; signed over acceptance_bytes()."""

    slot: str
    boot_counter: int
    signature: bytes


class ImportCommit(Message, frozen=True):
    """Make the key usable: the acceptances of all its holders."""

    transcript: bytes
    accepted: list[ImportAccepted]


class ImportPending(Message, frozen=True):
    """An import this node accepted and was not told the end of."""

    body: bytes
    """Certificate body that its holders are about to sign."""
    accepted_at: int


class ImportsPending(Message, frozen=True):
    """All of them, for a relay that wants to bring them to their end."""

    imports: list[ImportPending]


class ImportQuery(Message, frozen=True):
    """Ask whether this node accepted an import, also after it began."""

    transcript: bytes


class ExportRequest(Message, frozen=True):
    """Ask for this node's share of an exportable key, sealed to the recipient in the body."""

    token: str
    body: bytes
    epoch: int = 0
    """Key epoch it is for, so that nodes in the middle of a refresh give shares that fit; 0: the newest."""


class ExportedShare(Message, frozen=True):
    """A share that leaves for good, sealed to the recipient."""

    sealed: bytes
    wrapped: bytes
    """An imported P-256 key under the shared scalar; empty for others."""
