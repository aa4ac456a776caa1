"""Verbs for control documents and for what a node holds: control, holdings, certificate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from enclave.documents import Document, PolicyDocument
from enclave.handlers import p256
from enclave.keys import certify
from enclave.wire.documents import (
    Acknowledgement,
    CertificateRequest,
    CertificateSignature,
    ControlRequest,
    Holdings,
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


def holdings(node: NodeState, _connection: int, _request: Empty, _now: int) -> Holdings:
    """Digests of documents, key shares and pending ceremonies, so that a relay can send what is missing."""
    return Holdings(documents=node.directory.digests, keys=list(node.keys.holdings()), pending=node.keys.sessions)


def certificate(node: NodeState, _connection: int, request: CertificateRequest, _now: int) -> CertificateSignature:
    """This boot's signature over the certificate of a key held here."""
    held = node.keys.newest(request.key)
    return p256.with_statement(node, held, certify(node.identity, held.body))


def _check_caps(node: NodeState, document: Document) -> None:
    """A policy must not promise to keys held here what its budgets can never let through."""
    if isinstance(document, PolicyDocument) and document.limits.budgets:
        for key in node.keys.under(document.policy):
            node.limits.check_caps(document, nodes=len(key.nodes), quorum=key.signing_quorum)
