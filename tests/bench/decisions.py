"""What do receipts and budgets add to a signature?  Processor time of one node, and of the gateway's log store.

A node signs the same kind of Ed25519 request with and without its log, under a policy with and without a budget and a
rate, in turns, so that neither warm-up nor a busy machine favours one of them.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import enclave.state as node_state
from enclave.certificate import KeyCertificate
from kms.receipts.store import LogStore
from tests.enclave.node.world import ALLOW_MESSAGES, GATEWAY, World, message_body

ROUNDS, BATCH = 16, 16
"""Rounds of each variant in turn, and requests per round."""

SHARE_MAX = 0.25
"""Receipts and budgets together are to add at most this to the processor time of a signature."""

BUDGET = {"name": "many", "asset": {"kind": "requests"}, "window": "day", "cap": "1000000000", "per": "agent"}
RATE = {"max": 100_000, "window_s": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Microseconds of processor time per signature."""

    plain_us: float
    """One node without log, budget and rate."""
    receipts_us: float
    """What the log adds at one node."""
    budgets_us: float
    """What a budget and a rate add at one node."""
    store_us: float
    """What the gateway's store pays to keep one node's leaf."""

    @property
    def share(self) -> float:
        """Receipts and budgets as part of everything else a node does for a signature."""
        return (self.receipts_us + self.budgets_us) / self.plain_us

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"one Ed25519 share at a node: {self.plain_us:.0f} us without log and budget",
            f"  receipts add {self.receipts_us:.1f} us ({self.receipts_us / self.plain_us:.1%}),"
            f" a budget and a rate {self.budgets_us:.1f} us ({self.budgets_us / self.plain_us:.1%}):"
            f" {self.share:.1%} in all, at most {SHARE_MAX:.0%} wanted",
            f"  the gateway stores one leaf in {self.store_us:.1f} us",
        ]


def measure() -> Costs:
    """All figures, from a cluster in this process."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        world = World(Path(directory))
        world.ready(ALLOW_MESSAGES)
        world.now += 1
        key = world.create_key()
        world.now += 1
        times: dict[tuple[bool, bool], list[float]] = {}
        for number in range(2 * ROUNDS):
            is_budgeted = bool(number % 2)
            policy = world.policy_document(ALLOW_MESSAGES, version=number + 2)
            world.put(replace(policy, budgets=(BUDGET,), rate=RATE) if is_budgeted else policy)
            with _without_receipts():
                times.setdefault((False, is_budgeted), []).append(_batch(world, key))
            times.setdefault((True, is_budgeted), []).append(_batch(world, key))
        node = world.nodes[world.slots[0]]
        entries = node.receipts.page(node.identity.public.boot_counter, 0, 1000).entries
        store_us = _store(Path(directory) / "logs", entries)
        world.stop()
    best = {variant: statistics.median(found) for variant, found in times.items()}
    return Costs(
        plain_us=best[False, False],
        receipts_us=(best[True, False] - best[False, False] + best[True, True] - best[False, True]) / 2,
        budgets_us=(best[False, True] - best[False, False] + best[True, True] - best[True, False]) / 2,
        store_us=store_us,
    )


def _batch(world: World, key: KeyCertificate) -> float:
    """Microseconds of one node per share, committed as the server does."""
    slots = world.slots[: key.shares_needed]
    requests = []
    for number in range(BATCH):
        body = message_body(b"payment number %d" % number)
        requests.append(world.sign_requests(slots, world.token(key, body), body)[slots[0]])
    node, now = world.nodes[slots[0]], world.now
    start = time.process_time()
    for request in requests:
        node.handle(GATEWAY, "sign", request, now)
    node.commit()
    return (time.process_time() - start) / BATCH * 1e6


@contextmanager
def _without_receipts() -> Iterator[None]:
    """A node that writes nothing down."""
    recorded = dict(node_state.RECORDED)
    node_state.RECORDED.clear()
    try:
        yield
    finally:
        node_state.RECORDED.update(recorded)


def _store(directory: Path, entries: list[bytes]) -> float:
    """Microseconds to keep one leaf, in pages as they come."""
    store = LogStore(directory)
    repeats = 8
    start = time.process_time()
    for number in range(repeats):
        store.append("node-1", 1, number * len(entries), entries, 1)
    spent = time.process_time() - start
    store.close()
    return spent / (repeats * len(entries)) * 1e6


if __name__ == "__main__":
    print("\n".join(measure().lines()))
