"""Tables of the log store; a file of its own, because it grows with every decision and is pruned by age."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kms.errors import StoreError

SCHEMA_VERSION = 1

FILE_NAME = "logs.sqlite"

_TABLES = """
CREATE TABLE logs (
  log INTEGER PRIMARY KEY,
  slot TEXT NOT NULL,
  boot INTEGER NOT NULL,
  size INTEGER NOT NULL DEFAULT 0,
  broken INTEGER NOT NULL DEFAULT 0,
  seen_at INTEGER NOT NULL,
  UNIQUE (slot, boot)
) STRICT;
CREATE TABLE entries (
  log INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hash BLOB NOT NULL,
  kind TEXT NOT NULL,
  request BLOB,
  body BLOB,
  at INTEGER NOT NULL,
  PRIMARY KEY (log, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_by_request ON entries (request) WHERE request IS NOT NULL;
CREATE INDEX verdicts_by_hash ON entries (log, hash) WHERE kind = 'verdict';
CREATE TABLE operations (operation TEXT PRIMARY KEY, request BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE tiles (
  log INTEGER NOT NULL,
  level INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (log, level, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (
  log INTEGER NOT NULL,
  size INTEGER NOT NULL,
  note BLOB NOT NULL,
  PRIMARY KEY (log, size)
) STRICT, WITHOUT ROWID;
CREATE TABLE countersignatures (
  log INTEGER NOT NULL,
  size INTEGER NOT NULL,
  peer TEXT NOT NULL,
  peer_boot INTEGER NOT NULL,
  body BLOB NOT NULL,
  signature BLOB NOT NULL,
  PRIMARY KEY (log, size, peer)
) STRICT, WITHOUT ROWID;
CREATE TABLE presentations (
  digest BLOB PRIMARY KEY,
  slot TEXT NOT NULL,
  boot INTEGER NOT NULL,
  body BLOB NOT NULL,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX presentations_by_boot ON presentations (slot, boot, at);
CREATE TABLE collateral (digest BLOB PRIMARY KEY, body BLOB NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE registry_heads (
  root BLOB NOT NULL,
  sequence INTEGER NOT NULL,
  origin TEXT NOT NULL,
  size INTEGER NOT NULL,
  members_note BLOB NOT NULL,
  freshness_note BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (root, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE registry_lines (origin TEXT PRIMARY KEY, lines BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE certificates (digest BLOB PRIMARY KEY, body BLOB NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE outputs (
  request BLOB NOT NULL,
  slot TEXT NOT NULL,
  digest BLOB NOT NULL,
  body BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (request, slot, digest)
) STRICT, WITHOUT ROWID;
"""


def open_file(path: Path) -> sqlite3.Connection:
    """The database, created if absent; raises StoreError (`store.version`)."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA journal_mode=WAL")
    # A node keeps what it was asked for last, so that the tail a power failure takes is fetched again.
    connection.execute("PRAGMA synchronous=NORMAL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, SCHEMA_VERSION):
        connection.close()
        raise StoreError(f"expected log store version {SCHEMA_VERSION}, found {version}", code="store.version")
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    path.chmod(0o600)
    return connection
