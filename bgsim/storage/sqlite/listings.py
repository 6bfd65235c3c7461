"""What a store's file holds, listed: for people and the command line, not for the engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bgsim.environment import joined
from bgsim.errors import StoreError
from bgsim.storage.records import OutputSummary, Record, StoredResult
from bgsim.storage.sqlite import tables
from bgsim.storage.sqlite.values import Values


def list_results(
    connection: sqlite3.Connection, rowids: Sequence[int] | None = None
) -> tuple[list[StoredResult], dict[str, str]]:
    """Return what is stored, the last used first, and, by hash, why some of it cannot be read.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a transaction, so that all tables are of one moment.
    rowids : sequence of int, optional
        List these results alone, at most a hundred.
    """
    some = "" if rowids is None else f"WHERE rowid IN ({', '.join('?' * len(rowids))})"
    rows = list(_rows(connection, f"{tables.READ_RESULTS} {some} ORDER BY used_at DESC, rowid DESC", rowids or ()))
    hashes = None if rowids is None else [row["hash"] for row in rows]
    summaries, unreadable = _summaries(_outputs(connection, hashes))
    runs: dict[str, list[tuple[int, str]]] = {}
    some = "" if hashes is None else f"AND hash IN ({', '.join('?' * len(hashes))})"
    blocks = f"SELECT hash, count, versions FROM blocks WHERE position = 0 {some} ORDER BY hash, first"
    for owner, count, versions in connection.execute(blocks, hashes or ()):
        runs.setdefault(owner, []).append((count, versions))
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
    return [row[0] for row in connection.execute("SELECT DISTINCT workspace FROM slots ORDER BY workspace")]


def _outputs(connection: sqlite3.Connection, hashes: list[str] | None) -> Iterator[dict[str, Any]]:
    """Return the statistics of these results' outputs, or of all."""
    if hashes is None:
        yield from _rows(connection, tables.READ_OUTPUTS)
    else:
        for each in hashes:
            yield from _rows(connection, tables.READ_OUTPUTS_OF, (each,))


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
