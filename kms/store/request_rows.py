"""Idempotency records as rows: in flight, interrupted (its process died), or done with the response to repeat."""

from __future__ import annotations

import sqlite3

from kms.errors import ConflictError
from kms.store.protocol import Admission, Admitted, Replay, Settlement

PURGE_MAX = 4
"""Expired records removed per admission: the table shrinks faster than it grows, no admission pays for a sweep."""


def admit(connection: sqlite3.Connection, admission: Admission) -> Admitted | Replay:
    """Take the key, or answer for the earlier request that holds it."""
    _purge(connection, admission.now)
    row = connection.execute(
        "SELECT fingerprint, state, status, body, expires_at FROM requests WHERE principal = ? AND idempotency_key = ?",
        (admission.principal, admission.idempotency_key),
    ).fetchone()
    if row is None or row[4] <= admission.now:
        _write(connection, admission)
        return Admitted()
    fingerprint, state, status, body, _ = row
    if fingerprint != admission.fingerprint:
        raise ConflictError(
            "this idempotency key belongs to another request",
            code="idempotency.other-request",
            hint="use a fresh Idempotency-Key for each request",
        )
    if state == "in-flight":
        raise ConflictError(
            "the first request with this idempotency key is still running",
            code="idempotency.in-flight",
            hint="wait for it, then repeat this request to get its response",
        )
    if state == "done" and body is not None:
        return Replay(status=status, body=body)
    _write(connection, admission)
    return Admitted(again=True)


def settle(connection: sqlite3.Connection, settlement: Settlement) -> None:
    """Keep the outcome, or forget the record."""
    key = (settlement.principal, settlement.idempotency_key)
    if not settlement.keep:
        connection.execute("DELETE FROM requests WHERE principal = ? AND idempotency_key = ?", key)
        return
    connection.execute(
        "UPDATE requests SET state = 'done', status = ?, body = ?, digest = ? "
        "WHERE principal = ? AND idempotency_key = ?",
        (settlement.status, settlement.body, settlement.digest, *key),
    )


def interrupt_all(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Mark what a dead process left in flight; returns its (principal, idempotency key) pairs."""
    rows = connection.execute(
        "UPDATE requests SET state = 'interrupted' WHERE state = 'in-flight' RETURNING principal, idempotency_key"
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def _write(connection: sqlite3.Connection, admission: Admission) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO requests (principal, idempotency_key, fingerprint, state, expires_at) "
        "VALUES (?, ?, ?, 'in-flight', ?)",
        (admission.principal, admission.idempotency_key, admission.fingerprint, admission.expires_at),
    )


def _purge(connection: sqlite3.Connection, now: int) -> None:
    rows = connection.execute(
        "SELECT principal, idempotency_key FROM requests WHERE expires_at <= ? AND state <> 'in-flight' LIMIT ?",
        (now, PURGE_MAX),
    ).fetchall()
    for row in rows:
        connection.execute("DELETE FROM requests WHERE principal = ? AND idempotency_key = ?", row)
