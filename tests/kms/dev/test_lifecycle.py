"""`kms dev` as a process: start, second instance, keys across restarts, clean end; and the supervisor's controls."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kms.client import RequestRefusedError, UnavailableError, VerificationError
from kms.client.cluster_file import ClusterFile
from kms.dev.machines import platform_id
from tests.kms.cluster_fixture import RunningCluster

pytestmark = pytest.mark.cluster

KMS = [sys.executable, "-c", "from kms.cli import main; main()"]
START_S = 60


@contextmanager
def kms_dev(directory: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    """A running `kms dev` and the JSON it printed when ready; ended with SIGTERM."""
    process = subprocess.Popen(
        [*KMS, "dev", "--dir", str(directory), "--port", "0", "--nodes", "3", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    try:
        while line := process.stdout.readline():
            lines.append(line)
            if line.startswith("}"):
                break
        assert lines, process.communicate()[1]
        yield process, json.loads("".join(lines))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=START_S)


def _kms(cluster_file: str, *arguments: str) -> str:
    environment = os.environ | {"HOLDFAST_CLUSTER": cluster_file}
    return subprocess.run(
        [*KMS, *arguments], env=environment, capture_output=True, text=True, check=True, timeout=START_S
    ).stdout


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_keys_survive_a_restart_but_not_fresh(tmp_path: Path) -> None:
    """A key signs after the next start, a second instance is refused, nothing is left running; --fresh starts anew."""
    directory = tmp_path / "dev"
    with kms_dev(directory) as (process, ready):
        file = str(ready["cluster_file"])
        assert ready["slots"] == ["node-1", "node-2", "node-3"]
        key = json.loads(_kms(file, "keys", "create", "kept", "--usage", "generic", "--shares-needed", "2", "--json"))
        second = subprocess.run(
            [*KMS, "dev", "--dir", str(directory), "--port", "0"], capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert "[dev.running]" in second.stderr
        assert str(process.pid) in second.stderr
        children = _children(process.pid)
        assert len(children) == 4
    assert process.returncode == 0
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert list(directory.glob("*.sock")) == []

    with kms_dev(directory) as (_, ready):
        file = str(ready["cluster_file"])
        again = json.loads(_kms(file, "keys", "show", key["key"], "--json"))
        assert again["public_key"] == key["public_key"]
        signed = json.loads(_kms(file, "sign", key["key"], "--message", "still here", "--json"))
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["public_key"]))
    public.verify(bytes.fromhex(signed["signature"]), b"still here")

    first = ClusterFile.load(Path(file)).trust.cluster_id
    with kms_dev(directory, "--fresh"):
        assert ClusterFile.load(Path(file)).trust.cluster_id != first
        assert json.loads(_kms(file, "keys", "list", "--json")) == []


async def test_machines_of_both_vendors_are_trusted_and_sign(cluster: RunningCluster) -> None:
    """A client verifies three TDX and two SEV-SNP nodes, and a key whose nodes include both SEV-SNP ones signs."""
    async with cluster.as_operator() as operator, cluster.as_agent() as agent:
        nodes = (await operator.look()).nodes
        trusted = {slot: str(check.standing.claims.tee) for slot, check in nodes.items() if check.standing}
        assert trusted == dict(zip(cluster.dev.slots, ["tdx"] * 3 + ["sev-snp"] * 2, strict=True))
        slots = ["node-2", "node-4", "node-5"]
        key = await operator.keys.create("mixed", usage="generic", policy=cluster.policy, nodes=slots)
        signed = await agent.sign.message(key.key, b"by both")
        assert sorted(signed.signers) == slots
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signed.ed25519 or b"", b"by both")


async def test_a_node_that_crashes_is_started_again(cluster: RunningCluster) -> None:
    """The supervisor starts a node again that ended on its own, says so, and the cluster trusts its new boot."""
    watching = cluster.start(cluster.dev.watch())
    try:
        before = cluster.dev.pid("node-4")
        assert before is not None
        os.kill(before, signal.SIGSEGV)
        while cluster.dev.pid("node-4") in (before, None):
            await asyncio.sleep(0.1)
        await cluster.do(cluster.dev.wait_trusted())
    finally:
        watching.cancel()
    assert any("node-4 ended and is started again" in line for line in cluster.said)


async def test_two_dead_nodes_change_nothing_three_stop_signing(cluster: RunningCluster) -> None:
    """Signing goes on with two nodes killed, ends clearly with three, and heals when they are back."""
    async with cluster.as_operator() as operator, cluster.as_agent() as agent:
        key = (await operator.keys.create("lossy", usage="generic", policy=cluster.policy)).key
        for slot in ("node-1", "node-2"):
            await cluster.do(cluster.dev.kill_node(slot))
        assert set((await agent.sign.message(key, b"x")).signers) == {"node-3", "node-4", "node-5"}
        await cluster.do(cluster.dev.kill_node("node-3"))
        with pytest.raises(UnavailableError) as caught:
            await agent.sign.message(key, b"y")
        assert caught.value.code == "quorum-unavailable"
        async with cluster.as_agent() as newcomer:
            with pytest.raises(UnavailableError) as caught:
                await newcomer.keys.get(key)
            assert caught.value.code == "unavailable.nodes"
        for slot in ("node-1", "node-2", "node-3"):
            await cluster.do(cluster.dev.restart_node(slot))
        await cluster.do(cluster.dev.wait_trusted())
        await agent.sign.message(key, b"z")


async def test_revoked_machine_is_shut_out_and_can_come_back(cluster: RunningCluster) -> None:
    """A revoked machine is refused by its peers and by clients; reinstated by its members it is trusted again."""
    async with cluster.as_operator() as operator, cluster.as_agent() as agent:
        key = await operator.keys.create(
            "needs-all", usage="generic", policy=cluster.policy, nodes=["node-3", "node-4", "node-5"]
        )
        await agent.sign.message(key.key, b"before")
        await cluster.do(cluster.dev.revoke_platform("node-5"))
        await cluster.do(cluster.dev.wait_verdict("node-5", "attestation-denied"))
        seen = (await operator.look()).nodes["node-5"]
        assert seen.error is not None
        assert seen.error.code == "proof-of-cloud.revoked"
        with pytest.raises(RequestRefusedError) as refused:
            await agent.sign.message(key.key, b"x")
        assert refused.value.code in ("attestation-denied", "quorum-unavailable")
        async with cluster.as_agent() as newcomer:
            with pytest.raises(VerificationError, match=r"node-5 proof-of-cloud\.revoked"):
                await newcomer.keys.get(key.key)
        await cluster.do(_reinstate(cluster, "node-5"))
        await cluster.do(cluster.dev.wait_trusted())
        await agent.sign.message(key.key, b"x")


async def _reinstate(cluster: RunningCluster, slot: str) -> None:
    now = int(time.time())
    registry, platform = cluster.dev.registry, platform_id(cluster.dev.authority, slot)
    registry.reinstate("a mistake", now, platform=platform)
    registry.restate(now)
    registry.write_snapshot(cluster.dev.layout.snapshot)
