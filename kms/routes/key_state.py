"""POST /v1/keys/{key}/disable and enable: signed documents that stop a key, or let it be used again."""

from __future__ import annotations

from enclave.tokens import Act
from kms.body import read_body
from kms.control import DocumentReply, DocumentRequest, accept
from kms.endpoint import Answer, Context, Endpoint


async def disable(context: Context) -> Answer:
    """One operator stops a key; complete when n - s + 1 of its nodes acknowledged."""
    request = read_body(context.body, DocumentRequest)
    return await accept(context, request, kind="key-state", subject=context.params["key"], state="disabled")


async def enable(context: Context) -> Answer:
    """The quorum for key states lets a key be used again."""
    request = read_body(context.body, DocumentRequest)
    return await accept(context, request, kind="key-state", subject=context.params["key"], state="enabled")


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/keys/{key}/disable", summary="Stop every use of a key", handler=disable,
        act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=DocumentReply,
    ),
    Endpoint(
        method="POST", path="/v1/keys/{key}/enable", summary="Allow use of a key again", handler=enable,
        act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=DocumentReply,
    ),
)  # fmt: skip
