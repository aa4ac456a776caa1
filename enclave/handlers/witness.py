"""Verb `cold-start`: go on from the sealed state after an operator confirmed it (specs/rollback.md section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.wire.witness import ColdStartReply, ColdStartRequest
from enclave.witness.cold_start import parse_cold_start

if TYPE_CHECKING:
    from enclave.state import NodeState


def cold_start(node: NodeState, _connection: int, request: ColdStartRequest, _now: int) -> ColdStartReply:
    """Take an operator's confirmation; raises as `parse_cold_start`, RefusedError (`cold-start.differs`)."""
    document = parse_cold_start(request.document, node.roster)
    if not node.witness.is_settled:
        node.witness.confirm(document.counters, node.slot, node.heartbeats.peers.kept())
    return ColdStartReply(settled=node.witness.is_settled)
