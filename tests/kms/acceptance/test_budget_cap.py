"""A thousand requests at once against a daily cap, over HTTP, each signature verified: never one unit above it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import aiohttp
import pytest
from solders.hash import Hash
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer

from tests.kms.acceptance.api import Agent, b64, unb64
from tests.kms.cluster_fixture import RunningCluster

pytestmark = pytest.mark.cluster

CAP = 30_000_000
FEE = 5_000
"""Lamports of one signature, counted like what is transferred."""
REQUESTS = 1_000
VALUES = (1, 45_000, 300_000, 1_000_000)


async def _key(cluster: RunningCluster) -> str:
    """A Solana key under a budget of its own."""
    budget = {"name": "daily", "asset": {"kind": "lamports"}, "window": "day", "cap": str(CAP), "per": "key"}
    rule = {"name": "payments", "effect": "allow", "kinds": ["solana_message"], "solana": {}}
    async with cluster.as_operator() as client:
        roster = await client.roster()
        policy = await client.policies.put("capped", [rule], roster=roster, limits={"budgets": [budget]})
        return (await client.keys.create("capped", usage="solana", policy=policy.policy)).key


def payment(source: Pubkey, lamports: int) -> bytes:
    """A transfer to somebody."""
    move = transfer(TransferParams(from_pubkey=source, to_pubkey=Pubkey.from_bytes(b"\x22" * 32), lamports=lamports))
    return bytes(Message.new_with_blockhash([move], source, Hash.from_bytes(b"\x33" * 32)))


async def test_a_thousand_requests_at_once_stay_within_the_cap(cluster: RunningCluster, agent: Agent) -> None:
    """Half of the cap and more is usable; what was signed, by solders' verification, is never above it."""
    key = await cluster.do(_key(cluster))
    source = Pubkey.from_string((await asyncio.to_thread(agent.get, key))["addresses"]["solana"])
    chance = random.Random("cap")
    async with aiohttp.ClientSession(
        agent.url, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=120)
    ) as session:

        async def ask(lamports: int) -> tuple[int, str, int]:
            message = payment(source, lamports)
            body = json.dumps({"kind": "solana_message", "message": b64(message)}).encode()
            headers = {"Authorization": f"Bearer {agent.token('sign', f'{key}/1', body)}"}
            async with session.post(f"/v1/keys/{key}/sign", data=body, headers=headers) as answer:
                content: dict[str, Any] = await answer.json(content_type=None)
            if answer.status != 200:
                return answer.status, content["code"], 0
            assert Signature(unb64(content["signature"]["ed25519"])).verify(source, message)
            return 200, "", lamports + FEE

        answers = await asyncio.gather(*(ask(chance.choice(VALUES)) for _ in range(REQUESTS)))
    total = sum(spent for _, _, spent in answers)
    seen = Counter((status, code) for status, code, _ in answers)
    assert set(seen) == {(200, ""), (409, "budget.exceeded")}, seen
    assert CAP // 2 < total <= CAP
