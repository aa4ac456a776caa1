"""Verb that says what policy would decide about a request, and why; nothing is executed, charged or remembered.

Rules kept: an agent asks for itself, operators for anybody; what is asked about is parsed as the real request would be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from attestation.canonical import canonical_json, parse_json
from attestation.errors import CodedError, DocumentError
from enclave.approvals.summary import parse_waiting, policy_kind
from enclave.authorise import check_issuer, registered_key
from enclave.errors import CallerError, RefusedError
from enclave.fields import Fields
from enclave.payload.sign import BODY_BYTES_MAX
from enclave.policy import Decision, Request, evaluate
from enclave.tokens import Act, Token, verify_token
from enclave.wire.evaluate import EvaluateReply, EvaluateRequest

if TYPE_CHECKING:
    from enclave.documents import PolicyDocument
    from enclave.state import NodeState

VERBS = {"sign": Act.SIGN, "decrypt": Act.DECRYPT}
"""Requests that can be asked about; `decrypt` bodies may be those of `rewrap`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Would `agent` be allowed this with `key`?"""

    key: str
    verb: str
    request: bytes
    """The body such a request would have, canonical JSON."""
    agent: str | None

    @classmethod
    def parse(cls, body: bytes) -> Question:
        """Read the body of `POST /v1/policies/{policy}/evaluate`; raises CallerError (`evaluate.malformed`)."""
        try:
            value = parse_json(body, bytes_max=BODY_BYTES_MAX)
        except DocumentError as error:
            raise CallerError(error.detail, code=error.code) from None
        fields = Fields(value, where="", error=_malformed)
        question = cls(
            key=fields.identifier("key", "key"),
            verb=fields.choice("verb", VERBS),
            request=canonical_json(fields.mapping("request", high=64)),
            agent=fields.identifier("agent", "agt", "opr") if "agent" in fields else None,
        )
        fields.done()
        return question


def answer(node: NodeState, _connection: int, request: EvaluateRequest, now: int) -> EvaluateReply:
    """The decision of this node; raises TokenError, RefusedError, CallerError."""
    token = verify_token(
        request.token,
        body=request.body,
        cluster=node.roster.cluster_id,
        now=now,
        keys=partial(registered_key, node),
        federation=node.federation,
        act=Act.POLICIES_GET,
        not_before=node.started_at,
    )
    check_issuer(node, token)
    policy = node.directory.policy(token.resource)
    if policy is None:
        raise CallerError("this node does not hold that policy", code="policy.unknown")
    question = Question.parse(request.body)
    agent = question.agent or token.issuer
    if agent != token.issuer and node.roster.operator(token.kid) is None:
        raise RefusedError("agents ask for themselves", code="operator.role")
    key = node.keys.newest(question.key).certificate
    if key.policy != policy.policy or not _concerns(policy, agent, key.key):
        raise RefusedError("the policy is not about this agent and key", code="policy.denied")
    payload = parse_waiting(question.request, VERBS[question.verb], key)
    kind = policy_kind(payload)
    decision = evaluate(policy, Request(agent=agent, key=key.key, kind=kind, payload=payload, now=now))
    value: dict[str, Any] = decision.to_json() | {"outcome": _outcome(decision), "policy_version": policy.version}
    if decision.allowed or decision.approvals is not None:
        value["limits"] = _limits(node, policy, replace(token, issuer=agent), question.key, kind, payload, now)
    return EvaluateReply(decision=canonical_json(value))


def _limits(
    node: NodeState, policy: PolicyDocument, token: Token, key: str, kind: str, payload: Any, now: int
) -> dict[str, str]:
    """Whether budgets, rate and nonce guard of this node would let it through now; nothing is taken."""
    try:
        node.limits.check(policy, node.keys.newest(key).certificate, token, kind, payload, now)
    except RefusedError as error:
        return {"code": error.code, "detail": error.detail}
    return {"code": "ok"}


def _outcome(decision: Decision) -> str:
    if decision.approvals is not None:
        return "approve"
    return "allow" if decision.allowed else "deny"


def _concerns(policy: PolicyDocument, agent: str, key: str) -> bool:
    """Whether an allow rule speaks of this agent and key: others learn nothing of the rules."""
    if not agent.startswith("agt_"):
        return True
    return any(
        not rule.denies and (rule.agents is None or agent in rule.agents) and (rule.keys is None or key in rule.keys)
        for rule in policy.compiled.rules
    )


def _malformed(detail: str) -> CodedError:
    return CallerError(detail, code="evaluate.malformed")
