"""Verbs of ceremonies: start, rounds, both certificates, and questions about a session (specs/ceremonies.md)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from enclave.authorise import authorise_order
from enclave.ceremonies.facts import Facts, Kind, Member
from enclave.ceremonies.generate import Generation, KeyPlan, key_id_of, order_digest
from enclave.ceremonies.steps import Work
from enclave.diversity import check_diversity
from enclave.errors import CallerError, RefusedError, VerdictError
from enclave.freezing import check_cluster
from enclave.handlers import ceremony_batches, p256
from enclave.ids import check_id
from enclave.key_order import KeyOrder
from enclave.keys import certify
from enclave.tokens import key_resource
from enclave.wire.ceremonies import (
    CeremonyCommitted,
    CeremonyDiscard,
    CeremonyMessage,
    CeremonyProof,
    CeremonyQuery,
    CeremonyRound,
    CeremonyStanding,
    CeremonyStart,
)
from enclave.wire.message import Empty, encode
from enclave.working import check_working

if TYPE_CHECKING:
    from enclave.state import NodeState

PURPOSE = b"ceremony"


def start(node: NodeState, _connection: int, request: CeremonyStart, now: int) -> Work[CeremonyMessage]:
    """Round 1: verify the order, its participants and what they have in common."""
    if request.kind not in list(Kind):
        raise CallerError(f"expected a ceremony kind of {', '.join(Kind)}", code="ceremony.kind")
    if request.kind != Kind.DKG:
        return ceremony_batches.start(node, request, now)
    return _generate(node, request, now)


def advance(node: NodeState, _connection: int, request: CeremonyRound, now: int) -> Work[CeremonyMessage]:
    """The later rounds, while nothing is frozen and every participant is trusted under the identity it started with."""
    members = node.ceremonies.members(request.session)
    if members:  # a message of a session that is not running is at most given again
        check_working(node, now)
    try:
        check_cluster(node.directory)
        for member in members:
            _check_identity(node, member, now)
    except (RefusedError, VerdictError):
        node.ceremonies.end(request.session)
        raise
    return node.ceremonies.advance(request.session, request.round, request.messages, now)


def commit(node: NodeState, _connection: int, request: CeremonyRound, now: int) -> Work[CeremonyCommitted]:
    """Take a commit certificate, and sign the certificates of the keys that follow from it."""
    certificates = []
    for held in (yield from node.ceremonies.commit(request.session, request.messages, now)):
        certificates.append(p256.with_statement(node, held, certify(node.identity, held.body)))
        yield
    return CeremonyCommitted(certificates=certificates)


def abort(node: NodeState, _connection: int, request: CeremonyQuery, _now: int) -> CeremonyMessage:
    """Sign that this node never prepares the session."""
    return node.ceremonies.abort(request.session)


def discard(node: NodeState, _connection: int, request: CeremonyDiscard, now: int) -> Empty:
    """Take an abort certificate."""
    attested = {}
    # The identity of the session may be the signer, which needs no verdict of today.
    with contextlib.suppress(VerdictError, RefusedError):
        attested[request.message.slot] = node.verdicts.identity(request.message.slot, now)
    node.ceremonies.discard(request.session, request.message, attested)
    return Empty()


def standing(node: NodeState, _connection: int, request: CeremonyQuery, _now: int) -> CeremonyStanding:
    """How far a session got here."""
    return node.ceremonies.standing(request.session)


def proof(node: NodeState, _connection: int, request: CeremonyQuery, _now: int) -> CeremonyProof:
    """The proof of the culprit this node named."""
    return CeremonyProof(proof=node.ceremonies.proof(request.session))


def _check_identity(node: NodeState, member: Member, now: int) -> None:
    if Member.of(node.verdicts.identity(member.slot, now)) != member:
        raise VerdictError(f"{member.slot} has another identity than at the start", code="attestation-stale")


def _generate(node: NodeState, request: CeremonyStart, now: int) -> Work[CeremonyMessage]:
    token = authorise_order(node, request.token, request.body, now)
    check_id(request.key, "key")
    order = KeyOrder.parse(request.body, node.roster)
    if request.participants != list(order.nodes):
        raise CallerError("expected exactly the order's nodes, in roster order", code="ceremony.participants")
    if node.slot not in order.nodes:
        raise CallerError("this node is not a participant", code="ceremony.participants")
    if not set(order.assemblers) <= set(order.nodes):
        # An assembler judges requests by its own record of the key, which only holders have.
        raise CallerError("expected assemblers among the key's nodes", code="order.assemblers")
    check_diversity(node.verdicts.facts(order.nodes, now), node.roster.diversity, order.shares_needed)
    policy = node.directory.policy(order.policy)
    if policy is not None:
        quorum = order.kind.signing_quorum(order.custody, order.shares_needed)
        node.limits.check_caps(policy, nodes=len(order.nodes), quorum=quorum)
    if request.key != key_id_of(token.request_id):
        raise CallerError("expected the key id that follows from the order", code="ceremony.key")
    if node.keys.knows(request.key):
        raise RefusedError("this order has made a key already", code="key.exists", hint="sign a fresh order")
    names = [key_resource(request.key, 1)]
    node.ceremonies.check_startable(request.session, names, now)
    node.ledger.take(PURPOSE, token.request_id, expires_at=token.expires_at, now=now)
    plan = KeyPlan.of_order(order, request.key)
    facts = Facts(
        kind=Kind.DKG,
        session=request.session,
        cluster=node.roster.cluster_id,
        roster_digest=node.roster.digest,
        order=order_digest(request.key, token.request_id, request.body),
        members=tuple(Member.of(node.verdicts.identity(slot, now)) for slot in order.nodes),
        terms=encode(plan.terms),
    )
    return node.ceremonies.start(facts, Generation(facts, plan, node.slot), names, now)
