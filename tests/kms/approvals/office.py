"""The people and keys of the approval tests, and their clients."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from kms.client import AgentCredentials, ApproverCredentials, Client, OperatorCredentials
from kms.client.credentials import Credentials
from kms.client.pending import PendingError
from kms.client.trust import TrustAnchors
from tests.kms.fabric import Fabric

FEE = 21000 * 10**9
LIMIT = 1000

RULES: list[dict[str, Any]] = [
    {
        "name": "payments",
        "effect": "allow",
        "kinds": ["evm_transaction"],
        "evm": {"chain_ids": [1], "value_max": "1000000"},
        "approvals": {
            "group": "treasury",
            "minimum": 2,
            "above": {"asset": {"kind": "evm-native", "chain_id": 1}, "amount": str(LIMIT + FEE)},
        },
    },
    {
        "name": "words",
        "effect": "allow",
        "kinds": ["message", "decrypt", "rewrap"],
        "approvals": {"group": "treasury", "minimum": 2},
    },
]


def payment(value: int, nonce: int = 0) -> dict[str, Any]:
    """A transaction's fields."""
    return {
        "type": 2,
        "chain_id": 1,
        "nonce": nonce,
        "gas": 21000,
        "to": "0x" + "11" * 20,
        "value": str(value),
        "max_fee_per_gas": str(10**9),
        "max_priority_fee_per_gas": "1",
    }


class Office:
    """A fabric with approvers."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.approvers = {name: ApproverCredentials.create() for name in ("ada", "bob", "cleo", "zoe")}
        """Zoe is of another group."""
        self.agent_credentials = AgentCredentials(issuer=fabric.agent_id, key=fabric.agent)
        self.operator_credentials = OperatorCredentials(issuer=fabric.operator_id, key=fabric.operator)
        self._clients: list[Client] = []

    async def open(self) -> None:
        """Register people, put the policy, make keys."""
        fabric = self.fabric
        self.agent, self.operator = self.client(self.agent_credentials), self.client(self.operator_credentials)
        for name, credentials in self.approvers.items():
            groups = ["operations"] if name == "zoe" else ["treasury"]
            await self.operator.approvers.create(
                name, approver=credentials.issuer, groups=groups, keys=[credentials.public]
            )
        status, answer = await fabric.put(
            "PUT", f"/v1/policies/{fabric.policy_id}", fabric.policy_document(version=2, rules=RULES)
        )
        assert status == 200, answer
        self.ed25519 = await fabric.create_key()
        self.ecdsa = await fabric.create_key(
            spec="secp256k1-ecdsa", usage="evm", custody="threshold", shares_needed=2, name="wallet"
        )
        self.reading = await fabric.create_key(spec="hpke-x25519", usage="decrypt", name="archive")
        await asyncio.sleep(1.1 - time.time() % 1)  # tokens must be younger than the keys

    async def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            await client.close()

    def client(self, credentials: Credentials) -> Client:
        """A client of the fabric's gateway, closed with the office."""
        roster = self.fabric.roster
        trust = TrustAnchors(cluster_id=roster.cluster_id, simulated_roots=roster.simulated_roots)
        made = Client.connect(url=self.fabric.url, trust=trust, credentials=credentials)
        self._clients.append(made)
        return made

    async def pending(self, key: dict[str, Any], message: bytes = b"pay the supplier") -> PendingError:
        """A message of the agent that waits."""
        try:
            await self.agent.sign.message(key["key"], message)
        except PendingError as error:
            return error
        raise AssertionError("expected the request to wait")

    async def approve(self, operation: str, *people: ApproverCredentials) -> dict[str, Any]:
        """These people approve, each with a client of their own; the last answer."""
        answer: dict[str, Any] = {}
        for person in people:
            answer = await self.client(person).operations.approve(operation, lambda _summary: True)
        return answer
