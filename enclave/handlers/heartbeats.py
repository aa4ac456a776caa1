"""Verbs of the heartbeat exchange: heartbeat (give), heartbeats (take), forks, clock-follow (specs/heartbeats.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attestation.envelope import Envelope
from attestation.errors import CodedError, DocumentError
from enclave.errors import RefusedError, StorageError, VerdictError, WireError
from enclave.fields import Fields
from enclave.heartbeats.bounds import HEARTBEATS_MAX
from enclave.roster import Role
from enclave.wire.heartbeats import (
    ClockRequest,
    ForksReply,
    HeartbeatRefusal,
    HeartbeatReply,
    HeartbeatsReply,
    HeartbeatsRequest,
)
from enclave.wire.message import Empty
from enclave.working import check_working

if TYPE_CHECKING:
    from enclave.state import NodeState

CLOCK_TYPE = "application/vnd.holdfast.clock+json"
"""Payload type of an operator's word on what time it is."""


def give(node: NodeState, _connection: int, _request: Empty, now: int) -> HeartbeatReply:
    """This node's newest heartbeat, for relays to carry to its peers."""
    signed = node.heartbeats.beat(now)
    try:
        check_working(node, now)
    except (RefusedError, VerdictError) as error:
        return HeartbeatReply(heartbeat=signed, refuses=error.code, detail=error.detail)
    return HeartbeatReply(heartbeat=signed, refuses="", detail="")


def take(node: NodeState, _connection: int, request: HeartbeatsRequest, now: int) -> HeartbeatsReply:
    """Heartbeats of peers; one that is refused does not keep the others out.  Raises WireError (`wire.too-large`)."""
    if len(request.heartbeats) > HEARTBEATS_MAX:
        raise WireError(f"expected at most {HEARTBEATS_MAX} heartbeats", code="wire.too-large")
    refused = []
    forks = len(node.heartbeats.peers.proofs)
    for signed in request.heartbeats:
        try:
            node.heartbeats.hear(signed, now)
        except StorageError:
            raise
        except CodedError as error:
            refused.append(HeartbeatRefusal(slot=signed.slot[:64], code=error.code))
    if len(node.heartbeats.peers.proofs) > forks:
        node.log("fork-proven", level="error", slots=sorted(node.heartbeats.peers.proofs))
    node.receipts.countersigned(node.heartbeats.lease.countersigned, now)
    node.settle_start()
    return HeartbeatsReply(refused=refused)


def forks(node: NodeState, _connection: int, _request: Empty, _now: int) -> ForksReply:
    """Proofs against nodes that contradicted themselves, for anyone to verify."""
    return ForksReply(proofs=list(node.heartbeats.peers.proofs.values()))


def follow_clock(node: NodeState, _connection: int, request: ClockRequest, _now: int) -> Empty:
    """An operator confirms that the cluster's time is where the peers' clocks have moved.

    Raises DocumentError (`clock.malformed`, envelope codes), RefusedError (`document.role`), CallerError (`clock.*`).
    """
    signed = Envelope.parse(request.document)
    if signed.payload_type != CLOCK_TYPE:
        raise DocumentError(f"expected {CLOCK_TYPE}", code="envelope.type")
    fields = Fields(signed.value(), where="", error=_malformed)
    fields.constant("type", "holdfast/clock/v1")
    cluster = fields.hexadecimal("cluster", size=32)
    time = fields.integer("time", 1)
    fields.done()
    if cluster != node.roster.cluster_id:
        raise DocumentError("document is for another cluster", code="document.cluster")
    if not signed.signers(entry.key for entry in node.roster.holders(Role.ADMIN)):
        raise RefusedError("expected a signature of role admin", code="document.role")
    node.heartbeats.clock.follow(time)
    return Empty()


def _malformed(detail: str) -> CodedError:
    return DocumentError(detail, code="clock.malformed")
