"""One timeline: a fork of the prepared cluster, its seed, what goes wrong, what is asked, and whether it heals.

Phases: trouble (faults and requests at seeded times), healing (every fault ends; crashed nodes start again), quiet
(requests have to succeed: L1, L2), and the checkers' last look.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from tests.simulation import randomness
from tests.simulation.cluster import Cluster
from tests.simulation.facts import Facts
from tests.simulation.faults import PROFILES, Trouble
from tests.simulation.invariants import CHECKERS
from tests.simulation.loop import StuckError
from tests.simulation.workload import Book

HEAL_S = 45.0
"""Virtual seconds within which a healed cluster has to work again: leases, retries and back-off add up to 25."""

HEAL_CEREMONIES_S = 140.0
"""The same where a ceremony was interrupted: it counts as abandoned after 30 s and is looked for once a minute."""

PROBE_NONCE = 1_000_000


@dataclass(slots=True, kw_only=True)
class Result:
    """What one timeline came to."""

    seed: int
    profile: str
    violations: list[str] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)
    virtual_s: float = 0.0
    callbacks: int = 0


def play(cluster: Cluster, seed: int, *, profile: str | None = None, verbose: bool = False) -> Result:
    """Run one timeline in this very process, which is of no use afterwards."""
    rng = random.Random(seed)
    randomness.seed(seed)
    cluster.loop.rng.seed(seed)
    cluster.network.rng.seed(seed + 1)
    cluster.loop.callbacks = 0
    cluster.loop.errors.clear()
    observer, began = cluster.observer, cluster.loop.time()
    observer.verbose = verbose
    observer.trace.clear()
    observer.codes.clear()
    observer.left.clear()
    name = profile or rng.choice(sorted(PROFILES))
    facts = Facts(cluster=cluster, book=Book(cluster))
    cluster.network.carried = facts.frames
    for checker in CHECKERS:
        checker.watch(facts)
    trouble = Trouble(facts, rng, name)
    observer.event(f"timeline {seed}, profile {name}")
    try:
        trouble.begin()
        cluster.loop.run_for(trouble.lasts_s)
        trouble.heal()
        _quiet(facts, trouble)
        for checker in CHECKERS:
            checker.finish(facts)
    except StuckError as error:
        facts.violation("L1", str(error))
    for context in cluster.loop.errors:
        problem = context.get("exception")
        if isinstance(problem, Exception):
            facts.violation("defect", f"{type(problem).__name__} in a callback: {context.get('message')}: {problem}")
    return Result(
        seed=seed,
        profile=name,
        violations=list(dict.fromkeys(observer.violations)),
        counters=+cluster.counters,
        codes=observer.codes,
        trace=list(observer.trace),
        virtual_s=cluster.loop.time() - began,
        callbacks=cluster.loop.callbacks,
    )


def _quiet(facts: Facts, trouble: Trouble) -> None:
    """L1: with a quorum healthy and the network quiet, every admitted request finishes.  L2: crashes have healed."""
    loop, book, cluster = facts.cluster.loop, facts.book, facts.cluster
    patience = HEAL_CEREMONIES_S if book.orders else HEAL_S
    end = loop.time() + patience
    pending, nonce = ["frost", "evm"], PROBE_NONCE
    while pending and loop.time() < end:
        nonce += 1  # a transaction that failed may have used its nonce up at some nodes
        request = book.message(pending[0]) if pending[0] != "evm" else book.transaction(nonce)
        task = loop.spawn(None, book.carry_out(request, cluster.gateway, tries=1))
        loop.run_until(task)
        if request.succeeded:
            pending.pop(0)
        else:
            loop.run_for(2.0)
    if pending:
        facts.violation("L1", f"no {pending[0]} signature within {patience:.0f} s of quiet")
    crashed = trouble.crashed - facts.liars - facts.rolled_back - trouble.lost
    while loop.time() < end and any(not _works(facts, slot) for slot in crashed):
        loop.run_for(1.0)
    for slot in sorted(crashed):
        if not _works(facts, slot):
            gateway = cluster.gateway.gateway
            why = gateway.fleet.links[slot].refuses if gateway is not None else "gateway down"
            facts.violation("L2", f"{slot} crashed and does not work {patience:.0f} s later: {why}")


def _works(facts: Facts, slot: str) -> bool:
    gateway = facts.cluster.gateway.gateway
    return gateway is not None and gateway.fleet.links[slot].usable
