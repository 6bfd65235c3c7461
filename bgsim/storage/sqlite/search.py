"""The search for similar parameters in a store's file, by its index of points."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import numpy as np

from bgsim.parameters.nesting import read_json
from bgsim.storage.nearest import Group, Wanted, nearest
from bgsim.storage.points import MOST_FIELDS, code_word

MOST_SHAPES = 1000
"""Sets of names, of all simulations, that are looked at."""

_SHAPES = """
WITH RECURSIVE shapes(shape) AS (
    SELECT min(shape) FROM results
    UNION ALL
    SELECT (SELECT min(shape) FROM results WHERE shape > shapes.shape) FROM shapes WHERE shape IS NOT NULL
)
SELECT shapes.shape, simulation, parameters FROM shapes JOIN results
ON results.rowid = (SELECT rowid FROM results WHERE shape = shapes.shape LIMIT 1)
"""
"""One result of each shape, each found with one look at the index."""

_POINTS = """
SELECT group_concat(id), CAST(group_concat(CAST(point AS TEXT), '') AS BLOB)
FROM (SELECT rowid AS id, point FROM results WHERE shape = ? AND length(point) = ? AND typeof(point) = 'blob')
"""
"""All points of a shape at once: a row each would take Python longer than SQLite."""

_SEED = (1 << 64) - 1


def similar(connection: sqlite3.Connection, wanted: Wanted) -> list[int]:
    """Return the row ids of the results among which is the most similar one; see `bgsim.storage.nearest`.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a transaction.
    wanted : Wanted
    """

    def last_used(ids: set[int]) -> int:
        rows = connection.execute("SELECT rowid FROM results ORDER BY used_at DESC, rowid DESC")
        found: int = next(row[0] for row in rows if row[0] in ids)
        return found

    return nearest(wanted, _groups(connection, wanted), last_used)


def shapes(connection: sqlite3.Connection) -> Iterator[tuple[int, str, list[str]]]:
    """Yield each shape, its simulation, and the sorted names of its parameters; see `bgsim.storage.points`."""
    for shape, simulation, short in connection.execute(_SHAPES).fetchall():
        with suppress(ValueError, TypeError):  # damage
            yield shape, str(simulation), sorted(read_json(short))


def _groups(connection: sqlite3.Connection, wanted: Wanted) -> Iterator[Group]:
    for shape, simulation, names in islice(shapes(connection), MOST_SHAPES):
        if wanted.simulation not in (None, simulation):
            continue
        width = 2 + min(len(names), MOST_FIELDS)
        ids, data = connection.execute(_POINTS, (shape, 8 * width)).fetchone()
        if ids is None:
            continue
        points = np.frombuffer(data, np.uint64).reshape(-1, width)
        same_code = points[:, 0] == np.uint64(code_word(wanted.fingerprint or ""))
        same_seed = (points[:, 1] == np.uint64((wanted.seed or 0) & _SEED)) & (wanted.seed is not None)
        columns = [np.ascontiguousarray(points[:, 2 + n]) for n in range(width - 2)]
        yield Group(names, columns, same_code, same_seed, np.fromstring(ids, np.int64, sep=","))
