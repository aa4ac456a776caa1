"""GET /v1/roster: the signed roster, as it is."""

from __future__ import annotations

from kms.endpoint import Answer, Context, Endpoint, etag


async def show(context: Context) -> Answer:
    """The envelope; its signatures are for the client to check."""
    envelope = context.gateway.roster_envelope
    return Answer(body=envelope, headers={"ETag": etag(envelope)})


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/roster", summary="The operator-signed roster", handler=show, act=None, tag="cluster"
    ),
)
