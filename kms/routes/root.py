"""GET /v1: which cluster this is."""

from __future__ import annotations

from attestation import __version__
from enclave.key_specs import SPECS
from kms.body import Reply
from kms.endpoint import Answer, Context, Endpoint, reply

FEATURES = (
    *SPECS,
    "threshold-ecdsa",
    "proof-of-cloud",
    "idempotency",
    "audit-chain",
)
"""What this gateway offers: kinds of keys by their spec, then the rest."""


class Root(Reply, frozen=True):
    """Version and cluster."""

    version: str
    cluster_id: str
    roster_version: int
    roster_digest: str
    environment: str
    features: list[str]


async def show(context: Context) -> Answer:
    """The cluster's name card."""
    roster = context.gateway.roster
    return reply(
        Root(
            version=__version__,
            cluster_id=roster.cluster_id.hex(),
            roster_version=roster.version,
            roster_digest=roster.digest.hex(),
            environment=str(roster.environment),
            features=list(FEATURES),
        )
    )


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1", summary="Version, cluster id, roster", handler=show, act=None, reply=Root,
        tag="cluster", informative=True,
    ),
)  # fmt: skip
