"""Control documents as rows: every version is kept, the newest of each subject is what counts."""

from __future__ import annotations

import sqlite3

from kms.errors import ConflictError
from kms.store.protocol import StoredDocument

_COLUMNS = "kind, subject, version, digest, envelope, received_at"


def put(connection: sqlite3.Connection, document: StoredDocument) -> bool:
    """Add a version; False if exactly this one is there, ConflictError if a newer or another one is."""
    held = newest(connection, document.kind, document.subject)
    if held is not None and document.version <= held.version:
        if document.digest == held.digest:
            return False
        raise ConflictError(
            f"expected a version above {held.version} of {document.subject}, found {document.version}",
            code="document.stale",
            hint="fetch the newest version and count on from it",
        )
    connection.execute(
        f"INSERT INTO documents ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608  constant column list
        (
            document.kind,
            document.subject,
            document.version,
            document.digest,
            document.envelope,
            document.received_at,
        ),
    )
    return True


def newest(connection: sqlite3.Connection, kind: str, subject: str) -> StoredDocument | None:
    """The newest version of one subject."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM documents WHERE kind = ? AND subject = ? ORDER BY version DESC LIMIT 1",  # noqa: S608
        (kind, subject),
    ).fetchone()
    return _document(row) if row else None


def newest_of_all(connection: sqlite3.Connection) -> list[StoredDocument]:
    """The newest version of every subject, in the order they arrived."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM documents AS one WHERE version = "  # noqa: S608  constant column list
        "(SELECT max(version) FROM documents WHERE kind = one.kind AND subject = one.subject) ORDER BY rowid"
    )
    return [_document(row) for row in rows]


def _document(row: tuple[str, str, int, bytes, bytes, int]) -> StoredDocument:
    return StoredDocument(
        kind=row[0], subject=row[1], version=row[2], digest=row[3], envelope=row[4], received_at=row[5]
    )
