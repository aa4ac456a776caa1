"""Losing nodes: two of five change nothing, a third stops signing, and coming back heals."""

from __future__ import annotations

import time

from kms.client import Client
from kms.dev.cluster import DevCluster
from kms.dev.demo_steps.signing import DemoKeys
from kms.dev.demo_steps.stage import Stage

QUORUM_CODES = ("quorum-unavailable",)


async def lose_nodes(stage: Stage, cluster: DevCluster, client: Client, keys: DemoKeys) -> None:
    """SIGKILL two nodes, then a third, then start them again."""
    stage.act("Two nodes die (SIGKILL), then a third")
    for slot in cluster.slots[:2]:
        await cluster.kill_node(slot)
    started = time.monotonic()
    signed = await client.sign.message(keys.solana.key, b"signed by the three that are left")
    stage.fact("still signing", f"{', '.join(signed.signers)} in {(time.monotonic() - started) * 1000:.0f} ms")
    third = cluster.slots[2]
    await cluster.kill_node(third)
    error = await stage.refused(client.sign.message(keys.solana.key, b"too few"), *QUORUM_CODES)
    stage.fact("three are too many", f"{error.detail} [{error.code}]")
    started = time.monotonic()
    for slot in cluster.slots[:3]:
        await cluster.restart_node(slot)
    await cluster.wait_trusted()
    stage.fact("all five are back", f"verified anew after {time.monotonic() - started:.1f} s, shares unsealed")
    await client.sign.message(keys.solana.key, b"healed")
    stage.fact("signing again", "with the same key")
