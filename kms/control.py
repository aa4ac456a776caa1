"""Signed control documents on their way in: checked, kept, made to count here, and delivered to every node.

A document carries its own authority.  It counts at a node once that node acknowledged it; the answer
says which did, and the rest get it as soon as they are back.
"""

from __future__ import annotations

from typing import Any

import msgspec

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url
from enclave.documents import Document, PolicyDocument, parse_document
from kms.admission import Call, Outcome
from kms.body import Reply, Request
from kms.endpoint import Answer, Context, executed, outcome
from kms.errors import RequestError
from kms.store.protocol import StoredDocument


class SignatureEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One operator's signature."""

    keyid: str
    sig: str


class EnvelopeJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A signed document (DSSE)."""

    payloadType: str
    payload: str
    signatures: list[SignatureEntry]


class DocumentRequest(Request, frozen=True):
    """A signed document."""

    document: EnvelopeJson


class AcknowledgementJson(Reply, frozen=True):
    """A node's signed word that it holds the document; `signature` is base64url."""

    slot: str
    boot_counter: int
    signature: str


class DocumentReply(Reply, frozen=True):
    """How far the document came."""

    document: str
    """Digest of the document in hex."""
    kind: str
    subject: str
    version: int
    acknowledgements: list[AcknowledgementJson]
    refused: dict[str, str]
    """Slot -> code."""
    unreached: list[str]
    """Slots that get the document when they are back."""


async def accept(context: Context, request: DocumentRequest, *, kind: str, subject: str | None, state: str) -> Answer:
    """Take a document of one kind (and subject, and state where that is not empty); 202 while nodes are missing."""
    envelope = canonical_json(Envelope.parse(msgspec.to_builtins(request.document)).to_json())
    document = parse_document(envelope, context.gateway.roster, agents=context.gateway.directory.credentials)
    _check(document, kind=kind, subject=subject, state=state)
    call = context.caller
    context.gateway.admissions.require_resource(call, document.subject, "*")
    return await executed(context, lambda: _take(context, call, document, envelope))


async def _take(context: Context, call: Call, document: Document, envelope: bytes) -> Outcome:
    gateway = context.gateway
    now = gateway.fleet.clock()
    gateway.directory.check(document, now)
    stored = StoredDocument(
        kind=document.kind,
        subject=document.subject,
        version=document.sequence,
        digest=document.digest,
        envelope=envelope,
        received_at=now,
    )
    audit: dict[str, Any] = {
        "kind": "document",
        "time": now,
        "principal": call.principal,
        "document": document.kind,
        "subject": document.subject,
        "version": document.sequence,
        "digest": document.digest.hex(),
    }
    await gateway.store.put_document(stored, audit)
    gateway.directory.put(document, envelope)
    delivery = await gateway.documents.deliver(envelope)
    if delivery.refused and not delivery.acknowledged:
        raise next(iter(delivery.refused.values()))
    refused = {slot: refusal.code for slot, refusal in delivery.refused.items()}
    if isinstance(document, PolicyDocument):
        refused |= await gateway.documents.activate(document.policy, document.digest, delivery.acknowledged)
    complete = not delivery.unreached and not refused
    return outcome(
        DocumentReply(
            document=document.digest.hex(),
            kind=document.kind,
            subject=document.subject,
            version=document.sequence,
            acknowledgements=[
                AcknowledgementJson(slot=item.slot, boot_counter=item.boot_counter, signature=b64url(item.signature))
                for item in delivery.acknowledged
            ],
            refused=dict(sorted(refused.items())),
            unreached=sorted(delivery.unreached),
        ),
        status=200 if complete else 202,
        facts={"acknowledged": sorted(item.slot for item in delivery.acknowledged)},
    )


def _check(document: Document, *, kind: str, subject: str | None, state: str) -> None:
    if document.kind != kind:
        raise RequestError(f"expected a document of kind {kind}, found {document.kind}", code="document.type")
    if subject is not None and document.subject != subject:
        raise RequestError(f"expected a document about {subject}", code="document.subject")
    found = getattr(document, "state", "")
    if state and found != state:
        raise RequestError(f"expected state {state}, found {found}", code="document.state")
