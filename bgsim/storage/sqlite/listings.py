"""What a store's file holds, listed by sqlite-utils: for people and the command line, not for the engine.

sqlite-utils takes longer to import than NumPy, so it is imported when a whole list is asked for. What describes a few
results answers a question at once, and does without it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from bgsim.environment import joined
from bgsim.errors import StoreError
from bgsim.storage.codec.segments import check_types
from bgsim.storage.codec.tallies import FORMS
from bgsim.storage.records import OutputSummary, Record, StoredResult
from bgsim.storage.sqlite import tables
from bgsim.storage.sqlite.values import Values

if TYPE_CHECKING:
    from sqlite_utils import Database


Listed: TypeAlias = tuple[list[StoredResult], dict[str, str]]
"""Results, and, by hash, why others cannot be read."""


def list_results(connection: sqlite3.Connection, rowids: Sequence[int] | None = None) -> Listed:
    """Return what is stored, the last used first, and, by hash, why some of it cannot be read.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a transaction, so that all tables are of one moment.
    rowids : sequence of int, optional
        List these results alone, at most a hundred.
    """
    if rowids is None:
        query = _database(connection).query
        rows, hashes, some = list(query(f"{tables.READ_RESULTS} {_ORDER}")), [], ""
        outputs: Iterable[dict[str, Any]] = query(tables.READ_OUTPUTS)
    else:
        query = partial(_rows, connection)
        rows = list(query(f"{tables.READ_RESULTS} WHERE rowid IN ({_places(rowids)}) {_ORDER}", rowids))
        hashes = [row["hash"] for row in rows]
        some = f"AND hash IN ({_places(hashes)})"
        outputs = (row for each in hashes for row in query(tables.READ_OUTPUTS_OF, (each,)))
    summaries, unreadable = _summaries(outputs)
    runs: dict[str, list[tuple[int, str]]] = {}
    keeps: dict[str, str] = {}
    blocks = f"SELECT hash, count, versions, filter FROM blocks WHERE position = 0 {some} ORDER BY hash, first"
    for owner, count, versions, kind in connection.execute(blocks, hashes):
        if type(count) is int and type(versions) is str:
            runs.setdefault(owner, []).append((count, versions))
            keeps[owner] = "summary" if kind in FORMS else "columns"
        else:
            unreadable[owner] = "what computed it cannot be read"
    parts = {row["fingerprint"]: tables.read_parts(connection, row["fingerprint"]) for row in rows}
    found, values = [], Values(connection)
    for row in rows:
        owner = row["hash"]
        if owner in unreadable:
            continue
        row["parameters"] = values.whole(row["parameters"])
        try:
            check_types(tuple(row.values()), _TYPES)
            int(row["seed"])
            described = {name: row.pop(name) for name in ("replicates", "stored_bytes", "created_at", "used_at")}
            described |= {"summary": summaries.get(owner, {}), "versions": joined(runs.get(owner, ()))}
            described["keep"] = keeps.get(owner, "columns")
            record = Record(**row, parts=parts[row["fingerprint"]])
            found.append(StoredResult(record, record.values(), **described))
        except (StoreError, ValueError) as error:
            unreadable[owner] = str(error)
    return found, unreadable


def list_workspaces(connection: sqlite3.Connection) -> list[str]:
    """Return the workspaces that have a slot in use, sorted."""
    rows = _database(connection).table("slots").rows_where(select="DISTINCT workspace", order_by="workspace")
    return [row["workspace"] for row in rows if isinstance(row["workspace"], str)]


_TYPES = (*(str,) * 6, int, int, str, str)
"""Of the columns of `READ_RESULTS`."""

_ORDER = "ORDER BY used_at DESC, rowid DESC"


def _places(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _database(connection: sqlite3.Connection) -> Database:
    from sqlite_utils import Database  # noqa: PLC0415 - takes longer to import than NumPy

    return Database(connection, recursive_triggers=False, execute_plugins=False)


def _rows(connection: sqlite3.Connection, query: str, arguments: Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
    """Return rows by the names of their columns."""
    rows = connection.execute(query, arguments)
    names = [column[0] for column in rows.description]
    return (dict(zip(names, row, strict=True)) for row in rows)


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
