"""DELETE /v1/agents/{agent}/credentials/{credential}: one key of an agent counts no longer, by its own word."""

from __future__ import annotations

from enclave.restrictions import credential_subject
from enclave.tokens import Act
from kms.body import read_body
from kms.control import DocumentReply, DocumentRequest, accept
from kms.endpoint import Answer, Context, Endpoint


async def revoke(context: Context) -> Answer:
    """Take one credential back for good; the agent itself may sign the document, or a registrar."""
    request = read_body(context.body, DocumentRequest)
    subject = credential_subject(context.params["agent"], context.params["credential"])
    return await accept(context, request, kind="credential", subject=subject, state="")


ENDPOINTS = (
    Endpoint(
        method="DELETE", path="/v1/agents/{agent}/credentials/{credential}", summary="Revoke one credential",
        handler=revoke, act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=DocumentReply, tag="documents",
    ),
)  # fmt: skip
