"""GET /v1/operations and /v1/operations/{operation}: what is still to come of requests answered 202.

An operation is shown to whoever began it, to operators, and to approvers it waits for; to nobody else, who is told
that there is none.
"""

from __future__ import annotations

import msgspec

from enclave.errors import CallerError
from enclave.ids import check_id
from enclave.tokens import Act
from kms.approvals.record import approval_json
from kms.body import Reply
from kms.endpoint import Answer, Context, Endpoint, Parameter, reply
from kms.errors import NotFoundError, RequestError
from kms.operations import OperationJson, State, operation_json, wait_of
from kms.store.protocol import StoredOperation

PAGE_MAX = 100
"""Most operations in one answer."""


class OperationList(Reply, frozen=True):
    """One page; `next_cursor` is null on the last."""

    operations: list[OperationJson]
    next_cursor: str | None


async def show(context: Context) -> Answer:
    """One operation; with `Prefer: wait=N` once it has ended, or after N seconds."""
    operation = await visible(context)
    wait_s = wait_of(context.prefer)
    if wait_s:
        operation = await context.gateway.operations.wait(operation.operation, wait_s)
    return reply(view(context, operation), headers={"Preference-Applied": f"wait={wait_s}"} if wait_s else None)


async def listing(context: Context) -> Answer:
    """Operations by id: an agent's own, those of an approver's groups, all for operators; with `state` only such."""
    context.gateway.admissions.require_resource(context.caller, "*")
    state = context.query.get("state")
    if state is not None and state not in list(State):
        raise RequestError(f"expected a state of {', '.join(State)}", code="request.query")
    after, limit = context.query.get("cursor", ""), PAGE_MAX
    principal = context.caller.principal
    everybody = context.gateway.directory.is_operator(principal) or _is_approver(context)
    page = await context.gateway.store.operations(
        after=after,
        limit=limit,
        principal=None if everybody else principal,
        states=frozenset() if state is None else frozenset({state}),
    )
    cursor = page[-1].operation if len(page) == limit else None
    found = [operation for operation in page if may_see(context, operation)]
    return reply(OperationList(operations=[view(context, item) for item in found], next_cursor=cursor))


async def visible(context: Context) -> StoredOperation:
    """The operation of the path; raises NotFoundError alike for a missing one and somebody else's."""
    name = context.params["operation"]
    try:
        check_id(name, "op")
    except CallerError:
        raise NotFoundError("no such operation, or none of yours") from None
    context.gateway.admissions.require_resource(context.caller, name)
    operation = await context.gateway.operations.get(name)
    if not may_see(context, operation):
        raise NotFoundError("no such operation, or none of yours")
    return operation


def may_see(context: Context, operation: StoredOperation) -> bool:
    """Whether it is the caller's business."""
    principal, gateway = context.caller.principal, context.gateway
    if operation.principal == principal or gateway.directory.is_operator(principal):
        return True
    return gateway.approvals.waits_for(operation, principal)


def view(context: Context, operation: StoredOperation) -> OperationJson:
    """An operation as the caller may see it: approvers see what they approve, not what came of it."""
    shown = operation_json(operation, approval=approval_json(operation))
    return msgspec.structs.replace(shown, result=None) if _is_approver(context) else shown


def _is_approver(context: Context) -> bool:
    return context.caller.principal.startswith("apr_")


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/operations", summary="Operations of the caller", handler=listing,
        act=Act.OPERATIONS_GET, reply=OperationList, tag="operations", informative=True,
        parameters=(
            Parameter(name="state", schema={"enum": list(State)}, description="Only those in this state."),
            Parameter(name="cursor", schema={"type": "string"}, description="The next_cursor of the page before."),
        ),
    ),
    Endpoint(
        method="GET", path="/v1/operations/{operation}", summary="One operation", handler=show,
        act=Act.OPERATIONS_GET, reply=OperationJson, tag="operations", informative=True,
    ),
)  # fmt: skip
