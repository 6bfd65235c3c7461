"""Operations on the tables; each takes a connection that is in a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bgsim.errors import DamagedResultError, StoreError
from bgsim.parameters.nesting import read_json
from bgsim.storage import bulk
from bgsim.storage.codec import segments
from bgsim.storage.codec.codec import parse_dtype
from bgsim.storage.codec.columns import ROWS, Columns, is_cut_at, kinds, other_columns
from bgsim.storage.codec.tallies import FORMS
from bgsim.storage.large_values import shortened
from bgsim.storage.points import point_of
from bgsim.storage.records import Record, checked_parts
from bgsim.storage.slots import Slot, SlotPair, pair_of
from bgsim.storage.sqlite import values
from bgsim.storage.times import now_text, time_text

RECORD = "hash, identity, simulation, fingerprint, seed, parameters"
"""The columns of a `Record`, in its order."""

READ_RESULTS = f"SELECT {RECORD}, replicates, stored_bytes, created_at, used_at FROM results"

READ_OUTPUTS = "SELECT hash, name, dtype, replicates, mean, variance, minimum, maximum FROM stored_outputs"
"""The statistics of each output."""

READ_OUTPUTS_OF = """
WITH means AS (
    SELECT position, sum(count * mean) / sum(count) AS mean FROM blocks WHERE hash = ?1 GROUP BY position
)
SELECT hash, name, dtype, sum(count) AS replicates, means.mean AS mean,
       sum(squares + count * (blocks.mean - means.mean) * (blocks.mean - means.mean))
           / nullif(sum(count) - 1, 0) AS variance,
       min(minimum) AS minimum, max(maximum) AS maximum
FROM blocks JOIN means USING (position) WHERE hash = ?1 GROUP BY blocks.position ORDER BY blocks.position
"""
"""The same of one result: SQLite would make the view's means of all of them."""

ROW_BYTES = 300
"""About what a row takes beside the bytes that it holds, with its entries in indices."""

_DAMAGED_KEPT = 100
"""Notes of damaged results that are kept."""


@dataclass(frozen=True, slots=True)
class NewResult:
    """A result to be written: all its columns, the encoded rows of its new replicates, and its large parameters.

    Attributes
    ----------
    record : Record
    columns : Columns
    new : Segments
    short : str
        The short text of the parameters; see `bgsim.storage.large_values`.
    values : dict of str to str
        Its large values by their digests.
    point : (int, bytes)
        See `bgsim.storage.points`.
    is_computed : bool
        Whether it was computed here, and so replaces a stored one whose columns are others.
    """

    record: Record
    columns: Columns
    new: segments.Segments
    short: str
    values: dict[str, str]
    point: tuple[int | None, bytes | None]
    is_computed: bool = False

    @classmethod
    def of(cls, record: Record, columns: Columns, held: int = 0, *, is_computed: bool = False) -> NewResult:
        """Encode a result of which some replicates are held to be stored.

        Raises
        ------
        StoreError
            If the columns or parameters cannot be stored.
        """
        new = segments.split(columns, held, record.hash)
        short, values = shortened(record.parameters)
        point = point_of(record.simulation, record.fingerprint, record.seed, short)
        return cls(record, columns, new, short, values, point, is_computed)

    @property
    def replicates(self) -> int:
        """Number of replicates."""
        return len(next(iter(self.columns.values())))

    @property
    def row(self) -> tuple[Any, ...]:
        """The row of the table, without the times."""
        record, described = self.record, (len(self.columns), self.replicates, self.new.size_bytes)
        return (*record.row[:-1], self.short, record.checksum, *described, *self.point)

    @property
    def size_bytes(self) -> int:
        """About how much of the file it takes."""
        parameters = len(self.short) + sum(map(len, self.values.values()))
        return self.new.size_bytes + parameters + ROW_BYTES * (1 + len(self.new.rows))


