"""The supervisor of one developer cluster: starts everything, waits until it works, ends what it started.

    async with DevCluster(directory) as cluster:
        Client.connect(cluster.cluster_file, ...)

Order of start: directory, machines, nodes, gateway, first documents.  Only own children are ever signalled.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from attestation.errors import DocumentError
from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.storage import write_private
from enclave.roster import Roster
from enclave.roster_chain import Link, read_chain, write_chain
from kms.client.cluster_file import FOLLOWED_SUFFIX
from kms.client.transport import Transport
from kms.dev import create as creation
from kms.dev.bootstrap import ensure_defaults
from kms.dev.child import Child
from kms.dev.configs import write_gateway_config, write_node_config
from kms.dev.layout import Layout
from kms.dev.lock import DirectoryLock
from kms.dev.machines import Machines, platform_id
from kms.dev.ports import HOST, choose, require_free
from kms.dev.readiness import wait_listening, wait_trusted, wait_verdict
from kms.dev.trust_files import keep_fresh, restate, write_collateral
from kms.errors import ConflictError
from kms.fleet.rosters import FILE as ROSTERS_FILE

NODES_DEFAULT = 5
PORT_DEFAULT = 8750

NODE_PROGRAM = "from enclave.cli import main; main()"
GATEWAY_PROGRAM = "from kms.cli import main; main()"

RESTART_PAUSE_S = 1.0
RESTART_PAUSE_S_MAX = 60.0
"""Pause before a child that ended is started again, in seconds, doubling: a broken one must not spin."""

Progress = Callable[[str], None]


class DevCluster:
    """A whole cluster on this machine."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        nodes: int = NODES_DEFAULT,
        fresh: bool = False,
        progress: Progress = lambda _: None,
    ) -> None:
        """`port` 0 takes any free one; `fresh` throws an earlier cluster in `directory` away, keys included."""
        self.layout = Layout(root=directory.resolve())
        self.port = port
        self._nodes = nodes
        self._fresh = fresh
        self._progress = progress
        self._lock = DirectoryLock(self.layout.lock)
        self._stack = contextlib.AsyncExitStack()
        self._children: dict[str, Child] = {}
        self.made_now = False
        """Whether this start created the cluster."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return f"http://{HOST}:{self.port}"

    @property
    def cluster_file(self) -> Path:
        """What a client connects with."""
        return self.layout.cluster_file

    @property
    def slots(self) -> list[str]:
        """The nodes' slots, in roster order."""
        return [entry.slot for entry in self.roster.slots]

    async def start(self) -> None:
        """Start and wait until every node trusts every other; raises ConflictError, UnavailableError."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End every child and give the directory back; keys stay sealed on disk."""
        await self._stack.aclose()
        self._children.clear()

    async def kill_node(self, slot: str) -> None:
        """SIGKILL a node: what a power cut looks like to the others."""
        await self._children[slot].kill()

    async def restart_node(self, slot: str) -> None:
        """Start a node again; use `wait_trusted` to wait until its peers admit its new boot."""
        child = self._children[slot]
        await child.stop()
        await child.start()

    async def upgrade_node(self, slot: str, image: str) -> None:
        """Stop a node and start another image in its machine, which cannot open the old disk: it is kept aside."""
        await self._children[slot].stop()
        self._machines.launch(slot, simulated_measurement(image))
        directory = self.layout.node(slot)
        for path in directory.glob("*.db*"):
            path.rename(path.with_name(f"{path.name}.before-{image}"))
        # A node without a disk learns the rosters from its configuration: peers count only what names a later one.
        keep_chain(self.layout)
        await self._children[slot].start()

    async def revoke_platform(self, slot: str, reason: str = "revoked by the developer") -> None:
        """Enter a revocation of the slot's machine into the registry; the gateway carries it to the nodes."""
        self.registry.revoke(platform_id(self.authority, slot), reason, int(time.time()))
        self.registry.write_snapshot(self.layout.snapshot)

    async def wait_trusted(self, *slots: str, timeout_s: float = 60.0) -> None:
        """Wait until these nodes (default: all) are connected and trust each other."""
        await wait_trusted(self._transport, slots or tuple(self.slots), check=self._check, timeout_s=timeout_s)

    async def wait_verdict(self, slot: str, code: str, *, timeout_s: float = 30.0) -> None:
        """Wait until every running peer's verdict of `slot` is `code`."""
        running = [name for name in self.slots if name != slot and self._children[name].pid is not None]
        await wait_verdict(self._transport, slot, code, by=running, check=self._check, timeout_s=timeout_s)

    async def watch(self) -> None:
        """Start children again that ended on their own, and say so; runs until cancelled."""
        pauses = dict.fromkeys(self._children, RESTART_PAUSE_S)
        while True:
            await asyncio.sleep(RESTART_PAUSE_S)
            for name, child in self._children.items():
                if child.ended_alone:
                    self._progress(f"{name} ended and is started again; its log is {self.layout.log(name)}")
                    await asyncio.sleep(pauses[name])
                    pauses[name] = min(2 * pauses[name], RESTART_PAUSE_S_MAX)
                    await child.start()

    def is_running(self, name: str) -> bool:
        """Whether the process of a slot, or `gateway`, runs."""
        return name in self._children and self._children[name].pid is not None

    def pid(self, name: str) -> int | None:
        """Process id of a slot, or of `gateway`."""
        return self._children[name].pid

    def memory_mib(self) -> dict[str, float]:
        """Resident memory of each running process in MiB."""
        found = {name: child.memory_mib() for name, child in self._children.items()}
        return {name: size for name, size in found.items() if size is not None}

    async def _start(self) -> None:
        layout = self.layout
        _take_directory(layout)
        self._stack.enter_context(self._lock)
        if self._fresh or not layout.cluster_file.exists():
            _clear(layout)
            self._progress("making a new cluster: hardware vendor, machines, registry, operator, roster")
            creation.create(layout.root, nodes=self._nodes, first_port=self.port + 1 if self.port else 0)
            self.made_now = True
        self.roster = _read_roster(layout)
        self.authority = Authority.load(layout.authority)
        self.registry = Registry.open(layout.registry)
        write_collateral(self.authority, layout)
        restate(self.registry, layout)
        self._choose_port()
        creation.set_cluster_file(layout, url=self.url)

        sockets = layout.sockets(self.slots)
        for directory in {path.parent for path in sockets.values()} - {layout.root}:
            self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        self._machines = await self._stack.enter_async_context(
            Machines(self.authority, sockets, self.roster.configuration)
        )
        self._progress(f"starting {len(self.slots)} nodes and the gateway")
        self._add_children(sockets)
        await self._start_children()
        self._transport = await self._stack.enter_async_context(Transport(self.url, timeout_s=5.0))
        self._run_in_background()
        await wait_listening(self._transport, check=self._check)
        self._progress("waiting until every node has verified every other")
        await self.wait_trusted()
        if await ensure_defaults(layout):
            self._progress("registered the demo agent and its policy")

    def _choose_port(self) -> None:
        for entry in self.roster.slots:
            require_free(entry.port, entry.slot)
        if self.port == 0:
            self.port = choose(0, 1)[0]
        require_free(self.port, "the gateway")

    def _add_children(self, sockets: dict[str, Path]) -> None:
        layout = self.layout
        for entry in self.roster.slots:
            config = write_node_config(layout, entry, sockets[entry.slot])
            self._children[entry.slot] = Child(
                entry.slot, NODE_PROGRAM, ["serve", "--config", str(config)], layout.log(entry.slot)
            )
        config = write_gateway_config(layout, self.port)
        self._children["gateway"] = Child(
            "gateway", GATEWAY_PROGRAM, ["gateway", "serve", "--config", str(config)], layout.log("gateway")
        )

    async def _start_children(self) -> None:
        self._stack.push_async_callback(self._stop_children)
        for child in self._children.values():
            await child.start()

    async def _stop_children(self) -> None:
        # The gateway first: it would log every node's end as an outage.
        await self._children["gateway"].stop()
        await asyncio.gather(*(child.stop() for child in self._children.values()))

    def _run_in_background(self) -> None:
        work = keep_fresh(self.authority, self.registry, self.layout, report=self._progress)
        task = asyncio.create_task(work, name="restate")
        self._stack.callback(task.cancel)

    def _check(self) -> None:
        """Raises UnavailableError if a child has ended on its own."""
        for child in self._children.values():
            child.check_running()


