"""Verbs by which nodes come to trust each other: status, challenge, evidence, present, verdicts, and their inputs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from attestation.errors import CodedError, StatementError
from enclave.errors import CallerError, RefusedError
from enclave.evidence_binding import NONCES_MAX, nonce_root, report_data
from enclave.wire.attestation import (
    ChallengeReply,
    CollateralRequest,
    EvidenceRequest,
    PeerVerdict,
    Presentation,
    RegistryReply,
    RegistryRequest,
    Status,
    VerdictsReply,
)
from enclave.wire.message import Empty, decode_as, encode

if TYPE_CHECKING:
    from enclave.state import NodeState

VERSION = "1"
"""Version of the verbs this node speaks."""

OWN = 0
"""The connection number of the node itself; real ones count from 1."""


def status(node: NodeState, _connection: int, _request: Empty, now: int) -> Status:
    """What this node says of itself; informative only."""
    identity, verdicts = node.identity.public, node.verdicts
    return Status(
        slot=identity.slot,
        boot_counter=identity.boot_counter,
        identity_key=identity.identity_key,
        roster_digest=identity.roster_digest,
        started_at=node.started_at,
        now=now,
        keys=len(node.keys),
        registry_sequence=verdicts.snapshot.sequence if verdicts.snapshot is not None else 0,
        collateral_digest=verdicts.collateral.digest if verdicts.collateral is not None else b"",
        version=VERSION,
    )


def challenge(node: NodeState, connection: int, _request: Empty, now: int) -> ChallengeReply:
    """A nonce a peer's evidence has to answer, over the same connection."""
    return ChallengeReply(nonce=node.verdicts.challenge(connection, now))


def begin_evidence(node: NodeState, request: EvidenceRequest, now: int) -> tuple[list[bytes], bytes]:
    """All nonces to answer, an own one last, and the report data to have signed.

    The own nonce makes this node judge itself by the same evidence its peers get.  Raises RefusedError
    (`evidence.rate`), WireError (`evidence.nonces`).
    """
    if not node.quotes.take(now):
        raise RefusedError("too many quotes asked for", code="evidence.rate", hint="batch nonces, retry in a second")
    nonce_root(request.nonces)
    nonces = [*request.nonces, node.verdicts.challenge(OWN, now)]
    if len(nonces) > NONCES_MAX:
        nonces = request.nonces  # a full batch: this node judges itself by the next one
    root = nonce_root(nonces)
    return nonces, report_data(node.identity.quoting(root), root)


def finish_evidence(node: NodeState, nonces: list[bytes], evidence: bytes, now: int) -> Presentation:
    """The presentation, judged by this node itself as well."""
    identity = node.identity.quoted(nonce_root(nonces))
    presentation = Presentation(identity=identity, nonces=nonces, evidence=evidence, boot=node.boot_proof)
    with contextlib.suppress(CallerError):  # no own nonce in a full batch
        node.verdicts.judge(OWN, presentation, now)
    return presentation


def evidence(node: NodeState, _connection: int, request: EvidenceRequest, now: int) -> Presentation:
    """Fresh evidence over the nonces; the platform call happens here, so only callers without a loop use this."""
    nonces, bound = begin_evidence(node, request, now)
    return finish_evidence(node, nonces, node.tee.quote(bound), now)


def present(node: NodeState, connection: int, request: Presentation, now: int) -> PeerVerdict:
    """Judge a peer's evidence."""
    return node.verdicts.judge(connection, request, now)


def verdicts(node: NodeState, _connection: int, _request: Empty, now: int) -> VerdictsReply:
    """The whole table, one row per slot of the roster."""
    return VerdictsReply(verdicts=[node.verdicts.row(entry.slot, now) for entry in node.roster.slots])


def collateral(node: NodeState, _connection: int, request: CollateralRequest, now: int) -> Empty:
    """Take newer collateral and keep it across restarts."""
    if node.verdicts.offer_collateral(request.blobs, now):
        assert node.verdicts.collateral is not None
        kept = CollateralRequest(blobs=node.verdicts.collateral.blobs())
        node.store.put("collateral", "held", encode(kept))
    return Empty()


def registry(node: NodeState, _connection: int, request: RegistryRequest, now: int) -> RegistryReply:
    """Take a newer registry snapshot and keep it across restarts, so that an older one stays refused."""
    if node.verdicts.offer_snapshot(request.snapshot, now):
        node.store.put("registry", "snapshot", request.snapshot)
    assert node.verdicts.snapshot is not None
    return RegistryReply(sequence=node.verdicts.snapshot.sequence)


def restore(node: NodeState, now: int) -> None:
    """Bring back collateral and snapshot at start.

    A snapshot that has aged while the node was down still forbids older ones; what no longer verifies is left out.
    """
    offered = node.store.get("collateral", "held")
    if offered is not None:
        try:
            node.verdicts.offer_collateral(decode_as(CollateralRequest, offered).blobs, now)
        except CodedError as error:
            node.log("collateral-dropped", code=error.code)
    snapshot = node.store.get("registry", "snapshot")
    if snapshot is not None:
        try:
            node.verdicts.restore_snapshot(snapshot, now)
        except StatementError as error:
            node.log("registry-dropped", code=error.code)
