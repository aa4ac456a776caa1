"""PUT and GET /v1/policies/{policy}: what agents may do."""

from __future__ import annotations

import msgspec

from enclave.documents import PolicyDocument
from enclave.tokens import Act
from kms.body import Reply, read_body
from kms.conditions import check_match, etag
from kms.control import DocumentReply, DocumentRequest, EnvelopeJson, accept
from kms.endpoint import Answer, Context, Endpoint, reply
from kms.errors import NotFoundError
from kms.problems import encode


class Policy(Reply, frozen=True):
    """The newest version; `document` is what operators signed."""

    policy: str
    name: str
    version: int
    document: EnvelopeJson


async def put(context: Context) -> Answer:
    """Put the next version."""
    if context.if_match is not None:
        held = context.gateway.directory.policy(context.params["policy"])
        check_match(None if held is None else etag(encode(_shown(*held))), context.if_match)
    request = read_body(context.body, DocumentRequest)
    return await accept(context, request, kind="policy", subject=context.params["policy"], state="")


async def show(context: Context) -> Answer:
    """The newest version, to operators and to the agents it allows something."""
    gateway, policy = context.gateway, context.params["policy"]
    gateway.admissions.require_resource(context.caller, policy, "*")
    found = gateway.directory.policy(policy)
    if found is None or not gateway.directory.may_see_policy(context.caller.principal, policy):
        raise NotFoundError("no such policy, or none of yours")
    return reply(_shown(*found))


def _shown(document: PolicyDocument, envelope: bytes) -> Policy:
    return Policy(
        policy=document.policy,
        name=document.name,
        version=document.version,
        document=msgspec.json.decode(envelope, type=EnvelopeJson),
    )


ENDPOINTS = (
    Endpoint(
        method="PUT", path="/v1/policies/{policy}", summary="Put a policy version", handler=put,
        act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=DocumentReply, tag="documents",
    ),
    Endpoint(
        method="GET", path="/v1/policies/{policy}", summary="The newest version of a policy", handler=show,
        act=Act.POLICIES_GET, reply=Policy, tag="documents",
    ),
)  # fmt: skip