def _take_directory(layout: Layout) -> None:
    """Make the directory; raises ConflictError (`dev.directory`) if it belongs to somebody else."""
    layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(layout.root.iterdir()) and not layout.lock.exists():
        raise ConflictError(
            f"{layout.root} is not empty and was not made by kms dev", code="dev.directory", hint="choose another --dir"
        )


def keep_chain(layout: Layout) -> tuple[Link, ...]:
    """The cluster's rosters, with what the gateway has followed since; the roster file holds them all afterwards.

    Raises DocumentError.
    """
    links = read_chain(layout.roster.read_bytes())
    followed = layout.gateway / ROSTERS_FILE
    if followed.exists():
        later = read_chain(followed.read_bytes(), known=links[-1].roster)
        if later:
            links += later
            write_private(layout.roster, write_chain([link.envelope for link in links]))
    return links


def _read_roster(layout: Layout) -> Roster:
    """The cluster's newest roster; raises ConflictError (`dev.version`) if this version does not read it."""
    try:
        return keep_chain(layout)[-1].roster
    except DocumentError as error:
        raise ConflictError(
            f"the cluster in {layout.root} was not made by this version: {error.detail}",
            code="dev.version",
            hint="make it anew with --fresh, which throws its keys away, or choose another --dir",
        ) from None


def _clear(layout: Layout) -> None:
    """Remove an earlier cluster; only what this program made there."""
    followed = layout.cluster_file.with_suffix(FOLLOWED_SUFFIX)
    for path in (layout.cluster_file, followed, layout.roster, layout.operator_key, layout.agent_key):
        path.unlink(missing_ok=True)
    for path in (layout.authority, layout.registry, layout.gateway, layout.logs, layout.root / "nodes"):
        shutil.rmtree(path, ignore_errors=True)
