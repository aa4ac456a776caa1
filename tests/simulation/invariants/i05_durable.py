"""I5: what was acknowledged is durable: keys and freezes at nodes after any crash, results at the gateway.

A disk that was replaced by an older copy is no crash: what it forgot is the matter of I3.
"""

from __future__ import annotations

from enclave.restrictions import Scope
from tests.simulation.facts import Facts
from tests.simulation.node_host import SimNode
from tests.simulation.observer import Left


def watch(facts: Facts) -> None:
    """Remember what nodes acknowledged, and look for it after every boot."""
    observer = facts.cluster.observer
    keys: dict[tuple[str, str, int], int] = {}

    def left(node: SimNode, item: Left) -> None:
        if item.verb == "ceremony-commit":
            for name, held in node.keys._keys.items():
                key, _, version = name.partition("/")
                keys[item.slot, key, int(version)] = held.certificate.epoch

    def booted(node: SimNode) -> None:
        if node.slot in facts.rolled_back:
            return
        for (slot, key, version), epoch in keys.items():
            held = node.keys._keys.get(f"{key}/{version}") if slot == node.slot else None
            if slot == node.slot and (held is None or held.certificate.epoch < epoch):
                facts.violation("I5", f"{slot} acknowledged {key} at epoch {epoch} and lost it in a crash")
        for (slot, key), (sequence, state) in observer.frozen.items():
            if slot != node.slot or state != "frozen" or observer.thawed.get((slot, key), 0) > sequence:
                continue
            if not node.directory.is_frozen(Scope.KEY, key):
                facts.violation("I5", f"{slot} acknowledged a freeze of {key} and lost it in a crash")

    observer.on_left.append(left)
    observer.on_boot.append(booted)


def finish(facts: Facts) -> None:
    """Every result a client holds is in the gateway's database; plaintexts are never kept there."""
    done = {host.name: host.settled() for host in facts.cluster.gateways}
    for request in facts.book.requests:
        for _, status, answer in request.answers:
            if (
                status == 200
                and request.verb != "decrypt"
                and not any(answer["request_id"] in known for known in done.values())
            ):
                facts.violation("I5", f"a client holds a result of {request.key} that no gateway remembers")
