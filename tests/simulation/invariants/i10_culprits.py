"""I10: whoever is named as culprit is guilty, by nodes, by the gateway and in proofs of forks alike."""

from __future__ import annotations

from collections.abc import Iterable

from enclave.errors import EnclaveError
from tests.simulation.facts import Facts
from tests.simulation.node_host import SimNode


def watch(facts: Facts) -> None:
    """Listen to every refusal."""

    def refused(node: SimNode, _verb: str, error: Exception) -> None:
        if isinstance(error, EnclaveError) and node.slot not in facts.liars:
            _check(facts, error.culprits, f"{node.slot} says {error.code}")

    facts.cluster.observer.on_refusal.append(refused)


def finish(facts: Facts) -> None:
    """What the gateway wrote down, and the proofs nodes hold."""
    # A gateway whose calls are changed on its own wires is the malicious one, and its audit log proves nothing.
    for host in facts.cluster.gateways if not facts.has_malicious_relay else ():
        for entry in host.entries():
            _check(facts, entry.get("culprits", ()), "the audit log")
    for node in facts.states:
        if node.slot not in facts.liars:
            _check(facts, node.heartbeats.peers.proofs, f"{node.slot}'s proofs of forks")


def _check(facts: Facts, culprits: Iterable[str], where: str) -> None:
    guilty = facts.liars | {twin.slot for twin in facts.twins}
    innocent = {name for name in culprits if name in facts.cluster.nodes} - guilty
    if innocent:
        facts.violation("I10", f"{where}: names {sorted(innocent)}, who did nothing wrong")
