"""GET /livez and /readyz: is the process alive, and can it serve?"""

from __future__ import annotations

from kms.body import Reply
from kms.endpoint import Answer, Context, Endpoint, reply


class Alive(Reply, frozen=True):
    """The process answers."""

    alive: bool = True


class Ready(Reply, frozen=True):
    """`ready` once most of the roster's nodes trust each other."""

    ready: bool
    nodes: int
    connected: int
    trusting: int
    """Nodes that every other of them trusts and is trusted by."""


async def alive(context: Context) -> Answer:
    """Whoever answers is alive."""
    assert context.method == "GET"
    return reply(Alive())


async def ready(context: Context) -> Answer:
    """200 when requests can be served, else 503."""
    fleet = context.gateway.fleet
    trusting = fleet.trusting()
    is_ready = 2 * len(trusting) > len(fleet.links)
    return reply(
        Ready(ready=is_ready, nodes=len(fleet.links), connected=len(fleet.connected), trusting=len(trusting)),
        status=200 if is_ready else 503,
    )


ENDPOINTS = (
    Endpoint(method="GET", path="/livez", summary="Liveness", handler=alive, act=None, reply=Alive, tag="health"),
    Endpoint(method="GET", path="/readyz", summary="Readiness", handler=ready, act=None, reply=Ready, tag="health"),
)
