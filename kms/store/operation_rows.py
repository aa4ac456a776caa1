"""Operations as rows: each change says which states it may start from, so that two of them cannot both win."""

from __future__ import annotations

import sqlite3

from kms.store.protocol import StoredOperation

_COLUMNS = "operation, kind, principal, resource, state, created_at, updated_at, expires_at, details, status, result"

_CHANGE = """UPDATE operations SET state = ?, updated_at = ?, expires_at = ?, details = ?, status = ?, result = ?
WHERE operation = ?"""

KEEP_S = 30 * 86400
"""How long an operation is kept after it expired, in seconds."""

PURGE_MAX = 4
"""Old operations removed per new one."""

_Row = tuple[str, str, str, str, str, int, int, int, bytes, int | None, bytes | None]


def put(connection: sqlite3.Connection, operation: StoredOperation) -> bool:
    """Keep a new operation; False if it is there already."""
    _purge(connection, operation.created_at)
    cursor = connection.execute(
        f"INSERT OR IGNORE INTO operations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  constant column list
        (
            operation.operation,
            operation.kind,
            operation.principal,
            operation.resource,
            operation.state,
            operation.created_at,
            operation.updated_at,
            operation.expires_at,
            operation.details,
            operation.status,
            operation.result,
        ),
    )
    return cursor.rowcount == 1


def change(connection: sqlite3.Connection, operation: StoredOperation, expected: frozenset[str]) -> bool:
    """Write what may change of an operation if it is in a state of `expected`."""
    cursor = connection.execute(
        f"{_CHANGE} AND state IN ({_marks(expected)})",
        (
            operation.state,
            operation.updated_at,
            operation.expires_at,
            operation.details,
            operation.status,
            operation.result,
            operation.operation,
            *sorted(expected),
        ),
    )
    return cursor.rowcount == 1


def one(connection: sqlite3.Connection, operation: str) -> StoredOperation | None:
    """One operation."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM operations WHERE operation = ?", (operation,)).fetchone()  # noqa: S608
    return _operation(row) if row else None


def page(
    connection: sqlite3.Connection, after: str, limit: int, principal: str | None, states: frozenset[str]
) -> list[StoredOperation]:
    """Up to `limit` operations with ids above `after`."""
    where, values = ["operation > ?"], [after]
    if principal is not None:
        where.append("principal = ?")
        values.append(principal)
    if states:
        where.append(f"state IN ({_marks(states)})")
        values += sorted(states)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM operations WHERE {' AND '.join(where)} ORDER BY operation LIMIT ?",  # noqa: S608
        (*values, limit),
    )
    return [_operation(row) for row in rows]


def _marks(values: frozenset[str]) -> str:
    return ", ".join("?" * len(values))


def _purge(connection: sqlite3.Connection, now: int) -> None:
    rows = connection.execute(
        "SELECT operation FROM operations WHERE expires_at <= ? AND state NOT IN ('waiting', 'running') LIMIT ?",
        (now - KEEP_S, PURGE_MAX),
    ).fetchall()
    for row in rows:
        connection.execute("DELETE FROM operations WHERE operation = ?", row)


def _operation(row: _Row) -> StoredOperation:
    return StoredOperation(
        operation=row[0],
        kind=row[1],
        principal=row[2],
        resource=row[3],
        state=row[4],
        created_at=row[5],
        updated_at=row[6],
        expires_at=row[7],
        details=row[8],
        status=row[9],
        result=row[10],
    )
