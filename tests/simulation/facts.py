"""What checkers share about one timeline: the parties, the truth about what was done to them, and bookkeeping.

Nothing here is known to any program under simulation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulation.cluster import Cluster
from tests.simulation.workload import Book

if TYPE_CHECKING:
    from tests.simulation.node_host import NodeHost, SimNode


@dataclass(slots=True, kw_only=True, eq=False)
class Facts:
    """One timeline as nobody in it can see it."""

    cluster: Cluster
    book: Book
    liars: set[str] = field(default_factory=set)
    """Slots whose node lies."""
    rolled_back: set[str] = field(default_factory=set)
    """Slots whose disk was replaced by an older or another one."""
    skewed: set[str] = field(default_factory=set)
    """Slots whose clock was moved."""
    revoked: set[str] = field(default_factory=set)
    """Slots whose machine was taken off the registry."""
    twins: list[NodeHost] = field(default_factory=list)
    has_malicious_relay: bool = False
    frames: list[bytes] = field(default_factory=list)
    """Everything that was on a wire, for the search for secrets."""

    @property
    def hosts(self) -> list[NodeHost]:
        """All node hosts, twins included."""
        return [*self.cluster.nodes.values(), *self.twins]

    @property
    def states(self) -> list[SimNode]:
        """All nodes that run now."""
        return [host.state for host in self.hosts if host.state is not None]

    def violation(self, invariant: str, text: str) -> None:
        """An invariant does not hold."""
        self.cluster.observer.violation(invariant, text)
