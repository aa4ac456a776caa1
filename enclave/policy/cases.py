"""Unit tests for policies: a file of requests with the decision each must get (specs/policy.md, section 9).

Requests are the very bodies clients send, parsed as nodes parse them, so that a policy can be tried
before it is signed.  Nothing here is used when a node decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json, parse_json
from attestation.errors import CodedError, DocumentError, PolicyError
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.payload.decrypt import DecryptBody, parse_decrypt_body
from enclave.payload.sign import Payload, parse_sign_body
from enclave.policy.evaluate import Decision, Request, evaluate
from enclave.policy.rules import Policy

FILE_TYPE = "holdfast/policy-cases/v1"

CASES_MAX = 4096
"""Most cases of one file."""

EXPECTATIONS = ("allow", "approve", "deny", "refuse")
"""`approve` means that people have to, `refuse` that the body itself does not parse for the key."""

_AGENT = "agt_" + "a" * 26
_KEY = "key_" + "a" * 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What cases share unless they say otherwise."""

    agent: str
    key: str
    usage: str
    spec: str
    now: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case: what was expected, what came out, and why."""

    name: str
    passed: bool
    expected: str
    found: str
    reason: str
    decision: Decision | None
    """None if the body was refused."""


def run_cases(policy: Policy, data: bytes) -> tuple[CaseResult, ...]:
    """Run every case of a file; raises PolicyError (`policy.cases`) if the file itself is malformed."""
    try:
        value = parse_json(data)
    except DocumentError as error:
        raise PolicyError(error.detail, code="policy.cases") from None
    fields = Fields(value, where="", error=_malformed)
    fields.constant("type", FILE_TYPE)
    defaults = _read_defaults(fields, Defaults(agent=_AGENT, key=_KEY, usage="", spec="", now=None))
    results = tuple(_run(policy, case, defaults) for case in fields.each("cases", low=1, high=CASES_MAX))
    fields.done()
    if len({result.name for result in results}) != len(results):
        fields.refuse("two cases share one name", "cases")
    return results


def decide(
    policy: Policy, body: bytes, *, act: str, usage: str, spec: str, agent: str, key: str, now: int | None
) -> Decision:
    """How a policy decides the body of a `sign` or `decrypt` request; raises CallerError if nodes would not read it."""
    payload = parse_sign_body(body, usage, spec) if act == "sign" else parse_decrypt_body(body)
    return evaluate(policy, _request(payload, Defaults(agent=agent, key=key, usage=usage, spec=spec, now=now)))


def _run(policy: Policy, fields: Fields, defaults: Defaults) -> CaseResult:
    name = fields.text("name")
    facts = _read_defaults(fields, defaults)
    expected = fields.choice("expect", EXPECTATIONS)
    rule = fields.text("rule") if "rule" in fields else None
    code = fields.text("code") if "code" in fields else None
    if (rule is not None and expected == "refuse") or (code is not None and expected != "refuse"):
        fields.refuse("rule belongs to allow, approve and deny, code to refuse")
    if ("sign" in fields) == ("decrypt" in fields):
        fields.refuse("expected either sign or decrypt")
    is_sign = "sign" in fields
    body = canonical_json(fields.mapping("sign" if is_sign else "decrypt", high=64))
    try:
        payload = parse_sign_body(body, facts.usage, facts.spec) if is_sign else parse_decrypt_body(body)
    except CallerError as error:
        passed = expected == "refuse" and code in (None, error.code)
        return CaseResult(
            name=name, passed=passed, expected=code or expected, found=error.code, reason=error.detail, decision=None
        )
    decision = evaluate(policy, _request(payload, facts))
    found = "allow" if decision.allowed else "deny" if decision.approvals is None else "approve"
    passed = found == expected and rule in (None, decision.rule)
    wanted = expected if rule is None else f"{expected} by {rule}"
    return CaseResult(name=name, passed=passed, expected=wanted, found=found, reason=decision.reason, decision=decision)


def _request(payload: Payload | DecryptBody, facts: Defaults) -> Request:
    kind = payload.policy_kind if isinstance(payload, Payload) else payload.kind
    return Request(agent=facts.agent, key=facts.key, kind=kind, payload=payload, now=facts.now)


def _read_defaults(fields: Fields, defaults: Defaults) -> Defaults:
    def text(name: str) -> Any:
        return fields.text(name) if name in fields else getattr(defaults, name)

    return Defaults(
        agent=fields.identifier("agent", "agt", "opr") if "agent" in fields else defaults.agent,
        key=fields.identifier("key", "key") if "key" in fields else defaults.key,
        usage=text("usage"),
        spec=text("spec"),
        now=fields.integer("now") if "now" in fields else defaults.now,
    )


def _malformed(detail: str) -> CodedError:
    return PolicyError(detail, code="policy.cases")
