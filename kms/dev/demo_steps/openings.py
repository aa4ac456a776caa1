"""Plaintexts that stay inside enclaves: policy that judges the context, rewrapping, data keys."""

from __future__ import annotations

from typing import Any

from kms.client import Client
from kms.client.certified import CertifiedKey
from kms.dev.cluster import DevCluster
from kms.dev.demo_steps.signing import DemoKeys
from kms.dev.demo_steps.stage import Stage

TENANT = {"tenant": "a"}
ANOTHER = {"tenant": "b"}
RECORD = b"medical record 7"


async def openings(
    stage: Stage, cluster: DevCluster, agent: Client, operator: Client, keys: DemoKeys, issuer: str
) -> None:
    """A key for one tenant's data, opened in a named enclave, moved to the vault without being seen."""
    opener = cluster.slots[2]
    stage.act(f"Opened in an enclave: {opener} opens, and only for the context that policy allows")
    key = await tenants_key(operator, issuer, keys)
    ours = await agent.decryption.seal(key.key, RECORD, context=TENANT)
    theirs = await agent.decryption.seal(key.key, RECORD, context=ANOTHER)
    opened = await agent.decryption.decrypt(key.key, ours, context=TENANT, opened_in_enclave=opener)
    stage.require(opened == RECORD, "the plaintext came out wrong")
    stage.fact("opened", f"by {opener}, sealed to this process, signed by the enclave's attested identity")
    error = await stage.refused(
        agent.decryption.decrypt(key.key, theirs, context=ANOTHER, opened_in_enclave=opener), "policy.denied"
    )
    stage.fact("another tenant", f"{error.detail} [{error.code}]")
    await stage.refused(
        agent.decryption.decrypt(key.key, theirs, context=TENANT, opened_in_enclave=opener), "decrypt.failed"
    )
    stage.fact("a false context", "does not open: it is part of the ciphertext")
    await stage.refused(agent.decryption.decrypt(key.key, ours, context=TENANT), "policy.denied")
    stage.fact("plain partial results", "not given: they would open every context")

    moved = await agent.decryption.rewrap(
        key.key, ours, to=keys.vault.key, opened_in_enclave=opener, context=TENANT, to_context={"archive": "1"}
    )
    stage.require(await agent.decryption.open(moved, context={"archive": "1"}) == RECORD, "the rewrapped text is wrong")
    stage.fact("rewrapped", f"to {keys.vault.key}; the plaintext existed inside {opener} only")
    made = await agent.decryption.data_key(keys.vault.key)
    stage.require(await agent.decryption.open(made.sealed) == made.plaintext, "the data key does not open")
    stage.fact("data key", f"{len(made.plaintext)} B made here, {len(made.sealed)} B sealed; nobody was asked")


async def tenants_key(operator: Client, issuer: str, keys: DemoKeys) -> CertifiedKey:
    """A key whose policy allows one tenant's context, and moving what is opened to the vault."""
    rule: dict[str, Any] = {
        "effect": "allow",
        "agents": [issuer],
        "opened_in_enclave": "required",
        "context": {"tenant": ["a"]},
    }
    rules = [
        rule | {"name": "tenant-a", "kinds": ["decrypt"]},
        rule | {"name": "archive", "kinds": ["rewrap"], "rewrap_to": [keys.vault.key]},
    ]
    policy = await operator.policies.put("tenant-a", rules, roster=await operator.roster())
    return await operator.keys.create("records", usage="decrypt", policy=policy.policy)
