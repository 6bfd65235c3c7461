"""The tables of the store's file, and the way from an older form of them to this one."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

APPLICATION_ID = 0x42475349
"""Bytes 68 to 71 of the file: ``BGSI``."""

SCHEMA_VERSION = 1

MIGRATIONS: dict[int, tuple[str, ...]] = {}
"""From a schema version, the statements that lead to the next one."""

PAGE_BYTES = 8192
"""Twice SQLite's: large blobs are read and written faster, small results are no slower."""


def create(connection: sqlite3.Connection) -> bool:
    """Make the tables in an empty file, in one transaction; another process may be doing the same.

    Return False, having done nothing, if the file has tables and no version.

    It is done before the file goes over to WAL, so that its first bytes name us from the first commit on.
    """
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is written, or it has no effect
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0]:
        connection.execute("ROLLBACK")
        return True
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        connection.execute("ROLLBACK")
        return False
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
    return True


def migrate(connection: sqlite3.Connection, path: Path) -> Path:
    """Bring an older file to this schema in one transaction, having copied it; return the copy's path.

    If another process has done it meanwhile, the copy is of what that left.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    copy = path.with_name(f"{path.name}.schema-{version}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    target = sqlite3.connect(copy)
    try:
        connection.backup(target)
    finally:
        target.close()
    connection.execute("BEGIN IMMEDIATE")
    try:
        now = connection.execute("PRAGMA user_version").fetchone()[0]
        for step in range(now, SCHEMA_VERSION):
            for statement in MIGRATIONS[step]:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return copy


_TABLES = (
    """
    CREATE TABLE results (
        hash TEXT PRIMARY KEY,           -- the first 32 digits of identity
        identity TEXT NOT NULL,          -- SHA-256 of all that the result depends on
        simulation TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        seed TEXT NOT NULL,              -- decimal; of any size
        parameters TEXT NOT NULL,        -- JSON
        checksum INTEGER NOT NULL,       -- CRC-32 of the columns above
        outputs INTEGER NOT NULL,        -- how many columns
        replicates INTEGER NOT NULL,     -- stored, from 0 on
        stored_bytes INTEGER NOT NULL,
        created_at TEXT NOT NULL,        -- ISO-8601, UTC, as all times here
        used_at TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE blocks (
        hash TEXT NOT NULL REFERENCES results(hash) ON DELETE CASCADE,
        position INTEGER NOT NULL,       -- of the output among the simulation's
        first INTEGER NOT NULL,          -- index of the first replicate
        count INTEGER NOT NULL,          -- replicates in this block
        name TEXT NOT NULL,              -- of the output
        dtype TEXT NOT NULL,
        shape TEXT NOT NULL,             -- JSON, replicates first
        filter TEXT NOT NULL,            -- none, shuffle, bits
        raw_bytes INTEGER NOT NULL,
        checksum INTEGER NOT NULL,       -- CRC-32 of the description and the raw bytes
        mean REAL,                       -- of real scalar outputs, as are the next three
        squares REAL,                    -- sum of the squared differences from the mean
        minimum REAL,
        maximum REAL,
        data BLOB NOT NULL,              -- a zstd frame
        PRIMARY KEY (hash, position, first)
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
    """
    CREATE TABLE damaged (               -- what a checksum has refused; the result itself is gone
        found_at TEXT NOT NULL,
        hash TEXT NOT NULL,
        simulation TEXT NOT NULL,
        parameters TEXT NOT NULL,
        replicates INTEGER NOT NULL,
        reason TEXT NOT NULL
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
    CREATE VIEW stored_outputs AS
    WITH means AS (
        SELECT hash, position, sum(count * mean) / sum(count) AS mean FROM blocks GROUP BY hash, position
    )
    SELECT hash, blocks.position, name, dtype, sum(count) AS replicates, means.mean AS mean,
           sum(squares + count * (blocks.mean - means.mean) * (blocks.mean - means.mean))
               / nullif(sum(count) - 1, 0) AS variance,
           min(minimum) AS minimum, max(maximum) AS maximum,
           sum(raw_bytes) AS raw_bytes, sum(length(data)) AS stored_bytes
    FROM blocks JOIN means USING (hash, position) GROUP BY hash, blocks.position ORDER BY hash, blocks.position
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
