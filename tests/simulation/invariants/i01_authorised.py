"""I1: no share is used but for the exact request somebody entitled signed, by a node that had no reason to refuse.

And no signature or plaintext exists without uses by a whole signing quorum for that same request.
"""

from __future__ import annotations

from tests.simulation.facts import Facts
from tests.simulation.invariants.uses import is_use
from tests.simulation.node_host import SimNode
from tests.simulation.observer import Left

LATE_S = 75
"""Longest true time from signing a token to a use: its lifetime, and what honest clocks may differ."""


def watch(facts: Facts) -> None:
    """Look at every use as it leaves."""
    tokens: dict[tuple[str, int, bytes], str] = {}
    quorums: dict[str, set[str]] = {}

    def left(node: SimNode, item: Left) -> None:
        if item.verb == "ecdsa-start":
            tokens[item.slot, item.boot, item.reply.session] = item.request.token
            _check_body(facts, item)
        if not is_use(item):
            return
        if item.verb == "ecdsa-round":
            token = tokens.get((item.slot, item.boot, item.request.session), "")
        else:
            token = item.request.token
            _check_body(facts, item)
        request = facts.book.by_token.get(token)
        if request is None:
            facts.violation("I1", f"{item.slot} used a share for a request nobody signed")
            return
        quorums.setdefault(token, set()).add(item.slot)
        if item.at - request.issued_at > LATE_S and item.slot not in facts.skewed:
            facts.violation(
                "I1", f"{item.slot} used a share for a request signed {item.at - request.issued_at:.0f} s ago"
            )
        key = facts.cluster.keys[request.key]["key"]
        if node.observer.frozen.get((item.slot, key), (0, ""))[1] == "frozen" and item.slot not in facts.rolled_back:
            facts.violation("I1", f"{item.slot} used a share of a key it holds as frozen")
        item.facts["token"] = token

    def done(request: object) -> None:
        from tests.simulation.workload import Request

        assert isinstance(request, Request)
        if request.succeeded and len(quorums.get(request.token, ())) < 3:
            facts.violation(
                "I1", f"a result of {request.verb} {request.key} came from {len(quorums.get(request.token, ()))} nodes"
            )

    facts.cluster.observer.on_left.append(left)
    facts.book.on_done.append(done)


def finish(facts: Facts) -> None:
    """Everything was checked as it happened."""


def _check_body(facts: Facts, item: Left) -> None:
    request = facts.book.by_token.get(item.request.token)
    if request is None or request.body != item.request.body:
        facts.violation("I1", f"{item.slot} took part for a body that is not the one signed")
    elif not _is_of_verb(request.verb, item.verb):
        facts.violation("I1", f"{item.slot} answered {item.verb} to a token for {request.verb}")


def _is_of_verb(wanted: str, verb: str) -> bool:
    return (wanted == "decrypt") == (verb == "partial")
