"""Control documents from an operator's side: build, sign with the operator's key, hand in.

Sequences of agents and key states are Unix milliseconds: they rise without asking the gateway for the
last one, which a hostile gateway could answer with a number that leaves no room for another.
"""

from __future__ import annotations

import time
from typing import Any

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import Envelope
from enclave.documents import Agent, Document, KeyState, PolicyDocument, sign_document
from kms.client.caller import Caller
from kms.client.credentials import OperatorCredentials
from kms.client.errors import ConfigurationError


def next_sequence() -> int:
    """A sequence above every one this function gave before: Unix milliseconds."""
    return time.time_ns() // 1_000_000


def signed_body(caller: Caller, document: Document) -> bytes:
    """The request body for a document signed by the caller, who must be an operator."""
    credentials = caller.credentials
    if not isinstance(credentials, OperatorCredentials):
        raise ConfigurationError("documents are signed by operators", code="client.credentials")
    return document_body(sign_document(document, credentials.key))


def document_body(envelope: bytes) -> bytes:
    """The request body that carries a signed document."""
    return canonical_json({"document": Envelope.parse(envelope).to_json()})


async def put_document(caller: Caller, method: str, path: str, document: Document) -> Any:
    """Sign and hand in; the answer lists the nodes that acknowledged (informative)."""
    body = signed_body(caller, document)
    return await caller.call(method, path, act="documents.put", resource=document.subject, body=body)


def envelope_bytes(value: Any) -> bytes:
    """Canonical bytes of an envelope that came as JSON."""
    return canonical_json(value if not isinstance(value, bytes) else parse_json(value))


__all__ = ["Agent", "KeyState", "PolicyDocument", "next_sequence", "put_document"]
