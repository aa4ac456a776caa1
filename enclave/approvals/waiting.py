"""One request that wants approvals, as this node understands it, and whether enough nodes saw its token alive.

Rules kept (specs/approvals.md): everything is worked out here from token, body, key and the policy held now; a
statement counts only under an identity that is trusted now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enclave.approvals.fingerprint import fingerprint_of, parked_bytes
from enclave.approvals.summary import parse_waiting, policy_kind, render
from enclave.authorise import Authorised, judge
from enclave.errors import CallerError, RefusedError, VerdictError
from enclave.identity import is_signed
from enclave.policy import ApprovalTerms
from enclave.tokens import FUTURE_S_MAX, Act
from enclave.wire.approvals import Parked

if TYPE_CHECKING:
    from enclave.documents import PolicyDocument
    from enclave.state import NodeState

WAITING_ACTS = frozenset({Act.SIGN, Act.DECRYPT})
"""What can wait: releases of secrets cannot, because their evidence would grow old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What an approval would be about."""

    terms: ApprovalTerms
    policy: PolicyDocument
    summary: str
    fingerprint: bytes
    expires_at: int


def understand(node: NodeState, request: Authorised, body: bytes, now: int) -> Waiting:
    """The request in this node's own words.

    Raises CallerError (`approval.not-needed`, `approval.act`, the payload's codes), RefusedError (`policy.denied`,
    `policy.unknown`, `payload.expired`).
    """
    token, key = request.token, request.key.certificate
    if token.act not in WAITING_ACTS:
        raise CallerError("only signing and decrypting wait for approvals", code="approval.act")
    payload = parse_waiting(body, token.act, key)
    not_after = getattr(payload, "not_after", None)
    if not_after is not None and now > not_after:
        raise RefusedError("the request's own deadline has passed", code="payload.expired")
    policy, decision = judge(node, request, policy_kind(payload), payload, now)
    terms = decision.approvals
    if terms is None:
        if decision.allowed:
            raise CallerError("policy allows this without approvals", code="approval.not-needed")
        raise RefusedError(decision.reason, code="policy.denied")
    expires_at = token.issued_at + terms.lasts_s
    if not_after is not None:
        expires_at = min(expires_at, not_after)
    summary = render(token, key, body, payload, expires_at=expires_at)
    fingerprint = fingerprint_of(
        cluster=node.roster.cluster_id,
        request_id=token.request_id,
        body=body,
        resource=token.resource,
        policy=policy.policy,
        policy_version=policy.version,
        summary=summary,
        expires_at=expires_at,
    )
    return Waiting(terms=terms, policy=policy, summary=summary, fingerprint=fingerprint, expires_at=expires_at)


def check_statements(
    node: NodeState,
    request: Authorised,
    waiting: Waiting,
    statements: Iterable[Parked],
    now: int,
) -> None:
    """Raise RefusedError (`approval.parked`) unless a signing quorum of the key's nodes verified the living token.

    Counts nodes whose evidence this node trusts now, under the identity of their present boot, itself included.
    """
    token, key = request.token, request.key.certificate
    slots = set()
    for statement in statements:
        times = token.issued_at - FUTURE_S_MAX <= statement.received_at < token.expires_at
        same = (statement.fingerprint, statement.request_id, statement.expires_at) == (
            waiting.fingerprint,
            token.request_id,
            waiting.expires_at,
        )
        if times and same and key.node(statement.slot) is not None and _is_genuine(node, statement, now):
            slots.add(statement.slot)
    if len(slots) < key.signing_quorum:
        raise RefusedError(
            f"expected statements of {key.signing_quorum} nodes that they verified the request, found {len(slots)}",
            code="approval.parked",
            hint="nodes that restarted sign theirs again; else the request has to be sent anew",
        )


def statement_bytes(node: NodeState, statement: Parked) -> bytes:
    """What a node signs."""
    return parked_bytes(
        cluster=node.roster.cluster_id,
        slot=statement.slot,
        boot_counter=statement.boot_counter,
        request_id=statement.request_id,
        fingerprint=statement.fingerprint,
        received_at=statement.received_at,
        expires_at=statement.expires_at,
    )


def _is_genuine(node: NodeState, statement: Parked, now: int) -> bool:
    try:
        own = statement.slot == node.slot
        identity = node.identity.public if own else node.verdicts.identity(statement.slot, now)
    except VerdictError:
        return False
    is_boot = identity.boot_counter == statement.boot_counter
    return is_boot and is_signed(identity.identity_key, statement.signature, statement_bytes(node, statement))
