"""I4: shares of different epochs never combine.

Nodes cannot know which epoch another signer uses, so a signer set may get shares of two epochs from a malicious relay;
what must not happen is that anything valid comes of it.  Checked: every result a client got was made in one epoch; no
mixture of shares of two epochs interpolates to the key; no node's share stays the same from one epoch to the next.
"""

from __future__ import annotations

from typing import Any

from tests.simulation.facts import Facts
from tests.simulation.invariants.secrets import at_zero, encoding_of, shares
from tests.simulation.node_host import SimNode
from tests.simulation.observer import Left

Shares = dict[tuple[str, int, int], dict[int, bytes]]


class Watcher:
    """The shares of every epoch there was, and which epochs each request was signed in."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.seen: Shares = {}
        self.groups: dict[Any, dict[str, int]] = {}
        self.note()

    def note(self) -> None:
        """Take down the shares that exist now."""
        for name, group in shares(self.facts).items():
            self.seen.setdefault(name, {}).update(group)

    def answering(self, node: SimNode, item: Left) -> None:
        """Remember in which epoch a share was given for which signer set."""
        if item.verb != "sign" or item.slot in self.facts.liars:
            return
        request = self.facts.book.by_token.get(item.request.token)
        if request is not None:
            held = node.keys.get(self.facts.cluster.keys[request.key]["key"], 1, item.request.epoch)
            group = (item.request.token, tuple(sorted((s.slot, s.hiding) for s in item.request.signers)))
            self.groups.setdefault(group, {})[item.slot] = held.certificate.epoch

    def left(self, _node: SimNode, item: Left) -> None:
        """A ceremony may have made new shares."""
        if item.verb == "ceremony-commit":
            self.note()


_WATCHERS: dict[int, Watcher] = {}


def watch(facts: Facts) -> None:
    """Follow shares from the beginning."""
    watcher = _WATCHERS[id(facts)] = Watcher(facts)
    facts.cluster.observer.on_answer.append(watcher.answering)
    facts.cluster.observer.on_left.append(watcher.left)


def finish(facts: Facts) -> None:
    """Mix epochs in every way that takes one share from another epoch."""
    watcher = _WATCHERS.pop(id(facts))
    watcher.note()
    _check_results(facts, watcher)
    epochs: dict[str, dict[int, tuple[int, dict[int, bytes]]]] = {}
    for (name, epoch, needed), group in watcher.seen.items():
        epochs.setdefault(name, {})[epoch] = (needed, group)
    for name, by_epoch in epochs.items():
        for epoch, (needed, group) in by_epoch.items():
            for other, (_, older) in by_epoch.items():
                if other < epoch and len(group) >= needed:
                    facts.cluster.counters["epochs compared"] += 1
                    _check_mixture(facts, name, needed, group, older)


def _check_results(facts: Facts, watcher: Watcher) -> None:
    for (token, signers), found in watcher.groups.items():
        request, slots = facts.book.by_token[token], [slot for slot, _ in signers]
        made_by = [sorted(answer["signers"]) for _, status, answer in request.answers if status == 200]
        # Where the same nodes were asked twice for one request, it cannot be told which of the two the client got.
        is_only = [token] == [
            other for other, set_of in watcher.groups if other == token and [slot for slot, _ in set_of] == slots
        ]
        if slots in made_by and is_only and len(found) == len(slots) and len(set(found.values())) > 1:
            facts.violation("I4", f"a signature was made of shares of epochs {found}")


def _check_mixture(facts: Facts, name: str, needed: int, group: dict[int, bytes], older: dict[int, bytes]) -> None:
    order, encoding = encoding_of(facts, name)
    ids = sorted(group)[:needed]
    whole = at_zero({i: group[i] for i in ids}, order, encoding)
    for i in ids:
        if i not in older:
            continue
        if older[i] == group[i]:
            facts.violation("I4", f"share {i} of {name} is the same in two epochs")
        elif at_zero({**{j: group[j] for j in ids}, i: older[i]}, order, encoding) == whole:
            facts.violation("I4", f"shares of two epochs of {name} combine")
