"""Background work that must not end: a defect in one turn is logged and the next turn goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kms.observe import logger

PAUSE_S = 1.0
"""Pause after a failed turn, so that a lasting defect does not become a busy loop."""


def keep_running(name: str, body: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """A task that runs `body`, again after each failure, until cancelled."""

    async def run() -> None:
        while True:
            try:
                await body()
            except Exception as error:
                logger().error("background-failed", reason_code=name, exc_info=error)
            await asyncio.sleep(PAUSE_S)

    return asyncio.create_task(run(), name=name)
