"""What an order comes to: which keys go together in one session, and which nodes are called to it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from enclave.ceremonies.batch import KEYS_MAX
from enclave.ceremonies.committee import givers_min
from enclave.ceremonies.facts import Kind
from enclave.ceremonies.orders import CeremonyOrder
from enclave.wire.ceremonies import CeremonyStart, KeySource
from kms.errors import ConflictError, UnavailableError
from kms.fleet.fleet import Fleet
from kms.keys import Key

WRAPPED_MAX = 8
"""Most keys of one session whose wrapped content travels along: 64 KiB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Keys with the same holders and threshold, no more than one session takes."""

    keys: tuple[Key, ...]


def batches(keys: Sequence[Key], action: Kind) -> Iterator[Batch]:
    """The keys in groups that one session can take, in the order given."""
    groups: dict[tuple[tuple[str, ...], int, str, bool], list[Key]] = {}
    for key in keys:
        facts = key.certificate
        wrapped = facts.wrapped_digest is not None
        groups.setdefault((facts.slots, facts.shares_needed, str(facts.custody), wrapped), []).append(key)
    for (*_, wrapped), group in groups.items():
        size = WRAPPED_MAX if wrapped and action in (Kind.RESHARE, Kind.REPAIR) else KEYS_MAX
        if action is Kind.ROTATE:
            size = 1
        for start in range(0, len(group), size):
            yield Batch(keys=tuple(group[start : start + size]))


def beginning(fleet: Fleet, action: Kind, order: CeremonyOrder | None, envelope: bytes, batch: Batch) -> CeremonyStart:
    """Round 1 under a fresh session id; raises UnavailableError, ConflictError."""
    participants = _participants(fleet, action, order, batch)
    sources = [
        KeySource(key.key, key.certificate.version, key.certificate.epoch, key.record.body) for key in batch.keys
    ]
    return CeremonyStart(
        session=os.urandom(32),
        kind=action,
        token="",
        body=envelope,
        key="",
        participants=[entry.slot for entry in fleet.roster.slots if entry.slot in participants],
        sources=sources,
    )


def _participants(fleet: Fleet, action: Kind, order: CeremonyOrder | None, batch: Batch) -> Collection[str]:
    holders = batch.keys[0].certificate.slots
    usable = [slot for slot in holders if slot in fleet.links and fleet.links[slot].usable]
    if action is Kind.RESHARE and order is not None:
        _require(fleet, order.nodes, "every node of the new committee must take part")
        needed = max(givers_min(key.certificate) for key in batch.keys)
        if len(usable) < needed:
            raise _too_few(f"{needed} of the present holders must take part, {len(usable)} can be reached")
        return {*order.nodes, *usable}
    if action is Kind.REPAIR and order is not None and order.target is not None:
        if order.target not in holders:
            raise ConflictError("the node does not hold the key by its certificate", code="ceremony.target")
        _require(fleet, [order.target], "the node to be repaired must be there")
        helpers = [slot for slot in holders if slot != order.target]
        return {order.target, *fleet.choose(helpers, batch.keys[0].certificate.shares_needed)}
    away = [slot for slot in holders if slot not in usable]
    if away:
        raise UnavailableError(
            f"every holder must take part, {', '.join(away)} cannot be reached",
            code="ceremony-waiting" if action is Kind.REFRESH else "ceremony-unavailable",
            hint="wait for them, or reshare the keys to other nodes",
        )
    return holders


def _require(fleet: Fleet, slots: Sequence[str], why: str) -> None:
    away = [slot for slot in slots if slot not in fleet.links or not fleet.links[slot].usable]
    if away:
        raise _too_few(f"{why}, {', '.join(away)} cannot be reached")


def _too_few(detail: str) -> UnavailableError:
    return UnavailableError(detail, code="ceremony-unavailable", hint="wait for them, or name other nodes")
