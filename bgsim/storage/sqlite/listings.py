"""What a store's file holds, listed by sqlite-utils: for people and the command line, not for the engine.

sqlite-utils takes longer to import than NumPy, so this module is imported when a list is asked for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from sqlite_utils import Database

from bgsim.environment import joined
from bgsim.errors import StoreError
from bgsim.storage.records import OutputSummary, Record, StoredResult
from bgsim.storage.sqlite import tables
from bgsim.storage.sqlite.values import Values


def list_results(
    connection: sqlite3.Connection, result_hash: str | None = None
) -> tuple[list[StoredResult], dict[str, str]]:
    """Return what is stored, the last used first, and, by hash, why some of it cannot be read.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a transaction, so that all tables are of one moment.
    result_hash : str, optional
        List this result alone.
    """
    db = _database(connection)
    where, arguments = ("", []) if result_hash is None else ("WHERE hash = ?", [result_hash])
    rows = list(db.query(f"{tables.READ_RESULTS} {where} ORDER BY used_at DESC, rowid DESC", arguments))
    summaries, unreadable = _summaries(db.query(f"{tables.READ_OUTPUTS} {where}", arguments))
    runs: dict[str, list[tuple[int, str]]] = {}
    where, arguments = ("position = 0", []) if result_hash is None else ("position = 0 AND hash = ?", [result_hash])
    for row in db.table("blocks").rows_where(where, arguments, "hash, first", "hash, count, versions"):
        runs.setdefault(row["hash"], []).append((row["count"], row["versions"]))
    parts = {row["fingerprint"]: tables.read_parts(connection, row["fingerprint"]) for row in rows}
    found, values = [], Values(connection)
    for row in rows:
        row["parameters"] = values.whole(row["parameters"])
        described = {name: row.pop(name) for name in ("replicates", "stored_bytes", "created_at", "used_at")}
        record = Record(**row, parts=parts[row["fingerprint"]])
        described |= {"summary": summaries.get(record.hash, {}), "versions": joined(runs.get(record.hash, ()))}
        try:
            found.append(StoredResult(record, record.values(), **described))
        except StoreError as error:
            unreadable[record.hash] = str(error)
    return found, unreadable


def list_workspaces(connection: sqlite3.Connection) -> list[str]:
    """Return the workspaces that have a slot in use, sorted."""
    rows = _database(connection).table("slots").rows_where(select="DISTINCT workspace", order_by="workspace")
    return [row["workspace"] for row in rows]


def _database(connection: sqlite3.Connection) -> Database:
    return Database(connection, recursive_triggers=False, execute_plugins=False)


def _summaries(
    outputs: Iterable[dict[str, Any]],
) -> tuple[dict[str, dict[str, OutputSummary]], dict[str, str]]:
    """Return the summaries of rows of the view `stored_outputs`, by hash and name, and why some cannot be read."""
    summaries: dict[str, dict[str, OutputSummary]] = {}
    unreadable = {}
    for row in outputs:
        owner, name = row["hash"], row["name"]
        try:
            summaries.setdefault(owner, {})[name] = _summary(**row)
        except (TypeError, ValueError) as error:  # damage: a number is something else, or negative
            unreadable[owner] = f"the summary of {name!r} cannot be read: {error}"
    return summaries, unreadable


def _summary(
    *, dtype: str, replicates: int, mean: float | None, variance: float | None, minimum: Any, maximum: Any, **_: Any
) -> OutputSummary:
    squares = None if variance is None else variance * (replicates - 1)
    return OutputSummary.of(dtype, replicates, mean, squares, minimum, maximum)
