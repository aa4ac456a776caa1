"""Verbs of the roster's life: roster, roster-status, roster-activate (specs/roster.md section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attestation.errors import CodedError
from enclave.identity import is_signed
from enclave.wire.message import Empty
from enclave.wire.rosters import Activation, RosterAcknowledgement, RosterOffer, RosterStatus, roster_ack_bytes

_TIME_MAX = 1 << 62
"""Unix seconds: eight bytes hold them, and no sum overflows."""

if TYPE_CHECKING:
    from enclave.state import NodeState


def offer(node: NodeState, _connection: int, request: RosterOffer, now: int) -> RosterAcknowledgement:
    """Take the next version, or say again that it is held; the acknowledgement leaves only after it is on disk."""
    roster, is_new = node.rosters.offer(request.roster, now)
    if is_new:
        node.follow_rosters(now)
        node.log("roster-taken", version=roster.version, active=node.rosters.active.version)
    return _acknowledgement(node, roster.version)


def status(node: NodeState, _connection: int, _request: Empty, _now: int) -> RosterStatus:
    """Which version is in force here, and which wait."""
    active = node.rosters.active
    return RosterStatus(slot=node.slot, version=active.version, digest=active.digest, pending=node.rosters.pending())


def activate(node: NodeState, _connection: int, request: Activation, now: int) -> RosterStatus:
    """Put a version in force, under acknowledgements of nodes that this one trusts now."""

    def is_genuine(ack: RosterAcknowledgement) -> bool:
        own = node.identity.public
        if not 0 <= ack.received_at < _TIME_MAX:
            return False
        try:
            identity = own if ack.slot == own.slot else node.verdicts.identity(ack.slot, now)
        except CodedError:
            return False
        message = roster_ack_bytes(
            own.cluster, ack.slot, identity.boot_counter, ack.version, ack.digest, ack.received_at
        )
        return is_signed(identity.identity_key, ack.signature, message)

    changed = node.rosters.activate(
        request.version,
        request.digest,
        request.acknowledgements,
        keys=node.keys.certificates(),
        is_genuine=is_genuine,
        now=now,
    )
    if changed:
        node.follow_rosters(now)
        node.log("roster-activated", version=node.rosters.active.version)
    return status(node, 0, Empty(), now)


def _acknowledgement(node: NodeState, version: int) -> RosterAcknowledgement:
    roster, received_at = node.rosters.held(version)
    own = node.identity.public
    message = roster_ack_bytes(own.cluster, own.slot, own.boot_counter, version, roster.digest, received_at)
    return RosterAcknowledgement(
        slot=own.slot,
        boot_counter=own.boot_counter,
        version=version,
        digest=roster.digest,
        received_at=received_at,
        signature=node.identity.sign(message),
    )
