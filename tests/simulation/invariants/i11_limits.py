"""I11: no budget beyond its bound, and no EVM nonce signed twice, whatever sets are chosen.

A request counts as signed once a whole quorum's shares of one signer set have left, whoever collected them.
"""

from __future__ import annotations

from typing import Any

from tests.simulation.cluster import BUDGET
from tests.simulation.facts import Facts
from tests.simulation.invariants.uses import is_use, signers_of
from tests.simulation.node_host import SimNode
from tests.simulation.observer import Left

QUORUM = 3
NODES = 5


def watch(facts: Facts) -> None:
    """Collect which nodes gave their share for which signer set of which request."""
    given: dict[Any, set[str]] = {}
    sessions: dict[Any, tuple[str, int]] = {}
    spent: set[str] = set()
    nonces: dict[int, set[str]] = {}

    def left(_node: SimNode, item: Left) -> None:
        if item.verb == "ecdsa-start":
            sessions[item.reply.session] = (item.request.token, item.request.attempt)
        if not is_use(item):
            return
        if item.verb == "ecdsa-round":
            token = sessions.get(item.request.session, ("", 0))[0]
            group: Any = (token, item.request.session)
        elif item.verb == "sign":
            token = item.request.token
            group = (token, tuple(sorted((signer.slot, signer.hiding) for signer in item.request.signers)))
        else:
            return
        members = given.setdefault(group, set())
        members.add(item.slot)
        # A liar gives its share to anybody, whether asked in order or not.
        if len(members | facts.liars) < min(QUORUM, len(signers_of(item))):
            return
        request = facts.book.by_token.get(token)
        if request is None:
            return
        if request.key == "limited":
            spent.add(token)
            bound = _bound(len(facts.liars), len(facts.rolled_back))
            if len(spent) > bound:
                facts.violation("I11", f"{len(spent)} uses of a budget of {bound}")
        if request.nonce is not None:
            signed = nonces.setdefault(request.nonce, set())
            signed.add(token)
            if len(signed) > 1 and NODES + len(facts.liars) < 2 * QUORUM:
                facts.violation("I11", f"two transactions were signed with nonce {request.nonce}")

    facts.cluster.observer.on_left.append(left)


def finish(facts: Facts) -> None:
    """Everything was checked as it happened."""


def _bound(corrupt: int, _rolled_back: int) -> int:
    """specs/budgets.md section 3: C, or with f corrupt nodes C s (n - f) / (n (s - f))."""
    if corrupt >= QUORUM:
        return 1 << 30
    return BUDGET * QUORUM * (NODES - corrupt) // (NODES * (QUORUM - corrupt))
