"""Operations: work that outlives the request it began with - it waits for people, or takes longer than a request may.

Whoever begins one answers 202 with its id (`accepted`); everybody asks for it by that id (specs/operations.md).
Rules kept: every change names the states it may start from, so of two at once one wins; a result is stored like an
idempotent response, a plaintext never; an operation that waits ends at its time by itself.

Use: `begin`, then `run` (background work whose outcome becomes the result) or `move` (someone else decides).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import StrEnum

import msgspec

from attestation.errors import CodedError
from enclave.approvals.fingerprint import operation_id
from kms.admission import Outcome
from kms.body import Reply
from kms.errors import ConflictError, KmsError, NotFoundError
from kms.observe import logger
from kms.problems import encode, problem_of, status_of
from kms.store.protocol import Store, StoredOperation

WAIT_S_MAX = 20
"""Longest `Prefer: wait`, in seconds: below the 30 s after which clients and proxies give up."""

PATH = "/v1/operations/"

_WAIT = re.compile(r"wait=([0-9]{1,6})")


class State(StrEnum):
    """Where an operation stands; the names are stable."""

    WAITING = "waiting"
    """For people: approvals are missing."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


__all__ = [
    "OPEN",
    "PATH",
    "OperationJson",
    "Operations",
    "State",
    "accepted",
    "operation_id",
    "operation_json",
    "wait_of",
]

OPEN = frozenset({State.WAITING, State.RUNNING})
"""States that something may still follow."""

Resume = Callable[[StoredOperation], Awaitable[None]]


class OperationJson(Reply, frozen=True, omit_defaults=True):
    """An operation; `result` is the response it has led to, `problem` why there is none."""

    operation: str
    kind: str
    state: str
    principal: str
    resource: str
    created_at: int
    updated_at: int
    expires_at: int
    """Unix seconds after which it is not begun any more."""
    status: int | None = None
    """HTTP status of the result or problem."""
    result: msgspec.Raw | None = None
    """As the request itself would have been answered; absent where it held a plaintext."""
    problem: msgspec.Raw | None = None
    approval: msgspec.Raw | None = None
    """What an operation of kind `approval` waits for."""


