"""GET /v1/collateral: what evidence is verified with, signed by the hardware vendors."""

from __future__ import annotations

from attestation.envelope import b64url
from kms.body import Reply
from kms.endpoint import Answer, Context, Endpoint, reply


class Collateral(Reply, frozen=True):
    """Blobs in any form attestation.collateral reads, base64url."""

    blobs: list[str]


async def show(context: Context) -> Answer:
    """The files as they are now."""
    return reply(Collateral(blobs=[b64url(blob) for blob in context.gateway.collateral.contents]))


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/collateral", summary="Attestation collateral", handler=show, act=None,
        reply=Collateral, tag="cluster",
    ),
)  # fmt: skip
