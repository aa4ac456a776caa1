"""POST /v1/policies/{policy}/evaluate: what nodes would decide about a request, and why, without executing it."""

from __future__ import annotations

from typing import Any

import msgspec

from enclave.tokens import Act
from enclave.wire.evaluate import EvaluateReply, EvaluateRequest
from kms.body import Reply, Request, read_body
from kms.endpoint import Answer, Context, Endpoint, reply
from kms.errors import NotFoundError
from kms.fleet.approvals import ask_holders, why


class EvaluationRequest(Request, frozen=True):
    """`request` is the body that `POST /v1/keys/{key}/{verb}` would have."""

    key: str
    verb: str
    """`sign` or `decrypt`."""
    request: dict[str, Any]
    agent: str | msgspec.UnsetType = msgspec.UNSET
    """Whose request it would be; operators only. The caller unless given."""


class Evaluation(Reply, frozen=True):
    """Every node's decision; informative, no node signs it."""

    policy: str
    outcome: str
    """`allow`, `approve` (people have to) or `deny`, as most nodes decide."""
    decision: msgspec.Raw
    """Rule, reason and the tree of rules and checks, from one of those nodes."""
    nodes: dict[str, str]
    """Slot -> outcome, or the code of what stands against it there: a limit, or a refusal to answer."""


class _Limits(msgspec.Struct):
    code: str


class _Outcome(msgspec.Struct):
    outcome: str
    limits: _Limits | None = None

    @property
    def word(self) -> str:
        """The outcome, or the code of the limit that stands against it at this node now."""
        return self.outcome if self.limits is None or self.limits.code == "ok" else self.limits.code


async def evaluate(context: Context) -> Answer:
    """Hand the question to every holder of the key."""
    gateway, call, policy = context.gateway, context.caller, context.params["policy"]
    question = read_body(context.body, EvaluationRequest)
    gateway.admissions.require_resource(call, policy)
    if not gateway.directory.may_see_policy(call.principal, policy):
        raise NotFoundError("no such policy, or none of yours")
    key = await gateway.keyring.get(question.key)
    if key is None or not gateway.directory.may_see(call.principal, key=key.key, policy=key.certificate.policy):
        raise NotFoundError("no such key, or none of yours")
    asked = EvaluateRequest(token=call.token_text, body=call.body)
    answers = await ask_holders(gateway.fleet, key, "evaluate", asked)
    decisions = {slot: item.decision for slot, item in answers.items() if isinstance(item, EvaluateReply)}
    if not decisions:
        raise why(answers, "expected a decision, found no node that gives one")
    outcomes = {slot: msgspec.json.decode(item, type=_Outcome) for slot, item in decisions.items()}
    found = [item.outcome for item in outcomes.values()]
    most = max(sorted(set(found)), key=found.count)
    refusals = {slot: getattr(item, "code", "") for slot, item in answers.items() if slot not in decisions}
    return reply(
        Evaluation(
            policy=policy,
            outcome=most,
            decision=msgspec.Raw(next(item for slot, item in decisions.items() if outcomes[slot].outcome == most)),
            nodes=dict(sorted(({slot: item.word for slot, item in outcomes.items()} | refusals).items())),
        )
    )


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/policies/{policy}/evaluate", summary="What policy would decide, and why",
        handler=evaluate, act=Act.POLICIES_GET, request=EvaluationRequest, reply=Evaluation, tag="documents",
        informative=True,
    ),
)  # fmt: skip
