"""Verbs for control documents and for what a node holds: control, holdings, certificate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attestation.errors import CodedError
from enclave.documents import Document, PolicyDocument
from enclave.errors import RefusedError
from enclave.handlers import p256
from enclave.identity import is_signed
from enclave.keys import certify
from enclave.wire.documents import (
    Acknowledgement,
    CertificateRequest,
    CertificateSignature,
    ControlRequest,
    Holdings,
    PolicyActivation,
    acknowledgement_bytes,
)
from enclave.wire.message import Empty

if TYPE_CHECKING:
    from enclave.state import NodeState


def control(node: NodeState, _connection: int, request: ControlRequest, now: int) -> Acknowledgement:
    """Take a signed document; the acknowledgement leaves only after it is on disk."""
    document = node.directory.put(request.document, now, admit=partial(_check_caps, node))
    own = node.identity.public
    return Acknowledgement(
        slot=own.slot,
        boot_counter=own.boot_counter,
        digest=document.digest,
        signature=node.identity.sign(acknowledgement_bytes(own.cluster, own.slot, own.boot_counter, document.digest)),
    )


def activate(node: NodeState, _connection: int, request: PolicyActivation, now: int) -> Empty:
    """Put a waiting policy in force once n - s + 1 nodes of every key under it hold it, by their own signatures.

    Raises RefusedError (`activation.digest`, `activation.quorum`).
    """
    holders = {ack.slot for ack in request.acknowledgements if _is_genuine(node, ack, request.digest, now)}
    for key in node.keys.under(request.policy):
        slots = {entry.slot for entry in key.nodes}
        needed = len(slots) - key.signing_quorum + 1
        if len(holders & slots) < needed:
            raise RefusedError(
                f"{len(holders & slots)} nodes of {key.key} hold it, {needed} are needed", code="activation.quorum"
            )
    node.directory.activate(request.policy, request.digest)
    return Empty()


def _is_genuine(node: NodeState, ack: Acknowledgement, digest: bytes, now: int) -> bool:
    own = node.identity.public
    try:
        identity = own if ack.slot == own.slot else node.verdicts.identity(ack.slot, now)
    except CodedError:
        return False
    message = acknowledgement_bytes(own.cluster, ack.slot, identity.boot_counter, digest)
    return is_signed(identity.identity_key, ack.signature, message)


def holdings(node: NodeState, _connection: int, _request: Empty, _now: int) -> Holdings:
    """Digests of documents, key shares and pending ceremonies, so that a relay can send what is missing."""
    return Holdings(
        documents=node.directory.digests,
        keys=list(node.keys.holdings()),
        pending=node.keys.sessions,
        waiting=tuple(node.directory.waits),
    )


def certificate(node: NodeState, _connection: int, request: CertificateRequest, _now: int) -> CertificateSignature:
    """This boot's signature over the certificate of a key held here."""
    held = node.keys.get(request.key, request.version) if request.version else node.keys.newest(request.key)
    return p256.with_statement(node, held, certify(node.identity, held.body))


def _check_caps(node: NodeState, document: Document) -> None:
    """A policy must not promise to keys held here what its budgets can never let through."""
    if isinstance(document, PolicyDocument) and document.limits.budgets:
        for key in node.keys.under(document.policy):
            node.limits.check_caps(document, nodes=len(key.nodes), quorum=key.signing_quorum)
