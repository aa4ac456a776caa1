"""Fetches each node's bundle straight from it, with evidence over that very bundle, judged before anything is kept.

Rules kept (specs/backup.md section 5): the bundle's digest is the nonce of the evidence kept with it; sealed to the
key of the roster, or not taken.
"""

from __future__ import annotations

import asyncio

from enclave.backup.bundle import BUNDLE_BYTES_MAX, Bundle, assemble
from enclave.backup.recipient import fingerprint
from enclave.presentation import PeerStanding
from enclave.roster_slots import SlotEntry
from enclave.wire.attestation import EvidenceRequest, Presentation
from enclave.wire.backup import BackupPiece, BackupRequest
from kms.client.backup.surroundings import Surroundings
from kms.client.direct import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, open_connection
from kms.client.errors import UnavailableError, VerificationError
from kms.errors import NodeRefusal
from kms.fleet.connection import NodeConnection

BUSY_ATTEMPTS = 5
"""How often a node that has just begun another export is asked."""

BUSY_PAUSE_S = 1.2


async def fetch(entry: SlotEntry, surroundings: Surroundings) -> Bundle:
    """The bundle of one node.

    Raises UnavailableError (`node-unavailable`), NodeRefusal, BackupError, VerificationError and whatever judging
    evidence raises.
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            connection = await open_connection(entry)
    except (OSError, TimeoutError):
        raise UnavailableError(f"cannot reach {entry.slot}", code="node-unavailable") from None
    try:
        pieces = await _pieces(connection)
        bundle = assemble(pieces[0], pieces[1:-1], pieces[-1])
        request = EvidenceRequest(nonces=[bundle.digest])
        presentation: Presentation = await connection.call("evidence", request, ANSWER_TIMEOUT_S)
    finally:
        connection.close()
    proven = assemble(pieces[0], pieces[1:-1], pieces[-1], presentation)
    standing = check_origin(proven, surroundings)
    if standing.slot != entry.slot or standing.identity.tls_spki != connection.spki:
        raise VerificationError(f"expected {entry.slot}, found the bundle of another", code="verify.slot")
    return proven


def check_origin(bundle: Bundle, surroundings: Surroundings) -> PeerStanding:
    """Whether a node of the cluster made the bundle, by the evidence kept with it, for the roster's custodians.

    Raises VerificationError (`backup.evidence`, `backup.recipient`) and whatever judging evidence raises.
    """
    header = bundle.header
    if bundle.presentation is None:
        raise VerificationError("no evidence is kept with the bundle", code="backup.evidence")
    standing = surroundings.judge(bundle.presentation, bundle.digest)
    identity = standing.identity
    if (identity.slot, identity.boot_counter, identity.identity_key) != (
        header.slot,
        header.boot_counter,
        header.identity_key,
    ):
        raise VerificationError("the evidence is of another boot than made the bundle", code="backup.evidence")
    named = {
        fingerprint(roster.backup.slots[header.slot].key)
        for roster in surroundings.rosters
        if roster.backup is not None and header.slot in roster.backup.slots
    }
    if header.recipient not in named:
        raise VerificationError("sealed to a key that no roster names for the slot", code="backup.recipient")
    return standing


async def _pieces(connection: NodeConnection) -> list[bytes]:
    piece = await _begun(connection)
    pieces, size = [piece.data], 0
    while not piece.is_last:
        request = BackupRequest(export=piece.export, number=piece.number + 1)
        piece = await connection.call("backup-export", request, ANSWER_TIMEOUT_S)
        pieces.append(piece.data)
        size += len(piece.data)
        if size > BUNDLE_BYTES_MAX:
            raise VerificationError("larger than any bundle", code="backup.too-large")
    return pieces


async def _begun(connection: NodeConnection) -> BackupPiece:
    for left in reversed(range(BUSY_ATTEMPTS)):
        try:
            piece: BackupPiece = await connection.call("backup-export", BackupRequest(), ANSWER_TIMEOUT_S)
        except NodeRefusal as error:
            if error.code != "backup.busy" or not left:
                raise
            await asyncio.sleep(BUSY_PAUSE_S)
        else:
            return piece
    raise AssertionError("the last attempt returns or raises")
