"""Verbs of key generation: ceremony-start, ceremony-round, ceremony-commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.authorise import authorise_order
from enclave.diversity import check_diversity
from enclave.errors import CallerError, RefusedError, VerdictError
from enclave.freezing import check_cluster
from enclave.ids import check_id
from enclave.key_order import KeyOrder
from enclave.keys import certify
from enclave.wire.ceremonies import CeremonyMessage, CeremonyRound, CeremonyStart
from enclave.wire.documents import CertificateSignature

if TYPE_CHECKING:
    from enclave.state import NodeState

PURPOSE = b"ceremony"


def start(node: NodeState, _connection: int, request: CeremonyStart, now: int) -> CeremonyMessage:
    """Round 1: verify the order, its participants and what they have in common, then commit to a polynomial."""
    token = authorise_order(node, request.token, request.body, now)
    if request.kind != "dkg":
        raise CallerError("expected ceremony kind dkg", code="ceremony.kind")
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
    node.ledger.take(PURPOSE, token.request_id, expires_at=token.expires_at, now=now)
    return node.ceremonies.start(
        session=request.session,
        key=request.key,
        order=order,
        token=token,
        body=request.body,
        members={slot: node.verdicts.identity(slot, now) for slot in order.nodes},
        now=now,
    )


def advance(node: NodeState, _connection: int, request: CeremonyRound, now: int) -> CeremonyMessage:
    """Rounds 2 and 3, while nothing is frozen and every participant is trusted under the identity it started with."""
    try:
        check_cluster(node.directory)
    except RefusedError:
        node.ceremonies.abort(request.session)
        raise
    for slot, member in node.ceremonies.members(request.session).items():
        if node.verdicts.identity(slot, now) != member:
            node.ceremonies.abort(request.session)
            raise VerdictError(f"{slot} has another identity than at the start", code="attestation-stale")
    return node.ceremonies.advance(request.session, request.round, request.messages, now)


def commit(node: NodeState, _connection: int, request: CeremonyRound, _now: int) -> CertificateSignature:
    """Activate the key once everyone prepared the same, and sign its certificate."""
    return certify(node.identity, node.ceremonies.commit(request.session, request.messages))
