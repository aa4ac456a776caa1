"""The first documents of a developer cluster: one agent and one policy, so that the first command works."""

from __future__ import annotations

from typing import Any

from attestation.canonical import parse_json
from kms.client import AgentCredentials, Client, OperatorCredentials
from kms.dev.create import set_cluster_file
from kms.dev.layout import Layout

AGENT = "demo-agent"
POLICY = "demo-policy"

ETHER = 10**18
LAMPORTS_PER_SOL = 10**9


def rules(agent: str) -> list[dict[str, Any]]:
    """What the demo agent may do: transfers up to 1 ETH or 10 SOL, any message, and decryption."""
    return [
        {
            "name": "ether-up-to-one",
            "effect": "allow",
            "agents": [agent],
            "kinds": ["evm_transaction"],
            "evm": {"value_max": str(ETHER), "data": "any"},
        },
        {
            "name": "sol-up-to-ten",
            "effect": "allow",
            "agents": [agent],
            "kinds": ["solana_message"],
            "solana": {"lamports_max": str(10 * LAMPORTS_PER_SOL)},
        },
        {"name": "messages", "effect": "allow", "agents": [agent], "kinds": ["eip191", "message"]},
        {"name": "decryption", "effect": "allow", "agents": [agent], "kinds": ["decrypt"]},
    ]


async def ensure_defaults(layout: Layout) -> bool:
    """Register agent and policy unless the cluster file names them already; returns whether it did."""
    if parse_json(layout.cluster_file.read_bytes()).get("defaults"):
        return False
    if layout.agent_key.exists():
        agent = AgentCredentials.load(layout.agent_key)
    else:
        agent = AgentCredentials.create()
        agent.save(layout.agent_key)
    operator = OperatorCredentials.load(layout.operator_key)
    async with Client.connect(layout.cluster_file, credentials=operator) as client:
        await client.agents.create(AGENT, agent=agent.issuer, keys=[agent.public])
        policy = await client.policies.put(POLICY, rules(agent.issuer), roster=await client.roster())
    set_cluster_file(layout, defaults={"policy": policy.policy, "agent_key": layout.agent_key.name})
    return True
