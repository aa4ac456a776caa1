"""Waiting for a cluster: asks the gateway, a few times a second, what the nodes say of each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from kms.client.errors import UnavailableError
from kms.client.transport import Transport

POLL_S = 0.1
"""Pause between two looks, in seconds: short against the seconds a start takes."""

LISTENING_S = 60.0
"""Longest wait for the gateway's port, in seconds; a loaded two-core machine needs about 5."""

TRUSTED = "trusted"

Check = Callable[[], None]


async def wait_listening(transport: Transport, *, check: Check) -> None:
    """Until the gateway answers at all; raises UnavailableError."""

    async def attempt() -> bool:
        try:
            await transport.send("GET", "/livez")
        except UnavailableError:
            return False
        return True

    await _until(attempt, "the gateway does not answer", check=check, timeout_s=LISTENING_S)


async def wait_trusted(transport: Transport, slots: Sequence[str], *, check: Check, timeout_s: float) -> None:
    """Until `slots` are at work and each one's verdict of each other is `trusted`; raises UnavailableError."""

    async def attempt() -> bool:
        nodes = await _nodes(transport)
        return all(
            nodes.get(slot, {}).get("usable")
            and all(nodes[slot].get("verdicts", {}).get(peer) == TRUSTED for peer in slots if peer != slot)
            for slot in slots
        )

    await _until(attempt, "the nodes do not all trust each other yet", check=check, timeout_s=timeout_s)


async def wait_verdict(
    transport: Transport, slot: str, code: str, *, by: Sequence[str], check: Check, timeout_s: float
) -> None:
    """Until every node in `by` holds the verdict `code` of `slot`; raises UnavailableError."""

    async def attempt() -> bool:
        nodes = await _nodes(transport)
        return all(nodes.get(peer, {}).get("verdicts", {}).get(slot) == code for peer in by)

    await _until(attempt, f"the verdict of {slot} is not {code} everywhere yet", check=check, timeout_s=timeout_s)


async def _nodes(transport: Transport) -> dict[str, Any]:
    try:
        answer = await transport.json("GET", "/v1/nodes")
    except UnavailableError:
        return {}
    return {node["slot"]: node for node in answer["nodes"]}


async def _until(attempt: Callable[[], Any], otherwise: str, *, check: Check, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not await attempt():
        check()
        if time.monotonic() > deadline:
            raise UnavailableError(otherwise, code="dev.not-ready", hint="the logs directory tells why")
        await asyncio.sleep(POLL_S)
