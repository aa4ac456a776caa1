"""Verbs of requests that wait for people: park, parked, approved, reject, cancel (specs/approvals.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from enclave.approvals.book import CANCELLED, GRANT_S, REJECTED, Grant, ParkedRow, check_time
from enclave.approvals.counting import check_decision, check_enough, verified_approvals
from enclave.approvals.fingerprint import REJECT, operation_id
from enclave.approvals.waiting import check_statements, statement_bytes, understand
from enclave.authorise import authorise_past_use, authorise_use, registered_key
from enclave.errors import CallerError, RefusedError
from enclave.roster import Role
from enclave.tokens import Act, verify_token
from enclave.wire.approvals import (
    ApprovedRequest,
    CancelRequest,
    Granted,
    Parked,
    ParkedRequest,
    ParkRequest,
    RejectRequest,
)
from enclave.wire.message import Empty

if TYPE_CHECKING:
    from enclave.state import NodeState

STATEMENTS_MAX = 64
"""Most statements of one request: no roster has more slots."""

APPROVALS_MAX = 64
"""Most approvals of one request: four times what a rule can ask for."""


def park(node: NodeState, _connection: int, request: ParkRequest, now: int) -> Parked:
    """Verify a request while its token lives, remember it on disk, and say so."""
    authorised = authorise_use(node, request.token, request.body, None, now)
    waiting = understand(node, authorised, request.body, now)
    check_time(waiting.expires_at, now)
    token = authorised.token
    row = ParkedRow(
        fingerprint=waiting.fingerprint,
        received_at=now,
        expires_at=waiting.expires_at,
        issuer=token.issuer,
        group=waiting.terms.group,
        minimum=waiting.terms.minimum,
        policy=waiting.policy.policy,
        policy_version=waiting.policy.version,
    )
    return _statement(node, token.request_id, node.approvals.park(token.request_id, row, now))


def parked(node: NodeState, _connection: int, request: ParkedRequest, now: int) -> Parked:
    """The statement of this boot about a request parked before, also in an earlier boot."""
    return _statement(node, request.request_id, node.approvals.parked(request.request_id, now))


def approved(node: NodeState, connection: int, request: ApprovedRequest, now: int) -> Granted:
    """Check everything an execution rests on; afterwards the token works again over this connection for a minute."""
    if not 1 <= len(request.statements) <= STATEMENTS_MAX:
        raise CallerError(f"expected 1 to {STATEMENTS_MAX} statements", code="approval.parked")
    if len(request.approvals) > APPROVALS_MAX:
        raise CallerError(f"expected at most {APPROVALS_MAX} approvals", code="approval.missing")
    # When the token was verified is what the statements prove below; until then it is an assumption.
    received_at = min(statement.received_at for statement in request.statements)
    authorised = authorise_past_use(node, request.token, request.body, received_at)
    waiting = understand(node, authorised, request.body, now)
    check_time(waiting.expires_at, now)
    check_statements(node, authorised, waiting, request.statements, now)
    found, trouble = verified_approvals(node, waiting.terms.group, waiting.fingerprint, request.approvals)
    check_enough(node, authorised.token, waiting.terms, found, trouble)
    grant = Grant(
        request_id=authorised.token.request_id,
        fingerprint=waiting.fingerprint,
        policy=waiting.policy.policy,
        policy_version=waiting.policy.version,
        approvals=tuple(found),
        received_at=received_at,
        until=min(now + GRANT_S, waiting.expires_at),
        expires_at=waiting.expires_at,
    )
    return Granted(until=node.approvals.grant(connection, request.token, grant, now).until)


def reject(node: NodeState, _connection: int, request: RejectRequest, now: int) -> Empty:
    """One approver of the group ends it for good."""
    row = node.approvals.parked(request.request_id, now)
    check_decision(node, request.rejection, row.group, row.fingerprint, REJECT)
    node.approvals.end(request.request_id, REJECTED, expires_at=row.expires_at, now=now)
    return Empty()


def cancel(node: NodeState, _connection: int, request: CancelRequest, now: int) -> Empty:
    """Whoever asked, or an administrator, ends it for good."""
    row = node.approvals.parked(request.request_id, now)
    token = verify_token(
        request.token,
        body=b"",
        cluster=node.roster.cluster_id,
        now=now,
        keys=lambda issuer, kid: registered_key(node, issuer, kid),
        federation=node.federation,
        act=Act.OPERATIONS_CANCEL,
        resource=operation_id(request.request_id),
        not_before=node.started_at,
    )
    operator = node.roster.operator(token.kid)
    if token.issuer != row.issuer and (operator is None or Role.ADMIN not in operator.roles):
        raise RefusedError("only the requester and administrators cancel", code="operator.role")
    node.approvals.end(request.request_id, CANCELLED, expires_at=row.expires_at, now=now)
    return Empty()


def _statement(node: NodeState, request_id: bytes, row: ParkedRow) -> Parked:
    own = node.identity.public
    statement = Parked(
        slot=own.slot,
        boot_counter=own.boot_counter,
        request_id=request_id,
        fingerprint=row.fingerprint,
        received_at=row.received_at,
        expires_at=row.expires_at,
        signature=b"",
        group=row.group,
        minimum=row.minimum,
        policy=row.policy,
        policy_version=row.policy_version,
    )
    return msgspec.structs.replace(statement, signature=node.identity.sign(statement_bytes(node, statement)))
