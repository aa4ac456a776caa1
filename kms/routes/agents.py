"""POST /v1/agents, POST /v1/agents/{agent}/revoke, GET /v1/agents: who may ask for anything."""

from __future__ import annotations

import msgspec

from enclave.tokens import Act
from kms.body import Reply, read_body
from kms.control import DocumentReply, DocumentRequest, EnvelopeJson, accept
from kms.endpoint import Answer, Context, Endpoint, reply


class AgentEntry(Reply, frozen=True):
    """One agent; `document` is what operators signed."""

    agent: str
    name: str
    state: str
    document: EnvelopeJson


class Agents(Reply, frozen=True):
    """The agents the principal may see."""

    agents: list[AgentEntry]


async def create(context: Context) -> Answer:
    """Register an agent or change its keys."""
    request = read_body(context.body, DocumentRequest)
    return await accept(context, request, kind="agent", subject=None, state="active")


async def revoke(context: Context) -> Answer:
    """Revoke an agent for good."""
    request = read_body(context.body, DocumentRequest)
    return await accept(context, request, kind="agent", subject=context.params["agent"], state="revoked")


async def listing(context: Context) -> Answer:
    """Operators see all, an agent sees itself."""
    directory, principal = context.gateway.directory, context.caller.principal
    context.gateway.admissions.require_resource(context.caller, "*")
    everyone = directory.is_operator(principal)
    return reply(
        Agents(
            agents=[
                AgentEntry(
                    agent=agent.agent,
                    name=agent.name,
                    state=agent.state,
                    document=msgspec.json.decode(envelope, type=EnvelopeJson),
                )
                for agent, envelope in directory.agents()
                if everyone or agent.agent == principal
            ]
        )
    )


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/agents", summary="Register an agent", handler=create, act=Act.DOCUMENTS_PUT,
        request=DocumentRequest, reply=DocumentReply, tag="documents",
    ),
    Endpoint(
        method="POST", path="/v1/agents/{agent}/revoke", summary="Revoke an agent", handler=revoke,
        act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=DocumentReply, tag="documents",
    ),
    Endpoint(
        method="GET", path="/v1/agents", summary="List agents", handler=listing, act=Act.AGENTS_LIST, reply=Agents,
        tag="documents",
    ),
)  # fmt: skip
