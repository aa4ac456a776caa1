"""What ages: the registry's snapshot and the vendors' collateral, restated while the cluster runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from attestation.errors import CodedError
from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority
from attestation.simulated.storage import private_directory, write_private
from kms.dev.layout import Layout

RESTATE_EVERY_S = 3600
"""Hourly: the roster accepts a snapshot of a day, so a laptop may sleep for most of one."""

LOOK_EVERY_S = 20.0
"""How often the wall clock is looked at, in seconds: soon after waking up, and no work worth naming."""


def write_collateral(authority: Authority, layout: Layout) -> None:
    """Issue collateral dated now: always the same files, each replaced as a whole."""
    private_directory(layout.collateral)
    for number, blob in enumerate(authority.collateral(int(time.time()))):
        suffix = "json" if blob.startswith(b"{") else "der"
        write_private(layout.collateral / f"{number:02}.{suffix}", blob)


def restate(registry: Registry, layout: Layout) -> None:
    """Sign the registry's head again and publish the snapshot."""
    registry.restate(int(time.time()))
    registry.write_snapshot(layout.snapshot)


async def keep_fresh(
    authority: Authority, registry: Registry, layout: Layout, *, report: Callable[[str], None]
) -> None:
    """Restate both every hour of wall-clock time (a laptop sleeps), until cancelled."""
    last = time.time()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if time.time() - last < RESTATE_EVERY_S:
            continue
        try:
            write_collateral(authority, layout)
            restate(registry, layout)
            last = time.time()
        except (OSError, CodedError) as error:
            report(f"could not restate the registry and collateral: {error}")
