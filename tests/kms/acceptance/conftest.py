"""The session's real cluster, one agent over plain HTTP, and keys of every kind under one policy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.enclave.payload.psbts import PAYEE_ADDRESS
from tests.kms.acceptance.api import Agent
from tests.kms.cluster_fixture import RunningCluster, cluster

__all__ = ["cluster"]

ETHER = 10**18
DELEGATE = "0x63c0c19a282a1B52b07dD5a65b58948A07DAE32B"
"""Code that accounts may delegate to in these tests."""

ORDERS: dict[str, dict[str, Any]] = {
    "evm": {"usage": "evm"},
    "evm-reconstruct": {"usage": "evm", "custody": "reconstruct"},
    "solana": {"usage": "solana"},
    "bitcoin": {"usage": "bitcoin"},
    "p256": {"usage": "generic", "spec": "p256-ecdsa", "custody": "reconstruct"},
    "ed25519": {"usage": "generic", "spec": "ed25519"},
    "secp256k1": {"usage": "generic", "spec": "secp256k1-ecdsa"},
    "segwit": {"usage": "bitcoin", "spec": "secp256k1-ecdsa"},
    "vault": {"usage": "decrypt"},
    "other-vault": {"usage": "decrypt"},
}
"""Name of a key and how it is ordered; custody is the default unless said."""


def rules(agent: str) -> list[dict[str, Any]]:
    """What the agent may do here: whatever the tests need, each with a limit where there is one."""
    allow: dict[str, Any] = {"effect": "allow", "agents": [agent]}
    return [
        allow | {"name": "transactions", "kinds": ["evm_transaction"],
                 "evm": {"value_max": str(ETHER), "data": "any", "contract_creation": True, "set_code": True}},
        allow | {"name": "delegations", "kinds": ["eip7702_authorization"], "evm": {"delegates": [DELEGATE]}},
        allow | {"name": "orders", "kinds": ["eip712"], "evm": {"primary_types": ["Order"]}},
        allow | {"name": "sol", "kinds": ["solana_message"], "solana": {"lamports_max": "1000000000"}},
        allow | {"name": "tokens", "kinds": ["jws"],
                 "jws": {"types": ["at+jwt"], "claims": {"iss": ["robot"]}, "lifetime_s_max": 600}},
        allow | {"name": "coins", "kinds": ["bitcoin_psbt"],
                 "bitcoin": {"recipients": [PAYEE_ADDRESS], "value_max": "100000", "fee_max": "3000"}},
        allow | {"name": "blind", "kinds": ["digest"], "digest": "allow"},
        allow | {"name": "words", "kinds": ["message", "eip191"]},
        allow | {"name": "reading", "kinds": ["decrypt"], "plaintext_to_gateway": "allow"},
    ]  # fmt: skip


@pytest.fixture(scope="session")
def agent(cluster: RunningCluster) -> Agent:
    """The demo agent, without the client library."""
    file = cluster.file
    return Agent.load(file.url, file.trust.cluster_id.hex(), cluster.dev.layout.agent_key)


@pytest.fixture(scope="session")
def keys(cluster: RunningCluster, agent: Agent) -> dict[str, str]:
    """Name of each key of ORDERS -> its id."""

    async def make() -> dict[str, str]:
        async with cluster.as_operator() as client:
            policy = await client.policies.put("acceptance", rules(agent.agent), roster=await client.roster())
            made = {}
            for name, order in ORDERS.items():
                key = await client.keys.create(f"accept-{name}", policy=policy.policy, **order)
                made[name] = key.key
            return made

    return cluster.run(make(), timeout_s=120.0)


@pytest.fixture(scope="session")
def bound(cluster: RunningCluster, agent: Agent, keys: dict[str, str]) -> str:
    """A decryption key whose policy judges the context, and lets ciphertexts move to `vault`."""
    rule = {"effect": "allow", "agents": [agent.agent], "opened_in_enclave": "required", "context": {"tenant": ["a"]}}
    wanted = [
        rule | {"name": "tenant-a", "kinds": ["decrypt"]},
        rule | {"name": "moving", "kinds": ["rewrap"], "rewrap_to": [keys["vault"]]},
    ]

    async def make() -> str:
        async with cluster.as_operator() as client:
            policy = await client.policies.put("acceptance-bound", wanted, roster=await client.roster())
            return (await client.keys.create("accept-bound", usage="decrypt", policy=policy.policy)).key

    return cluster.run(make(), timeout_s=60.0)
