"""Roster versions straight to one node, past every gateway, and what the node proves about itself and them.

Rules kept: versions go first, questions come after; an acknowledgement counts only under the identity that verified
evidence binds to the connection's end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from attestation.errors import CodedError
from enclave.certificate import KeyCertificate
from enclave.identity import is_signed
from enclave.presentation import PeerStanding
from enclave.roster_chain import Link
from enclave.roster_slots import SlotEntry
from enclave.wire.message import Empty
from enclave.wire.rosters import Activation, RosterAcknowledgement, RosterOffer, RosterStatus, roster_ack_bytes
from kms.client.direct import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, Judge, keys_of, open_connection, standing_of
from kms.errors import LinkError, NodeRefusal
from kms.fleet.connection import NodeConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterWord:
    """What one node answered; `acknowledgement` is there only if it is signed under an attested identity."""

    slot: str
    status: RosterStatus | None = None
    acknowledgement: RosterAcknowledgement | None = None
    standing: PeerStanding | None = None
    keys: tuple[KeyCertificate, ...] = ()
    trouble: str = ""
    """Code of what kept it from taking, or from being heard or believed; empty if nothing did."""


async def bring(entry: SlotEntry, links: Sequence[Link], *, judge: Judge | None) -> RosterWord:
    """Give the node at the roster's URL every version it lacks, and ask for its word on the last; never raises."""
    connection = await _connect(entry)
    if connection is None:
        return RosterWord(slot=entry.slot, trouble="node-unavailable")
    try:
        return await _bring(connection, entry.slot, links, judge)
    finally:
        connection.close()


async def show(entry: SlotEntry, activation: Activation) -> str:
    """Show a node acknowledgements that put a version in force; the code of its refusal, or nothing."""
    connection = await _connect(entry)
    if connection is None:
        return "node-unavailable"
    try:
        await connection.call("roster-activate", activation, ANSWER_TIMEOUT_S)
    except (NodeRefusal, LinkError) as error:
        return error.code
    finally:
        connection.close()
    return ""


async def _connect(entry: SlotEntry) -> NodeConnection | None:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await open_connection(entry)
    except (OSError, TimeoutError):
        return None


async def _bring(connection: NodeConnection, slot: str, links: Sequence[Link], judge: Judge | None) -> RosterWord:
    trouble = ""
    try:
        status: RosterStatus = await connection.call("roster-status", Empty(), ANSWER_TIMEOUT_S)
        newest = status.pending[-1].version if status.pending else status.version
        acknowledgement: RosterAcknowledgement | None = None
        for link in links:
            if link.roster.version > newest or link is links[-1]:
                offered = RosterOffer(roster=link.envelope)
                acknowledgement = await connection.call("roster", offered, ANSWER_TIMEOUT_S)
        status = await connection.call("roster-status", Empty(), ANSWER_TIMEOUT_S)
    except (NodeRefusal, LinkError) as error:
        return RosterWord(slot=slot, trouble=error.code)
    if judge is None:
        return RosterWord(slot=slot, status=status, trouble="verify.collateral")
    try:
        standing = await standing_of(connection, slot, judge)
        if standing.identity.tls_spki != connection.spki:
            raise LinkError("the evidence names another TLS key than the connection's", code="verify.slot")
        keys = await keys_of(connection)
    except CodedError as error:
        return RosterWord(slot=slot, status=status, trouble=error.code)
    if acknowledgement is None or not is_proven(acknowledgement, standing, links[-1]):
        acknowledgement, trouble = None, "verify.acknowledgement"
    return RosterWord(
        slot=slot, status=status, acknowledgement=acknowledgement, standing=standing, keys=keys, trouble=trouble
    )


def is_proven(acknowledgement: RosterAcknowledgement, standing: PeerStanding, link: Link) -> bool:
    """Whether the node of that standing signed that it holds the version."""
    identity, roster = standing.identity, link.roster
    facts = (acknowledgement.slot, acknowledgement.version, acknowledgement.digest)
    if facts != (identity.slot, roster.version, roster.digest) or not 0 <= acknowledgement.received_at < 1 << 62:
        return False
    message = roster_ack_bytes(
        roster.cluster_id,
        identity.slot,
        identity.boot_counter,
        roster.version,
        roster.digest,
        acknowledgement.received_at,
    )
    return is_signed(identity.identity_key, acknowledgement.signature, message)
