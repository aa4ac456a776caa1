"""The log store: what a gateway fetched from nodes' logs, and what receipts need beside them.

Rules kept: entries are stored in their order and nothing is stored after a gap; what is stored is never changed, only
pruned by age; nothing here is secret, and nothing of it is believed by whoever verifies a receipt.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from attestation.errors import ReceiptError
from attestation.merkle import leaf_hash
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.receipts.encoding import tag_bytes
from attestation.receipts.entry import DECISION, VERDICT, Glance, glance
from enclave.approvals.fingerprint import operation_id
from enclave.wire.attestation import Presentation
from enclave.wire.heartbeats import SignedHeartbeat
from kms.errors import NotFoundError
from kms.receipts.schema import FILE_NAME, open_file
from kms.receipts.tree import StoredTree

_KINDS = {tag_bytes(DECISION): "decision", tag_bytes(VERDICT): "verdict"}
PARK = "park"
"""Verb by which a request begins to wait for people, under an operation id that follows from its own."""

_ENCODER = msgspec.msgpack.Encoder()
_PRESENTATION = msgspec.msgpack.Decoder(Presentation)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """One leaf as stored; `body` is None once pruned."""

    log: int
    slot: str
    boot_counter: int
    number: int
    hash: bytes
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCheckpoint:
    """A signed head and who countersigned it."""

    size: int
    note: bytes
    countersignatures: tuple[tuple[str, int, bytes, bytes], ...]
    """Peer, its boot counter, heartbeat body, signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLog:
    """One boot's log."""

    log: int
    slot: str
    boot_counter: int
    size: int
    is_broken: bool
    """Entries were gone before they were fetched: what follows cannot be proven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """The log's size afterwards, and the key certificates that its new decisions name: digest -> resource."""

    size: int
    certificates: Mapping[bytes, str] = field(default_factory=dict)


