"""How a participant takes on a ceremony about keys that exist: order, keys, committee, then its steps.

In this order (specs/ceremonies.md section 2): this node may work and nothing is frozen; the order verifies and covers
exactly these keys in their present epochs; the participants are those the kind needs, in roster order, all trusted
now; what the receivers have in common keeps to the roster's diversity terms; no key waits for another certificate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.ceremonies.batch import KEYS_MAX
from enclave.ceremonies.committee import Committee
from enclave.ceremonies.extras import wrapped_rows
from enclave.ceremonies.facts import Facts, Kind, Member
from enclave.ceremonies.generate import Generation, KeyPlan
from enclave.ceremonies.orders import CeremonyOrder, check_due, schedule_digest, verify_order
from enclave.ceremonies.refresh import Refreshing
from enclave.ceremonies.repair import Repairing
from enclave.ceremonies.reshare import ResharePlan, Resharing
from enclave.ceremonies.source import Source
from enclave.ceremonies.steps import Steps, Work
from enclave.certificate import KeyCertificate
from enclave.diversity import check_diversity
from enclave.errors import CallerError, RefusedError
from enclave.freezing import check_cluster
from enclave.key_specs import Usage
from enclave.limits.transfer import table_of
from enclave.tokens import key_resource
from enclave.wire.ceremonies import CeremonyMessage, CeremonyStart, KeySource
from enclave.wire.message import encode
from enclave.working import check_working

if TYPE_CHECKING:
    from enclave.state import NodeState


def start(node: NodeState, request: CeremonyStart, now: int) -> Work[CeremonyMessage]:
    """Round 1; raises CallerError, DocumentError, RefusedError, VerdictError."""
    check_working(node, now)
    check_cluster(node.directory)
    kind = Kind(request.kind)
    order, digest = _order(node, request, kind, now)
    sources = _sources(node, request, kind)
    if order is None:
        for source in sources:
            check_due(node.roster, source.certificate.since, now)
    certificates = [source.certificate for source in sources]
    committee = Committee.of(kind, order, certificates, request.participants, node.roster)
    if node.slot not in committee.participants:
        raise CallerError("this node is not a participant", code="ceremony.participants")
    _check_terms(node, kind, committee, certificates, now)
    names = _names(kind, sources)
    node.ceremonies.check_startable(request.session, names, now)
    facts = Facts(
        kind=kind,
        session=request.session,
        cluster=node.roster.cluster_id,
        roster_digest=node.roster.digest,
        order=digest,
        members=tuple(Member.of(node.verdicts.identity(slot, now)) for slot in request.participants),
        terms=encode(KeyPlan.after(certificates[0]).terms if kind is Kind.ROTATE else committee),
        sources=tuple(source.body for source in sources),
    )
    steps = _steps(node, facts, committee, sources)
    halts = [name for name in names if kind is Kind.RESHARE and _has_limits(node, sources)]
    return node.ceremonies.start(facts, steps, names, now, halts=halts)


def _order(node: NodeState, request: CeremonyStart, kind: Kind, now: int) -> tuple[CeremonyOrder | None, bytes]:
    if not request.body and kind is Kind.REFRESH:
        return None, schedule_digest(node.roster)
    order, digest = verify_order(request.body, node.roster, now)
    if order.action is not kind or not order.covers(request.sources):
        raise CallerError("the order is for another action or other keys", code="ceremony.order")
    return order, digest


def _sources(node: NodeState, request: CeremonyStart, kind: Kind) -> list[Source]:
    names = {key_resource(item.key, item.version) for item in request.sources}
    if not 1 <= len(request.sources) <= KEYS_MAX or len(names) != len(request.sources):
        raise CallerError(f"expected 1 to {KEYS_MAX} distinct keys", code="ceremony.keys")
    return [_source(node, item, kind) for item in request.sources]


def _source(node: NodeState, item: KeySource, kind: Kind) -> Source:
    held = node.keys.find(item.key, item.version)
    if held is not None and held.certificate.epoch != item.epoch:
        raise RefusedError(
            f"{item.key} is at epoch {held.certificate.epoch}, not {item.epoch}",
            code="key.epoch",
            hint="somebody renewed it already; look the key up again",
        )
    if held is not None and (not item.body or item.body == held.body):
        return Source(certificate=held.certificate, body=held.body, held=held)
    if held is not None or not item.body or kind not in (Kind.RESHARE, Kind.REPAIR):
        raise CallerError("this node does not hold that key with that certificate", code="key.unknown")
    # Nobody is believed: holders sign a transcript that covers this body, or there is no commit.
    certificate = KeyCertificate.parse(item.body)
    facts = (certificate.cluster, certificate.key, certificate.version, certificate.epoch)
    if facts != (node.roster.cluster_id, item.key, item.version, item.epoch):
        raise CallerError("the certificate is of another key", code="ceremony.keys")
    return Source(certificate=certificate, body=item.body, held=None)


def _names(kind: Kind, sources: list[Source]) -> list[str]:
    ahead = 1 if kind is Kind.ROTATE else 0
    return [key_resource(source.certificate.key, source.certificate.version + ahead) for source in sources]


def _has_limits(node: NodeState, sources: list[Source]) -> bool:
    """Whether something counts what the keys do, so that they must stand still while the count travels."""
    for source in sources:
        policy = node.directory.policy(source.certificate.policy)
        if source.certificate.usage is Usage.EVM or (policy is not None and policy.limits.budgets):
            return True
    return False


def _check_terms(node: NodeState, kind: Kind, committee: Committee, keys: list[KeyCertificate], now: int) -> None:
    """What the holders have in common, and whether the policies' budgets fit them; RefusedError, VerdictError."""
    node.verdicts.require(committee.participants, now)
    if kind is not Kind.REPAIR:
        facts = node.verdicts.facts(committee.holders_after, now)
        check_diversity(facts, node.roster.diversity, committee.shares_needed)
    for key in keys if kind is Kind.RESHARE else ():
        policy = node.directory.policy(key.policy)
        if policy is not None:
            quorum = key.kind.signing_quorum(key.custody, committee.shares_needed)
            node.limits.check_caps(policy, nodes=len(committee.receivers), quorum=quorum)
    for key in keys if kind is Kind.ROTATE else ():
        if node.keys.newest(key.key).certificate.version != key.version:
            raise RefusedError("the key has a later version already", code="key.version")


def _steps(node: NodeState, facts: Facts, committee: Committee, sources: list[Source]) -> Steps:
    certificates = [source.certificate for source in sources]
    if facts.kind is Kind.REFRESH:
        return Refreshing(facts, [source.held for source in sources if source.held is not None], node.slot)
    if facts.kind is Kind.ROTATE:
        return Generation(facts, KeyPlan.after(certificates[0]), node.slot)
    wrapped = wrapped_rows(node.store, certificates)
    if facts.kind is Kind.RESHARE:
        plan = ResharePlan(
            receivers=committee.receivers,
            dealers=tuple(committee.givers),
            shares_needed=committee.shares_needed,
            assemblers=tuple(committee.assemblers),
            limits=lambda: table_of(node.limits, certificates),
            wrapped=wrapped,
        )
        return Resharing(facts, plan, sources, node.slot)
    assert committee.target is not None
    return Repairing(
        facts,
        sources,
        helpers=tuple(committee.givers),
        target=committee.target,
        slot=node.slot,
        wrapped=wrapped,
    )