def write_results(connection: sqlite3.Connection, results: Sequence[NewResult]) -> list[int]:
    """Add results, or their new replicates; results of which nothing is stored are added together.

    The rows are encoded again if they do not follow the stored ones, because another process has extended or evicted
    the result since. Tallies that cannot follow the stored ones, since those end within one, replace them.

    Returns
    -------
    list of int
        Bytes added by each.

    Raises
    ------
    StoreError
        If another result is stored under the hash, or this one with other columns and the new ones were not computed.
    """
    fresh: dict[str, NewResult] = {}
    if len(results) > 1:
        stored = bulk.for_keys(connection, "SELECT hash FROM results WHERE hash IN", [r.record.hash for r in results])
        known = {row[0] for row in stored}
        for result in results:
            if not result.new.first and result.record.hash not in known:
                fresh.setdefault(result.record.hash, result)
        times = (now_text(),) * 2
        values.write(connection, {d: v for result in fresh.values() for d, v in result.values.items()})
        bulk.insert(connection, _INSERT_RESULT, [(*result.row, *times) for result in fresh.values()])
        bulk.insert(connection, segments.INSERT, [row for result in fresh.values() for row in result.new.rows])
    return [
        result.new.size_bytes if fresh.get(result.record.hash) is result else _write_result(connection, result)
        for result in results
    ]


def _write_result(connection: sqlite3.Connection, result: NewResult) -> int:
    record, columns, new = result.record, result.columns, result.new
    if not new.first and _insert(connection, result, "NOTHING"):
        return new.size_bytes
    row = connection.execute(
        "SELECT identity, replicates, stored_bytes FROM results WHERE hash = ?", (record.hash,)
    ).fetchone()
    if row is not None and row[0] != record.identity:
        raise StoreError(f"another result is stored under the hash {record.hash}; it is kept, this one is not stored")
    held, freed = (row[1], 0) if row is not None else (0, 0)
    if row is not None and not _is_alike(connection, record.hash, columns, held):
        if not result.is_computed:
            raise other_columns(record.hash)
        _empty(connection, result)
        held, freed = 0, row[2]
    if held >= result.replicates:
        return 0
    if held and not is_cut_at(columns, held):
        _empty(connection, result)
        held, freed = 0, row[2]
    if held != new.first:
        new = segments.split(columns, held, record.hash)
    _insert(connection, replace(result, new=new), _EXTEND)
    return new.size_bytes - freed


_NEW = f"{RECORD}, checksum, outputs, replicates, stored_bytes, shape, point, created_at, used_at"
_INSERT_RESULT = f"INSERT INTO results ({_NEW})"
_EXTEND = (
    "UPDATE SET replicates = excluded.replicates, stored_bytes = stored_bytes + excluded.stored_bytes, "
    "used_at = excluded.used_at"
)


def _insert(connection: sqlite3.Connection, result: NewResult, where_it_is: str) -> bool:
    """Add a result's rows; return False if it is stored and `where_it_is` says to do nothing."""
    now = now_text()
    values.write(connection, result.values)
    done = connection.execute(
        f"{_INSERT_RESULT} VALUES ({', '.join('?' * 14)}) ON CONFLICT (hash) DO {where_it_is}",
        (*result.row, now, now),
    ).rowcount
    if done:
        bulk.insert(connection, segments.INSERT, result.new.rows)
    return done > 0


def _is_alike(connection: sqlite3.Connection, result_hash: str, columns: Columns, held: int) -> bool:
    """Tell whether a result's blocks hold columns of these names, dtypes, shapes and forms, and what it claims."""
    rows = connection.execute(
        "SELECT name, dtype, shape, filter, min(first), sum(count) FROM blocks WHERE hash = ? GROUP BY position "
        "ORDER BY position",
        (result_hash,),
    ).fetchall()  # name, dtype, shape and filter are those of the first block
    try:
        found = [
            (name, parse_dtype(dtype).newbyteorder("="), segments.shape_of(shape)[1:], kind if kind in FORMS else ROWS)
            for name, dtype, shape, kind, *_ in rows
        ]
    except DamagedResultError:
        return False
    return found == kinds(columns) and all(row[4:] == (0, held) for row in rows)


def _empty(connection: sqlite3.Connection, result: NewResult) -> None:
    """Take all columns from a stored result that this one replaces in this transaction."""
    owner, outputs, replicates = result.record.hash, len(result.columns), result.replicates
    connection.execute("DELETE FROM blocks WHERE hash = ?", (owner,))
    connection.execute(
        "UPDATE results SET outputs = ?, replicates = 0, stored_bytes = 0 WHERE hash = ?", (outputs, owner)
    )
    cut_slots(connection, owner, replicates)


