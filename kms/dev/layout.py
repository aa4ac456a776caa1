"""Where everything of a developer cluster lives below its data directory."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

SOCKET_PATH_BYTES_MAX = 100
"""A unix socket's path must fit 107 bytes (sockaddr_un on Linux); deeper directories use a short one instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Paths of one developer cluster."""

    root: Path

    @property
    def cluster_file(self) -> Path:
        """What clients read."""
        return self.root / "cluster.json"

    @property
    def roster(self) -> Path:
        """The signed roster."""
        return self.root / "roster.json"

    @property
    def operator_key(self) -> Path:
        """The one operator's key file."""
        return self.root / "operator.pem"

    @property
    def agent_key(self) -> Path:
        """The demo agent's key file."""
        return self.root / "demo-agent.pem"

    @property
    def authority(self) -> Path:
        """Keys of the simulated hardware vendor."""
        return self.root / "authority"

    @property
    def registry(self) -> Path:
        """Keys of the demo registry's members, its log and its snapshot."""
        return self.root / "registry"

    @property
    def snapshot(self) -> Path:
        """The newest registry snapshot, as the gateway reads it."""
        return self.registry / "snapshot.json"

    @property
    def collateral(self) -> Path:
        """Fresh collateral of both vendors, one document per file, as the gateway reads it."""
        return self.authority / "collateral"

    @property
    def gateway(self) -> Path:
        """The gateway's configuration and database."""
        return self.root / "gateway"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        """Held while the cluster runs; contains the process id."""
        return self.root / "kms-dev.pid"

    def node(self, slot: str) -> Path:
        """A node's configuration and sealed state."""
        return self.root / "nodes" / slot

    def log(self, name: str) -> Path:
        """The log of `gateway` or of a slot."""
        return self.logs / f"{name}.log"

    def sockets(self, slots: list[str]) -> dict[str, Path]:
        """Slot -> path of its machine's socket: in the directory, or in a short private one if that is too deep."""
        paths = {slot: self.root / f"{slot}.tee.sock" for slot in slots}
        if all(len(str(path).encode()) <= SOCKET_PATH_BYTES_MAX for path in paths.values()):
            return paths
        short = Path(tempfile.mkdtemp(prefix="holdfast-"))
        return {slot: short / f"{slot}.sock" for slot in slots}
