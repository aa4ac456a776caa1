"""Every policy of the cookbook: its cases in the engine, and the same requests at real nodes through HTTP."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from attestation.errors import PolicyError
from enclave.ids import new_id
from enclave.limits.terms import Limits
from enclave.policy import Policy
from enclave.policy.cases import run_cases
from kms.policy_templates import Template, names
from tests.kms.fabric import Fabric

COOKBOOK = Path(__file__).parents[2] / "specs" / "cookbook.md"


def test_there_are_ten() -> None:
    """The cookbook has a section for each template, in order, with what it renders to."""
    assert len(names()) == 10
    text = COOKBOOK.read_text()
    sections = re.findall(r"^## \d+\. (\S+)$", text, re.MULTILINE)
    assert sorted(sections) == list(names())
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert blocks == [Template.load(name).example() for name in sections]


@pytest.mark.parametrize("name", names())
def test_each_decides_its_cases(name: str) -> None:
    """At least one allowed and two denied; rules and limits load."""
    template = Template.load(name)
    policy = template.example()
    Limits.of(policy.get("budgets", ()), policy.get("rate"), policy.get("nonce_guard"))
    results = run_cases(Policy.of(policy["rules"]), json.dumps(template.cases_file(), default=dict).encode())
    assert [result.name for result in results if not result.passed] == []
    found = [result.found for result in results]
    assert found.count("allow") >= 1
    assert found.count("deny") >= 2


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", names())
async def test_nodes_decide_the_same(fabric: Fabric, name: str) -> None:
    """A key under the policy: what is allowed is not denied by it, what is denied is denied by it."""
    template = Template.load(name)
    policy = template.example()
    limits = {member: policy[member] for member in ("budgets", "rate", "nonce_guard") if member in policy}
    document = fabric.policy_document(policy=new_id("pol"), rules=policy["rules"], **limits)
    status, answer = await fabric.put("PUT", f"/v1/policies/{document.policy}", document)
    assert status == 200, answer
    record = await fabric.create_key(
        spec=template.spec, usage=template.usage, policy=document.policy, name=f"cook-{name}"
    )
    for number, case in enumerate(template.cases):
        if "now" in case:
            continue  # about another time than now: the engine's test has it
        act = "sign" if "sign" in case else "decrypt"
        body = json.loads(json.dumps(case[act]))
        if "transaction" in body:
            body["transaction"]["nonce"] = number  # the nonce guard signs one transaction per nonce
        status, answer = await fabric.use(record, act, body)
        assert (answer.get("code") == "policy.denied") == (case["expect"] == "deny"), (case["name"], answer)
        if case["expect"] == "allow" and act == "sign":
            assert status == 200, answer


def test_a_template_says_what_it_lacks() -> None:
    """Missing and unknown parameters are named, and so is an unknown template."""
    template = Template.load("transfer-only")
    values: dict[str, Any] = {name: item.example for name, item in template.parameters.items()}
    assert template.render(values)["rules"][0]["evm"]["chain_ids"] == [8453]
    for wrong in (values | {"colour": "red"}, {"chain_id": 1}):
        with pytest.raises(PolicyError) as caught:
            template.render(wrong)
        assert caught.value.code == "policy.template"
    with pytest.raises(PolicyError):
        Template.load("../secrets")