class Operations:
    """The operations of one gateway."""

    def __init__(self, store: Store, *, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._resume: dict[str, Resume] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def resumed_by(self, kind: str, resume: Resume) -> None:
        """Have operations of `kind` that a dead process left running taken up by `resume`; others fail at start."""
        self._resume[kind] = resume

    async def start(self) -> None:
        """Take up or close what an earlier process left running."""
        after = ""
        running = frozenset({State.RUNNING})
        while page := await self._store.operations(after=after, limit=100, states=running):
            after = page[-1].operation
            for operation in page:
                resume = self._resume.get(operation.kind)
                if resume is not None:
                    self._spawn(resume(operation), operation.operation)
                    continue
                lost = KmsError("the gateway stopped while this was running", code="operation.interrupted")
                await self._settle(operation, State.FAILED, _problem(operation, lost))

    async def close(self) -> None:
        """Give up what is running; the next start finds it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def begin(
        self,
        *,
        operation: str,
        kind: str,
        principal: str,
        resource: str,
        expires_at: int,
        state: State = State.RUNNING,
        details: bytes = b"",
    ) -> tuple[StoredOperation, bool]:
        """The operation under this id, and whether it is new."""
        now = self._clock()
        new = StoredOperation(
            operation=operation,
            kind=kind,
            principal=principal,
            resource=resource,
            state=state,
            created_at=now,
            updated_at=now,
            expires_at=expires_at,
            details=details,
        )
        if await self._store.put_operation(new, _audit(new, now)):
            return new, True
        held = await self._store.operation(operation)
        return held or new, False

    def run(self, operation: StoredOperation, work: Callable[[], Awaitable[Outcome]]) -> None:
        """Have `work` done in the background; its outcome or error ends the operation."""
        self._spawn(self._work(operation, work), operation.operation)

    async def get(self, operation: str) -> StoredOperation:
        """One operation, expired if its time is over; raises NotFoundError."""
        found = await self._store.operation(operation)
        if found is None:
            raise NotFoundError("no such operation, or none of yours")
        if found.state == State.WAITING and self._clock() >= found.expires_at:
            over = KmsError("nobody decided in time", code="operation.expired", hint="send the request again")
            await self._settle(found, State.EXPIRED, _problem(found, over), expected=frozenset({State.WAITING}))
            found = await self._store.operation(operation) or found
        return found

    async def move(
        self,
        operation: StoredOperation,
        state: State,
        *,
        expected: frozenset[str] = frozenset({State.WAITING}),
        details: bytes | None = None,
        error: CodedError | None = None,
    ) -> StoredOperation:
        """Bring an operation into another state, or give it other details.

        Raises ConflictError (`operation.state`) unless it is in one of `expected`.
        """
        new = replace(
            operation,
            state=state,
            updated_at=self._clock(),
            details=operation.details if details is None else details,
        )
        if error is not None:
            outcome = _problem(operation, error)
            new = replace(new, status=outcome.status, result=outcome.body)
        if not await self._store.change_operation(new, expected=expected, audit=_audit(new, new.updated_at)):
            held = await self.get(operation.operation)
            raise ConflictError(f"the operation is {held.state}", code="operation.state")
        self._wake(new.operation)
        return new

    async def wait(self, operation: str, seconds: int) -> StoredOperation:
        """The operation once it has ended, or as it is after `seconds`; raises NotFoundError."""
        deadline = asyncio.get_running_loop().time() + min(seconds, WAIT_S_MAX)
        change = asyncio.Event()
        self._waiting.setdefault(operation, set()).add(change)
        try:
            while True:
                change.clear()
                found = await self.get(operation)
                left = deadline - asyncio.get_running_loop().time()
                if found.state not in OPEN or left <= 0:
                    return found
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(change.wait(), left)
        finally:
            waiting = self._waiting[operation]
            waiting.discard(change)
            if not waiting:
                del self._waiting[operation]

    async def _work(self, operation: StoredOperation, work: Callable[[], Awaitable[Outcome]]) -> None:
        try:
            outcome, state = await work(), State.SUCCEEDED
        except Exception as error:
            if not isinstance(error, CodedError):
                logger().error("operation-failed", exc_info=error)
            outcome, state = _problem(operation, error), State.FAILED
        await self._settle(operation, state, outcome)

    async def _settle(
        self,
        operation: StoredOperation,
        state: State,
        outcome: Outcome,
        *,
        expected: frozenset[str] = frozenset({State.RUNNING}),
    ) -> None:
        now = self._clock()
        body = None if outcome.is_secret else outcome.body
        new = replace(operation, state=state, updated_at=now, status=outcome.status, result=body)
        facts: dict[str, object] = {**outcome.facts, "response": hashlib.sha256(outcome.body).hexdigest()}
        await self._store.change_operation(new, expected=expected, audit=_audit(new, now, **facts))
        self._wake(operation.operation)

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        task = asyncio.ensure_future(work)
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger().error("background-failed", reason_code=task.get_name(), exc_info=error)

    def _wake(self, operation: str) -> None:
        for change in self._waiting.get(operation, ()):
            change.set()


def accepted(operation: StoredOperation, facts: dict[str, object] | None = None) -> Outcome:
    """The 202 of a request that began `operation`; `kms.endpoint.executed` adds Location and waits if asked to."""
    body = encode(operation_json(operation))
    return Outcome(status=202, body=body, facts={"operation": operation.operation, **(facts or {})})


def operation_json(operation: StoredOperation, *, approval: bytes | None = None) -> OperationJson:
    """An operation as the API shows it."""
    content = None if operation.result is None else msgspec.Raw(operation.result)
    succeeded = operation.state == State.SUCCEEDED
    return OperationJson(
        operation=operation.operation,
        kind=operation.kind,
        state=operation.state,
        principal=operation.principal,
        resource=operation.resource,
        created_at=operation.created_at,
        updated_at=operation.updated_at,
        expires_at=operation.expires_at,
        status=operation.status,
        result=content if succeeded else None,
        problem=None if succeeded else content,
        approval=None if approval is None else msgspec.Raw(approval),
    )


def wait_of(prefer: str | None) -> int:
    """Seconds of `Prefer: wait=N` (RFC 7240), at most WAIT_S_MAX; 0 without one."""
    for part in (prefer or "")[:256].split(","):
        found = _WAIT.fullmatch(part.split(";")[0].strip().lower())
        if found:
            return min(int(found[1]), WAIT_S_MAX)
    return 0


def _problem(operation: StoredOperation, error: BaseException) -> Outcome:
    problem, _ = problem_of(error, request_id=operation.operation)
    status = status_of(error) if isinstance(error, CodedError) else 500
    code = error.code if isinstance(error, CodedError) else "internal"
    return Outcome(status=status, body=encode(problem), facts={"code": code})


def _audit(operation: StoredOperation, now: int, **facts: object) -> dict[str, object]:
    return {
        "kind": "operation",
        "time": now,
        "operation": operation.operation,
        "operation_kind": operation.kind,
        "state": str(operation.state),
        "principal": operation.principal,
        "resource": operation.resource,
        **facts,
    }
