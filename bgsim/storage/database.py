"""The SQLite file: opening it safely, its schema, and its settings."""

from __future__ import annotations

import os
import sqlite3
import struct
import time
import warnings
from pathlib import Path

from bgsim.errors import ForeignFileError, NewerSchemaError, StoreError

APPLICATION_ID = 0x42475349
"""Bytes 68 to 71 of the file: ``BGSI``."""

SCHEMA_VERSION = 1

BUSY_TIMEOUT_MS = 30_000
_JOURNAL_LIMIT_BYTES = 16 * 2**20
_HEADER_BYTES = 100


def open_database(path: Path) -> sqlite3.Connection:
    """Open the store's file for reading and writing, making it when there is none.

    A damaged file is set aside as ``*.corrupt-<time>`` with a warning, and a new one begun.

    Raises
    ------
    StoreError
        If the path is a directory, or cannot be written.
    ForeignFileError
        If the file is not a store; it is left untouched.
    NewerSchemaError
        If a newer bgsim wrote it.
    """
    _check_path(path)
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise StoreError(f"the store {path} cannot be opened: {error}; choose another path") from error
        aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        warnings.warn(f"the store {path} is damaged ({error}); it is now {aside.name}", RuntimeWarning, stacklevel=3)
        return _open(path)


def connect(path: Path) -> sqlite3.Connection:
    """Return a further connection to a file that `open_database` has opened."""
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA mmap_size = 268435456")
    return connection


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise StoreError(f"the store path {path} is a directory; name a file in it, such as {path / 'bgsim.db'}")
    if not path.parent.is_dir():
        raise StoreError(f"the directory {path.parent} of the store does not exist; make it, or choose another path")
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise StoreError(
            f"the store {path} is read-only; choose another path, or allow writing to it and its directory"
        )
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(b"SQLite format 3\0"):
        raise ForeignFileError(f"{path} is not a bgsim store, so it was left untouched; choose another path")
    version, application = struct.unpack_from(">I4xI", header, 60)
    if application != APPLICATION_ID:
        raise ForeignFileError(
            f"{path} is another program's SQLite database, so it was left untouched; choose another path"
        )
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"{path} was written by a newer bgsim (schema {version}, this one knows {SCHEMA_VERSION}); update bgsim, "
            "or choose another path"
        )


def _open(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    try:
        new = connection.execute("PRAGMA user_version").fetchone()[0] == 0
        if new:
            _create(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT_BYTES}")
        connection.execute("SELECT count(*) FROM results").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    """Make the tables, in one transaction; another process may be doing the same."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0]:
        connection.execute("ROLLBACK")
        return
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


_SCHEMA = (
    """
    CREATE TABLE results (
        hash TEXT PRIMARY KEY,           -- the first 32 digits of identity
        identity TEXT NOT NULL,          -- SHA-256 of all that the result depends on
        simulation TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        seed TEXT NOT NULL,              -- decimal; of any size
        parameters TEXT NOT NULL,        -- JSON
        replicates INTEGER NOT NULL,     -- stored, from 0 on
        stored_bytes INTEGER NOT NULL,
        created_at TEXT NOT NULL,        -- ISO-8601, UTC, as all times here
        used_at TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE blocks (
        hash TEXT NOT NULL REFERENCES results(hash) ON DELETE CASCADE,
        first INTEGER NOT NULL,          -- index of the first replicate
        name TEXT NOT NULL,              -- of the output
        position INTEGER NOT NULL,       -- of the output among the simulation's
        dtype TEXT NOT NULL,
        shape TEXT NOT NULL,             -- JSON, replicates first
        filter TEXT NOT NULL,            -- none, shuffle
        raw_bytes INTEGER NOT NULL,
        checksum INTEGER NOT NULL,       -- CRC-32 of the raw bytes
        data BLOB NOT NULL,              -- a zstd frame
        PRIMARY KEY (hash, first, position)
    ) STRICT
    """,
    """
    CREATE TABLE slots (
        workspace TEXT NOT NULL,
        hash TEXT NOT NULL REFERENCES results(hash) ON DELETE CASCADE,
        replicates INTEGER NOT NULL,
        generation INTEGER NOT NULL,     -- the higher of a workspace's two is the primary slot
        placed_at TEXT NOT NULL,
        PRIMARY KEY (workspace, hash)
    ) STRICT
    """,
    "CREATE INDEX results_by_use ON results(used_at)",
    "CREATE INDEX slots_by_hash ON slots(hash)",
    """
    CREATE VIEW stored_results AS
    SELECT hash, simulation, seed, parameters, replicates, stored_bytes, created_at, used_at
    FROM results ORDER BY used_at DESC
    """,
    """
    CREATE VIEW stored_slots AS
    SELECT workspace,
           CASE row_number() OVER (PARTITION BY workspace ORDER BY generation DESC)
               WHEN 1 THEN 'primary' ELSE 'secondary' END AS slot,
           slots.hash, simulation, seed, parameters, slots.replicates, generation, placed_at
    FROM slots JOIN results USING (hash) ORDER BY workspace, generation DESC
    """,
)
