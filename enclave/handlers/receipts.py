"""Verbs of the node's log: log-entries, log-checkpoint (specs/receipts.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.wire.receipts import LogCheckpointReply, LogCheckpointRequest, LogEntriesReply, LogEntriesRequest

if TYPE_CHECKING:
    from enclave.state import NodeState


def entries(node: NodeState, _connection: int, request: LogEntriesRequest, _now: int) -> LogEntriesReply:
    """A page of entries."""
    return node.receipts.page(request.boot_counter, request.start, request.count)


def checkpoint(node: NodeState, _connection: int, request: LogCheckpointRequest, now: int) -> LogCheckpointReply:
    """A signed head."""
    return LogCheckpointReply(note=node.receipts.checkpoint(now, size=request.size, gateway_head=request.gateway_head))
