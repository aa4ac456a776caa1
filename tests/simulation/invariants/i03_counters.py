"""I3: no node acts below the counter its peers have witnessed.

The truth is what q of the peers hold of this slot at the moment of the act; an honest majority of them is not needed
for the check, because the simulation sees them all and leaves liars out.
"""

from __future__ import annotations

from tests.simulation.facts import Facts
from tests.simulation.invariants.uses import is_use
from tests.simulation.node_host import SimNode
from tests.simulation.observer import Left

ACTS = ("ceremony-start", "ceremony-round", "ceremony-commit")


def watch(facts: Facts) -> None:
    """Compare at every act."""
    highest: dict[str, int] = {}

    def answering(node: SimNode, item: Left) -> None:
        _note(facts, highest)
        if not (is_use(item) or item.verb in ACTS) or item.slot in facts.liars:
            return
        witnessed = highest.get(item.slot, 0)
        if node.witness.counter < witnessed:
            facts.violation("I3", f"{item.slot}#{item.boot} acts at {node.witness.counter}, {witnessed} was witnessed")

    facts.cluster.observer.on_answer.append(answering)


def finish(facts: Facts) -> None:
    """Everything was checked as it happened."""


def _note(facts: Facts, highest: dict[str, int]) -> None:
    """The q-th largest counter that peers hold of each slot."""
    q = facts.cluster.roster.witness_terms.q
    held: dict[str, list[int]] = {}
    for host in facts.cluster.nodes.values():
        if host.state is None or host.slot in facts.liars:
            continue
        for slot, kept in host.state.heartbeats.peers.kept().items():
            held.setdefault(slot, []).append(kept.counter)
    for slot, counters in held.items():
        if len(counters) >= q:
            highest[slot] = max(highest.get(slot, 0), sorted(counters, reverse=True)[q - 1])
