"""I6: the audit chain is continuous, and every signature has its intent, its decision leaves and its result."""

from __future__ import annotations

from attestation.errors import CodedError
from attestation.receipts.entry import ALLOW, Decision, parse_entry
from kms.audit import verify_chain
from tests.simulation.facts import Facts
from tests.simulation.invariants.uses import is_use
from tests.simulation.node_host import SimNode
from tests.simulation.observer import Left


def watch(facts: Facts) -> None:
    """The newest leaf of a node that uses a share says so."""

    def answering(node: SimNode, item: Left) -> None:
        if not is_use(item) or item.slot in facts.liars:
            return
        newest = parse_entry(node.receipts._entries[-1]) if node.receipts._entries else None
        if not isinstance(newest, Decision) or newest.outcome != ALLOW or not newest.output:
            facts.violation("I6", f"{item.slot} used a share for {item.verb} and logged no decision")

    facts.cluster.observer.on_answer.append(answering)


def finish(facts: Facts) -> None:
    """The gateways' chains hold, and tell of every result."""
    intents: set[str] = set()
    results: set[str] = set()
    for host in facts.cluster.gateways:
        try:
            verify_chain(host.chain())
        except CodedError as error:
            facts.violation("I6", f"{host.name}'s audit chain: {error.code}")
        for entry in host.entries():
            if entry.get("kind") == "intent":
                intents.add(entry["request"])
            elif entry.get("kind") == "result":
                results.add(entry["request"])
    for request in facts.book.requests:
        for _, status, answer in request.answers:
            if status == 200 and answer["request_id"] not in intents & results:
                facts.violation("I6", f"a result of {request.key} has no intent and result in any audit chain")
