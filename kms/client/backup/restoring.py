"""Drives one-shot restores: order and bundle to the process at a slot, mnemonics sealed to it, documents back.

Rules kept (specs/backup.md section 6): nothing is sent before fresh evidence of that very connection was judged, proof
of cloud included; evidence of any other purpose than a restore's is refused.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from enclave.backup.bundle import Bundle
from enclave.backup.contribution import Contribution, seal_contribution
from enclave.backup.mnemonics import read_mnemonic
from enclave.roster_slots import SlotEntry
from enclave.wire.attestation import EvidenceRequest, Identity, Presentation
from enclave.wire.backup import (
    RESTORE_PURPOSE,
    DocumentsReply,
    DocumentsRequest,
    RestoreBegin,
    RestoreMnemonic,
    RestorePiece,
    RestoreStanding,
)
from enclave.wire.message import Empty, encode
from kms.client.backup.custodians import CustodianFile
from kms.client.backup.surroundings import Surroundings
from kms.client.direct import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, NONCE_BYTES, open_connection
from kms.client.errors import UnavailableError, VerificationError
from kms.fleet.connection import NodeConnection

WORK_TIMEOUT_S = 600.0
"""Longest wait for the restore itself: ten thousand shares are checked one by one, and sealed in one transaction."""

DOCUMENTS_MAX = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreProcess:
    """A verified `kms-node restore` at the end of a connection."""

    slot: str
    identity: Identity
    connection: NodeConnection

    async def standing(self) -> RestoreStanding:
        """How far it is."""
        answer: RestoreStanding = await self.connection.call("restore-standing", Empty(), ANSWER_TIMEOUT_S)
        return answer

    async def begin(self, order: bytes, bundle: Bundle) -> RestoreStanding:
        """Bring order and bundle."""
        begin = RestoreBegin(order=order, header=bundle.header_bytes)
        await self.connection.call("restore-begin", begin, ANSWER_TIMEOUT_S)
        for number, part in enumerate(bundle.parts, start=1):
            piece = RestorePiece(number=number, data=part, is_last=False)
            await self.connection.call("restore-piece", piece, ANSWER_TIMEOUT_S)
        last = RestorePiece(number=len(bundle.parts) + 1, data=encode(bundle.closing), is_last=True)
        answer: RestoreStanding = await self.connection.call("restore-piece", last, WORK_TIMEOUT_S)
        return answer

    async def contribute(self, file: CustodianFile) -> RestoreStanding:
        """Bring a custodian's mnemonic for this slot; its words are checked here first.

        Raises BackupError (`backup.mnemonic-word`, `backup.mnemonic-checksum`), NodeRefusal with the process's codes,
        VerificationError (`backup.mnemonic-slot`) if the file has none for the slot.
        """
        entry = next((item for item in file.entries if item.slot == self.slot), None)
        if entry is None:
            raise VerificationError(f"{file.custodian} holds no mnemonic for {self.slot}", code="backup.mnemonic-slot")
        read_mnemonic(file.custodian, entry.mnemonic)
        contribution = Contribution(
            custodian=file.custodian, slot=entry.slot, recipient=entry.recipient, mnemonic=entry.mnemonic
        )
        sealed = seal_contribution(self.identity, contribution)
        answer: RestoreStanding = await self.connection.call(
            "restore-mnemonic", RestoreMnemonic(sealed=sealed), WORK_TIMEOUT_S
        )
        return answer

    async def documents(self) -> list[bytes]:
        """The control documents that came back."""
        found: list[bytes] = []
        while len(found) < DOCUMENTS_MAX:
            request = DocumentsRequest(start=len(found))
            reply: DocumentsReply = await self.connection.call("restore-documents", request, ANSWER_TIMEOUT_S)
            found += reply.documents
            if not reply.documents or len(found) >= reply.total:
                break
        return found

    async def end(self) -> RestoreStanding:
        """Let the process end; the node can be started then."""
        answer: RestoreStanding = await self.connection.call("restore-end", Empty(), ANSWER_TIMEOUT_S)
        return answer


@asynccontextmanager
async def restore_process(entry: SlotEntry, surroundings: Surroundings) -> AsyncIterator[RestoreProcess]:
    """The verified process at a slot's address.

    Raises UnavailableError (`node-unavailable`), VerificationError (`verify.purpose`, `verify.slot`) and whatever
    judging evidence raises.
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            connection = await open_connection(entry)
    except (OSError, TimeoutError):
        raise UnavailableError(
            f"nothing answers for {entry.slot}", code="node-unavailable", hint="start kms-node restore there"
        ) from None
    try:
        yield RestoreProcess(
            slot=entry.slot, identity=await _verified(connection, entry, surroundings), connection=connection
        )
    finally:
        connection.close()


async def _verified(connection: NodeConnection, entry: SlotEntry, surroundings: Surroundings) -> Identity:
    nonce = os.urandom(NONCE_BYTES)
    request = EvidenceRequest(nonces=[nonce])
    presentation: Presentation = await connection.call("evidence", request, ANSWER_TIMEOUT_S)
    standing = surroundings.judge(presentation, nonce)
    identity = standing.identity
    if identity.purpose != RESTORE_PURPOSE:
        raise VerificationError(
            f"{entry.slot} does not wait to be restored", code="verify.purpose", hint="start kms-node restore there"
        )
    if identity.slot != entry.slot or identity.tls_spki != connection.spki:
        raise VerificationError(f"expected {entry.slot}, found another end of the connection", code="verify.slot")
    return identity
