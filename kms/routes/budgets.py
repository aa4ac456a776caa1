"""GET /v1/budgets/{policy}: how far a policy's budgets are used, by the word of each node."""

from __future__ import annotations

import asyncio
from typing import Any

from enclave.tokens import Act
from enclave.wire.budgets import BudgetsReply, BudgetsRequest
from kms.body import Reply
from kms.endpoint import Answer, Context, Endpoint, reply
from kms.errors import KmsError, NodeRefusal, NotFoundError, UnavailableError

ANSWER_TIMEOUT_S = 5.0


class NodeCounter(Reply, frozen=True):
    """What one node has counted; `spent` and `reserved` are scaled to the whole cap."""

    slot: str
    subject: str
    spent: str
    reserved: str


class KeyAllowance(Reply, frozen=True):
    """The most one use of a key can take."""

    key: str
    max_single: str


class BudgetState(Reply, frozen=True):
    """One budget; amounts are decimal strings of base units."""

    name: str
    asset: dict[str, Any]
    window: str
    per: str
    limit: str
    strict_against: int
    resets_at: int | None
    """End of the window, Unix seconds; null while nothing is counted."""
    keys: list[KeyAllowance]
    nodes: list[NodeCounter]


class Budgets(Reply, frozen=True):
    """All budgets of a policy."""

    policy: str
    version: int
    budgets: list[BudgetState]
    unreached: list[str]
    """Slots that told nothing."""


async def show(context: Context) -> Answer:
    """Ask every node with the caller's own token; nodes decide what an agent may see."""
    gateway, policy = context.gateway, context.params["policy"]
    gateway.admissions.require_resource(context.caller, policy)
    found = gateway.directory.policy(policy)
    if found is None or not gateway.directory.may_see_policy(context.caller.principal, policy):
        raise NotFoundError("no such policy, or none of yours")
    document, _ = found
    request = BudgetsRequest(token=context.caller.token_text, policy=policy)
    links = list(gateway.fleet.links.values())
    answers = await asyncio.gather(
        *(link.call("budgets", request, timeout_s=ANSWER_TIMEOUT_S) for link in links), return_exceptions=True
    )
    replies = {link.slot: answer for link, answer in zip(links, answers, strict=True)}
    told = {slot: answer for slot, answer in replies.items() if isinstance(answer, BudgetsReply)}
    for answer in replies.values():
        if isinstance(answer, BaseException) and not isinstance(answer, KmsError):
            raise answer
    if not told:
        refusals = [answer for answer in replies.values() if isinstance(answer, NodeRefusal)]
        raise refusals[0] if refusals else UnavailableError("no node answered")
    return reply(
        Budgets(
            policy=policy,
            version=document.version,
            budgets=[
                BudgetState(
                    name=budget.name,
                    asset=budget.asset.to_json(),
                    window=budget.window,
                    per=budget.per,
                    limit=str(budget.cap),
                    strict_against=budget.strict_against,
                    resets_at=_resets_at(budget.name, told),
                    keys=_keys(budget.name, told),
                    nodes=_counters(budget.name, told),
                )
                for budget in document.limits.budgets
            ],
            unreached=sorted(set(replies) - set(told)),
        )
    )


def _resets_at(budget: str, told: dict[str, BudgetsReply]) -> int | None:
    return max(
        (item.resets_at for answer in told.values() for item in answer.counters if item.budget == budget), default=None
    )


def _keys(budget: str, told: dict[str, BudgetsReply]) -> list[KeyAllowance]:
    most = {item.key: item.max_single for answer in told.values() for item in answer.keys if item.budget == budget}
    return [KeyAllowance(key=key, max_single=most[key]) for key in sorted(most)]


def _counters(budget: str, told: dict[str, BudgetsReply]) -> list[NodeCounter]:
    return [
        NodeCounter(slot=slot, subject=item.subject, spent=item.spent, reserved=item.reserved)
        for slot, answer in told.items()
        for item in answer.counters
        if item.budget == budget
    ]


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/budgets/{policy}", summary="How far budgets are used", handler=show,
        act=Act.POLICIES_GET, reply=Budgets, tag="documents", informative=True,
    ),
)  # fmt: skip
