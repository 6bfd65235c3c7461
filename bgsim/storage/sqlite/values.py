"""Large values of parameters in the file: each once, for all rows that refer to it.

A value stays while a row of `TABLES` refers to it. `sweep` deletes the others, before results are evicted and when the
writer is idle.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from bgsim.storage import bulk, large_values
from bgsim.storage.large_values import MARK
from bgsim.storage.points import point_of

_TABLES_OF_VERSION_4 = ("results", "requests", "dead_letters", "schedules")

TABLES = (*_TABLES_OF_VERSION_4, "jobs")
"""Tables whose column `parameters` may refer to values."""

REFERS = f"instr(parameters, '{MARK}')"
"""True of a row that does; an index has these rows of the results, and one of the jobs."""

_MOST_CHARACTERS = 10**9
"""Of whole parameters: SQLite stores no longer text."""


def write(connection: sqlite3.Connection, values: Mapping[str, str]) -> None:
    """Add values by their digests, unless they are there."""
    bulk.insert(connection, "INSERT OR IGNORE INTO parameter_values (digest, value)", list(values.items()))


class Values:
    """Makes parameters whole again, and reads each value once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._found: dict[str, str] = {}

    def whole(self, short: Any) -> Any:
        """Return the whole text of parameters; a value that is missing leaves its reference.

        What is no text, in a damaged file, is returned as it is.

        Raises
        ------
        sqlite3.Error, UnicodeDecodeError
        """
        if not isinstance(short, str) or MARK not in short:
            return short
        digests = large_values.digests(short)
        if sum(len(self._value(digest)) for digest in digests) > _MOST_CHARACTERS:
            return short
        return large_values.whole(short, self._value)

    def size_bytes(self, short: str) -> int:
        """Return about how many bytes the values of these parameters take, also if other rows share them."""
        return sum(len(self._value(digest)) for digest in large_values.digests(short))

    def _value(self, digest: str) -> str:
        if digest not in self._found:
            row = self._connection.execute("SELECT value FROM parameter_values WHERE digest = ?", (digest,)).fetchone()
            is_text = row is not None and isinstance(row[0], str)
            self._found[digest] = row[0] if is_text else f'{MARK}{digest}"}}'
        return self._found[digest]


def sweep(connection: sqlite3.Connection) -> None:
    """Delete the values that no row refers to."""
    stored = {row[0] for row in connection.execute("SELECT digest FROM parameter_values")}
    for table in TABLES:
        if not stored:
            return
        for (short,) in connection.execute(f"SELECT parameters FROM {table} WHERE {REFERS}"):
            stored.difference_update(large_values.digests(short))
    bulk.for_keys(connection, "DELETE FROM parameter_values WHERE digest IN", list(stored))


def sweep_alone(connection: sqlite3.Connection) -> None:
    """Sweep in a transaction of its own, which fails if another connection writes meanwhile.

    Raises
    ------
    sqlite3.Error
    """
    connection.execute("BEGIN")
    try:
        sweep(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def move_all(connection: sqlite3.Connection) -> None:
    """Move the large values of a file of version 3 into their table, and give each result its point."""
    for table in _TABLES_OF_VERSION_4:
        found = connection.execute(f"SELECT rowid FROM {table}").fetchall()
        for (rowid,) in found:
            (text,) = connection.execute(f"SELECT parameters FROM {table} WHERE rowid = ?", (rowid,)).fetchone()
            short, values = large_values.shortened(text)
            if values:
                write(connection, values)
                connection.execute(f"UPDATE {table} SET parameters = ? WHERE rowid = ?", (short, rowid))
            if table == "results":
                _set_point(connection, rowid, short)


def _set_point(connection: sqlite3.Connection, rowid: int, short: str) -> None:
    simulation, fingerprint, seed = connection.execute(
        "SELECT simulation, fingerprint, seed FROM results WHERE rowid = ?", (rowid,)
    ).fetchone()
    point = point_of(simulation, fingerprint, seed, short)
    connection.execute("UPDATE results SET shape = ?, point = ? WHERE rowid = ?", (*point, rowid))
