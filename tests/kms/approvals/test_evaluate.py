"""Asking what policy would decide: answered by the nodes with the tree of checks, and nothing happens."""

from __future__ import annotations

from typing import Any

import pytest

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.signing_key import SigningKey
from tests.kms.approvals.office import LIMIT, Office, payment

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGE = {"kind": "message", "message": b64url(b"hello")}


async def ask(office: Office, value: Any, *, as_operator: bool = False, resource: str = "") -> tuple[int, Any]:
    """One question."""
    fabric, body = office.fabric, canonical_json(value)
    policy = fabric.policy_id
    token = (
        fabric.operator_token("policies.get", resource or policy, body)
        if as_operator
        else fabric.token("policies.get", resource or policy, body)
    )
    return await fabric.ask("POST", f"/v1/policies/{policy}/evaluate", token=token, body=body)


def transaction(office: Office, value: int, **changes: Any) -> dict[str, Any]:
    """A question about a payment."""
    made = payment(value, nonce=77)
    return {
        "key": office.ecdsa["key"],
        "verb": "sign",
        "request": {"kind": "evm_transaction", "transaction": made},
    } | changes


@pytest.mark.parametrize(
    ("value", "outcome", "rule"),
    [(LIMIT, "allow", "payments"), (LIMIT + 1, "approve", "payments"), (10**7, "deny", None)],
)
async def test_every_node_decides(office: Office, value: int, outcome: str, rule: str | None) -> None:
    """Allowed, to be approved, or denied; with the rule, every check, and each node's own outcome."""
    status, answer = await ask(office, transaction(office, value))
    assert (status, answer["outcome"]) == (200, outcome)
    assert answer["nodes"] == dict.fromkeys(office.fabric.slots, outcome)
    decision = answer["decision"]
    assert (decision["rule"], decision["policy_version"]) == (rule, 2)
    checks = {check["leaf"]: check["holds"] for check in decision["rules"][0]["checks"]}
    assert checks["evm.value_max"] is (outcome != "deny")
    assert ("limits" in decision) == (outcome != "deny")


async def test_nothing_is_spent(office: Office) -> None:
    """Asked ten times about one nonce, another transaction with that nonce is still signed."""
    for value in range(10):
        assert (await ask(office, transaction(office, value)))[0] == 200
    assert (await office.agent.sign.evm_transaction(office.ecdsa["key"], payment(LIMIT, nonce=77))).raw_transaction
    _, answer = await ask(office, transaction(office, 5))
    assert list(answer["nodes"].values()).count("nonce-guard.used") == 3  # those that signed


async def test_operators_ask_for_agents(office: Office) -> None:
    """An operator may ask what an agent could do; for itself no rule of this policy allows anything."""
    agent = office.fabric.agent_id
    question = {"key": office.ed25519["key"], "verb": "sign", "request": MESSAGE}
    _, answer = await ask(office, question | {"agent": agent}, as_operator=True)
    assert answer["outcome"] == "approve"
    _, answer = await ask(office, question, as_operator=True)
    assert answer["outcome"] == "deny"


async def test_agents_ask_for_themselves(office: Office) -> None:
    """Nobody learns what another agent may do."""
    question = {"key": office.ed25519["key"], "verb": "sign", "request": MESSAGE, "agent": "agt_" + "b" * 26}
    status, answer = await ask(office, question)
    assert (status, answer["code"]) == (403, "operator.role")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"key": "key_" + "z" * 26}, 404, "not-found"),
        ({"verb": "release"}, 422, "evaluate.malformed"),
        ({"request": {"kind": "nonsense"}}, 422, "payload.kind"),
        ({"more": 1}, 400, "request.malformed"),
    ],
)
async def test_wrong_questions(office: Office, change: dict[str, Any], status: int, code: str) -> None:
    """Questions are parsed as strictly as requests."""
    found, answer = await ask(office, transaction(office, 1) | change)
    assert (found, answer["code"]) == (status, code)


async def test_strangers_learn_nothing(office: Office) -> None:
    """The token must be of somebody registered, and for this policy."""
    fabric, body = office.fabric, canonical_json(transaction(office, 1))
    policy = fabric.policy_id
    stranger = fabric.token("policies.get", policy, body, signer=SigningKey.generate())
    status, answer = await fabric.ask("POST", f"/v1/policies/{policy}/evaluate", token=stranger, body=body)
    assert (status, answer["code"]) == (401, "token.unknown-key")
    status, answer = await ask(office, transaction(office, 1), resource="pol_" + "a" * 26)
    assert (status, answer["code"]) == (401, "token.resource")
