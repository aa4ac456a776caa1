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
    """Slot -> outcome, or the code of its refusal."""


class _Outcome(msgspec.Struct):
    outcome: str


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
    outcomes = {slot: msgspec.json.decode(item, type=_Outcome).outcome for slot, item in decisions.items()}
    found = list(outcomes.values())
    most = max(sorted(set(found)), key=found.count)
    refusals = {slot: getattr(item, "code", "") for slot, item in answers.items() if slot not in decisions}
    return reply(
        Evaluation(
            policy=policy,
            outcome=most,
            decision=msgspec.Raw(next(item for slot, item in decisions.items() if outcomes[slot] == most)),
            nodes=dict(sorted((outcomes | refusals).items())),
        )
    )


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/policies/{policy}/evaluate", summary="What policy would decide, and why",
        handler=evaluate, act=Act.POLICIES_GET, request=EvaluationRequest, reply=Evaluation, tag="documents",
        informative=True,
    ),
)  # fmt: skip
