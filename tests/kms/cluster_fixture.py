"""One real cluster for all tests of a session: five node processes and a gateway, started when first needed.

It runs in a thread with its own event loop, so that synchronous tests (transcripts) and asynchronous
ones share it.  Tests leave it as they found it: every node running and trusted, nothing revoked.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kms.client import AgentCredentials, Client, OperatorCredentials
from kms.client.cluster_file import ClusterFile
from kms.dev.cluster import DevCluster

START_S = 120.0
"""Longest start on a loaded machine, in seconds."""

T = TypeVar("T")


class RunningCluster:
    """A started DevCluster behind a thread."""

    def __init__(self, directory: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dev-cluster", daemon=True)
        self._thread.start()
        self.said: list[str] = []
        """The supervisor's progress lines."""
        self.dev = DevCluster(directory, progress=self.said.append)
        self.run(self.dev.start(), timeout_s=START_S)

    def run(self, work: Coroutine[Any, Any, T], *, timeout_s: float = 60.0) -> T:
        """Run one of the supervisor's coroutines on its own loop, from any thread but that one."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def start(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start one of the supervisor's coroutines on its own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """As `run`, from a test's own event loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def close(self) -> None:
        """End every process of the cluster."""
        self.run(self.dev.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def file(self) -> ClusterFile:
        """The parsed cluster file."""
        return ClusterFile.load(self.dev.cluster_file)

    @property
    def policy(self) -> str:
        """The demo policy's id."""
        policy = self.file.default_policy
        assert policy is not None
        return policy

    @property
    def agent(self) -> AgentCredentials:
        """The demo agent."""
        return AgentCredentials.load(self.dev.layout.agent_key)

    @property
    def operator(self) -> OperatorCredentials:
        """The only operator."""
        return OperatorCredentials.load(self.dev.layout.operator_key)

    def as_agent(self, **options: Any) -> Client:
        """A client in the demo agent's name."""
        return Client.connect(self.dev.cluster_file, credentials=self.agent, **options)

    def as_operator(self, **options: Any) -> Client:
        """A client in the operator's name."""
        return Client.connect(self.dev.cluster_file, credentials=self.operator, **options)


_shared: list[RunningCluster] = []


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> RunningCluster:
    """The session's cluster; each conftest imports this fixture, all get the same one."""
    if not _shared:
        directory = tempfile.TemporaryDirectory(prefix="holdfast-tests-")
        _shared.append(RunningCluster(Path(directory.name) / "dev"))
        # At the end of the session rather than of this fixture: another directory's copy may still use it.
        request.config.add_cleanup(directory.cleanup)
        request.config.add_cleanup(_shared[0].close)
    return _shared[0]
