"""GET /v1/nodes: the slots of the roster, who is there, and what they think of each other."""

from __future__ import annotations

from enclave.tokens import Act
from enclave.wire.heartbeats import Heartbeat
from enclave.witness.statement import DIGEST_BYTES, read
from kms.body import Reply, read_body
from kms.control import DocumentReply, DocumentRequest, accept
from kms.endpoint import Answer, Context, Endpoint, reply


class Heard(Reply, frozen=True):
    """What a node's newest heartbeat says."""

    sequence: int
    time: int
    """The node's own clock, Unix seconds."""
    log_size: int
    log_root: str
    """Checkpoint of its receipt log; hex."""
    counter: int
    digest: str
    """How far its sealed state has come, and the chained digest (hex); 0 and zeros before the first advance."""
    hears: list[str]
    """Peers it has just heard."""


class Node(Reply, frozen=True):
    """One slot; everything but `slot` and `url` is what nodes told this gateway."""

    slot: str
    url: str
    connected: bool
    usable: bool
    """Connected, its evidence names the TLS key of the connection, and it says that it works."""
    refuses: str
    """Why it does not work now (a code), or nothing."""
    heartbeat: Heard | None
    boot_counter: int | None
    platform_id: str
    verdicts: dict[str, str]
    """Peer -> `trusted` or the code why not, in this node's own table."""


class Nodes(Reply, frozen=True):
    """All slots."""

    nodes: list[Node]


async def show(context: Context) -> Answer:
    """The gateway's view, for people; clients verify evidence themselves."""
    fleet, heartbeats = context.gateway.fleet, context.gateway.heartbeats
    return reply(
        Nodes(
            nodes=[
                Node(
                    slot=link.slot,
                    url=link.url,
                    connected=link.connected,
                    usable=link.usable,
                    refuses=link.refuses,
                    heartbeat=_heard(heartbeats.latest(link.slot)),
                    boot_counter=link.status.boot_counter if link.status is not None else None,
                    platform_id=fleet.verdicts.platform_id(link.slot),
                    verdicts=fleet.verdicts.codes(link.slot),
                )
                for link in fleet.links.values()
            ]
        )
    )


def _heard(heartbeat: Heartbeat | None) -> Heard | None:
    if heartbeat is None:
        return None
    statement = read(heartbeat.statement)
    return Heard(
        sequence=heartbeat.sequence,
        time=heartbeat.time,
        log_size=heartbeat.log_size,
        log_root=heartbeat.log_root.hex(),
        counter=statement.counter if statement is not None else 0,
        digest=(statement.digest if statement is not None else bytes(DIGEST_BYTES)).hex(),
        hears=[echo.slot for echo in heartbeat.seen],
    )


async def enrol(context: Context) -> Answer:
    """Admit one boot of a slot by an operator's document; the node shows itself to the others at once."""
    request = read_body(context.body, DocumentRequest)
    slot = context.params["slot"]
    answer = await accept(context, request, kind="enrol", subject=slot, state="")
    link = context.gateway.fleet.links.get(slot)
    if link is not None:
        context.gateway.relay.attend(link)
    return answer


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/nodes/{slot}/enrol", summary="Admit a node's new boot", handler=enrol,
        act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=DocumentReply, tag="cluster",
    ),
    Endpoint(
        method="GET", path="/v1/nodes", summary="Nodes and their verdicts on each other", handler=show, act=None,
        reply=Nodes, tag="cluster", informative=True,
    ),
)  # fmt: skip
