"""Keys and the ceremonies that make them, as rows."""

from __future__ import annotations

import sqlite3

from kms.store.protocol import StoredCeremony, StoredKey

_KEY = "key, name, spec, usage, policy, record, created_at"
_CEREMONY = "session, reference, key, commitment, details, finished"


def put_key(connection: sqlite3.Connection, key: StoredKey, session: bytes | None) -> None:
    """Keep a key and finish its ceremony in the same transaction."""
    connection.execute(
        f"INSERT OR REPLACE INTO keys ({_KEY}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  constant column list
        (key.key, key.name, key.spec, key.usage, key.policy, key.record, key.created_at),
    )
    if session is not None:
        connection.execute("UPDATE ceremonies SET finished = 1 WHERE session = ?", (session,))


def key(connection: sqlite3.Connection, key_id: str) -> StoredKey | None:
    """One key."""
    row = connection.execute(f"SELECT {_KEY} FROM keys WHERE key = ?", (key_id,)).fetchone()  # noqa: S608
    return _key(row) if row else None


def policy(connection: sqlite3.Connection, key_id: str) -> str | None:
    """The policy of one key; there is always a row, and the record, whose size would show, is not read."""
    row = connection.execute("SELECT (SELECT policy FROM keys WHERE key = ?)", (key_id,)).fetchone()
    return row[0]  # type: ignore[no-any-return]


def page(connection: sqlite3.Connection, after: str, limit: int) -> list[StoredKey]:
    """Up to `limit` keys with ids above `after`."""
    rows = connection.execute(f"SELECT {_KEY} FROM keys WHERE key > ? ORDER BY key LIMIT ?", (after, limit))  # noqa: S608
    return [_key(row) for row in rows]


def put_ceremony(connection: sqlite3.Connection, ceremony: StoredCeremony) -> None:
    """Keep the commit of a prepared ceremony."""
    connection.execute(
        f"INSERT OR REPLACE INTO ceremonies ({_CEREMONY}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608  constant column list
        (ceremony.session, ceremony.reference, ceremony.key, ceremony.commit, ceremony.order, int(ceremony.finished)),
    )


def ceremony(connection: sqlite3.Connection, session: bytes) -> StoredCeremony | None:
    """One ceremony."""
    row = connection.execute(f"SELECT {_CEREMONY} FROM ceremonies WHERE session = ?", (session,)).fetchone()  # noqa: S608
    return _ceremony(row) if row else None


def ceremony_for(connection: sqlite3.Connection, reference: str) -> StoredCeremony | None:
    """The newest ceremony of one request."""
    row = connection.execute(
        f"SELECT {_CEREMONY} FROM ceremonies WHERE reference = ? ORDER BY finished DESC LIMIT 1",  # noqa: S608
        (reference,),
    ).fetchone()
    return _ceremony(row) if row else None


def unfinished(connection: sqlite3.Connection) -> list[StoredCeremony]:
    """Ceremonies that were prepared and have no certified key yet."""
    rows = connection.execute(f"SELECT {_CEREMONY} FROM ceremonies WHERE finished = 0")  # noqa: S608
    return [_ceremony(row) for row in rows]


def _key(row: tuple[str, str, str, str, str, bytes, int]) -> StoredKey:
    return StoredKey(
        key=row[0], name=row[1], spec=row[2], usage=row[3], policy=row[4], record=row[5], created_at=row[6]
    )


def _ceremony(row: tuple[bytes, str, str, bytes, bytes, int]) -> StoredCeremony:
    return StoredCeremony(
        session=row[0], reference=row[1], key=row[2], commit=row[3], order=row[4], finished=bool(row[5])
    )
