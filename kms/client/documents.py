"""Control documents from an operator's side: build, sign with the operator's key, collect signatures, hand in.

Sequences of agents and key states are Unix milliseconds: they rise without asking the gateway for the
last one, which a hostile gateway could answer with a number that leaves no room for another.
"""

from __future__ import annotations

import time
from typing import Any

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from enclave.approvals.approver import Approver
from enclave.ceremonies.orders import PAYLOAD_TYPE as ORDER_TYPE
from enclave.documents import KINDS, Agent, Document, KeyState, PolicyDocument, parse_document, payload_type
from enclave.documents import sign_document as sign_with
from enclave.enrolment import Enrolment
from enclave.restrictions import CredentialRevocation, Freeze
from enclave.roster import Roster
from kms.client.caller import Caller
from kms.client.credentials import OperatorCredentials
from kms.client.errors import ConfigurationError

__all__ = ["Agent", "Documents", "KeyState", "PolicyDocument", "next_sequence"]


def next_sequence() -> int:
    """A sequence above every one this function gave before: Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Documents:
    """`client.documents`: for documents that need several operators; the other verbs sign and hand in at once."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def sign(self, document: Document) -> bytes:
        """The document's envelope with the caller's signature."""
        return sign_with(document, self._operator().key)

    def cosign(self, envelope: bytes) -> bytes:
        """The envelope with the caller's signature added; the caller has read it (`contents`)."""
        self.contents(envelope)
        return canonical_json(self._operator().sign(Envelope.parse(envelope)).to_json())

    def contents(self, envelope: bytes) -> dict[str, Any]:
        """What an envelope says, whoever signed it.

        Raises ConfigurationError (`client.document`) if it is not a control document of this cluster.
        """
        parsed = Envelope.parse(envelope)
        value = parsed.value()
        known = parsed.payload_type in {ORDER_TYPE, *(payload_type(kind) for kind in KINDS)}
        if not known or value.get("cluster") != self._caller.cluster.hex():
            raise ConfigurationError("expected a control document of this cluster", code="client.document")
        return value

    async def put(self, envelope: bytes, *, roster: Roster) -> Any:
        """Hand in a document signed in quorum; raises RefusedError (`document.quorum`) before sending if it is not."""
        return await self.send(parse_document(envelope, roster), envelope)

    async def sign_and_put(self, document: Document) -> Any:
        """Sign and hand in; the answer lists the nodes that acknowledged (informative)."""
        return await self.send(document, self.sign(document))

    async def send(self, document: Document, envelope: bytes) -> Any:
        """Hand in an envelope that was read and signed before."""
        method, path = _route(document)
        body = canonical_json({"document": Envelope.parse(envelope).to_json()})
        # A scope or a credential is no resource with an id of its own.
        resource = "*" if isinstance(document, Freeze | CredentialRevocation) else document.subject
        return await self._caller.call(method, path, act="documents.put", resource=resource, body=body)

    def _operator(self) -> OperatorCredentials:
        credentials = self._caller.credentials
        if not isinstance(credentials, OperatorCredentials):
            raise ConfigurationError("documents are signed by operators", code="client.credentials")
        return credentials


def _route(document: Document) -> tuple[str, str]:
    """Method and path that take the document."""
    match document:
        case PolicyDocument():
            return "PUT", f"/v1/policies/{document.policy}"
        case KeyState():
            return "POST", f"/v1/keys/{document.key}/{'disable' if document.restricts else 'enable'}"
        case Freeze():
            return "POST", "/v1/freeze" if document.restricts else "/v1/thaw"
        case CredentialRevocation():
            return "DELETE", f"/v1/agents/{document.agent}/credentials/{document.credential}"
        case Approver() if document.restricts:
            return "POST", f"/v1/approvers/{document.approver}/revoke"
        case Approver():
            return "POST", "/v1/approvers"
        case Enrolment():
            return "POST", f"/v1/nodes/{document.slot}/enrol"
        case Agent() if document.restricts:
            return "POST", f"/v1/agents/{document.agent}/revoke"
    return "POST", "/v1/agents"
