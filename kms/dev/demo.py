"""`make demo`: a cluster from nothing, used, damaged, attacked and audited, in about half a minute.

Every line is the outcome of a real call; signatures are checked by libraries that share no code with
this project.  The last line is `demo: ok`; any surprise ends it with what failed and a status of 1.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from attestation.errors import CodedError
from kms.client import AgentCredentials, Client, OperatorCredentials
from kms.dev.cluster import DevCluster
from kms.dev.demo_steps import children, damage, openings, policy, revocation, signing, speed, workload
from kms.dev.demo_steps.stage import Stage, SurpriseError


async def play(stage: Stage) -> None:
    """The whole demonstration."""
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as directory:
        stage.act("A cluster: five nodes in simulated machines (three TDX, two SEV-SNP), a registry, a gateway")
        started = time.monotonic()
        async with DevCluster(Path(directory) / "dev", progress=stage.note) as cluster:
            stage.fact("ready", f"after {time.monotonic() - started:.1f} s, every node verified every other")
            agent = AgentCredentials.load(cluster.layout.agent_key)
            operator = OperatorCredentials.load(cluster.layout.operator_key)
            async with (
                Client.connect(cluster.cluster_file, credentials=agent) as as_agent,
                Client.connect(cluster.cluster_file, credentials=operator) as as_operator,
            ):
                await signing.show_nodes(stage, as_operator)
                keys = await signing.make_keys(stage, cluster, as_operator)
                await signing.ethereum(stage, as_agent, keys)
                await signing.bitcoin(stage, as_agent, keys)
                await signing.solana(stage, as_agent, keys)
                await children.derive(stage, as_agent, keys)
                await signing.p256(stage, as_agent, as_operator, keys)
                await signing.decryption(stage, as_agent, keys)
                await openings.openings(stage, cluster, as_agent, as_operator, keys, agent.issuer)
                await workload.release(stage, cluster, as_agent, as_operator, agent.issuer)
                await policy.over_the_cap(stage, cluster, as_agent, keys)
                await speed.measure(stage, cluster, as_agent, keys)
                await damage.lose_nodes(stage, cluster, as_agent, keys)
                await revocation.revoke(stage, cluster, as_agent, as_operator, keys)
                await signing.audit(stage, as_operator)


def main() -> int:
    """Run it; returns the exit status."""
    stage = Stage()
    started = time.monotonic()
    try:
        asyncio.run(play(stage))
    except SurpriseError as surprise:
        stage.failed(str(surprise))
        return 1
    except CodedError as error:
        stage.failed(f"{error.detail} [{error.code}]")
        return 1
    except KeyboardInterrupt:
        stage.failed("interrupted")
        return 130
    stage.note(f"took {time.monotonic() - started:.0f} s")
    print("demo: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
