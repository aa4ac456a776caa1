"""I4: shares of different epochs never combine: all uses for one signer set and session are of one epoch."""

from __future__ import annotations

from typing import Any

from tests.simulation.facts import Facts
from tests.simulation.node_host import SimNode
from tests.simulation.observer import Left


def watch(facts: Facts) -> None:
    """Group what left by what it can be combined with."""
    epochs: dict[Any, dict[str, int]] = {}

    def answering(node: SimNode, item: Left) -> None:
        if item.verb not in ("sign", "ecdsa-start") or item.slot in facts.liars:
            return
        request = facts.book.by_token.get(item.request.token)
        if request is None:
            return
        held = node.keys.get(facts.cluster.keys[request.key]["key"], 1, item.request.epoch)
        if item.verb == "sign":
            group: Any = (item.request.token, tuple(sorted((s.slot, s.hiding) for s in item.request.signers)))
        else:
            group = (item.request.token, tuple(item.request.signers), item.request.attempt)
        found = epochs.setdefault(group, {})
        found[item.slot] = held.certificate.epoch
        if len(set(found.values())) > 1:
            facts.violation("I4", f"one signature takes shares of epochs {found}")

    facts.cluster.observer.on_answer.append(answering)


def finish(facts: Facts) -> None:
    """Everything was checked as it happened."""
