"""POST /v1/cold-start: carry an operator's word that the nodes' disks are the newest after all were restarted."""

from __future__ import annotations

import asyncio

import msgspec

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from enclave.tokens import Act
from enclave.wire.witness import ColdStartReply, ColdStartRequest
from enclave.witness.cold_start import parse_cold_start
from kms.admission import Outcome
from kms.body import Reply, read_body
from kms.control import DocumentRequest
from kms.endpoint import Answer, Context, Endpoint, executed, outcome
from kms.errors import KmsError

TIMEOUT_S = 5.0
"""A node compares two tables."""


class ColdStarted(Reply, frozen=True):
    """Per slot: nothing if the node goes on from its state now, or the code why not."""

    nodes: dict[str, str]


async def confirm(context: Context) -> Answer:
    """Verify the document as nodes do, then give it to every node."""
    fleet = context.gateway.fleet
    request = read_body(context.body, DocumentRequest)
    document = canonical_json(Envelope.parse(msgspec.to_builtins(request.document)).to_json())
    parse_cold_start(document, context.gateway.roster)

    async def work() -> Outcome:
        links = list(fleet.links.values())
        answers = await asyncio.gather(
            *(link.call("cold-start", ColdStartRequest(document=document), timeout_s=TIMEOUT_S) for link in links),
            return_exceptions=True,
        )
        codes = {}
        for link, answer in zip(links, answers, strict=True):
            if isinstance(answer, ColdStartReply):
                codes[link.slot] = "" if answer.settled else "state-unsettled"
            elif isinstance(answer, KmsError):
                codes[link.slot] = answer.code
            else:
                raise answer
        context.gateway.heartbeats.hurry()
        return outcome(ColdStarted(nodes=codes), facts={"kind": "cold-start", "nodes": codes})

    return await executed(context, work)


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/cold-start", summary="Confirm a cold start", handler=confirm, act=Act.DOCUMENTS_PUT,
        request=DocumentRequest, reply=ColdStarted, tag="cluster",
    ),
)  # fmt: skip
