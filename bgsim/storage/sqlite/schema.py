"""The tables of the store's file, and the migrations from older schemas.

A new file and a migrated one have the same schema to the byte, comments included. So the statements stand here as text:
sqlite-utils quotes and formats its own, and leaves comments out.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from bgsim.storage import history_schema
from bgsim.storage.sqlite import values
from bgsim.storage.sqlite.permissions import make_like
from bgsim.threads.signals import HOLD

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x42475349
"""Bytes 68 to 71 of the file: ``BGSI``."""

SCHEMA_VERSION = 6

PAGE_BYTES = 8192
"""Twice SQLite's: large blobs are read and written faster, small results are no slower."""


def create(connection: sqlite3.Connection) -> bool:
    """Make the tables in an empty file, in one transaction; another process may do the same.

    Return False, and change nothing, if the file has tables and no version.

    The file is not in WAL mode yet, so that from the first commit on its header holds our application id. Signal
    handlers wait: a transaction that one of them ended would leave a file with the header of nobody.
    """
    with HOLD:
        return _create(connection)


def _create(connection: sqlite3.Connection) -> bool:
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
    for statement in chain.from_iterable(STATEMENTS):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
    return True


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring an older file to this schema in one transaction, having copied it beside itself.

    Of several processes one does it, and the others wait.
    """
    from sqlite_utils import Database  # noqa: PLC0415 - takes longer to import than NumPy, and few files are older

    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version < SCHEMA_VERSION:
            _copy(path, version)
            database = Database(connection, recursive_triggers=False, execute_plugins=False)
            for step in range(version, SCHEMA_VERSION):
                MIGRATIONS[step](database)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _copy(path: Path, version: int) -> None:
    """Copy the last committed state of the file, under a name of its own."""
    copy = path.with_name(f"{path.name}.schema-{version}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    try:
        copy.unlink(missing_ok=True)  # of a process that was interrupted
        make_like(path, copy)
    except OSError as error:
        raise sqlite3.OperationalError(f"its copy {copy.name} cannot be made: {error.strerror}") from error
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


_RESULTS = (
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

_JOURNAL = (
    """
    CREATE TABLE owners (                -- engines that have registered and were not released
        owner TEXT PRIMARY KEY,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        process_start TEXT NOT NULL,     -- tells it from a later process of this number; empty where unknown
        heartbeat_at TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE requests (              -- asked for, and not ended
        id TEXT PRIMARY KEY,
        simulation TEXT NOT NULL,
        parameters TEXT NOT NULL,        -- JSON, as in results
        seed TEXT NOT NULL,
        replicates INTEGER NOT NULL,
        options TEXT NOT NULL,           -- a JSON object: what submit was told besides
        submitted_at TEXT NOT NULL,
        started INTEGER NOT NULL,        -- 1 once it runs
        crashes INTEGER NOT NULL,        -- owners that died while it ran
        owner TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE dead_letters (          -- failed for good
        id TEXT PRIMARY KEY,
        simulation TEXT NOT NULL,
        parameters TEXT NOT NULL,
        seed TEXT NOT NULL,
        replicates INTEGER NOT NULL,
        options TEXT NOT NULL,
        submitted_at TEXT NOT NULL,
        failed_at TEXT NOT NULL,
        attempts TEXT NOT NULL           -- a JSON list of {at, error, traceback}
    ) STRICT
    """,
    """
    CREATE TABLE schedules (             -- asked for again and again
        name TEXT PRIMARY KEY,
        simulation TEXT NOT NULL,
        parameters TEXT NOT NULL,
        seed TEXT NOT NULL,
        replicates INTEGER NOT NULL,
        options TEXT NOT NULL,
        cron TEXT NOT NULL,
        timezone TEXT NOT NULL,
        misfire TEXT NOT NULL,           -- what is done about a time that was missed
        paused INTEGER NOT NULL,
        last_run_at TEXT,                -- the due time that was run last
        created_at TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX requests_by_owner ON requests(owner)",
    """
    CREATE VIEW pending_requests AS
    SELECT id, simulation, parameters, seed, replicates, options, submitted_at,
           CASE started WHEN 1 THEN 'running' ELSE 'waiting' END AS state, crashes, owner, host, pid, heartbeat_at
    FROM requests LEFT JOIN owners USING (owner) ORDER BY submitted_at
    """,
    """
    CREATE VIEW failed_requests AS
    SELECT id, simulation, parameters, seed, replicates, options, submitted_at, failed_at,
           json_array_length(attempts) AS attempts, json_extract(attempts, '$[#-1].error') AS last_error
    FROM dead_letters ORDER BY failed_at DESC
    """,
    """
    CREATE VIEW scheduled_requests AS
    SELECT name, simulation, parameters, seed, replicates, options, cron, timezone, misfire,
           CASE paused WHEN 1 THEN 'paused' ELSE 'active' END AS state, last_run_at, created_at
    FROM schedules ORDER BY name
    """,
)

_ORIGINS = (
    # NumPy's and numba's that computed the block's rows, such as numpy 2.4.6, numba 0.68.1; empty where unknown
    "ALTER TABLE blocks ADD COLUMN versions TEXT NOT NULL DEFAULT ''",
    """
    CREATE TABLE identities (            -- what the fingerprints of stored results were made of
        fingerprint TEXT PRIMARY KEY,
        parts TEXT NOT NULL              -- a JSON object: the label of each dependency, and a short hash of it
    ) STRICT
    """,
    "CREATE INDEX results_by_fingerprint ON results(fingerprint)",
    """
    CREATE TRIGGER identity_of_no_result AFTER DELETE ON results
    WHEN NOT EXISTS (SELECT 1 FROM results WHERE fingerprint = OLD.fingerprint)
    BEGIN
        DELETE FROM identities WHERE fingerprint = OLD.fingerprint;
    END
    """,
)

_VALUES = (
    """
    CREATE TABLE parameter_values (      -- large values of parameters, each once for all rows that refer to it
        digest TEXT PRIMARY KEY,         -- SHA-256 of the value
        value TEXT NOT NULL              -- JSON; parameters have {"__value__": digest} in its place
    ) STRICT
    """,
    f"CREATE INDEX results_by_value ON results(parameters) WHERE {values.REFERS}",
    # the simulation and the names of the parameters as a number, and the values as words of eight bytes
    "ALTER TABLE results ADD COLUMN shape INTEGER",
    "ALTER TABLE results ADD COLUMN point BLOB",
    "CREATE INDEX results_by_point ON results(shape, point)",
)


_CHECKPOINTS = (
    """
    CREATE TABLE checkpoints (           -- of requests that run long
        id TEXT PRIMARY KEY REFERENCES requests(id) ON DELETE CASCADE,
        stored INTEGER NOT NULL          -- how many of its replicates were in the store
    ) STRICT
    """,
    "DROP VIEW pending_requests",
    """
    CREATE VIEW pending_requests AS
    SELECT id, simulation, parameters, seed, replicates, coalesce(stored, 0) AS stored, options, submitted_at,
           CASE started WHEN 1 THEN 'running' ELSE 'waiting' END AS state, crashes, owner, host, pid, heartbeat_at
    FROM requests LEFT JOIN checkpoints USING (id) LEFT JOIN owners USING (owner) ORDER BY submitted_at
    """,
)


_TALLIES: tuple[str, ...] = ()
"""Blocks of a summary: in the same tables, but a bgsim that does not know them would count them as damaged."""


STATEMENTS = (_RESULTS, _JOURNAL, _ORIGINS, (*_VALUES, *_CHECKPOINTS), history_schema.STATEMENTS, _TALLIES)
"""What each version adds: a file of version n has the entries of the first n."""


def _keep_values_once(database: Database) -> None:
    _execute(STATEMENTS[3], database)
    values.move_all(database.conn)


def _execute(statements: Iterable[str], database: Database) -> None:
    for statement in statements:
        database.execute(statement)


MIGRATIONS: dict[int, Callable[[Database], object]] = {
    1: partial(_execute, _JOURNAL),
    2: partial(_execute, _ORIGINS),
    3: _keep_values_once,
    4: partial(_execute, history_schema.STATEMENTS),
    5: partial(_execute, _TALLIES),
}
"""From a schema version, the step to the next one; a step to a released one never changes.

A step gets a `sqlite_utils.Database` in a transaction with foreign keys on, so `transform` would delete referring rows.
"""
