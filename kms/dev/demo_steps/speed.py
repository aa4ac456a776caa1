"""A short measurement on whatever machine this is: latency of one signature, throughput of many, memory."""

from __future__ import annotations

import asyncio
import statistics
import time

from kms.client import Client
from kms.dev.cluster import DevCluster
from kms.dev.demo_steps.signing import DemoKeys
from kms.dev.demo_steps.stage import Stage

ONE_BY_ONE = 40
"""Signatures for the latency figure: enough for a steady median, short enough for a demonstration."""

IN_FLIGHT = 32

TOGETHER_S = 3.0
"""How long the throughput figure is taken, in seconds."""


async def measure(stage: Stage, cluster: DevCluster, client: Client, keys: DemoKeys) -> None:
    """Ed25519 signatures through HTTP, client-side checks included."""
    stage.act("Speed here (client, gateway and five nodes share this machine)")
    key = keys.solana.key
    times = []
    for number in range(ONE_BY_ONE):
        started = time.perf_counter()
        await client.sign.message(key, b"latency %d" % number)
        times.append((time.perf_counter() - started) * 1000)
    stage.fact("one signature", f"p50 {statistics.median(times):.1f} ms (Ed25519, 3 of 5, verified by the client)")

    done = 0
    deadline = time.perf_counter() + TOGETHER_S

    async def worker(number: int) -> None:
        nonlocal done
        while time.perf_counter() < deadline:
            await client.sign.message(key, b"throughput %d %d" % (number, done))
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(worker(number) for number in range(IN_FLIGHT)))
    rate = done / (time.perf_counter() - started)
    stage.fact(f"{IN_FLIGHT} in flight", f"{rate:.0f} signatures per second")
    memory = cluster.memory_mib()
    nodes = [size for name, size in memory.items() if name != "gateway"]
    stage.fact("memory", f"{statistics.mean(nodes):.0f} MiB per node, gateway {memory['gateway']:.0f} MiB")
