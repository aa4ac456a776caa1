"""Calls whose answer a node gives only once its peers have stored how far its state has come (specs/rollback.md)."""

from __future__ import annotations

import asyncio
from typing import Any

from enclave.wire.message import Message
from kms.errors import NodeRefusal
from kms.fleet.fleet import Fleet

PENDING = "witness-pending"

TRIES_MAX = 40
"""Exchanges of heartbeats before the refusal is passed on."""

PAUSE_S = 0.05
"""Pause between two of them: the peers sync their disks."""


async def call_witnessed(fleet: Fleet, slot: str, verb: str, message: Message, *, timeout_s: float) -> Any:
    """The node's answer, asked for again while witnesses are missing; raises LinkError or NodeRefusal."""
    for _ in range(TRIES_MAX):
        try:
            return await fleet.links[slot].call(verb, message, timeout_s=timeout_s)
        except NodeRefusal as error:
            if error.code != PENDING:
                raise
        await fleet.exchange()
        await asyncio.sleep(PAUSE_S)
    return await fleet.links[slot].call(verb, message, timeout_s=timeout_s)
