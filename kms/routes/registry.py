"""GET /v1/registry: the newest proof-of-cloud snapshot, signed by the registry's members."""

from __future__ import annotations

from kms.conditions import etag
from kms.endpoint import Answer, Context, Endpoint
from kms.errors import NotFoundError


async def show(context: Context) -> Answer:
    """The snapshot's own bytes."""
    for snapshot in context.gateway.registry.contents:
        return Answer(body=snapshot, headers={"ETag": etag(snapshot)}, content_type="text/plain")
    raise NotFoundError("this gateway relays no registry")


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/registry", summary="The proof-of-cloud registry snapshot", handler=show, act=None,
        tag="cluster", media="text/plain",
    ),
)  # fmt: skip
