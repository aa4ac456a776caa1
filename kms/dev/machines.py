"""The simulated machines of a developer cluster: their kind, their measured launch, and their guests' sockets.

Three of five are TDX machines and two SEV-SNP, so that both vendors' formats are verified every day.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from attestation.evidence import Tee
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.platform import Platform
from attestation.simulated.service import Launch, SimulatedPlatformService
from attestation.simulated.snp import SnpPlatform

IMAGE = "holdfast-node-development"
"""Name of the image every node of a developer cluster measures as."""

MEASUREMENT = simulated_measurement(IMAGE)
"""MRTD (TDX) or MEASUREMENT (SEV-SNP) of that image, 48 bytes."""

KINDS = (Tee.TDX, Tee.TDX, Tee.TDX, Tee.SEV_SNP, Tee.SEV_SNP)
"""Kinds of node-1 to node-5; further nodes repeat them."""

REGISTERS = {Tee.TDX: "mrtd", Tee.SEV_SNP: "measurement"}
"""Where each kind reports the image."""


def kind(slot: str) -> Tee:
    """What machine stands in `node-<number>`."""
    return KINDS[(int(slot.rpartition("-")[2]) - 1) % len(KINDS)]


def machine(authority: Authority, slot: str) -> Platform | SnpPlatform:
    """The machine of a slot, made when first asked for."""
    return (authority.amd if kind(slot) is Tee.SEV_SNP else authority).platform(slot)


def platform_id(authority: Authority, slot: str) -> PlatformId:
    """The hardware identifier of a slot's machine."""
    found = machine(authority, slot).platform_id
    assert found is not None, "no machine of a developer cluster hides its identifier"
    return found


class Machines:
    """One platform service per slot; `async with` serves them."""

    def __init__(self, authority: Authority, sockets: Mapping[str, Path], configuration: bytes) -> None:
        launch = Launch(mrtd=MEASUREMENT, mrconfigid=configuration)
        self._configuration = configuration
        self._services = {
            slot: SimulatedPlatformService(machine(authority, slot), launch, path) for slot, path in sockets.items()
        }
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        for service in self._services.values():
            await self._stack.enter_async_context(service)
        return self

    def launch(self, slot: str, measurement: bytes) -> None:
        """Another image starts in a slot's machine: it measures differently and gets other sealing keys."""
        self._services[slot].launch = Launch(mrtd=measurement, mrconfigid=self._configuration)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
