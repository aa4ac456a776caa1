"""Where waiting requests are taken in, decided about, and executed once enough people approve.

Rules kept: the gateway counts only to know when to try - each node counts again and decides; decisions about one
gateway's operations are made one at a time, so that none overwrites another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from enclave.approvals.fingerprint import decision_bytes, operation_id
from enclave.errors import RefusedError
from enclave.roster import Role
from enclave.tokens import Token, verify_token
from enclave.wire.approvals import Approval
from kms.admission import Call, Outcome
from kms.approvals.record import KIND, Details, Given, details_of, pack
from kms.endpoint import Answer, Context, executed
from kms.errors import ConflictError, ForbiddenError, KmsError, NodeRefusal, NotFoundError, UnavailableError
from kms.fleet import approvals as fleet_approvals
from kms.keys import Key
from kms.operations import State, accepted
from kms.store.protocol import StoredOperation

if TYPE_CHECKING:
    from kms.gateway import Gateway

REQUIRED = "approval.required"
"""The code by which nodes ask for people."""

TRIES = 3
"""Executions tried while nodes are away; nodes begin a request once, and let whoever began try thrice."""

PAUSE_S = 2.0

Perform = Callable[[Context, Key], Awaitable[Outcome]]
"""What an endpoint does for an admitted request."""


class ApprovalDesk:
    """The waiting requests of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._perform: dict[str, Perform] = {}
        self._deciding = asyncio.Lock()
        gateway.operations.resumed_by(KIND, self._resume)

    def serves(self, verb: str, perform: Perform) -> None:
        """Have approved requests to paths that end with `verb` executed by `perform`."""
        self._perform[verb] = perform

    async def park(self, call: Call, key: Key) -> Outcome:
        """Have nodes verify the living token, and keep the request for people; raises NodeRefusal, UnavailableError."""
        gateway, token = self._gateway, call.token
        statements = await fleet_approvals.park(gateway.fleet, key, token=call.token_text, body=call.body)
        said = statements[0]
        details = Details(
            token=call.token_text,
            body=call.body,
            method=call.method,
            path=call.path,
            issued_at=token.issued_at,
            request_id=token.request_id,
            key=key.key,
            certificate=key.record.body,
            fingerprint=said.fingerprint,
            group=said.group,
            minimum=said.minimum,
            policy=said.policy,
            policy_version=said.policy_version,
        )
        operation, _ = await gateway.operations.begin(
            operation=operation_id(token.request_id),
            kind=KIND,
            principal=token.issuer,
            resource=token.resource,
            state=State.WAITING,
            expires_at=said.expires_at,
            details=pack(details),
        )
        return accepted(operation, {"parked": sorted(statement.slot for statement in statements)})

    async def approve(self, name: str, approval: Approval) -> StoredOperation:
        """Add an approval, and execute once there are enough.

        Raises RefusedError (`approval.*`), ConflictError (`operation.state`), NotFoundError.
        """
        async with self._deciding:
            operation, details = await self._waiting(name)
            self._check(approval, details, "approve")
            now = self._gateway.fleet.clock()
            given = Given(approval.approver, approval.credential, approval.signature, now)
            others = tuple(one for one in details.approvals if one.approver != approval.approver)
            details = msgspec.structs.replace(details, approvals=(*others, given))
            enough = self._count(details) >= details.minimum
            state = State.RUNNING if enough else State.WAITING
            operation = await self._gateway.operations.move(operation, state, details=pack(details))
        if enough:
            self._gateway.operations.run(operation, lambda: self._execute(details))
        return operation

    async def reject(self, name: str, rejection: Approval) -> StoredOperation:
        """End it by one approver's word, at the nodes first; raises as `approve`."""
        async with self._deciding:
            operation, details = await self._waiting(name)
            self._check(rejection, details, "reject")
            key = await self._key(details)
            await fleet_approvals.reject(self._gateway.fleet, key, request_id=details.request_id, rejection=rejection)
            error = RefusedError(f"rejected by {rejection.approver}", code="approval.rejected")
            details = msgspec.structs.replace(details, decided_by=rejection.approver)
            return await self._gateway.operations.move(operation, State.REJECTED, details=pack(details), error=error)

    async def cancel(self, name: str, call: Call) -> StoredOperation:
        """End it by the word of whoever asked or an administrator; raises as `approve`, ForbiddenError."""
        async with self._deciding:
            operation, details = await self._waiting(name)
            directory = self._gateway.directory
            if call.principal != operation.principal and Role.ADMIN not in directory.roles(call.principal):
                raise ForbiddenError("only the requester and administrators cancel")
            key = await self._key(details)
            await fleet_approvals.cancel(self._gateway.fleet, key, request_id=details.request_id, token=call.token_text)
            error = RefusedError(f"cancelled by {call.principal}", code="approval.cancelled")
            details = msgspec.structs.replace(details, decided_by=call.principal)
            return await self._gateway.operations.move(operation, State.CANCELLED, details=pack(details), error=error)

    def waits_for(self, operation: StoredOperation, principal: str) -> bool:
        """Whether it is of a group the approver is in."""
        approver = self._gateway.directory.approver(principal)
        if approver is None or approver.state != "active" or operation.kind != KIND:
            return False
        return details_of(operation).group in approver.groups

    async def _waiting(self, name: str) -> tuple[StoredOperation, Details]:
        operation = await self._gateway.operations.get(name)
        if operation.kind != KIND:
            raise ConflictError(f"an operation of kind {operation.kind} waits for nobody", code="operation.kind")
        if operation.state != State.WAITING:
            raise ConflictError(f"the operation is {operation.state}", code="operation.state")
        return operation, details_of(operation)

    def _check(self, approval: Approval, details: Details, decision: str) -> None:
        """Refuse early what nodes would refuse; raises RefusedError."""
        approver = self._gateway.directory.approver(approval.approver)
        key = None if approver is None else approver.key(approval.credential)
        if approver is None or key is None or details.group not in approver.groups:
            raise RefusedError(f"expected an approver of group {details.group}", code="approval.approver")
        statement = decision_bytes(
            cluster=self._gateway.roster.cluster_id,
            fingerprint=details.fingerprint,
            approver=approval.approver,
            decision=decision,
        )
        if not key.verify(statement, approval.signature):
            raise RefusedError("the approver signed another operation", code="approval.signature")

    def _count(self, details: Details) -> int:
        """Distinct active approvers with distinct keys."""
        found: dict[str, str] = {}
        for given in details.approvals:
            approver = self._gateway.directory.approver(given.approver)
            if approver is not None and approver.key(given.credential) is not None:
                found.setdefault(given.credential, given.approver)
        return len(set(found.values()))

    async def _key(self, details: Details) -> Key:
        key = await self._gateway.keyring.get(details.key)
        if key is None:
            raise NotFoundError("no such key, or none of yours")
        return key

    async def _resume(self, operation: StoredOperation) -> None:
        details = details_of(operation)
        self._gateway.operations.run(operation, lambda: self._execute(details))

    async def _execute(self, details: Details) -> Outcome:
        """Give nodes the approvals, then do what was asked; raises KmsError and what nodes say."""
        key = await self._key(details)
        perform = self._perform[details.path.rpartition("/")[2]]
        call = Call(
            token_text=details.token,
            token=self._token(details),
            method=details.method,
            path=details.path,
            body=details.body,
            idempotency_key=None,
        )
        context = Context(
            gateway=self._gateway,
            method=details.method,
            path=details.path,
            params={"key": details.key},
            query={},
            body=details.body,
            idempotency_key=None,
            call=call,
        )
        approvals = [Approval(given.approver, given.credential, given.signature) for given in details.approvals]
        failure: KmsError | None = None
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(PAUSE_S)
            try:
                await fleet_approvals.hand_over(
                    self._gateway.fleet,
                    key,
                    token=details.token,
                    body=details.body,
                    request_id=details.request_id,
                    approvals=approvals,
                )
                return await perform(context, key)
            except UnavailableError as error:
                failure = error
            except NodeRefusal as error:
                # A node that has just come back was not told of the approvals yet.
                if error.code not in (REQUIRED, "token.expired"):
                    raise
                failure = error
        assert failure is not None
        raise failure

    def _token(self, details: Details) -> Token:
        """The token as it was when it lived; raises TokenError, for example once its key is not registered any more."""
        return verify_token(
            details.token,
            body=details.body,
            cluster=self._gateway.roster.cluster_id,
            now=details.issued_at,
            keys=self._gateway.directory.credential,
            federation=self._gateway.directory.federation,
            act=None,
        )


async def executed_or_parked(context: Context, key: Key, perform: Perform) -> Answer:
    """Answer with what `perform` makes, or with 202 where nodes want people to approve first."""

    async def work() -> Outcome:
        try:
            return await perform(context, key)
        except NodeRefusal as refusal:
            if refusal.code != REQUIRED:
                raise
            return await context.gateway.approvals.park(context.caller, key)

    return await executed(context, work)
