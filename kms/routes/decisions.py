"""POST /v1/operations/{operation}/approve, /reject, /cancel: what people say about a request that waits for them.

A decision carries the approver's signature over the operation's fingerprint; nodes verify it, the gateway only early.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attestation.envelope import b64url_decode
from attestation.errors import DocumentError
from enclave.tokens import Act
from enclave.wire.approvals import Approval
from kms.admission import Outcome
from kms.body import Request, read_body
from kms.endpoint import Answer, Context, Endpoint, executed, outcome
from kms.errors import ForbiddenError, RequestError
from kms.operations import OperationJson
from kms.routes.operations import view, visible
from kms.store.protocol import StoredOperation

Decide = Callable[[str, Approval], Awaitable[StoredOperation]]


class DecisionRequest(Request, frozen=True):
    """`signature` (base64url, 64 bytes) over the fingerprint and the decision; see specs/approvals.md section 4."""

    approver: str
    credential: str
    """Key id of the approver's key that signed."""
    signature: str


async def approve(context: Context) -> Answer:
    """Add an approval; with enough of them the operation runs."""
    return await _decided(context, context.gateway.approvals.approve)


async def reject(context: Context) -> Answer:
    """End it for good."""
    return await _decided(context, context.gateway.approvals.reject)


async def cancel(context: Context) -> Answer:
    """End it: whoever asked, or an administrator."""
    operation = await visible(context)

    async def work() -> Outcome:
        return _outcome(context, await context.gateway.approvals.cancel(operation.operation, context.caller))

    return await executed(context, work)


async def _decided(context: Context, decide: Decide) -> Answer:
    operation = await visible(context)
    approval = _approval(context)

    async def work() -> Outcome:
        return _outcome(context, await decide(operation.operation, approval))

    return await executed(context, work)


def _approval(context: Context) -> Approval:
    request = read_body(context.body, DecisionRequest)
    if request.approver != context.caller.principal:
        raise ForbiddenError("expected the token of the approver who signed", code="approval.approver")
    try:
        signature = b64url_decode(request.signature)
    except DocumentError as error:
        raise RequestError(error.detail) from None
    return Approval(request.approver, request.credential, signature)


def _outcome(context: Context, operation: StoredOperation) -> Outcome:
    return outcome(view(context, operation), facts={"operation": operation.operation, "state": operation.state})


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/operations/{operation}/approve", summary="Approve a waiting request",
        handler=approve, act=Act.OPERATIONS_DECIDE, request=DecisionRequest, reply=OperationJson, tag="operations",
    ),
    Endpoint(
        method="POST", path="/v1/operations/{operation}/reject", summary="Reject a waiting request",
        handler=reject, act=Act.OPERATIONS_DECIDE, request=DecisionRequest, reply=OperationJson, tag="operations",
    ),
    Endpoint(
        method="POST", path="/v1/operations/{operation}/cancel", summary="Take a waiting request back",
        handler=cancel, act=Act.OPERATIONS_CANCEL, reply=OperationJson, tag="operations",
    ),
)  # fmt: skip
