"""GET /v1/nodes/{slot}/evidence: fresh evidence of one node over the client's own nonce."""

from __future__ import annotations

import time

from attestation.envelope import b64url, b64url_decode
from attestation.errors import DocumentError
from enclave.wire.message import encode
from kms.body import Reply
from kms.endpoint import Answer, Context, Endpoint, Parameter, reply
from kms.errors import NotFoundError, RequestError

NONCE_BYTES = 32


class Evidence(Reply, frozen=True):
    """A presentation (specs/wire.md) in msgpack, base64url; it may answer other clients' nonces as well."""

    presentation: str


async def show(context: Context) -> Answer:
    """Ask the node; whoever asks at the same time shares one quote."""
    gateway = context.gateway
    slot = context.params["slot"]
    desk = gateway.relay.desks.get(slot)
    if desk is None:
        raise NotFoundError("the roster has no such slot", hint="GET /v1/nodes lists them")
    try:
        nonce = b64url_decode(context.query.get("nonce"))
    except DocumentError as error:
        raise RequestError(f"nonce: {error.detail}", code="request.nonce") from None
    if len(nonce) != NONCE_BYTES:
        raise RequestError(f"expected a nonce of {NONCE_BYTES} bytes, found {len(nonce)}", code="request.nonce")
    gateway.evidence_limiter.take(slot, time.monotonic())
    presentation = await desk.ask([nonce])
    return reply(Evidence(presentation=b64url(encode(presentation))), headers={"Cache-Control": "no-store"})


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/nodes/{slot}/evidence",
        summary="Fresh attestation evidence over a nonce",
        handler=show,
        act=None,
        reply=Evidence,
        parameters=(
            Parameter(
                name="nonce",
                schema={"type": "string", "minLength": 43, "maxLength": 43, "pattern": "^[A-Za-z0-9_-]+$"},
                description="32 random bytes, base64url without padding",
                required=True,
            ),
        ),
        tag="cluster",
    ),
)
