"""Tables of the SQLite engine, and the settings every connection starts with."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kms.errors import StoreError

SCHEMA_VERSION = 2
"""Version 2 added operations."""

BUSY_TIMEOUT_MS = 5000
"""How long a reader waits for a checkpoint; the writer is alone."""

OPERATIONS = """
CREATE TABLE operations (
  operation TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  principal TEXT NOT NULL,
  resource TEXT NOT NULL,
  state TEXT NOT NULL
    CHECK (state IN ('waiting', 'running', 'succeeded', 'failed', 'rejected', 'cancelled', 'expired')),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  details BLOB NOT NULL,
  status INTEGER,
  result BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX operations_by_state ON operations (state, operation);
CREATE INDEX operations_by_principal ON operations (principal, operation);
"""

TABLES = """
CREATE TABLE requests (
  principal TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('in-flight', 'interrupted', 'done')),
  status INTEGER,
  body BLOB,
  digest BLOB,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (principal, idempotency_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_expiry ON requests (expires_at);
CREATE TABLE documents (
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  version INTEGER NOT NULL,
  digest BLOB NOT NULL,
  envelope BLOB NOT NULL,
  received_at INTEGER NOT NULL,
  PRIMARY KEY (kind, subject, version)
) STRICT;
CREATE TABLE keys (
  key TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  spec TEXT NOT NULL,
  usage TEXT NOT NULL,
  policy TEXT NOT NULL,
  record BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE ceremonies (
  session BLOB PRIMARY KEY,
  reference TEXT NOT NULL,
  key TEXT NOT NULL,
  commitment BLOB NOT NULL,
  details BLOB NOT NULL,
  finished INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX ceremonies_by_reference ON ceremonies (reference);
CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY,
  body BLOB NOT NULL,
  previous BLOB NOT NULL,
  hash BLOB NOT NULL
) STRICT;
"""

MIGRATIONS = {0: TABLES + OPERATIONS, 1: OPERATIONS}
"""What brings a file of an older version (0: a new file) up to this one."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode with the settings durability and safety rest on."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA foreign_keys=ON")
    if read_only:
        connection.execute("PRAGMA query_only=ON")
        return connection
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Create the tables in a new file, add what an older one lacks; raises StoreError on a newer file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return
    script = MIGRATIONS.get(version)
    if script is None:
        raise StoreError(f"expected store version {SCHEMA_VERSION}, found {version}", code="store.version")
    connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
