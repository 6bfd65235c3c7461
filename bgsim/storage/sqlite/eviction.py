"""Keeping the file within the limits: what is measured is the pages that it uses.

Pages that eviction frees are used again before the file grows, and are given back when the writer is idle.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field

from bgsim.storage import bulk
from bgsim.storage.limits import Limits
from bgsim.storage.sqlite.tables import ROW_BYTES
from bgsim.storage.sqlite.values import Values, sweep

EMPTY_BYTES = 408 * 2**10
"""About what the file of an empty store takes; that does not count."""

_ROOM = 32
"""Once a store is beyond its limit, eviction goes on until one part in this many of the limit is free."""

_REMOVABLE = "typeof(hash) = 'text' AND NOT EXISTS (SELECT 1 FROM slots WHERE slots.hash = results.hash)"
"""True of a result that is in no slot; damage may have put NULL in the place of a hash, here or among the slots."""

_AGED = f"SELECT hash, CAST(stored_bytes AS INTEGER) FROM results WHERE used_at < ? AND {_REMOVABLE}"

_OLDEST = f"""
SELECT hash, CAST(stored_bytes AS INTEGER), CAST(parameters AS TEXT) FROM results WHERE {_REMOVABLE} ORDER BY used_at
"""

_MEASURE = (
    "SELECT data_version, (page_count - freelist_count) * page_size "
    "FROM pragma_data_version, pragma_page_count, pragma_freelist_count, pragma_page_size"
)


@dataclass(slots=True)
class Evicted:
    """What an eviction has removed.

    Attributes
    ----------
    aged, others : list of str
        Hashes of results that were too old, and of others.
    size_bytes : int
        Their stored bytes.
    left_bytes : int
        What the store takes afterwards.
    """

    aged: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    size_bytes: int = 0
    left_bytes: int = 0


def measure(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return a number that changes when another connection writes, and the bytes of the file beyond an empty store's.

    The number is the connection's own. Pages that are free do not count.
    """
    version, used = connection.execute(_MEASURE).fetchone()
    return version, max(0, used - EMPTY_BYTES)


def evict(
    connection: sqlite3.Connection, limits: Limits, now: float, stored_bytes: int, used: int, kept: Collection[str]
) -> Evicted:
    """Delete the least recently used results beyond the limits, never one in a slot.

    Parameters
    ----------
    connection : sqlite3.Connection
    limits : Limits
    now : float
        Seconds since the epoch.
    stored_bytes : int
        Of all results.
    used : int
        Bytes of the file; see `measure`.
    kept : collection of str
        Hashes that stay.
    """
    done = Evicted()
    rows = connection.execute(_AGED, (limits.oldest(now),)).fetchall()
    _remove(connection, [row for row in rows if row[0] not in kept], done.aged, done)
    done.left_bytes = max(stored_bytes, used)
    if done.aged or done.left_bytes > limits.max_storage_bytes:
        done.left_bytes = _left(connection, stored_bytes, done)
    if done.left_bytes <= limits.max_storage_bytes:
        return done
    goal, least = limits.max_storage_bytes - limits.max_storage_bytes // _ROOM, 1
    while done.left_bytes > goal:
        rows = _oldest(connection, done.left_bytes - goal, least, kept)
        if not rows:
            break
        _remove(connection, rows, done.others, done)
        done.left_bytes = _left(connection, stored_bytes, done)
        least *= 2  # results that share a value free little until the last of them goes
    return done


def _oldest(connection: sqlite3.Connection, excess: int, least: int, kept: Collection[str]) -> list[tuple[str, int]]:
    """Return hashes and stored bytes of the oldest results that take about these bytes, and that are so many."""
    found: list[tuple[str, int]] = []
    values = Values(connection)
    with closing(connection.execute(_OLDEST)) as rows:
        for result_hash, stored_bytes, short in rows:
            if result_hash in kept:
                continue
            found.append((result_hash, stored_bytes))
            excess -= stored_bytes + len(short) + values.size_bytes(short) + 2 * ROW_BYTES
            if excess <= 0 and len(found) >= least:
                break
    return found


def _remove(connection: sqlite3.Connection, rows: list[tuple[str, int]], removed: list[str], done: Evicted) -> None:
    bulk.for_keys(connection, "DELETE FROM results WHERE hash IN", [row[0] for row in rows])
    removed += [row[0] for row in rows]
    done.size_bytes += sum(row[1] for row in rows)


def _left(connection: sqlite3.Connection, stored_bytes: int, done: Evicted) -> int:
    sweep(connection)
    return max(stored_bytes - done.size_bytes, measure(connection)[1])
