"""Audit entries as rows."""

from __future__ import annotations

import sqlite3

from kms.audit import GENESIS, Entry


def head(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """The last link: its sequence number and hash; (0, GENESIS) for an empty chain."""
    row = connection.execute("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1").fetchone()
    return (row[0], row[1]) if row else (0, GENESIS)


def insert(connection: sqlite3.Connection, entry: Entry) -> None:
    """Add one link."""
    connection.execute(
        "INSERT INTO audit (sequence, body, previous, hash) VALUES (?, ?, ?, ?)",
        (entry.sequence, entry.body, entry.previous, entry.hash),
    )


def page(connection: sqlite3.Connection, after: int, limit: int) -> list[Entry]:
    """Up to `limit` links above `after`."""
    rows = connection.execute(
        "SELECT sequence, body, previous, hash FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
    )
    return [Entry(sequence=row[0], body=row[1], previous=row[2], hash=row[3]) for row in rows]
