"""A document straight to one node, past every gateway; and what the node proves about itself and its keys.

Rules kept: the document goes first, questions come after; what the node says of its keys counts only over the
connection that its verified evidence names.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from attestation.errors import CodedError
from enclave.certificate import KeyCertificate
from enclave.presentation import PeerStanding
from enclave.roster_slots import SlotEntry
from enclave.wire.attestation import EvidenceRequest, Presentation
from enclave.wire.documents import Acknowledgement, CertificateRequest, CertificateSignature, ControlRequest, Holdings
from enclave.wire.message import Empty
from kms.errors import LinkError, NodeRefusal
from kms.fleet.connection import NodeConnection

NONCE_BYTES = 32

CONNECT_TIMEOUT_S = 5.0
"""Longest wait for TCP and TLS together."""

ANSWER_TIMEOUT_S = 10.0
"""A node syncs its disk before it acknowledges; a quote takes seconds on some platforms."""

Judge = Callable[[Presentation, bytes], PeerStanding]
"""Judges evidence that answers a nonce; raises CodedError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWord:
    """What one node answered; nothing in it is verified but `standing`, and `keys` if that is there."""

    slot: str
    acknowledgement: Acknowledgement | None = None
    standing: PeerStanding | None = None
    keys: tuple[KeyCertificate, ...] = ()
    refusal: str = ""
    """Code with which the node refused the document."""
    trouble: str = ""
    """Code of whatever else kept it from being heard or believed."""


async def deliver(entry: SlotEntry, envelope: bytes, *, judge: Judge | None) -> NodeWord:
    """Hand `envelope` to the node at the roster's URL, then ask who it is and what it holds; never raises."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            connection = await open_connection(entry)
    except (OSError, TimeoutError):
        return NodeWord(slot=entry.slot, trouble="node-unavailable")
    try:
        return await _ask(connection, entry.slot, envelope, judge)
    finally:
        connection.close()


async def open_connection(entry: SlotEntry) -> NodeConnection:
    """A connection to the roster's URL; who is at its end only evidence tells.  Raises OSError."""
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: NodeConnection(entry.slot, on_lost=lambda _: None), entry.host, entry.port, ssl=_TLS
    )
    return connection


async def _ask(connection: NodeConnection, slot: str, envelope: bytes, judge: Judge | None) -> NodeWord:
    acknowledgement, refusal = None, ""
    try:
        acknowledgement = await connection.call("control", ControlRequest(document=envelope), ANSWER_TIMEOUT_S)
    except NodeRefusal as error:
        refusal = error.code
    except LinkError as error:
        return NodeWord(slot=slot, trouble=error.code)
    if judge is None:
        return NodeWord(slot=slot, acknowledgement=acknowledgement, refusal=refusal, trouble="verify.collateral")
    try:
        standing = await standing_of(connection, slot, judge)
        keys = await keys_of(connection) if standing.identity.tls_spki == connection.spki else ()
    except CodedError as error:
        return NodeWord(slot=slot, acknowledgement=acknowledgement, refusal=refusal, trouble=error.code)
    return NodeWord(slot=slot, acknowledgement=acknowledgement, refusal=refusal, standing=standing, keys=keys)


async def standing_of(connection: NodeConnection, slot: str, judge: Judge) -> PeerStanding:
    """What fresh evidence proves of the node at the other end; raises CodedError."""
    nonce = os.urandom(NONCE_BYTES)
    presentation = await connection.call("evidence", EvidenceRequest(nonces=[nonce]), ANSWER_TIMEOUT_S)
    standing = judge(presentation, nonce)
    if standing.slot != slot:
        raise LinkError(f"expected {slot}, found the evidence of another slot", code="verify.slot")
    return standing


async def keys_of(connection: NodeConnection) -> tuple[KeyCertificate, ...]:
    """Certificates of the keys the node says it holds; raises LinkError or NodeRefusal."""
    holdings = await connection.call("holdings", Empty(), ANSWER_TIMEOUT_S)
    assert isinstance(holdings, Holdings)
    names = sorted({held.key for held in holdings.keys})
    answers = await asyncio.gather(
        *(connection.call("certificate", CertificateRequest(key=name), ANSWER_TIMEOUT_S) for name in names),
        return_exceptions=True,
    )
    return tuple(KeyCertificate.parse(answer.body) for answer in answers if isinstance(answer, CertificateSignature))


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # bound by the evidence instead
    return context


_TLS = _tls()