def write_identities(connection: sqlite3.Connection, parts: Mapping[str, Mapping[str, str]]) -> None:
    """Add what fingerprints were made of, unless it is stored. Each needs a result."""
    rows = [(fingerprint, json.dumps(dict(content))) for fingerprint, content in parts.items()]
    bulk.insert(connection, "INSERT OR IGNORE INTO identities (fingerprint, parts)", rows)


def write_times(connection: sqlite3.Connection, result_hash: str, created_at: str, used_at: str) -> None:
    """Set when a result was first stored, and last used."""
    connection.execute(
        "UPDATE results SET created_at = ?, used_at = ? WHERE hash = ?", (created_at, used_at, result_hash)
    )


def read_parts(connection: sqlite3.Connection, fingerprint: str) -> dict[str, str]:
    """Return what a fingerprint was made of, empty if that is unknown or invalid."""
    row = connection.execute("SELECT parts FROM identities WHERE fingerprint = ?", (fingerprint,)).fetchone()
    try:
        return checked_parts(read_json(row[0])) if row is not None else {}
    except (ValueError, TypeError):
        return {}


def is_stored(connection: sqlite3.Connection, result_hash: str) -> bool:
    """Tell whether there is a result of this hash."""
    return connection.execute("SELECT 1 FROM results WHERE hash = ?", (result_hash,)).fetchone() is not None


def forget_damaged(connection: sqlite3.Connection) -> None:
    """Delete the notes of damaged results."""
    connection.execute("DELETE FROM damaged")


def set_aside(connection: sqlite3.Connection, result_hash: str, reason: str) -> None:
    """Delete a damaged result, and leave a note of it."""
    connection.execute(
        "INSERT INTO damaged SELECT ?, hash, simulation, parameters, replicates, ? FROM results WHERE hash = ?",
        (now_text(), reason, result_hash),
    )
    connection.execute("DELETE FROM damaged WHERE rowid <= (SELECT max(rowid) FROM damaged) - ?", (_DAMAGED_KEPT,))
    for table in ("slots", "blocks", "results"):  # each by itself: the row they refer to may be damaged
        connection.execute(f"DELETE FROM {table} WHERE hash = ?", (result_hash,))


def read_slots(connection: sqlite3.Connection, workspace: str) -> SlotPair:
    """Return a workspace's slots; without those that make no sense, in a damaged file."""
    rows = connection.execute(
        "SELECT hash, replicates, generation, placed_at FROM slots WHERE workspace = ?", (workspace,)
    )
    return pair_of([Slot(*row) for row in rows if tuple(map(type, row)) == (str, int, int, str)])


def write_slots(connection: sqlite3.Connection, workspace: str, pair: SlotPair) -> None:
    """Replace a workspace's slots."""
    connection.execute("DELETE FROM slots WHERE workspace = ?", (workspace,))
    connection.executemany(
        "INSERT INTO slots (workspace, hash, replicates, generation, placed_at) VALUES (?, ?, ?, ?, ?)",
        [(workspace, s.hash, s.replicates, s.generation, s.placed_at) for s in pair],
    )


def cut_slots(connection: sqlite3.Connection, result_hash: str, replicates: int) -> None:
    """Have no slot hold more replicates of a result than these."""
    connection.execute("UPDATE slots SET replicates = min(replicates, ?) WHERE hash = ?", (replicates, result_hash))


def pinned(connection: sqlite3.Connection) -> set[str]:
    """Return the hashes that slots point at."""
    return {row[0] for row in connection.execute("SELECT DISTINCT hash FROM slots")}


def write_uses(connection: sqlite3.Connection, used: Mapping[str, float]) -> None:
    """Write when results were last used, in seconds since the epoch."""
    connection.executemany(
        "UPDATE results SET used_at = max(used_at, ?) WHERE hash = ?",
        [(time_text(seconds), result_hash) for result_hash, seconds in used.items()],
    )
