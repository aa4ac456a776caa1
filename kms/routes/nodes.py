"""GET /v1/nodes: the slots of the roster, who is there, and what they think of each other."""

from __future__ import annotations

from kms.body import Reply
from kms.endpoint import Answer, Context, Endpoint, reply


class Node(Reply, frozen=True):
    """One slot; everything but `slot` and `url` is what nodes told this gateway."""

    slot: str
    url: str
    connected: bool
    usable: bool
    """Connected, and its evidence names the TLS key of the connection."""
    boot_counter: int | None
    platform_id: str
    verdicts: dict[str, str]
    """Peer -> `trusted` or the code why not, in this node's own table."""


class Nodes(Reply, frozen=True):
    """All slots."""

    nodes: list[Node]


async def show(context: Context) -> Answer:
    """The gateway's view, for people; clients verify evidence themselves."""
    fleet = context.gateway.fleet
    return reply(
        Nodes(
            nodes=[
                Node(
                    slot=link.slot,
                    url=link.url,
                    connected=link.connected,
                    usable=link.usable,
                    boot_counter=link.status.boot_counter if link.status is not None else None,
                    platform_id=fleet.verdicts.platform_id(link.slot),
                    verdicts=fleet.verdicts.codes(link.slot),
                )
                for link in fleet.links.values()
            ]
        )
    )


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/nodes", summary="Nodes and their verdicts on each other", handler=show, act=None,
        reply=Nodes, tag="cluster", informative=True,
    ),
)  # fmt: skip
