"""I3: no node acts below the counter its peers have witnessed.

The truth is what q of the peers hold of this slot at the moment of the act, liars left out, and the highest counter at
which the slot acted once q peers, liars among them, had acknowledged it.  A newer boot of the slot,
which a second copy of its disk can make at any time, ends the older one's right to act within one lease, not at once
(specs/heartbeats.md section 4); that boot itself waits as long.
"""

from __future__ import annotations

from tests.simulation.facts import Facts
from tests.simulation.invariants.uses import is_use
from tests.simulation.node_host import SimNode
from tests.simulation.observer import Left

LEASE_S = 10.0
EVERY_S = 0.5
"""Pause between two looks at what is witnessed, beside those at every act."""

ACTS = ("ceremony-start", "ceremony-round", "ceremony-commit")


def watch(facts: Facts) -> None:
    """Compare at every act."""
    witnessed: dict[tuple[str, int], tuple[int, float]] = {}
    acted: dict[str, tuple[int, bytes]] = {}
    looked_at = float("-inf")

    def answering(node: SimNode, item: Left) -> None:
        nonlocal looked_at
        is_act = is_use(item) or item.verb in ACTS
        if is_act or item.at - looked_at > EVERY_S:
            looked_at = item.at
            _note(facts, witnessed)
        if not is_act or item.slot in facts.liars:
            return
        own, digest = node.witness.counter, node.witness.digest
        before, known = acted.get(item.slot, (0, digest))
        if own < before:
            facts.violation("I3", f"{item.slot}#{item.boot} acts at {own}, having acted at {before}")
        elif own == before and digest != known:
            facts.violation("I3", f"{item.slot}#{item.boot} acts in another state at {own} than it acted in before")
        acknowledged = sorted(node.witness._acknowledged.values(), reverse=True)
        q = facts.cluster.roster.witness_terms.q
        if len(acknowledged) >= q and acknowledged[q - 1] >= own:
            acted[item.slot] = max((own, digest), (before, known), key=lambda pair: pair[0])
        for (slot, boot), (counter, since) in witnessed.items():
            if slot != item.slot or counter <= node.witness.counter:
                continue
            if boot <= item.boot or item.at - since > LEASE_S:
                facts.violation("I3", f"{slot}#{item.boot} acts at {node.witness.counter}, {counter} was witnessed")

    facts.cluster.observer.on_answer.append(answering)


def finish(facts: Facts) -> None:
    """Everything was checked as it happened."""


def _note(facts: Facts, witnessed: dict[tuple[str, int], tuple[int, float]]) -> None:
    """Of each slot and boot the largest counter that q peers hold, and since when."""
    q = facts.cluster.roster.witness_terms.q
    held: dict[str, list[tuple[int, int]]] = {}
    for host in facts.cluster.nodes.values():
        if host.state is None or host.slot in facts.liars:
            continue
        for slot, kept in host.state.heartbeats.peers.kept().items():
            held.setdefault(slot, []).append((kept.counter, kept.boot_counter))
    for slot, statements in held.items():
        if len(statements) >= q:
            counter, boot = sorted(statements, reverse=True)[q - 1]
            if counter > witnessed.get((slot, boot), (0, 0.0))[0]:
                witnessed[slot, boot] = (counter, facts.cluster.loop.time())
