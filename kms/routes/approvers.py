"""POST /v1/approvers, POST /v1/approvers/{approver}/revoke, GET /v1/approvers: who may approve what agents ask for."""

from __future__ import annotations

import msgspec

from enclave.tokens import Act
from kms.body import Reply, read_body
from kms.control import DocumentReply, DocumentRequest, EnvelopeJson, accept
from kms.endpoint import Answer, Context, Endpoint, reply


class ApproverEntry(Reply, frozen=True):
    """One approver with a document; `document` is what operators signed."""

    approver: str
    name: str
    groups: list[str]
    state: str
    document: EnvelopeJson


class Approvers(Reply, frozen=True):
    """The approvers the principal may see."""

    approvers: list[ApproverEntry]


async def create(context: Context) -> Answer:
    """Register an approver, or change keys and groups."""
    request = read_body(context.body, DocumentRequest)
    return await accept(context, request, kind="approver", subject=None, state="active")


async def revoke(context: Context) -> Answer:
    """Revoke an approver for good."""
    request = read_body(context.body, DocumentRequest)
    return await accept(context, request, kind="approver", subject=context.params["approver"], state="revoked")


async def listing(context: Context) -> Answer:
    """Operators see all, an approver sees themselves."""
    directory, principal = context.gateway.directory, context.caller.principal
    context.gateway.admissions.require_resource(context.caller, "*")
    everyone = directory.is_operator(principal)
    return reply(
        Approvers(
            approvers=[
                ApproverEntry(
                    approver=approver.approver,
                    name=approver.name,
                    groups=list(approver.groups),
                    state=approver.state,
                    document=msgspec.json.decode(envelope, type=EnvelopeJson),
                )
                for approver, envelope in directory.approvers()
                if everyone or approver.approver == principal
            ]
        )
    )


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/approvers", summary="Register an approver", handler=create, act=Act.DOCUMENTS_PUT,
        request=DocumentRequest, reply=DocumentReply, tag="documents",
    ),
    Endpoint(
        method="POST", path="/v1/approvers/{approver}/revoke", summary="Revoke an approver", handler=revoke,
        act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=DocumentReply, tag="documents",
    ),
    Endpoint(
        method="GET", path="/v1/approvers", summary="List approvers", handler=listing, act=Act.AGENTS_LIST,
        reply=Approvers, tag="documents",
    ),
)  # fmt: skip
