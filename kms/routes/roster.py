"""GET and POST /v1/roster, its chain and its standing: the signed rosters, carried and never decided here."""

from __future__ import annotations

import msgspec

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url
from enclave.roster_chain import ROSTERS_MAX, write_chain
from enclave.tokens import Act
from kms.admission import Call, Outcome
from kms.body import Reply, read_body
from kms.conditions import etag
from kms.control import DocumentRequest
from kms.endpoint import Answer, Context, Endpoint, Parameter, executed, outcome, reply
from kms.errors import RequestError

DIGITS_MAX = 9


class RosterAcknowledgementJson(Reply, frozen=True):
    """A node's signed word that it holds the version; `signature` is base64url."""

    slot: str
    boot_counter: int
    received_at: int
    signature: str


class RosterStandingJson(Reply, frozen=True):
    """One node, as it told this gateway."""

    slot: str
    version: int
    """In force there."""
    newest: int
    """Held there."""
    not_before: int | None
    """Unix seconds before which newly admitted code may not run there; null where nothing waits."""
    refusal: str
    """Code of why it did not take a version or an activation; empty if it did."""


class RosterReply(Reply, frozen=True):
    """How far the newest version came."""

    version: int
    digest: str
    acknowledgements: list[RosterAcknowledgementJson]
    nodes: list[RosterStandingJson]
    unreached: list[str]


async def show(context: Context) -> Answer:
    """The newest envelope; its signatures are for the client to check, by the versions before it."""
    envelope = context.gateway.rosters.newest.envelope
    return Answer(body=envelope, headers={"ETag": etag(envelope)})


async def chain(context: Context) -> Answer:
    """Every version after `after`, oldest first, at most 1024."""
    text = context.query.get("after", "0")
    if not text.isdecimal() or not text.isascii() or len(text) > DIGITS_MAX:
        raise RequestError("expected a version number", code="request.query")
    envelopes = context.gateway.rosters.after(int(text))[:ROSTERS_MAX]
    body = (
        write_chain(envelopes)
        if len(envelopes) > 1
        else canonical_json({"rosters": [Envelope.parse(envelope).to_json() for envelope in envelopes]})
    )
    return Answer(body=body, headers={"ETag": etag(body)})


async def standing(context: Context) -> Answer:
    """Which version is in force where, and what waits for what."""
    return reply(await _settled(context))


async def put(context: Context) -> Answer:
    """Take the next version, bring it to every node, and put it in force where enough of them hold it."""
    request = read_body(context.body, DocumentRequest)
    envelope = canonical_json(Envelope.parse(msgspec.to_builtins(request.document)).to_json())
    call = context.caller
    context.gateway.admissions.require_resource(call, "*")
    return await executed(context, lambda: _take(context, call, envelope))


async def _take(context: Context, call: Call, envelope: bytes) -> Outcome:
    gateway = context.gateway
    if await gateway.take_roster(envelope):
        await gateway.store.append_audit(
            {
                "kind": "roster",
                "time": gateway.fleet.clock(),
                "principal": call.principal,
                "version": gateway.roster.version,
                "digest": gateway.roster.digest.hex(),
            }
        )
    value = await _settled(context, again=True)
    done = not value.unreached and all(node.version == value.version for node in value.nodes)
    return outcome(value, status=200 if done else 202, facts={"version": value.version})


async def _settled(context: Context, *, again: bool = False) -> RosterReply:
    gateway = context.gateway
    relay = gateway.roster_relay
    acknowledgements = {}
    if again:
        settled = await relay.settle()
        acknowledgements = settled.acknowledgements
    roster = gateway.roster
    return RosterReply(
        version=roster.version,
        digest=roster.digest.hex(),
        acknowledgements=[
            RosterAcknowledgementJson(
                slot=slot,
                boot_counter=item.boot_counter,
                received_at=item.received_at,
                signature=b64url(item.signature),
            )
            for slot, item in sorted(acknowledgements.items())
        ],
        nodes=[
            RosterStandingJson(
                slot=slot,
                version=item.version,
                newest=item.newest,
                not_before=item.not_before,
                refusal=item.refusal,
            )
            for slot, item in sorted(relay.standings.items())
        ],
        unreached=[entry.slot for entry in roster.slots if entry.slot not in relay.standings],
    )


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/roster", summary="The newest operator-signed roster", handler=show, act=None,
        tag="cluster",
    ),
    Endpoint(
        method="POST", path="/v1/roster", summary="Hand in the next roster version", handler=put,
        act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=RosterReply, tag="cluster",
    ),
    Endpoint(
        method="GET",
        path="/v1/roster/chain",
        summary="Signed roster versions, oldest first",
        handler=chain,
        act=None,
        parameters=(
            Parameter(
                name="after",
                schema={"type": "integer", "minimum": 0, "maximum": 999_999_999},
                description="Only versions after this one",
            ),
        ),
        tag="cluster",
    ),
    Endpoint(
        method="GET", path="/v1/roster/standing", summary="Which version is in force at which node",
        handler=standing, act=None, reply=RosterReply, tag="cluster", informative=True,
    ),
)  # fmt: skip
