"""The machines of a developer cluster with `kms-node restore` in each slot: what operators start after a disaster.

async with RestoringCluster(directory) as restoring:
    ...            # kms backup restore, kms backup contribute
    await restoring.wait_ended()
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority
from enclave.roster_chain import read_chain
from kms.dev.child import Child
from kms.dev.configs import write_node_config
from kms.dev.layout import Layout
from kms.dev.lock import DirectoryLock
from kms.dev.machines import Machines
from kms.dev.ports import is_free
from kms.dev.trust_files import restate, write_collateral
from kms.errors import UnavailableError

PROGRAM = "from enclave.cli import main; main()"

LISTENING_S = 60.0
"""Longest wait for the processes, in seconds."""

POLL_S = 0.1


class RestoringCluster:
    """One restoring process per slot of the roster file's newest version."""

    def __init__(self, directory: Path, *, is_trial: bool = False) -> None:
        """`directory` is that of a stopped cluster whose nodes have lost everything."""
        self.layout = Layout(root=directory.resolve())
        self._is_trial = is_trial
        self._stack = contextlib.AsyncExitStack()
        self._children: dict[str, Child] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def wait_ended(self, *, timeout_s: float = 30.0) -> None:
        """Until every process has restored its node and ended; raises UnavailableError (`dev.not-ready`)."""
        deadline = time.monotonic() + timeout_s
        while any(child.pid is not None for child in self._children.values()):
            if time.monotonic() > deadline:
                raise UnavailableError("a node still waits to be restored", code="dev.not-ready")
            await asyncio.sleep(POLL_S)

    async def _start(self) -> None:
        layout = self.layout
        self._stack.enter_context(DirectoryLock(layout.lock))
        roster = read_chain(layout.roster.read_bytes())[-1].roster
        authority = Authority.load(layout.authority)
        write_collateral(authority, layout)
        restate(Registry.open(layout.registry), layout)
        sockets = layout.sockets([entry.slot for entry in roster.slots])
        for directory in {path.parent for path in sockets.values()} - {layout.root}:
            self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        await self._stack.enter_async_context(Machines(authority, sockets, roster.configuration))
        for entry in roster.slots:
            layout.node(entry.slot).mkdir(mode=0o700, parents=True, exist_ok=True)
            arguments = ["restore", "--config", str(write_node_config(layout, entry, sockets[entry.slot]))]
            arguments += ["--trial"] if self._is_trial else []
            child = Child(entry.slot, PROGRAM, arguments, layout.log(entry.slot))
            self._children[entry.slot] = child
            self._stack.push_async_callback(child.stop)
            await child.start()
        deadline = time.monotonic() + LISTENING_S
        while any(is_free(entry.port) for entry in roster.slots):
            for child in self._children.values():
                child.check_running()
            if time.monotonic() > deadline:
                raise UnavailableError("the processes do not listen", code="dev.not-ready")
            await asyncio.sleep(POLL_S)
