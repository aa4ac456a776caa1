"""An opaque secret: uploaded sealed, released to an attested workload, and to nothing else."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from attestation.canonical import canonical_json
from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.service import Launch, SimulatedPlatformService
from kms.client import Client
from kms.client.errors import RequestRefusedError
from kms.client.release import Quote
from kms.dev.cluster import DevCluster
from kms.dev.demo_steps.stage import Stage, SurpriseError

IMAGE = simulated_measurement("demo workload")
ANOTHER_IMAGE = simulated_measurement("somebody's laptop")
CONTENT = b"postgres://demo:correct-horse@db/records"
LISTED_S = 20.0
"""Longest wait until nodes know of a machine that was just listed, in seconds."""


async def release(stage: Stage, cluster: DevCluster, agent: Client, operator: Client, issuer: str) -> None:
    """Store a secret, release it to the image its policy names, refuse it to another one and to old evidence."""
    stage.act("An opaque secret for an attested workload")
    rule = {"name": "workload", "effect": "allow", "kinds": ["release"], "agents": [issuer]}
    rules = [rule | {"workload": {"measurements": {"mrtd": [IMAGE.hex()]}}}]
    policy = await operator.policies.put("workloads", rules, roster=await operator.roster())
    stored = await operator.secrets.put("database", CONTENT, policy=policy.policy)
    digest = (stored.certified.certificate.wrapped_digest or b"").hex()
    stage.fact(
        "stored", f"{stored.secret}, sealed here to {len(cluster.slots)} verified nodes, digest {digest[:16]}..."
    )

    authority = Authority.load(cluster.layout.authority)
    machine = authority.platform("demo-workload")
    stage.require(machine.platform_id is not None, "the workload's machine hides its identifier")
    assert machine.platform_id is not None
    registry = Registry.open(cluster.layout.registry)
    registry.add_platform(machine.platform_id, provider="cloud", now=int(time.time()))
    registry.write_snapshot(cluster.layout.snapshot)
    with tempfile.TemporaryDirectory(prefix="holdfast-workload-") as directory:
        seen: list[bytes] = []
        service = SimulatedPlatformService(machine, Launch(mrtd=IMAGE, mrconfigid=bytes(48)), Path(directory) / "tee")

        def quote(report_data: bytes) -> bytes:
            request = canonical_json({"op": "quote", "report_data": report_data.hex()})
            seen.append(bytes.fromhex(service.answer(request)["quote"]))
            return seen[-1]

        content = await _listed(agent, stored.secret, quote)
        stage.require(bytes(content) == CONTENT, "the secret came out wrong")
        stage.fact("released", "to the image in the policy, on a listed machine: nonces of five nodes, one quote")
        await stage.refused(agent.secrets.release(stored.secret, lambda _: seen[-1]), "release.report-data")
        stage.fact("the same evidence", "does not answer new nonces")
        service = SimulatedPlatformService(machine, Launch(mrtd=ANOTHER_IMAGE, mrconfigid=bytes(48)), Path(directory))
        await stage.refused(agent.secrets.release(stored.secret, quote), "policy.denied")
        stage.fact("another image", "gets nothing, on the same machine")


async def _listed(agent: Client, secret: str, quote: Quote) -> bytearray:
    """The content, once nodes have the registry's news."""
    until = time.monotonic() + LISTED_S
    while True:
        try:
            return await agent.secrets.release(secret, quote)
        except RequestRefusedError as error:
            if error.code != "proof-of-cloud.not-listed" or time.monotonic() > until:
                raise SurpriseError(f"{error.detail} [{error.code}]") from error
        await asyncio.sleep(0.3)
