"""A request that waits for people: told from an answer, waited for, and turned into its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from attestation.canonical import canonical_json
from kms.client.caller import Caller
from kms.client.errors import RequestRefusedError, VerificationError
from kms.client.transport import problem
from kms.client.verification import member

POLL_S = 15
"""Seconds of one `Prefer: wait`; below what gateways grant and proxies endure."""

OPEN = ("waiting", "running")
"""States that something may still follow."""


class PendingError(RequestRefusedError):
    """Nothing is wrong: the request was accepted and waits for people, under the id `operation`."""

    code = "operation.pending"

    def __init__(self, operation: str, *, group: str | None = None) -> None:
        whom = f" of group {group}" if group else ""
        super().__init__(
            f"waits for approvals{whom}: {operation}",
            hint=f"`kms operations show {operation}`; in programs: client.operations.result(error)",
            status=202,
        )
        self.operation = operation
        self.redeem: Callable[[Any], Any] = lambda result: result
        """Turns the operation's result into what the call would have returned, verified alike."""


async def sent(caller: Caller, method: str, path: str, *, token: str, body: bytes) -> Any:
    """The answer to a request; raises PendingError if people have to approve it first and the caller does not wait.

    Raises RequestRefusedError, UnavailableError; with `caller.approval_wait_s` also what the operation failed with.
    """
    answer = await caller.send(method, path, token=token, body=body)
    if not isinstance(answer, dict) or answer.get("kind") != "approval" or "operation" not in answer:
        return answer
    operation = member(answer, "operation", str)
    approval = answer.get("approval")
    group = approval.get("group") if isinstance(approval, dict) else None
    if caller.approval_wait_s <= 0:
        raise PendingError(operation, group=group if isinstance(group, str) else None)
    return await result(caller, operation, timeout_s=caller.approval_wait_s)


async def ended(caller: Caller, operation: str, *, timeout_s: float) -> dict[str, Any]:
    """The operation once it has ended; raises PendingError after `timeout_s`."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        left = deadline - asyncio.get_running_loop().time()
        found = await show(caller, operation, wait_s=max(0, min(POLL_S, int(left + 1))))
        if member(found, "state", str) not in OPEN:
            return found
        if left <= 0:
            raise PendingError(operation)


async def result(caller: Caller, operation: str, *, timeout_s: float) -> Any:
    """What the operation came to; raises RequestRefusedError (the problem's code), PendingError after `timeout_s`."""
    found = await ended(caller, operation, timeout_s=timeout_s)
    state = member(found, "state", str)
    if state == "succeeded" and isinstance(found.get("result"), dict):
        return found["result"]
    told = found.get("problem")
    if isinstance(told, dict):
        status = found.get("status")
        raise problem(status if isinstance(status, int) else 409, canonical_json(told))
    raise RequestRefusedError(f"the operation is {state[:32]} and left no result", code="operation.no-result")


async def show(caller: Caller, operation: str, *, wait_s: int = 0) -> dict[str, Any]:
    """One operation as the gateway tells it; raises VerificationError if it tells of another."""
    path = f"/v1/operations/{operation}"
    headers = {"Prefer": f"wait={wait_s}"} if wait_s else None
    found = await caller.call("GET", path, act="operations.get", resource=operation, headers=headers)
    if not isinstance(found, dict) or found.get("operation") != operation:
        raise VerificationError(f"asked for {operation}, found another operation", code="verify.resource")
    return found
