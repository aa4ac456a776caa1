"""Verb that shows how far a policy's budgets are used at this node: budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.documents import PolicyDocument
from enclave.errors import CallerError, RefusedError
from enclave.limits.allowance import UNIT
from enclave.limits.node_limits import counter_prefix
from enclave.limits.windows import window_of
from enclave.signing_key import PublicKey
from enclave.tokens import Act, verify_token
from enclave.wire.budgets import BudgetCounter, BudgetKey, BudgetsReply, BudgetsRequest

if TYPE_CHECKING:
    from enclave.state import NodeState

COUNTERS_MAX = 1000
"""Most counters in one reply: a policy for more agents shows those with the lowest ids."""


def show(node: NodeState, _connection: int, request: BudgetsRequest, now: int) -> BudgetsReply:
    """Operators see every counter, agents those they share in; raises TokenError, RefusedError, CallerError."""

    def registered(issuer: str, kid: str) -> PublicKey | None:
        known = next((key for key in node.directory.credentials(issuer) if key.kid == kid), None)
        return known or node.roster.operator_key(issuer, kid)

    issuer = verify_token(
        request.token,
        body=b"",
        cluster=node.roster.cluster_id,
        now=now,
        keys=registered,
        federation=node.federation,
        act=Act.POLICIES_GET,
        resource=request.policy,
    ).issuer
    policy = node.directory.policy(request.policy)
    if policy is None:
        raise CallerError("this node does not hold that policy", code="policy.unknown")
    is_agent = issuer.startswith("agt_")
    if is_agent and not _is_named(policy, issuer):
        raise RefusedError("the policy allows this agent nothing", code="policy.denied")
    return BudgetsReply(
        version=policy.version,
        counters=_counters(node, policy, issuer if is_agent else None, now)[:COUNTERS_MAX],
        keys=[
            BudgetKey(
                budget=budget.name, key=key.key, max_single=str(node.limits.share(budget, key).allowance(budget.cap))
            )
            for budget in policy.limits.budgets
            for key in node.keys.under(policy.policy)
            if not is_agent or _is_named(policy, issuer, key.key)
        ],
    )


def _counters(node: NodeState, policy: PolicyDocument, agent: str | None, now: int) -> list[BudgetCounter]:
    found = []
    for budget in policy.limits.budgets:
        window = window_of(budget.window, now)
        prefix = counter_prefix(policy.policy, budget)
        for name in node.limits.budgets.counters(prefix):
            subject = name.removeprefix(prefix)
            if agent is not None and budget.per == "agent" and subject != agent:
                continue
            if agent is not None and budget.per == "key" and not _is_named(policy, agent, subject):
                continue
            spent, reserved = node.limits.budgets.standing(name, window)
            found.append(
                BudgetCounter(
                    budget=budget.name,
                    subject=subject,
                    spent=str(-(-spent // UNIT)),
                    reserved=str(reserved // UNIT),
                    resets_at=window.end,
                )
            )
    return found


def _is_named(policy: PolicyDocument, agent: str, key: str | None = None) -> bool:
    """Whether an allow rule speaks of this agent (and key)."""
    return any(
        not rule.denies
        and (rule.agents is None or agent in rule.agents)
        and (key is None or rule.keys is None or key in rule.keys)
        for rule in policy.compiled.rules
    )
