"""The one-shot restore: a bundle comes in, custodians bring their mnemonics, the shares go into a fresh store.

Rules kept (specs/backup.md section 6): operators' order first, which names the bundle; a fresh store only, in an
incarnation later than the bundle's; everything is opened and checked before anything is written, and written in one
transaction; a failure changes nothing and asks for nothing twice but what was wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attestation.errors import CodedError
from enclave.backup.bundle import BUNDLE_BYTES_MAX, PART_BYTES_MAX, Bundle, Header, assemble, read_header
from enclave.backup.contribution import open_contribution
from enclave.backup.mnemonics import Given, check_together, missing, read_mnemonic, recombined
from enclave.backup.opening import check_bundle, open_parts
from enclave.backup.order import RestoreOrder, verify_restore_order
from enclave.backup.recipient import BackupKey, fingerprint
from enclave.documents import reread_document
from enclave.errors import BackupError, RefusedError, WireError
from enclave.evidence_binding import nonce_root, report_data
from enclave.identity import BootIdentity
from enclave.quotes import QuoteBudget
from enclave.roster import Roster
from enclave.seal import SealedStore
from enclave.tee import Tee
from enclave.wire.attestation import EvidenceRequest, Presentation, Status
from enclave.wire.backup import (
    RESTORE_PURPOSE,
    DocumentsReply,
    DocumentsRequest,
    RestoreBegin,
    RestoreMnemonic,
    RestorePiece,
    RestoreStanding,
)
from enclave.wire.message import Empty, Message
from enclave.wire.verbs import VERBS

MNEMONICS_MAX = 256
"""Of one restore: sixteen groups of sixteen."""

DOCUMENTS_PER_REPLY = 256

ORDER_OF_DOCUMENTS = ("approver", "agent", "policy", "key-state", "credential", "freeze", "enrol")
"""Handed in again in this order: policies name agents."""


class RestoreState:
    """What enclave.server needs of a node, for a process that only restores one."""

    def __init__(
        self,
        *,
        rosters: Sequence[Roster],
        slot: str,
        tee: Tee,
        tls_spki: bytes,
        now: int,
        open_store: Callable[[], SealedStore] | None,
    ) -> None:
        """`rosters` is the whole chain, oldest first; without `open_store` everything is checked and nothing kept."""
        self._rosters, self._slot, self._open_store = rosters, rosters[-1].slot(slot).slot, open_store
        self.roster = rosters[-1]
        self.tee = tee
        self.started_at = now
        self.identity = BootIdentity(
            cluster=rosters[0].cluster_id,
            slot=slot,
            boot_counter=0,
            roster_digest=self.roster.digest,
            tls_spki=tls_spki,
            purpose=RESTORE_PURPOSE,
        )
        self.on_end: Callable[[], None] = lambda: None
        """Called when the operator has taken what there is to take."""
        self._quotes = QuoteBudget()
        self._order: RestoreOrder | None = None
        self._header: Header | None = None
        self._header_bytes = b""
        self._parts: list[bytes] = []
        self._size = 0
        self._bundle: Bundle | None = None
        self._given: dict[str, Given] = {}
        self._keys = 0
        self._is_done = False
        self._documents: list[bytes] = []
        self._refused: list[str] = []
        self._verbs: dict[str, Callable[[Any, int], Message]] = {
            "status": self._status,
            "restore-begin": self._begin,
            "restore-piece": self._piece,
            "restore-mnemonic": self._mnemonic,
            "restore-standing": lambda _request, _now: self.standing(),
            "restore-documents": self._take_documents,
            "restore-end": self._end,
        }

    # --- what the server calls -----------------------------------------------------------------------

    def begin(self, _connection: int, verb: str, request: Message, now: int) -> Message:
        """The reply to one request; verbs of a node at work are refused (`node.restoring`)."""
        handler = self._verbs.get(verb)
        if handler is not None:
            return handler(request, now)
        if verb not in VERBS:
            raise WireError("unknown verb", code="wire.unknown-verb")
        raise RefusedError(
            "this process only restores a node", code="node.restoring", hint="start `kms-node serve` when it has ended"
        )

    def begin_evidence(self, request: EvidenceRequest, now: int) -> tuple[list[bytes], bytes]:
        """Nonces and report data; raises RefusedError (`evidence.rate`), WireError (`evidence.nonces`)."""
        root = nonce_root(request.nonces)
        if not self._quotes.take(now):
            raise RefusedError("too many quotes asked for", code="evidence.rate", hint="retry in a second")
        return request.nonces, report_data(self.identity.public, root)

    def finish_evidence(self, nonces: list[bytes], evidence: bytes, _now: int) -> Presentation:
        """The presentation around the quote."""
        return Presentation(identity=self.identity.public, nonces=nonces, evidence=evidence)

    def commit(self) -> None:
        """Nothing waits: the restore commits by itself."""

    def tick(self, now: int) -> int:
        """Nothing expires."""
        return now

    def disconnect(self, connection: int) -> None:
        """Nothing belongs to a connection: custodians bring theirs over connections of their own."""

    def close(self) -> None:
        """Forget the keys of this process and whatever custodians brought."""
        self._given.clear()
        self.identity.wipe()

    # --- verbs ---------------------------------------------------------------------------------------

    def standing(self) -> RestoreStanding:
        """How far it is."""
        return RestoreStanding(
            slot=self._slot,
            parts=len(self._parts),
            is_complete=self._bundle is not None,
            custodians=sorted(self._given),
            missing="" if self._is_done else missing(self._given),
            is_done=self._is_done,
            keys=self._keys,
            documents=len(self._documents),
            refused=self._refused,
        )

    def _status(self, _request: Empty, now: int) -> Status:
        own = self.identity.public
        return Status(
            slot=own.slot,
            boot_counter=0,
            identity_key=own.identity_key,
            roster_digest=own.roster_digest,
            started_at=self.started_at,
            now=now,
            keys=self._keys,
            registry_sequence=0,
            collateral_digest=b"",
            version=RESTORE_PURPOSE,
        )

    def _begin(self, request: RestoreBegin, now: int) -> RestoreStanding:
        """Order and header; an earlier bundle of this process is put aside, mnemonics stay."""
        self._check_not_done()
        order = verify_restore_order(request.order, self.roster, now)
        header = read_header(request.header)
        if header.cluster != self.roster.cluster_id:
            raise BackupError("the bundle is of another cluster", code="backup.foreign")
        if header.slot != self._slot:
            raise BackupError(f"expected the bundle of {self._slot}, found that of {header.slot}", code="backup.slot")
        if self._slot not in order.bundles:
            raise BackupError("the order names no bundle of this slot", code="restore.bundle")
        if header.incarnation >= self.roster.incarnation and self._open_store is not None:
            raise BackupError(
                f"the bundle is of incarnation {header.incarnation}, the roster of {self.roster.incarnation}",
                code="restore.incarnation",
                hint="begin a new incarnation: kms cluster roster propose --edit with a higher `incarnation`",
            )
        self._check_recipient(header)
        self._order, self._header, self._header_bytes = order, header, request.header
        self._parts, self._size, self._bundle = [], len(request.header), None
        return self.standing()

    def _check_recipient(self, header: Header) -> None:
        named = {
            fingerprint(roster.backup.slots[self._slot].key)
            for roster in self._rosters
            if roster.backup is not None and self._slot in roster.backup.slots
        }
        if header.recipient not in named:
            raise BackupError(
                "the bundle is sealed to a key that no roster of the chain names for this slot",
                code="backup.recipient",
            )

    def _piece(self, request: RestorePiece, _now: int) -> RestoreStanding:
        self._check_not_done()
        if self._order is None or self._bundle is not None or request.number != len(self._parts) + 1:
            raise BackupError("pieces are taken in their order, after the header", code="restore.order-of-pieces")
        self._size += len(request.data)
        if len(request.data) > PART_BYTES_MAX or self._size > BUNDLE_BYTES_MAX:
            raise BackupError("larger than any bundle", code="backup.too-large")
        if not request.is_last:
            self._parts.append(request.data)
            return self.standing()
        bundle = assemble(self._header_bytes, self._parts, request.data)
        if bundle.digest != self._order.bundles[self._slot]:
            raise BackupError(
                "the bundle is another than the one the order names",
                code="restore.bundle",
                hint="an older or newer export? take the one the operators signed for",
            )
        self._bundle = bundle
        return self._tried()

    def _mnemonic(self, request: RestoreMnemonic, _now: int) -> RestoreStanding:
        self._check_not_done()
        if self._header is None:
            raise BackupError(
                "the order comes first", code="restore.no-order", hint="an operator runs kms backup restore"
            )
        contribution = open_contribution(self.identity, request.sealed)
        if contribution.slot != self._slot or contribution.recipient != self._header.recipient:
            raise BackupError(
                f"the mnemonic of {contribution.custodian[:64]} is for another slot or another setup",
                code="backup.mnemonic-slot",
            )
        given = read_mnemonic(contribution.custodian[:64], contribution.mnemonic)
        check_together(self._given, given)
        if len(self._given) >= MNEMONICS_MAX:
            raise BackupError("more mnemonics than a set has", code="backup.mnemonic-set")
        self._given[given.custodian] = given
        return self._tried()

    def _take_documents(self, request: DocumentsRequest, _now: int) -> DocumentsReply:
        """What a gateway that lost its data needs; every envelope is signed, and none is secret to an operator."""
        start = max(0, request.start)
        return DocumentsReply(documents=self._documents[start : start + DOCUMENTS_PER_REPLY],
                              total=len(self._documents))  # fmt: skip

    def _end(self, _request: Empty, _now: int) -> RestoreStanding:
        if not self._is_done:
            raise BackupError("nothing is restored yet", code="restore.not-done")
        self.on_end()
        return self.standing()

    def _check_not_done(self) -> None:
        if self._is_done:
            raise RefusedError("this process has restored its node", code="restore.done", hint="it may be stopped now")

    # --- the restore itself --------------------------------------------------------------------------

    def _tried(self) -> RestoreStanding:
        """Restore once everything is there."""
        if self._bundle is None or missing(self._given):
            return self.standing()
        key = self._recombined()
        try:
            certificates = check_bundle(self._bundle, key)
            documents = self._documents_of(self._bundle, key)
            if self._open_store is not None:
                self._write(self._open_store, self._bundle, key)
        finally:
            key.wipe()
        self._keys, self._is_done = len(certificates), True
        self._documents = documents
        self._given.clear()
        self._parts = []
        return self.standing()

    def _recombined(self) -> BackupKey:
        key = recombined(self._given)
        assert self._header is not None
        if not key.is_for(self._header.recipient):
            key.wipe()
            self._given.clear()
            raise BackupError(
                "the mnemonics make another key than the bundle is sealed to; bring all of them anew",
                code="backup.wrong-key",
                hint="are they of another slot, or of another setup?",
            )
        return key

    def _documents_of(self, bundle: Bundle, key: BackupKey) -> list[bytes]:
        """Documents that count under the newest roster, in the order they are to be handed in; notes the others."""
        kept: list[tuple[int, bytes]] = []
        self._refused = []
        for opened in open_parts(bundle, key):
            for row in opened.rows:
                if row.kind not in ("document", "waiting"):
                    continue
                try:
                    document = reread_document(row.value, self.roster)
                except CodedError:
                    self._refused.append(row.name[:128])
                    continue
                place = ORDER_OF_DOCUMENTS.index(document.kind) if document.kind in ORDER_OF_DOCUMENTS else 99
                kept.append((place, row.value))
        return [value for _, value in sorted(kept, key=lambda item: item[0])]

    def _write(self, open_store: Callable[[], SealedStore], bundle: Bundle, key: BackupKey) -> None:
        """All rows and shares in one transaction; raises BackupError (`restore.not-empty`), StorageError."""
        store = open_store()
        try:
            if store.names("key") or store.names("boot") or store.names("document"):
                raise BackupError(
                    "the node's store is not empty",
                    code="restore.not-empty",
                    hint="move its data directory aside; nothing in it is changed",
                )
            for opened in open_parts(bundle, key):
                for row in opened.rows:
                    if row.kind in ("document", "waiting") and row.name[:128] in self._refused:
                        continue
                    store.put(row.kind, row.name, row.value)
                    if row.kind == "key":
                        store.put_secret("share", row.name, opened.shares[row.name])
            # Later boots are told apart from those before the loss as far as the bundle knows of them.
            store.start_boots_after(bundle.header.boot_counter)
            store.commit()
        finally:
            store.close()
