"""How a participant takes on a ceremony about keys that exist: order, keys, committee, then its steps.

In this order (specs/ceremonies.md section 2): this node may work and nothing is frozen; the order verifies and covers
exactly these keys in their present epochs; the participants are those the kind needs, in roster order, all trusted
now; what the receivers have in common keeps to the roster's diversity terms; no key waits for another certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from enclave.ceremonies.batch import KEYS_MAX
from enclave.ceremonies.facts import Facts, Kind, Member
from enclave.ceremonies.orders import CeremonyOrder, check_due, schedule_digest, verify_order
from enclave.ceremonies.refresh import Refreshing
from enclave.ceremonies.steps import Steps, Work
from enclave.certificate import KeyCertificate
from enclave.diversity import check_diversity
from enclave.errors import CallerError, RefusedError
from enclave.freezing import check_cluster
from enclave.keys import HeldKey
from enclave.tokens import key_resource
from enclave.wire.ceremonies import CeremonyMessage, CeremonyStart, KeySource
from enclave.wire.message import encode
from enclave.working import check_working

if TYPE_CHECKING:
    from enclave.state import NodeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One key a ceremony starts from, as this node knows it."""

    certificate: KeyCertificate
    body: bytes
    held: HeldKey | None
    """This node's share, if it holds one in that epoch."""


def start(node: NodeState, request: CeremonyStart, now: int) -> Work[CeremonyMessage]:
    """Round 1; raises CallerError, DocumentError, RefusedError, VerdictError."""
    check_working(node, now)
    check_cluster(node.directory)
    kind = Kind(request.kind)
    order, digest = _order(node, request, kind, now)
    sources = _sources(node, request)
    if order is None:
        for source in sources:
            check_due(node.roster, source.certificate.since, now)
    names = [key_resource(source.certificate.key, source.certificate.version) for source in sources]
    committee = _committee(node, request, order, sources, now)
    node.ceremonies.check_startable(request.session, names, now)
    facts = Facts(
        kind=kind,
        session=request.session,
        cluster=node.roster.cluster_id,
        roster_digest=node.roster.digest,
        order=digest,
        members=tuple(Member.of(node.verdicts.identity(slot, now)) for slot in committee),
        sources=tuple(source.body for source in sources),
    )
    steps = _steps(node, facts, sources)
    return node.ceremonies.start(facts, steps, names, encode(request.body), now)


def _order(node: NodeState, request: CeremonyStart, kind: Kind, now: int) -> tuple[CeremonyOrder | None, bytes]:
    if not request.body and kind is Kind.REFRESH:
        return None, schedule_digest(node.roster)
    order, digest = verify_order(request.body, node.roster, now)
    if order.action is not kind or not order.covers(request.sources):
        raise CallerError("the order is for another action or other keys", code="ceremony.order")
    return order, digest


def _sources(node: NodeState, request: CeremonyStart) -> list[Source]:
    names = {key_resource(item.key, item.version) for item in request.sources}
    if not 1 <= len(request.sources) <= KEYS_MAX or len(names) != len(request.sources):
        raise CallerError(f"expected 1 to {KEYS_MAX} distinct keys", code="ceremony.keys")
    return [_source(node, item) for item in request.sources]


def _source(node: NodeState, item: KeySource) -> Source:
    held = node.keys.find(item.key, item.version)
    if held is not None and held.certificate.epoch != item.epoch:
        raise RefusedError(
            f"{item.key} is at epoch {held.certificate.epoch}, not {item.epoch}",
            code="key.epoch",
            hint="somebody renewed it already; look the key up again",
        )
    if held is None:
        raise CallerError("this node holds no share of that key and version", code="key.unknown")
    return Source(certificate=held.certificate, body=held.body, held=held)


def _committee(
    node: NodeState, request: CeremonyStart, order: CeremonyOrder | None, sources: list[Source], now: int
) -> list[str]:
    """The participants in roster order; raises CallerError (`ceremony.participants`), VerdictError, RefusedError."""
    del order
    holders = set(sources[0].certificate.slots)
    if any(set(source.certificate.slots) != holders for source in sources):
        raise CallerError("expected keys with the same holders", code="ceremony.keys")
    committee = [entry.slot for entry in node.roster.slots if entry.slot in holders]
    if request.participants != committee or node.slot not in holders:
        raise CallerError("expected exactly the keys' holders, in roster order", code="ceremony.participants")
    facts = node.verdicts.facts(committee, now)
    check_diversity(facts, node.roster.diversity, min(source.certificate.shares_needed for source in sources))
    return committee


def _steps(node: NodeState, facts: Facts, sources: list[Source]) -> Steps:
    return Refreshing(facts, [source.held for source in sources if source.held is not None], node.slot)
