"""The simulated machines of a developer cluster: their measured launch, and the sockets their guests talk to."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.service import Launch, SimulatedPlatformService

IMAGE = "holdfast-node-development"
"""Name of the image every node of a developer cluster measures as."""

MEASUREMENT = simulated_measurement(IMAGE)
"""MRTD of that image, 48 bytes."""


class Machines:
    """One platform service per slot; `async with` serves them."""

    def __init__(self, authority: Authority, sockets: Mapping[str, Path], configuration: bytes) -> None:
        launch = Launch(mrtd=MEASUREMENT, mrconfigid=configuration)
        self._services = [
            SimulatedPlatformService(authority.platform(slot), launch, path) for slot, path in sockets.items()
        ]
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        for service in self._services:
            await self._stack.enter_async_context(service)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
