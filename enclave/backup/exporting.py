"""A node's side of an export: its sealed rows and shares, sealed again to the key the roster names for its slot.

Rules kept (specs/backup.md section 4): nobody chooses the recipient but the roster in force; a node that may not work
exports nothing, so no twin and no rolled-back disk does; a piece is made once, so that no nonce seals two contents;
a key's certificate and its share are read in one go.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from enclave.aead import ArenaAead
from enclave.backup.bundle import (
    EXPORT_BYTES,
    FORMAT,
    KINDS,
    Closing,
    Header,
    Indexed,
    Part,
    Row,
    closing_bytes,
    part_binding,
    part_nonce,
    wrap_info,
)
from enclave.backup.recipient import fingerprint, wrap
from enclave.ceremonies.pending import SHARE_BYTES
from enclave.certificate import KeyCertificate
from enclave.errors import CallerError, RefusedError
from enclave.keys import stored_body
from enclave.seal import SealedStore
from enclave.secret import Secret
from enclave.wire.backup import BackupPiece
from enclave.wire.message import encode

if TYPE_CHECKING:
    from enclave.state import NodeState

EXPORTS_MAX = 2
"""Exports under way at once; the oldest gives way: each keeps one part in memory."""

PART_BYTES_AIM = 256 << 10
"""A part is closed when its rows reach this size, about 100 keys: some milliseconds of work."""

PART_KEYS_MAX = 512
"""Keys of one part: their shares are joined in the arena."""

BEGIN_PAUSE_S = 1
"""Least time between two exports of a node, in seconds."""

_TAG_BYTES = 16


@dataclass(slots=True, kw_only=True)
class _Export:
    header: bytes
    name: bytes
    aead: ArenaAead
    rows: list[tuple[str, str]]
    place: int = 0
    number: int = 0
    """Of the piece made last."""
    last: bytes = b""
    is_closed: bool = False
    digests: list[bytes] = field(default_factory=list)
    index: list[Indexed] = field(default_factory=list)
    written: int = 0


class Exports:
    """The bundles a node is handing out."""

    def __init__(self) -> None:
        self._open: dict[bytes, _Export] = {}
        self._begun_at = 0

    def begin(self, node: NodeState, now: int) -> BackupPiece:
        """The header of a new bundle; raises RefusedError (`backup.no-recipient`, `backup.busy`)."""
        terms = node.roster.backup
        entry = terms.slots.get(node.slot) if terms is not None else None
        if entry is None:
            raise RefusedError(
                "the roster names no backup key for this slot",
                code="backup.no-recipient",
                hint="kms backup setup, then propose the roster it writes",
            )
        if now - self._begun_at < BEGIN_PAUSE_S:
            raise RefusedError("an export began just now", code="backup.busy", hint="retry in a second")
        self._begun_at = now
        public, name = node.identity.public, os.urandom(EXPORT_BYTES)
        recipient, incarnation = fingerprint(entry.key), node.roster.incarnation
        info = wrap_info(public.cluster, node.slot, incarnation, recipient, name, public.identity_key)
        with Secret.random() as key:
            header = Header(
                format=FORMAT,
                cluster=public.cluster,
                slot=node.slot,
                incarnation=incarnation,
                roster=node.rosters.active.digest,
                recipient=recipient,
                boot_counter=public.boot_counter,
                identity_key=public.identity_key,
                created_at=now,
                export=name,
                wrapped=wrap(entry.key, key, info),
            )
            aead = ArenaAead(key)
        while len(self._open) >= EXPORTS_MAX:
            del self._open[next(iter(self._open))]
        rows = [(kind, row) for kind in KINDS for row in node.store.names(kind)]
        export = _Export(header=encode(header), name=name, aead=aead, rows=rows)
        export.last = export.header
        self._open[name] = export
        return _piece(export)

    def following(self, node: NodeState, name: bytes, number: int) -> BackupPiece:
        """The next piece, or the last one again; raises CallerError (`backup.unknown`, `backup.order`)."""
        export = self._open.get(name)
        if export is None:
            raise CallerError("no such export, or it gave way to others", code="backup.unknown", hint="begin anew")
        if number == export.number:
            return _piece(export)
        if number != export.number + 1 or export.is_closed:
            raise CallerError("pieces are given in their order, once", code="backup.order")
        export.number = number
        if export.place < len(export.rows):
            export.last = _part(node.store, export)
            export.digests.append(hashlib.sha256(export.last).digest())
        else:
            statement = closing_bytes(export.header, export.digests, export.index, export.written)
            export.last = encode(
                Closing(
                    digests=export.digests,
                    index=export.index,
                    rows=export.written,
                    signature=node.identity.sign(statement),
                )
            )
            export.is_closed = True
        return _piece(export)


def _part(store: SealedStore, export: _Export) -> bytes:
    """Rows from where the last part ended, up to the size aimed at."""
    rows: list[Row] = []
    shares: list[Secret] = []
    size = 0
    try:
        while export.place < len(export.rows) and size < PART_BYTES_AIM and len(shares) < PART_KEYS_MAX:
            kind, name = export.rows[export.place]
            export.place += 1
            value = store.get(kind, name)
            if value is None:
                continue  # gone since the export began
            if kind == "key":
                shares.append(store.get_secret("share", name))
                export.index.append(_indexed(value))
            rows.append(Row(kind=kind, name=name, value=value))
            size += len(value)
        export.written += len(rows)
        return encode(Part(rows=_seal_rows(export, rows), shares=_seal_shares(export, shares)))
    finally:
        for share in shares:
            share.wipe()


def _indexed(value: bytes) -> Indexed:
    body = stored_body(value)
    facts = KeyCertificate.parse(body)
    return Indexed(
        key=facts.key,
        version=facts.version,
        epoch=facts.epoch,
        shares_needed=facts.shares_needed,
        holders=len(facts.nodes),
        certificate=hashlib.sha256(body).digest(),
    )


def _seal_rows(export: _Export, rows: list[Row]) -> bytes:
    binding = part_binding(export.header, export.number, "rows")
    return export.aead.encrypt(part_nonce(export.number, "rows"), encode(rows), binding)


def _seal_shares(export: _Export, shares: list[Secret]) -> bytes:
    if not shares:
        return b""
    sealed = bytearray(len(shares) * SHARE_BYTES + _TAG_BYTES)
    binding = part_binding(export.header, export.number, "shares")
    with _joined(shares) as together, together.view as plain, memoryview(sealed) as out:
        export.aead.encrypt_into(part_nonce(export.number, "shares"), plain, binding, out)
    return bytes(sealed)


def _joined(shares: list[Secret]) -> Secret:
    together = Secret.zero(SHARE_BYTES * len(shares))
    with together.view as target:
        for number, share in enumerate(shares):
            with share.view as source:
                target[number * SHARE_BYTES : (number + 1) * SHARE_BYTES] = source
    return together


def _piece(export: _Export) -> BackupPiece:
    return BackupPiece(export=export.name, number=export.number, data=export.last, is_last=export.is_closed)
