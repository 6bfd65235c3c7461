"""The search for results by what they are of, in a store's file: by its index of points where parameters count."""

from __future__ import annotations

import sqlite3
from typing import Any

import numpy as np

from bgsim.storage.finding import Query, newest_first
from bgsim.storage.points import MOST_FIELDS
from bgsim.storage.sqlite.listings import Listed, list_results
from bgsim.storage.sqlite.search import shapes

_AT_ONCE = 100
"""Results that are read at a time."""

_ORDER = "ORDER BY created_at DESC, hash"


def find_results(connection: sqlite3.Connection, query: Query) -> Listed:
    """Return the results that a query means, the newest first; see `bgsim.storage.sqlite.listings.list_results`.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a transaction.
    query : Query
    """
    rowids = _by_parameters(connection, query) if query.values else _by_row(connection, query)
    found, unreadable = [], {}
    for start in range(0, len(rowids), _AT_ONCE):
        listed, damaged = list_results(connection, rowids[start : start + _AT_ONCE])
        unreadable.update(damaged)
        found += newest_first(result for result in listed if query.takes(result.parameters))
        if query.limit is not None and len(found) >= query.limit:
            break
    return found, unreadable


def _conditions(query: Query) -> tuple[str, list[Any]]:
    """Return what holds for the columns of a row, without simulation and parameters."""
    text, given = (
        "replicates >= ? AND created_at >= ? AND created_at <= ?",
        [query.replicates, query.since, query.until],
    )
    return (text, given) if query.seed is None else (f"{text} AND seed = ?", [*given, str(query.seed)])


def _by_row(connection: sqlite3.Connection, query: Query) -> list[int]:
    where, given = _conditions(query)
    if query.simulation is not None:
        names = [row[0] for row in connection.execute("SELECT DISTINCT simulation FROM results")]
        meant = [name for name in names if isinstance(name, str) and query.is_of(name)]
        where += f" AND simulation IN ({', '.join('?' * len(meant))})"
        given += meant
    rows = connection.execute(f"SELECT rowid FROM results WHERE {where} {_ORDER}", given)
    return [row[0] for row in rows]


def _by_parameters(connection: sqlite3.Connection, query: Query) -> list[int]:
    """Return the results whose points may be meant."""
    meant = [(shape, names) for shape, simulation, names in shapes(connection) if query.is_of(simulation)]
    query.check_names(name for _, names in meant for name in names)
    where, given = _conditions(query)
    chosen: list[tuple[str, str, int]] = []
    for shape, names in meant:
        if not query.values.keys() <= set(names):
            continue
        width = 2 + min(len(names), MOST_FIELDS)
        rows = connection.execute(
            "SELECT created_at, hash, rowid, point FROM results "
            f"WHERE shape = ? AND length(point) = ? AND typeof(point) = 'blob' AND {where}",
            (shape, 8 * width, *given),
        ).fetchall()
        points = np.frombuffer(b"".join([row[3] for row in rows]), np.uint64).reshape(-1, width)
        may_be = np.ones(len(rows), bool)
        for name, wanted in query.values.items():
            position = names.index(name)
            if position < MOST_FIELDS:
                may_be &= wanted.may_take(np.ascontiguousarray(points[:, 2 + position]))
        chosen += [rows[n][:3] for n in np.flatnonzero(may_be)]
    chosen.sort(key=lambda row: str(row[1]))  # damage may be no text
    chosen.sort(key=lambda row: row[0], reverse=True)
    return [rowid for _, _, rowid in chosen]
