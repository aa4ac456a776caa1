"""Budgets, rates and nonces end to end: refusals by several nodes, figures over HTTP, policies above their budgets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.ids import new_id
from tests.kms.fabric import Fabric
from tests.kms.test_freeze import client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGES = {"name": "messages", "effect": "allow", "kinds": ["message"]}


def a_budget(cap: int, **changes: Any) -> dict[str, Any]:
    """A daily budget of requests of one key."""
    budget = {"name": "daily", "asset": {"kind": "requests"}, "window": "day", "cap": str(cap), "per": "key"}
    return budget | changes


async def put_policy(fabric: Fabric, policy: str, **changes: Any) -> tuple[int, Any]:
    """A version of a policy of its own."""
    document = fabric.policy_document(policy=policy, **({"rules": [MESSAGES]} | changes))
    return await fabric.put("PUT", f"/v1/policies/{policy}", document)


async def sign(fabric: Fabric, key: dict[str, Any]) -> tuple[int, Any]:
    """The agent asks for a signature over a message."""
    body = canonical_json({"kind": "message", "message": b64url(b"hello")})
    token = fabric.token("sign", f"{key['key']}/1", body)
    return await fabric.ask("POST", f"/v1/keys/{key['key']}/sign", token=token, body=body)


async def test_a_budget_ends_what_the_nodes_give(fabric: Fabric) -> None:
    """Requests in flight together stay within the cap; some nodes refuse earlier than others, the answer is one."""
    policy = new_id("pol")
    assert (await put_policy(fabric, policy, budgets=[a_budget(10)]))[0] == 200
    key = await fabric.create_key(name="counted", policy=policy)
    answers = [await sign(fabric, key) for _ in range(4)]
    answers += await asyncio.gather(*(sign(fabric, key) for _ in range(16)))
    statuses = [status for status, _ in answers]
    assert 4 <= statuses.count(200) <= 10
    refused = [answer for status, answer in answers if status != 200]
    assert {(answer["status"], answer["code"]) for answer in refused} == {(409, "budget.exceeded")}
    async with client_of(fabric) as client:
        found = await client.policies.budgets(policy)
    (budget,) = found["budgets"]
    assert (budget["limit"], budget["keys"]) == ("10", [{"key": key["key"], "max_single": "6"}])
    assert sorted(item["slot"] for item in budget["nodes"]) == fabric.slots
    assert all(int(item["spent"]) <= 10 for item in budget["nodes"])
    assert sum(int(item["spent"]) for item in budget["nodes"]) >= 5 * statuses.count(200)
    assert found["unreached"] == []


async def test_an_agent_sees_the_budgets_of_its_policies(fabric: Fabric) -> None:
    """Under a policy that allows it nothing it is told that there is none."""
    policy = new_id("pol")
    await put_policy(fabric, policy, budgets=[a_budget(10)])
    token = fabric.token("policies.get", policy, b"")
    status, answer = await fabric.ask("GET", f"/v1/budgets/{policy}", token=token)
    assert (status, answer["budgets"][0]["nodes"]) == (200, [])
    hidden = new_id("pol")
    await put_policy(fabric, hidden, rules=[MESSAGES | {"agents": [new_id("agt")]}])
    token = fabric.token("policies.get", hidden, b"")
    assert (await fabric.ask("GET", f"/v1/budgets/{hidden}", token=token))[1]["code"] == "not-found"


async def test_a_policy_above_its_budget_is_refused(fabric: Fabric) -> None:
    """The nodes that hold a key of the policy refuse what they could never let through at once."""
    policy = new_id("pol")
    await put_policy(fabric, policy)
    await fabric.create_key(name="capped", policy=policy, spec="secp256k1-ecdsa", usage="evm", custody="reconstruct")
    rule = {"name": "capped", "effect": "allow", "kinds": ["evm_transaction"], "evm": {"value_max": "601"}}
    budget = a_budget(1000, asset={"kind": "evm-native", "chain_id": 1})
    status, answer = await put_policy(fabric, policy, version=2, rules=[rule], budgets=[budget])
    assert (status, answer["code"]) == (409, "budget.cap")
    budget["cap"] = "1002"
    assert (await put_policy(fabric, policy, version=3, rules=[rule], budgets=[budget]))[0] == 200


async def test_a_rate_answers_with_when_to_come_back(fabric: Fabric) -> None:
    """429 with Retry-After, once enough nodes have no room left."""
    policy = new_id("pol")
    await put_policy(fabric, policy, rate={"max": 1, "window_s": 3600})
    key = await fabric.create_key(name="rated", policy=policy)
    answers = [await sign(fabric, key) for _ in range(3)]
    assert answers[0][0] == 200
    assert (answers[2][0], answers[2][1]["code"]) == (429, "rate.exceeded")


async def test_a_used_nonce_is_answered_as_such(fabric: Fabric) -> None:
    """Two transactions under one nonce: the second is refused, whoever is asked."""
    key = await fabric.create_key(name="nonces", spec="secp256k1-ecdsa", usage="evm", shares_needed=2)

    def body(value: int) -> bytes:
        transaction = {
            "type": 2, "chain_id": 1, "nonce": 5, "gas": 21000, "to": "0x" + "11" * 20, "value": value, "data": "0x",
            "max_fee_per_gas": 1, "max_priority_fee_per_gas": 1,
        }  # fmt: skip
        return canonical_json({"kind": "evm_transaction", "transaction": transaction})

    async def ask(content: bytes) -> tuple[int, Any]:
        token = fabric.token("sign", f"{key['key']}/1", content)
        return await fabric.ask("POST", f"/v1/keys/{key['key']}/sign", token=token, body=content)

    assert (await ask(body(1)))[0] == 200
    for _ in range(3):
        status, answer = await ask(body(2))
        assert (status, answer["code"]) == (409, "nonce-guard.used")
    assert (await ask(body(1)))[0] == 200
