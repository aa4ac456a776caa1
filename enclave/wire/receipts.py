"""The node's log: pages of entries and signed checkpoints (specs/receipts.md section 5)."""

from __future__ import annotations

from enclave.wire.message import Message


class LogEntriesRequest(Message, frozen=True):
    """Ask for entries from `start` on; what lies before `start` counts as stored by the asker."""

    boot_counter: int
    start: int
    count: int


class LogEntriesReply(Message, frozen=True):
    """Up to `count` entries: the first has index `start`, which is later than asked for if older ones are gone."""

    boot_counter: int
    size: int
    """Leaves of the log now."""
    start: int
    entries: list[bytes]


class LogCheckpointRequest(Message, frozen=True):
    """Ask for a signed checkpoint."""

    size: int = 0
    """Of a head announced in a heartbeat; 0 for the present head."""
    gateway_head: bytes = bytes(32)
    """32 opaque bytes to have signed along: the head of the asker's own chain."""


class LogCheckpointReply(Message, frozen=True):
    """A C2SP signed note (attestation.receipts.checkpoint)."""

    note: bytes
