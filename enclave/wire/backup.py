"""A node's bundle on its way out, part by part; and on its way back into the one-shot process that restores it."""

from __future__ import annotations

from enclave.wire.message import Message

RESTORE_PURPOSE = "restore"
"""Named in the evidence of the one-shot process: no node counts it as a peer."""


class BackupRequest(Message, frozen=True):
    """Ask for the next piece of a bundle; without a name a new one begins."""

    export: bytes = b""
    number: int = 0
    """Of the piece: 0 is the header; the last one may be asked for again."""


class BackupPiece(Message, frozen=True):
    """Header, part or closing, to be kept as it is."""

    export: bytes
    number: int
    data: bytes
    is_last: bool
    """Whether this is the closing."""


class RestoreBegin(Message, frozen=True):
    """Operators' order and the header of the bundle it names."""

    order: bytes
    header: bytes


class RestorePiece(Message, frozen=True):
    """The next part, or the closing."""

    number: int
    """Counts from 1."""
    data: bytes
    is_last: bool


class RestoreMnemonic(Message, frozen=True):
    """One custodian's mnemonic, sealed to the process's attested key (enclave.backup.contribution)."""

    sealed: bytes


class RestoreStanding(Message, frozen=True):
    """How far a restore is."""

    slot: str
    parts: int
    is_complete: bool
    """Whether the whole bundle has come and is the one the order names."""
    custodians: list[str]
    """Whose mnemonics it has."""
    missing: str
    """What custodians still have to bring, in words; empty if nothing."""
    is_done: bool
    keys: int
    """Shares restored, each checked against its certificate."""
    documents: int
    refused: list[str]
    """Documents the newest roster no longer counts, as `kind:subject`."""


class DocumentsRequest(Message, frozen=True):
    """Ask for restored control documents, from a place on."""

    start: int


class DocumentsReply(Message, frozen=True):
    """Signed envelopes in the order they are to be handed in; fewer than asked for at the end."""

    documents: list[bytes]
    total: int
