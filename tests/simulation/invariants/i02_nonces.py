"""I2: no nonce is used twice, across connections, restarts, snapshots and twins."""

from __future__ import annotations

from tests.simulation.facts import Facts
from tests.simulation.node_host import SimNode
from tests.simulation.observer import Left


def watch(facts: Facts) -> None:
    """Remember every commitment that was signed under, and every published one."""
    used: dict[bytes, str] = {}
    published: dict[bytes, str] = {}

    def left(node: SimNode, item: Left) -> None:
        if item.verb == "nonces":
            for nonce in item.reply.nonces:
                for commitment in (nonce.hiding, nonce.binding):
                    if commitment in published:
                        facts.violation("I2", f"{item.slot} published a commitment twice")
                    published[commitment] = item.slot
        if item.verb == "ecdsa-round" and item.request.round == 2:
            return
        if item.verb != "sign":
            return
        own = next((signer for signer in item.request.signers if signer.slot == item.slot), None)
        if own is None:
            facts.violation("I2", f"{item.slot} signed without a commitment of its own")
            return
        if own.hiding in used:
            facts.violation("I2", f"{item.slot} used the nonce of {used[own.hiding]} again")
        used[own.hiding] = f"{item.slot}#{item.boot}"
        del node

    facts.cluster.observer.on_left.append(left)


def finish(facts: Facts) -> None:
    """Everything was checked as it happened."""
