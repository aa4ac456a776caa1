"""I12: no share leaves a node unless every member of the signer set is current in that node's own eyes.

Current is counted from outside: evidence of that very boot was presented to this node and trusted, its machine is not
revoked in the snapshot this node holds, and a heartbeat that the member made at most ten seconds ago (by this node's
monotonic clock) reached it.
"""

from __future__ import annotations

from tests.simulation.facts import Facts
from tests.simulation.invariants.uses import is_use, signers_of
from tests.simulation.node_host import SimNode
from tests.simulation.observer import Left

FRESH_S = 10.0
TICK_S = 0.01
"""What a callback's own looks at its clock may add."""


def watch(facts: Facts) -> None:
    """Look at every use."""
    observer = facts.cluster.observer

    def answering(node: SimNode, item: Left) -> None:
        if not is_use(item) or item.slot in facts.liars:
            return
        for member in signers_of(item):
            if member == item.slot:
                continue
            name = (item.identity, member)
            age = item.at - observer.heard.get(name, -1e9)
            if name not in observer.trusted:
                facts.violation("I12", f"{item.slot} worked with {member}, whose evidence it never took")
            elif age > FRESH_S + TICK_S:
                facts.violation("I12", f"{item.slot} worked with {member}, unheard for {age:.1f} s")
            elif _is_revoked(facts, node, member):
                facts.violation("I12", f"{item.slot} worked with {member}, whose machine is revoked")

    observer.on_answer.append(answering)


def finish(facts: Facts) -> None:
    """Everything was checked as it happened."""


def _is_revoked(facts: Facts, node: SimNode, member: str) -> bool:
    snapshot = node.verdicts.snapshot
    if snapshot is None:
        return True
    return bool(snapshot.lookup(facts.cluster.platforms[member].commitment).revoked)
