"""Verb `backup-export`: this node's state for its custodians, to whoever asks, because only they can open it.

Verbs of a restore are for a process that does nothing else; a node at work refuses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.errors import RefusedError
from enclave.wire.backup import BackupPiece, BackupRequest
from enclave.wire.message import Message
from enclave.working import check_working

if TYPE_CHECKING:
    from enclave.state import NodeState


def export(node: NodeState, _connection: int, request: BackupRequest, now: int) -> BackupPiece:
    """The header of a new bundle, or the next piece of one under way."""
    if request.export:
        return node.backups.following(node, request.export, request.number)
    check_working(node, now)
    return node.backups.begin(node, now)


def refuse(_node: NodeState, _connection: int, _request: Message, _now: int) -> Message:
    """A node at work is not restored."""
    raise RefusedError(
        "this node is at work", code="restore.serving", hint="a restore is for a fresh node: kms-node restore"
    )
