"""The operator's and the agent's clients of one cluster per module, and a policy under which keys may leave."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from kms.client import Client
from tests.kms.fabric import Fabric
from tests.kms.importing.clients import POLICY, connect


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(fabric: Fabric) -> AsyncIterator[Client]:
    """The operator's client, and a policy under which the agent may have keys."""
    names = {"agents": [fabric.agent_id], "effect": "allow"}
    rules = (
        {"name": "leave", "kinds": ["export"], "export": "allow"} | names,
        {"name": "messages", "kinds": ["message", "digest"], "digest": "allow"} | names,
    )
    status, answer = await fabric.put(
        "PUT", f"/v1/policies/{POLICY}", fabric.policy_document(policy=POLICY, rules=rules)
    )
    assert status == 200, answer
    async with connect(fabric, as_agent=False) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(fabric: Fabric) -> AsyncIterator[Client]:
    """The agent's client."""
    async with connect(fabric, as_agent=True) as client:
        yield client
