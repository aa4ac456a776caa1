"""Orders of ceremonies: refresh, reshare and rotate keys, repair a node; answered 202 with an operation.

The order carries its own authority, as documents do: whoever holds a token for `documents.put` may hand it in, the
nodes count its signatures.  The operation's id is the order's, so that handing one in again begins nothing anew.
"""

from __future__ import annotations

import msgspec

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from enclave.ceremonies.facts import Kind
from enclave.ceremonies.orders import CeremonyOrder, verify_order
from enclave.tokens import Act
from kms.admission import Outcome
from kms.body import Reply, read_body
from kms.control import DocumentRequest
from kms.endpoint import Answer, Context, Endpoint, executed, outcome
from kms.errors import RequestError, UnavailableError
from kms.gateway import Gateway
from kms.operations import OperationJson, accepted
from kms.store.protocol import StoredOperation


class RenewedKey(Reply, frozen=True):
    """A key version as it is certified now."""

    key: str
    version: int
    epoch: int


class CeremonyResult(Reply, frozen=True):
    """What an order came to."""

    order: str
    action: str
    keys: list[RenewedKey]
    failed: dict[str, str]
    """Key -> code of those that stayed as they were."""


async def refresh(context: Context) -> Answer:
    """New shares for the same holders."""
    return await _ordered(context, Kind.REFRESH, key=context.params["key"])


async def reshare(context: Context) -> Answer:
    """New shares for other holders or another threshold."""
    return await _ordered(context, Kind.RESHARE, key=context.params["key"])


async def rotate(context: Context) -> Answer:
    """A new version of the key: another public key."""
    return await _ordered(context, Kind.ROTATE, key=context.params["key"])


async def repair(context: Context) -> Answer:
    """Give a node the shares back that it should hold."""
    return await _ordered(context, Kind.REPAIR, node=context.params["node"])


async def many(context: Context) -> Answer:
    """An order about several keys."""
    return await _ordered(context, None)


async def _ordered(context: Context, action: Kind | None, *, key: str = "", node: str = "") -> Answer:
    gateway = context.gateway
    request = read_body(context.body, DocumentRequest)
    envelope = canonical_json(Envelope.parse(msgspec.to_builtins(request.document)).to_json())
    order, _ = verify_order(envelope, gateway.roster, gateway.fleet.clock())
    if action is not None and order.action is not action:
        raise RequestError(f"expected an order to {action}, found one to {order.action}", code="ceremony.order")
    if key and [item.key for item in order.keys] != [key]:
        raise RequestError("expected an order about exactly this key", code="ceremony.order")
    if node and order.target != node:
        raise RequestError("expected an order about this node", code="ceremony.order")
    gateway.admissions.require_resource(context.caller, order.order, key or node or "*", "*")

    async def work() -> Outcome:
        operation, is_new = await gateway.operations.begin(
            operation=order.order,
            kind=str(order.action),
            principal=context.caller.principal,
            resource=key or node or "*",
            expires_at=order.expires_at,
            details=envelope,
        )
        if is_new:
            gateway.operations.run(operation, lambda: perform(gateway, order, envelope))
        return accepted(operation, {"action": str(order.action), "count": len(order.keys)})

    return await executed(context, work)


async def perform(gateway: Gateway, order: CeremonyOrder, envelope: bytes) -> Outcome:
    """Carry an order out; raises UnavailableError if nothing of it could be done."""
    result = await gateway.conductor.carry_out(order, envelope)
    if result.failed and not result.done:
        key, code = next(iter(result.failed.items()))
        raise UnavailableError(
            f"{len(result.failed)} keys stayed as they were, {key} among them", code=code, hint="see the nodes' logs"
        )
    answer = CeremonyResult(
        order=order.order,
        action=str(order.action),
        keys=[
            RenewedKey(key=item.key, version=item.certificate.version, epoch=item.certificate.epoch)
            for item in result.done
        ],
        failed=result.failed,
    )
    return outcome(answer, facts={"renewed": len(result.done), "failed": len(result.failed)})


def take_up_orders(gateway: Gateway) -> None:
    """Have orders that a dead process left running carried out from where it stopped."""

    async def resume(operation: StoredOperation) -> None:
        order, _ = verify_order(operation.details, gateway.roster, gateway.fleet.clock())
        gateway.operations.run(operation, lambda: perform(gateway, order, operation.details))

    for kind in (Kind.REFRESH, Kind.RESHARE, Kind.ROTATE, Kind.REPAIR):
        gateway.operations.resumed_by(str(kind), resume)


_KEYS = (("refresh", "Refresh the shares of a key", refresh), ("reshare", "Move a key to other nodes", reshare),
         ("rotate", "Make a new version of a key", rotate))  # fmt: skip

ENDPOINTS = (
    *(
        Endpoint(
            method="POST", path=f"/v1/keys/{{key}}/{verb}", summary=summary, handler=handler, act=Act.DOCUMENTS_PUT,
            request=DocumentRequest, reply=OperationJson, status=202,
        )
        for verb, summary, handler in _KEYS
    ),
    Endpoint(
        method="POST", path="/v1/nodes/{node}/repair", summary="Give a node its shares back", handler=repair,
        act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=OperationJson, status=202, tag="cluster",
    ),
    Endpoint(
        method="POST", path="/v1/ceremonies", summary="Carry out an order about many keys", handler=many,
        act=Act.DOCUMENTS_PUT, request=DocumentRequest, reply=OperationJson, status=202, tag="cluster",
    ),
)  # fmt: skip