class LogStore:
    """One SQLite file; used from one thread at a time."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._connection = open_file(directory / FILE_NAME)

    def reader(self) -> LogStore:
        """A second connection for another thread, which only reads."""
        other = LogStore(self._directory)
        other._connection.execute("PRAGMA query_only=ON")
        return other

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # --- logs ----------------------------------------------------------------------------------------

    def log(self, slot: str, boot_counter: int) -> StoredLog | None:
        """One log, or None."""
        return next(iter(self._logs("WHERE slot = ? AND boot = ?", slot, boot_counter)), None)

    def logs(self) -> list[StoredLog]:
        """All logs, by slot and boot."""
        return self._logs("ORDER BY slot, boot")

    def newest(self, slot: str) -> StoredLog | None:
        """The log of the slot's highest boot."""
        return next(iter(self._logs("WHERE slot = ? ORDER BY boot DESC LIMIT 1", slot)), None)

    def append(self, slot: str, boot_counter: int, start: int, entries: Sequence[bytes], now: int) -> Appended:
        """Store entries that begin at number `start`."""
        with _Transaction(self._connection):
            self._connection.execute(
                "INSERT OR IGNORE INTO logs (slot, boot, seen_at) VALUES (?, ?, ?)", (slot, boot_counter, now)
            )
            held = self.log(slot, boot_counter)
            assert held is not None
            if held.is_broken or start > held.size:
                self._connection.execute("UPDATE logs SET broken = 1 WHERE log = ?", (held.log,))
                return Appended(size=held.size)
            fresh = entries[held.size - start :]
            rows = []
            named: dict[bytes, str] = {}
            for number, body in enumerate(fresh, start=held.size):
                seen = _glance(body)
                rows.append(
                    (
                        held.log,
                        number,
                        leaf_hash(body),
                        _KINDS.get(seen.tag, "other"),
                        seen.request_id or None,
                        body,
                        now,
                    )
                )
                if seen.verb == PARK:
                    self._put("operations", operation_id(seen.request_id), seen.request_id)
                if seen.certificate:
                    named[seen.certificate] = seen.resource
            self._connection.executemany(
                "INSERT INTO entries (log, number, hash, kind, request, body, at) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            )
            size = held.size + len(rows)
            self._connection.execute("UPDATE logs SET size = ?, seen_at = ? WHERE log = ?", (size, now, held.log))
            self.tree(held.log).fill(held.size, size)
        return Appended(size=size, certificates=named)

    def tree(self, log: int) -> StoredTree:
        """The Merkle tree of a log."""
        return StoredTree(self._connection, log)

    def entries(self, log: int, start: int, limit: int) -> list[StoredEntry]:
        """Up to `limit` entries from number `start` on."""
        return self._entries("WHERE entries.log = ? AND number >= ? ORDER BY number LIMIT ?", log, start, limit)

    def entry(self, log: int, number: int) -> StoredEntry:
        """One entry; raises NotFoundError (`log.not-stored`)."""
        found = self._entries("WHERE entries.log = ? AND number = ?", log, number)
        if not found:
            raise NotFoundError("that entry is not stored here", code="log.not-stored")
        return found[0]

    def request_of(self, operation: str) -> bytes | None:
        """The request id behind an operation that waited for people."""
        row = self._connection.execute("SELECT request FROM operations WHERE operation = ?", (operation,)).fetchone()
        return row[0] if row else None

    def about(self, request: bytes) -> list[StoredEntry]:
        """The decisions on one request, of all logs."""
        return self._entries("WHERE request = ? ORDER BY slot, boot, number LIMIT 256", request)

    def verdict(self, log: int, digest: bytes) -> StoredEntry | None:
        """The verdict entry of that digest in one log."""
        where = "WHERE entries.log = ? AND hash = ? AND kind = 'verdict'"
        return next(iter(self._entries(where, log, digest)), None)

    # --- checkpoints -----------------------------------------------------------------------------------

    def put_checkpoint(
        self, log: int, size: int, note: bytes, heartbeats: Mapping[str, tuple[int, SignedHeartbeat]]
    ) -> None:
        """Keep a signed head with its countersignatures; those of a head kept before are added to."""
        with _Transaction(self._connection):
            self._connection.execute(
                "INSERT OR IGNORE INTO checkpoints (log, size, note) VALUES (?, ?, ?)", (log, size, note)
            )
            self._connection.executemany(
                "INSERT OR IGNORE INTO countersignatures (log, size, peer, peer_boot, body, signature)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [(log, size, peer, boot, item.body, item.signature) for peer, (boot, item) in heartbeats.items()],
            )

    def checkpoint(self, log: int, *, above: int = 0, needed: int = 0, newest: bool = False) -> StoredCheckpoint | None:
        """The smallest (or newest) head of more than `above` leaves with at least `needed` countersignatures."""
        row = self._connection.execute(
            "SELECT size, note FROM checkpoints AS one WHERE log = ? AND size > ? AND "  # noqa: S608  constant text
            "(SELECT count(*) FROM countersignatures AS two WHERE two.log = one.log AND two.size = one.size) >= ?"
            f" ORDER BY size {'DESC' if newest else 'ASC'} LIMIT 1",
            (log, above, needed),
        ).fetchone()
        if row is None:
            return None
        signed = self._connection.execute(
            "SELECT peer, peer_boot, body, signature FROM countersignatures WHERE log = ? AND size = ? ORDER BY peer",
            (log, row[0]),
        )
        return StoredCheckpoint(size=row[0], note=row[1], countersignatures=tuple(tuple(item) for item in signed))

    # --- what keys and machines were bound by ----------------------------------------------------------

    def put_presentation(self, digest: bytes, presentation: Presentation, now: int) -> None:
        """Keep evidence with what it was presented for."""
        identity = presentation.identity
        self._put("presentations", digest, identity.slot, identity.boot_counter, _ENCODER.encode(presentation), now)

    def presentation(self, digest: bytes) -> Presentation | None:
        """What was presented with evidence of that digest."""
        row = self._connection.execute("SELECT body FROM presentations WHERE digest = ?", (digest,)).fetchone()
        return _PRESENTATION.decode(row[0]) if row else None

    def presentation_of(self, slot: str, boot_counter: int, at: int) -> Presentation | None:
        """The newest evidence of one boot up to `at`, or the first one after it."""
        for order in ("at <= ? ORDER BY at DESC", "at > ? ORDER BY at ASC"):
            row = self._connection.execute(
                f"SELECT body FROM presentations WHERE slot = ? AND boot = ? AND {order} LIMIT 1",  # noqa: S608
                (slot, boot_counter, at),
            ).fetchone()
            if row:
                return _PRESENTATION.decode(row[0])
        return None

    def put_collateral(self, digest: bytes, blobs: Sequence[bytes], now: int) -> None:
        """Keep one set of collateral."""
        self._put("collateral", digest, _ENCODER.encode(list(blobs)), now)

    def collateral(self, digest: bytes, at: int) -> list[bytes]:
        """The set of that digest, or else the one in use at `at`; empty if there is none."""
        row = self._connection.execute(
            "SELECT body FROM collateral ORDER BY digest = ? DESC, at <= ? DESC, abs(at - ?) LIMIT 1", (digest, at, at)
        ).fetchone()
        return msgspec.msgpack.decode(row[0], type=list[bytes]) if row else []

    def put_registry(self, snapshot: RegistrySnapshot, now: int) -> None:
        """Keep a head; its lines once, because later registries only add to them."""
        with _Transaction(self._connection):
            self._put(
                "registry_heads",
                snapshot.root,
                snapshot.sequence,
                snapshot.origin,
                snapshot.size,
                snapshot.members_note.encode(),
                snapshot.freshness_note.encode(),
                now,
            )
            held = self._lines(snapshot.origin)
            if len(snapshot.log_bytes) >= len(held):
                self._connection.execute(
                    "INSERT OR REPLACE INTO registry_lines (origin, lines) VALUES (?, ?)",
                    (snapshot.origin, snapshot.log_bytes),
                )

    def registry(self, root: bytes, at: int) -> bytes | None:
        """A snapshot with that root, the newest head of it up to `at` preferred."""
        row = self._connection.execute(
            "SELECT origin, size, members_note, freshness_note FROM registry_heads WHERE root = ?"
            " ORDER BY at <= ? DESC, abs(at - ?) LIMIT 1",
            (root, at, at),
        ).fetchone()
        return self._snapshot(row) if row else None

    def registry_at(self, at: int) -> bytes | None:
        """The snapshot in use at `at`."""
        row = self._connection.execute(
            "SELECT origin, size, members_note, freshness_note FROM registry_heads ORDER BY at <= ? DESC, abs(at - ?)"
            " LIMIT 1",
            (at, at),
        ).fetchone()
        return self._snapshot(row) if row else None

    def put_certificate(self, digest: bytes, body: bytes, now: int) -> None:
        """Keep a key certificate in its JSON form."""
        self._put("certificates", digest, body, now)

    def certificate(self, digest: bytes) -> bytes | None:
        """The JSON form of a key certificate, by the SHA-256 of what is signed."""
        row = self._connection.execute("SELECT body FROM certificates WHERE digest = ?", (digest,)).fetchone()
        return row[0] if row else None

    def put_outputs(self, rows: Sequence[tuple[bytes, str, bytes, bytes, int]]) -> None:
        """Keep what nodes gave out: request, slot, commitment, encoded parts, time."""
        with _Transaction(self._connection):
            self._connection.executemany("INSERT OR IGNORE INTO outputs VALUES (?, ?, ?, ?, ?)", rows)

    def output(self, request: bytes, slot: str, digest: bytes) -> bytes | None:
        """The parts that a commitment opens to."""
        row = self._connection.execute(
            "SELECT body FROM outputs WHERE request = ? AND slot = ? AND digest = ?", (request, slot, digest)
        ).fetchone()
        return row[0] if row else None

    # --- retention ---------------------------------------------------------------------------------------

    def prune(self, before: int) -> int:
        """Forget what entries say that are older than `before` (Unix seconds); their hashes stay, so proofs do too.

        Logs whose last entry is older go altogether.  Returns how many entries lost their content.
        """
        with _Transaction(self._connection):
            count = self._connection.execute(
                "UPDATE entries SET body = NULL, request = NULL WHERE at < ? AND number > 0 AND body IS NOT NULL",
                (before,),
            ).rowcount
            ended = [row[0] for row in self._connection.execute("SELECT log FROM logs WHERE seen_at < ?", (before,))]
            for log in ended:
                for table in ("entries", "tiles", "checkpoints", "countersignatures", "logs"):
                    self._connection.execute(f"DELETE FROM {table} WHERE log = ?", (log,))  # noqa: S608
            for table in ("presentations", "collateral", "registry_heads", "outputs"):
                # The newest before the limit is what was in use at it.
                self._connection.execute(
                    f"DELETE FROM {table} WHERE at < ? AND at < (SELECT max(at) FROM {table} WHERE at < ?)",  # noqa: S608
                    (before, before),
                )
        return count

    # --- inside --------------------------------------------------------------------------------------

    def _put(self, table: str, *values: Any) -> None:
        places = ", ".join("?" * len(values))
        self._connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", values)  # noqa: S608

    def _logs(self, rest: str, *values: Any) -> list[StoredLog]:
        rows = self._connection.execute(f"SELECT log, slot, boot, size, broken FROM logs {rest}", values)  # noqa: S608
        return [
            StoredLog(log=row[0], slot=row[1], boot_counter=row[2], size=row[3], is_broken=bool(row[4])) for row in rows
        ]

    def _entries(self, rest: str, *values: Any) -> list[StoredEntry]:
        rows = self._connection.execute(
            f"SELECT entries.log, slot, boot, number, hash, body FROM entries JOIN logs USING (log) {rest}",  # noqa: S608
            values,
        )
        return [
            StoredEntry(log=row[0], slot=row[1], boot_counter=row[2], number=row[3], hash=row[4], body=row[5])
            for row in rows
        ]

    def _lines(self, origin: str) -> bytes:
        row = self._connection.execute("SELECT lines FROM registry_lines WHERE origin = ?", (origin,)).fetchone()
        return row[0] if row else b""

    def _snapshot(self, row: tuple[str, int, bytes, bytes]) -> bytes:
        origin, size, members_note, freshness_note = row
        lines = self._lines(origin).split(b"\n")[:size]
        return RegistrySnapshot.assembled(members_note, freshness_note, b"".join(line + b"\n" for line in lines))


class _Transaction:
    """BEGIN and COMMIT, or ROLLBACK; transactions inside one another join."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._is_outer = not connection.in_transaction

    def __enter__(self) -> None:
        if self._is_outer:
            self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_outer:
            self._connection.execute("COMMIT" if kind is None else "ROLLBACK")


def _glance(body: bytes) -> Glance:
    try:
        return glance(body)
    except ReceiptError:
        return Glance(tag=b"")  # of a kind this gateway does not know: still a leaf
