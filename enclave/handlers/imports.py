"""Verbs of key import: import-prepare, -commit, -pending, -standing (specs/import-export.md section 4).

Each node checks its own share and the public parts; nobody has a key before every holder has said that its share is
right, so an importer that deals badly, and a relay that drops or mixes messages, can only make an import fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave import freezing
from enclave.authorise import authorise_order
from enclave.certificate import KeyCertificate
from enclave.diversity import check_diversity
from enclave.errors import CallerError, PeerError, RefusedError
from enclave.group import GROUPS
from enclave.handlers.secrets import CLOCK_SKEW_S_MAX, UPLOAD_AGE_S_MAX
from enclave.imports.acceptance import acceptance_bytes, check_acceptances
from enclave.imports.pending import PendingImports, check_unknown
from enclave.imports.upload import KeyUpload, share_info
from enclave.key_order import KeyOrder
from enclave.keys import certify
from enclave.secret import Secret
from enclave.secret_upload import SealedFor
from enclave.threshold import vss
from enclave.tokens import Act
from enclave.wire.attestation import Identity
from enclave.wire.documents import CertificateSignature
from enclave.wire.imports import (
    ImportAccepted,
    ImportCommit,
    ImportPending,
    ImportPrepare,
    ImportQuery,
    ImportsPending,
)
from enclave.wire.message import Empty
from enclave.working import check_working

if TYPE_CHECKING:
    from enclave.state import NodeState


def prepare(node: NodeState, _connection: int, request: ImportPrepare, now: int) -> ImportAccepted:
    """Check everything this node can check, keep the share sealed, and say so."""
    upload = KeyUpload.parse(request.body, node.roster)
    authorise_order(node, request.token, request.body, now, act=Act.KEYS_IMPORT, resource=upload.key)
    certificate = upload.certificate(node.roster.cluster_id)
    pending = PendingImports(node.store)
    if node.keys.by_session(certificate.transcript) is None and pending.find(certificate.transcript) is None:
        if node.keys.knows(upload.key) or pending.knows(upload.key):
            raise RefusedError("another key has this id", code="import.exists", hint="choose a fresh id")
        found = upload.share_for(node.slot)
        if found is None:
            raise CallerError("the upload has no share for this node", code="import.not-addressed")
        if not now - UPLOAD_AGE_S_MAX <= upload.created_at <= now + CLOCK_SKEW_S_MAX:
            raise CallerError("the upload's time is not now", code="import.time", hint="check the clock, deal it again")
        _check_committee(node, upload.order, now)
        check_unknown(node.keys, certificate)
        upload.check_proof(node.roster.cluster_id)
        with _open_share(node, upload, *found) as share:
            pending.add(certificate, upload.wrapped, share, now)
    return _accepted(node, certificate.transcript)


def pending(node: NodeState, _connection: int, _request: Empty, _now: int) -> ImportsPending:
    """What this node accepted and holds no key of yet."""
    records = PendingImports(node.store).all()
    return ImportsPending(imports=[ImportPending(body=item.body, accepted_at=item.accepted_at) for item in records])


def standing(node: NodeState, _connection: int, request: ImportQuery, _now: int) -> ImportAccepted:
    """This boot's word that the share of an import is right and on disk: a fact, which needs no token."""
    if node.keys.by_session(request.transcript) is None and PendingImports(node.store).find(request.transcript) is None:
        raise _unknown()
    return _accepted(node, request.transcript)


def commit(node: NodeState, _connection: int, request: ImportCommit, now: int) -> CertificateSignature:
    """Make the key usable here once all of its holders accepted it; again: the same answer."""
    held = node.keys.by_session(request.transcript)
    if held is not None:
        return certify(node.identity, held.body)
    pending = PendingImports(node.store)
    found = pending.find(request.transcript)
    if found is None:
        raise _unknown()
    check_working(node, now)
    freezing.check_cluster(node.directory)
    certificate = KeyCertificate.parse(found.body)

    def identity_of(slot: str) -> Identity:
        return node.identity.public if slot == node.slot else node.verdicts.identity(slot, now)

    check_acceptances(certificate, request.accepted, identity_of)
    check_unknown(node.keys, certificate)
    return certify(node.identity, pending.activate(found, node.keys).body)


def _accepted(node: NodeState, transcript: bytes) -> ImportAccepted:
    own = node.identity.public
    statement = acceptance_bytes(own.cluster, transcript, slot=own.slot, boot_counter=own.boot_counter)
    return ImportAccepted(slot=own.slot, boot_counter=own.boot_counter, signature=node.identity.sign(statement))


def _unknown() -> RefusedError:
    return RefusedError("this node has accepted no such import", code="import.unknown", hint="send the upload again")


def _check_committee(node: NodeState, order: KeyOrder, now: int) -> None:
    """As for a generated key: trusted holders, diverse enough, under a policy whose caps they can hold."""
    if not set(order.assemblers) <= set(order.nodes):
        # An assembler judges requests by its own record of the key, and unwraps what it keeps itself.
        raise CallerError("expected assemblers among the key's nodes", code="order.assemblers")
    check_diversity(node.verdicts.facts(order.nodes, now), node.roster.diversity, order.shares_needed)
    policy = node.directory.policy(order.policy)
    if policy is not None:
        node.limits.check_caps(policy, nodes=len(order.nodes), quorum=order.signing_quorum)


def _open_share(node: NodeState, upload: KeyUpload, index: int, sealed: SealedFor) -> Secret:
    """The share, canonical and on the committed polynomial."""
    own, group = node.identity.public, GROUPS[upload.order.kind.group]
    if sealed.boot_counter != own.boot_counter:
        raise CallerError(
            "the share is sealed to another boot of this node",
            code="import.boot",
            hint="verify the nodes again and seal to the boots they run now",
        )
    info = share_info(
        own.cluster,
        upload.transcript(own.cluster),
        slot=own.slot,
        boot_counter=own.boot_counter,
        identity_key=own.identity_key,
    )
    share = node.identity.open(sealed.sealed, info)
    try:
        group.scalar_check_secret(share)
        vss.verify_share(group, share, index, upload.commitments)
    except (CallerError, PeerError):
        share.wipe()
        raise CallerError("the share does not belong to the commitments", code="import.share") from None
    return share
