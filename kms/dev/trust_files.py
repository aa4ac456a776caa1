"""The two files that age: the registry's snapshot and the vendor's collateral, restated while the cluster runs."""

from __future__ import annotations

import asyncio
import time

from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority
from attestation.simulated.storage import write_private
from kms.dev.layout import Layout

RESTATE_EVERY_S = 3600
"""Hourly: the roster accepts a snapshot of a day, so a laptop may sleep for most of one."""


def write_collateral(authority: Authority, layout: Layout) -> None:
    """Issue collateral dated now."""
    write_private(layout.collateral, authority.collateral(int(time.time()))[0])


def restate(registry: Registry, layout: Layout) -> None:
    """Sign the registry's head again and publish the snapshot."""
    registry.restate(int(time.time()))
    registry.write_snapshot(layout.snapshot)


async def keep_fresh(authority: Authority, registry: Registry, layout: Layout) -> None:
    """Restate both, every hour, until cancelled."""
    while True:
        await asyncio.sleep(RESTATE_EVERY_S)
        write_collateral(authority, layout)
        restate(registry, layout)
