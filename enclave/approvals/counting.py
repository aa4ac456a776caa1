"""Do enough people approve?  Asked when a node is told to execute, and again at every use of a share.

Rules kept (specs/approvals.md section 5): only what verifies is counted, each person once and each key once; who
asked is never one of those who approve; a revoked approver does not count from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from enclave.approvals.book import check_time
from enclave.approvals.fingerprint import APPROVE, decision_bytes
from enclave.errors import RefusedError
from enclave.policy import ApprovalTerms

if TYPE_CHECKING:
    from enclave.approvals.book import Grant
    from enclave.documents import PolicyDocument
    from enclave.state import NodeState
    from enclave.tokens import Token
    from enclave.wire.approvals import Approval


def check_grant(
    node: NodeState, grant: Grant | None, token: Token, policy: PolicyDocument, terms: ApprovalTerms | None, now: int
) -> None:
    """Raise RefusedError unless what was approved is what policy wants approved now.

    Codes: `approval.required`, `approval.policy`, `approval.expired`, and those of `check_enough`.
    """
    if grant is None:
        raise RefusedError(
            "policy allows this with approvals, and there are none",
            code="approval.required",
            hint="the gateway parks it: approvers find it under /v1/operations",
        )
    if (grant.policy, grant.policy_version) != (policy.policy, policy.version):
        raise RefusedError("approved under another version of the policy", code="approval.policy")
    check_time(grant.expires_at, now)
    if terms is not None:
        check_enough(node, token, terms, grant.approvals)


def verified_approvals(
    node: NodeState, group: str, fingerprint: bytes, approvals: Iterable[Approval]
) -> tuple[list[tuple[str, str]], RefusedError | None]:
    """(approver, key id) of every approval that verifies, and why the first other one does not."""
    found: list[tuple[str, str]] = []
    trouble: RefusedError | None = None
    for approval in approvals:
        try:
            check_decision(node, approval, group, fingerprint, APPROVE)
        except RefusedError as error:
            trouble = trouble or error
        else:
            found.append((approval.approver, approval.credential))
    return found, trouble


def check_decision(node: NodeState, approval: Approval, group: str, fingerprint: bytes, decision: str) -> None:
    """Raise RefusedError (`approval.approver`, `approval.signature`) unless a member of the group signed this."""
    approver = node.directory.approver(approval.approver)
    key = None if approver is None else approver.key(approval.credential)
    if approver is None or key is None or group not in approver.groups:
        raise RefusedError(f"not an active approver of group {group} with that key", code="approval.approver")
    statement = decision_bytes(
        cluster=node.roster.cluster_id, fingerprint=fingerprint, approver=approval.approver, decision=decision
    )
    if not key.verify(statement, approval.signature):
        raise RefusedError(
            "the approver signed something else",
            code="approval.signature",
            hint="another request, policy version or summary makes another fingerprint",
        )


def check_enough(
    node: NodeState,
    token: Token,
    terms: ApprovalTerms,
    approvals: Iterable[tuple[str, str]],
    trouble: RefusedError | None = None,
) -> None:
    """Raise RefusedError unless enough distinct people with distinct keys approve, none of them the requester.

    Codes: `approval.missing`, or why one of them does not count: `approval.approver`, `approval.own-request`, and
    `trouble` where that is given.
    """
    people: set[str] = set()
    keys: set[bytes] = set()
    own = _keys_of(node, token.issuer)
    for name, credential in approvals:
        approver = node.directory.approver(name)
        key = None if approver is None else approver.key(credential)
        if approver is None or key is None or terms.group not in approver.groups:
            trouble = trouble or RefusedError("an approver does not count any more", code="approval.approver")
        elif any(one.key in own or one.kid == token.kid for one in approver.keys):
            # The token's own key beside: one that an identity provider vouches for is registered nowhere.
            trouble = trouble or RefusedError("nobody approves their own request", code="approval.own-request")
        elif name not in people and key.key not in keys:
            people.add(name)
            keys.add(key.key)
    if len(people) < terms.minimum:
        raise trouble or RefusedError(
            f"expected {terms.minimum} approvals of different people, found {len(people)}", code="approval.missing"
        )


def _keys_of(node: NodeState, issuer: str) -> set[bytes]:
    """Every key the requester has or had registered."""
    agent = node.directory.agent(issuer)
    if agent is not None:
        return {key.key for key in agent.keys}
    return {entry.key for entry in node.roster.operators if entry.operator == issuer}
