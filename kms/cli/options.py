"""Options every verb that talks to a cluster shares, and what they open.

The cluster comes from --cluster, HOLDFAST_CLUSTER, or the developer cluster's default place.  Keys
come from --operator-key / --agent-key or their variables, else from what the cluster file names.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kms.cli.failure import UsageError

if TYPE_CHECKING:
    # At run time these are imported by the verb that needs them: `--help` stays quick.
    from kms.client import AgentCredentials, Client, OperatorCredentials
    from kms.client.cluster_file import ClusterFile
    from kms.client.credentials import Credentials

DEVELOPER_DIRECTORY = Path.home() / ".holdfast" / "dev"
"""Where `kms dev` keeps its cluster unless told otherwise."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which cluster, in whose name, and how to print."""

    cluster: Path | None
    url: str | None
    operator_key: Path | None
    agent_key: Path | None
    json: bool
    insecure: bool

    def client(self, credentials: Credentials | None = None) -> Client:
        """A client of this cluster."""
        from kms.client import Client

        return Client.connect(
            self._cluster_path(),
            url=self.url,
            credentials=credentials,
            insecure_skip_attestation=self.insecure,
        )

    def file(self) -> ClusterFile:
        """The parsed cluster file."""
        from kms.client.cluster_file import ClusterFile

        return ClusterFile.load(self._cluster_path())

    def operator(self) -> OperatorCredentials:
        """The operator's credentials; raises UsageError if there are none."""
        from kms.client import OperatorCredentials

        file = self.file()
        path = self.operator_key or file.operator_key
        if path is None:
            raise UsageError("this needs an operator's key", hint="pass --operator-key FILE")
        return OperatorCredentials.load(path, issuer=file.operator if path == file.operator_key else None)

    def agent(self) -> AgentCredentials:
        """The agent's credentials; raises UsageError if there are none."""
        from kms.client import AgentCredentials

        path = self.agent_key or self.file().default_agent_key
        if path is None:
            raise UsageError(
                "this needs an agent's key", hint="pass --agent-key FILE; `kms agents create NAME` makes one"
            )
        return AgentCredentials.load(path)

    def anyone(self) -> AgentCredentials | OperatorCredentials:
        """The agent if one was named, else the operator."""
        return self.agent() if self.agent_key is not None else self.operator()

    def _cluster_path(self) -> Path:
        if self.cluster is not None:
            return self.cluster
        default = DEVELOPER_DIRECTORY / "cluster.json"
        if not default.exists():
            raise UsageError(
                "which cluster?",
                hint="start one with `kms dev`, or pass --cluster FILE (or set HOLDFAST_CLUSTER)",
            )
        return default


def with_target(verb: Callable[..., T]) -> Callable[..., T]:
    """Add the shared options; the verb gets one `target` argument instead."""

    @functools.wraps(verb)
    def called(
        *args: Any,
        cluster: Path | None,
        url: str | None,
        operator_key: Path | None,
        agent_key: Path | None,
        as_json: bool,
        insecure_skip_attestation: bool,
        **rest: Any,
    ) -> T:
        target = Target(
            cluster=cluster,
            url=url,
            operator_key=operator_key,
            agent_key=agent_key,
            json=as_json,
            insecure=insecure_skip_attestation,
        )
        return verb(*args, target=target, **rest)

    for option in reversed(_OPTIONS):
        called = option(called)
    return called


def run(work: Awaitable[T]) -> T:
    """Run a verb's coroutine to its end."""

    async def main() -> T:
        return await work

    return asyncio.run(main())


_FILE = click.Path(dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--cluster", type=_FILE, envvar="HOLDFAST_CLUSTER", help="The cluster file (cluster.json)."),
    click.option("--url", envvar="HOLDFAST_URL", help="Another gateway of the same cluster."),
    click.option("--operator-key", type=_FILE, envvar="HOLDFAST_OPERATOR_KEY", help="Operator's key file."),
    click.option("--agent-key", type=_FILE, envvar="HOLDFAST_AGENT_KEY", help="Agent's key file."),
    click.option("--json", "as_json", is_flag=True, envvar="HOLDFAST_JSON", help="Print JSON."),
    click.option(
        "--insecure-skip-attestation",
        is_flag=True,
        envvar="HOLDFAST_INSECURE_SKIP_ATTESTATION",
        help="Believe the gateway instead of verified evidence.",
    ),
)
