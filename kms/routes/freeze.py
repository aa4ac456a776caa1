"""POST /v1/freeze, POST /v1/thaw, GET /v1/freeze: one operator stops a cluster, agent, key or chain at once."""

from __future__ import annotations

import msgspec

from enclave.tokens import Act
from kms.body import Reply, read_body
from kms.control import DocumentReply, DocumentRequest, EnvelopeJson, accept
from kms.endpoint import Answer, Context, Endpoint, reply
from kms.errors import ForbiddenError


class FreezeEntry(Reply, frozen=True):
    """The newest word on one scope; `document` is what operators signed."""

    scope: str
    id: str | None
    state: str
    issued_at: int
    document: EnvelopeJson


class Freezes(Reply, frozen=True):
    """Everything that was ever frozen."""

    freezes: list[FreezeEntry]


async def freeze(context: Context) -> Answer:
    """Stop; complete when n - s + 1 nodes of every affected key acknowledged."""
    request = read_body(context.body, DocumentRequest)
    return await accept(context, request, kind="freeze", subject=None, state="frozen")


async def thaw(context: Context) -> Answer:
    """Let go again, by the roster's quorum."""
    request = read_body(context.body, DocumentRequest)
    return await accept(context, request, kind="freeze", subject=None, state="thawed")


async def listing(context: Context) -> Answer:
    """For operators: agents learn of a freeze when they are refused."""
    gateway = context.gateway
    gateway.admissions.require_resource(context.caller, "*")
    if not gateway.directory.is_operator(context.caller.principal):
        raise ForbiddenError("expected an operator")
    return reply(
        Freezes(
            freezes=[
                FreezeEntry(
                    scope=str(document.scope),
                    id=document.target,
                    state=document.state,
                    issued_at=document.issued_at,
                    document=msgspec.json.decode(envelope, type=EnvelopeJson),
                )
                for document, envelope in gateway.directory.freezes()
            ]
        )
    )


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/freeze", summary="Freeze a cluster, agent, key or chain", handler=freeze,
        act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=DocumentReply, tag="documents",
    ),
    Endpoint(
        method="POST", path="/v1/thaw", summary="Let a frozen scope go again", handler=thaw,
        act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=DocumentReply, tag="documents",
    ),
    Endpoint(
        method="GET", path="/v1/freeze", summary="What is frozen", handler=listing, act=Act.AGENTS_LIST,
        reply=Freezes, tag="documents",
    ),
)  # fmt: skip
