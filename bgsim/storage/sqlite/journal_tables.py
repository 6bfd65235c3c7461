"""Operations on the journal's tables; each takes a connection that is in a transaction.

Another program may have put any value into any column. A row is read all the same, each value as its column should have
it, so that it costs itself alone, and is written so when it is changed.
"""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from bgsim.storage import bulk, history_tables
from bgsim.storage.journal import MAX_DEAD_LETTERS, DeadLetter, PendingRequest, ScheduledRequest
from bgsim.storage.large_values import shortened
from bgsim.storage.owners import Owner
from bgsim.storage.rows import as_text, columns_of, names_of, typed, values_of, what_is_wrong
from bgsim.storage.sqlite import values

ROWS: dict[str, type] = {
    "owners": Owner,
    "requests": PendingRequest,
    "dead_letters": DeadLetter,
    "schedules": ScheduledRequest,
    **history_tables.ROWS,
}
"""The class of each table's rows; its fields are the columns."""

_Entry = TypeVar("_Entry", PendingRequest, DeadLetter, ScheduledRequest)


class Mark(enum.Enum):
    """A change of a request that may be in the file."""

    STARTED = "started"
    REMOVED = "removed"


def _short(connection: sqlite3.Connection, entry: Any) -> tuple[Any, ...]:
    """Return the row of an entry, whose large parameters are written beside it."""
    if not hasattr(entry, "parameters"):
        return values_of(entry)
    short, found = shortened(entry.parameters)
    values.write(connection, found)
    return values_of(replace(entry, parameters=short) if found else entry)


def _select(
    connection: sqlite3.Connection, table: str, tail: str = "", arguments: Sequence[Any] = ()
) -> list[tuple[int, Any]]:
    """Return the number and the entry of rows, with short parameters, and each value of its field's type."""
    of = ROWS[table]
    names = ", ".join(field.name for field in fields(of))
    place = "requests LEFT JOIN checkpoints USING (id)" if of is PendingRequest else table
    connection.text_factory = as_text
    try:
        rows = connection.execute(f"SELECT {table}.rowid, {names} FROM {place} {tail}", arguments).fetchall()
    finally:
        connection.text_factory = str
    return [(number, typed(of(*row), f"row {number} of {table}")) for number, *row in rows]


def _whole(connection: sqlite3.Connection, entries: Iterable[_Entry]) -> list[_Entry]:
    """Return entries with their parameters whole."""
    found = values.Values(connection)
    return [replace(entry, parameters=found.whole(entry.parameters)) for entry in entries]


def _find(connection: sqlite3.Connection, table: str, key: str) -> tuple[int, Any] | None:
    """Return the number and the entry of the row with this key, None if there is none."""
    column = ROWS[table].__slots__[0]  # type: ignore[attr-defined]
    found = _select(connection, table, f"WHERE {column} = ?", (key,))
    if not found:  # it may have got its key from `typed`
        found = [pair for pair in _select(connection, table) if getattr(pair[1], column) == key]
    return next(iter(found), None)


def _rewrite(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[int, Any]]) -> None:
    """Write rows that `_select` has returned, and that were changed: all columns, of which SQLite checks the types."""
    changed = ", ".join(f"{name} = ?" for name in columns_of(ROWS[table]))
    statement = f"UPDATE {table} SET {changed} WHERE rowid = ?"
    connection.executemany(statement, [(*values_of(entry), number) for number, entry in rows])


def _put(of: type, table: str, key: str) -> tuple[str, str]:
    """Return the text before and after the values of a statement that inserts or replaces rows."""
    names = columns_of(of)
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name != key)
    return f"INSERT INTO {table} ({', '.join(names)})", f"ON CONFLICT ({key}) DO UPDATE SET {changed}"


_PUT_OWNER = _put(Owner, "owners", "owner")
_PUT_REQUEST = _put(PendingRequest, "requests", "id")
_MOST_CRASHES = 2**31


# ---- owners ----------------------------------------------------------------------------------------


def write_owners(connection: sqlite3.Connection, owners: Mapping[str, Owner | None]) -> None:
    """Write owners; None deletes one."""
    head, tail = _PUT_OWNER
    bulk.insert(connection, head, [values_of(owner) for owner in owners.values() if owner is not None], tail)
    released = [name for name, owner in owners.items() if owner is None]
    bulk.for_keys(connection, "DELETE FROM owners WHERE owner IN", released)


def alive(connection: sqlite3.Connection, now: float) -> set[str]:
    """Return the names of the owners that are alive; `now` in seconds since the epoch."""
    return {owner.owner for _, owner in _select(connection, "owners") if owner.is_alive(now)}


def forget_dead_owners(connection: sqlite3.Connection, now: float) -> None:
    """Delete the dead owners that have no requests."""
    idle = "WHERE owner NOT IN (SELECT owner FROM requests WHERE owner IS NOT NULL)"
    dead = [(number,) for number, owner in _select(connection, "owners", idle) if not owner.is_alive(now)]
    connection.executemany("DELETE FROM owners WHERE rowid = ?", dead)


# ---- requests --------------------------------------------------------------------------------------


def write_requests(connection: sqlite3.Connection, changes: Mapping[str, PendingRequest | Mark]) -> None:
    """Write changes of requests."""
    head, tail = _PUT_REQUEST
    requests = [change for change in changes.values() if isinstance(change, PendingRequest)]
    bulk.insert(connection, head, [_short(connection, request) for request in requests], tail)
    reached = [(request.id, request.stored) for request in requests if request.stored]
    bulk.insert(connection, "INSERT OR REPLACE INTO checkpoints (id, stored)", reached)
    for mark, statement in (
        (Mark.STARTED, "UPDATE requests SET started = 1 WHERE id IN"),
        (Mark.REMOVED, "DELETE FROM requests WHERE id IN"),
    ):
        bulk.for_keys(connection, statement, [key for key, change in changes.items() if change is mark])


def interrupted(connection: sqlite3.Connection, now: float) -> list[PendingRequest]:
    """Return the requests whose owner is dead or released, the oldest first."""
    return _whole(connection, [request for _, request in _interrupted(connection, now)])


def _interrupted(connection: sqlite3.Connection, now: float) -> list[tuple[int, PendingRequest]]:
    living = tuple(alive(connection, now))
    dead = f"owner IS NULL OR owner NOT IN ({', '.join('?' * len(living))})"
    return _select(connection, "requests", f"WHERE {dead} ORDER BY submitted_at, requests.rowid", living)


def claim(connection: sqlite3.Connection, owner: str, ids: set[str] | None, now: float) -> list[PendingRequest]:
    """Give interrupted requests, or those of them with these ids, to an owner; return them."""
    claimed = []
    for number, request in _interrupted(connection, now):
        if ids is None or request.id in ids:
            crashes = min(max(0, request.crashes) + request.started, _MOST_CRASHES)
            claimed.append((number, replace(request, owner=owner, crashes=crashes, started=False)))
    _rewrite(connection, "requests", claimed)
    forget_dead_owners(connection, now)
    return _whole(connection, [request for _, request in claimed])


# ---- dead letters ----------------------------------------------------------------------------------


def write_dead_letters(connection: sqlite3.Connection, letters: Iterable[DeadLetter]) -> None:
    """Add dead letters, and delete the oldest beyond the bound."""
    insert = f"INSERT OR REPLACE INTO dead_letters ({names_of(DeadLetter)})"
    bulk.insert(connection, insert, [_short(connection, letter) for letter in letters])
    connection.execute(
        "DELETE FROM dead_letters WHERE rowid IN "
        "(SELECT rowid FROM dead_letters ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
        (MAX_DEAD_LETTERS,),
    )


def read_dead_letters(connection: sqlite3.Connection) -> list[DeadLetter]:
    """Return the dead letters, the newest first."""
    return _whole(connection, [letter for _, letter in _select(connection, "dead_letters", "ORDER BY rowid DESC")])


def take_dead_letter(connection: sqlite3.Connection, id: str) -> DeadLetter | None:
    """Delete a dead letter and return it; None if there is none."""
    found = _find(connection, "dead_letters", id)
    if found is None:
        return None
    connection.execute("DELETE FROM dead_letters WHERE rowid = ?", found[:1])
    letter: DeadLetter = found[1]
    return _whole(connection, [letter])[0]


# ---- schedules -------------------------------------------------------------------------------------


def put_schedule(connection: sqlite3.Connection, schedule: ScheduledRequest) -> None:
    """Insert a schedule, or replace the one of this name; with the same times its last run stays."""
    found = _find(connection, "schedules", schedule.name)
    if found is not None:
        number, old = found
        if (old.cron, old.timezone) == (schedule.cron, schedule.timezone):
            schedule = replace(schedule, last_run_at=old.last_run_at)
        connection.execute("DELETE FROM schedules WHERE rowid = ?", (number,))
    insert = f"INSERT INTO schedules ({names_of(ScheduledRequest)})"
    bulk.insert(connection, insert, [_short(connection, schedule)])


def read_schedules(connection: sqlite3.Connection) -> list[ScheduledRequest]:
    """Return the schedules, by name."""
    return _whole(connection, [schedule for _, schedule in _select(connection, "schedules", "ORDER BY name")])


def remove_schedule(connection: sqlite3.Connection, name: str) -> bool:
    """Delete a schedule; return whether it was there."""
    found = _find(connection, "schedules", name)
    if found is not None:
        connection.execute("DELETE FROM schedules WHERE rowid = ?", found[:1])
    return found is not None


def mark_schedule_run(connection: sqlite3.Connection, name: str, last_run_at: str | None, previous: str | None) -> bool:
    """Set the last run if it is still the one before; return whether it was."""
    found = _find(connection, "schedules", name)
    if found is None or found[1].last_run_at != previous:
        return False
    _rewrite(connection, "schedules", [(found[0], replace(found[1], last_run_at=last_run_at))])
    return True


# ---- care ------------------------------------------------------------------------------------------


def add_rows(connection: sqlite3.Connection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add the valid ones of rows that were found in a damaged file, given by column."""
    of = ROWS[table]
    insert = f"INSERT OR IGNORE INTO {table} ({names_of(of)}) VALUES ({', '.join('?' * len(columns_of(of)))})"
    for row in rows:
        entry = of(**row)
        if what_is_wrong(entry) is None:
            connection.execute(insert, values_of(entry))


def find_wrong(connection: sqlite3.Connection) -> list[tuple[str, int, str]]:
    """Return table, row and reason of each invalid row."""
    found = []
    for table, of in ROWS.items():
        for rowid, *row in connection.execute(f"SELECT rowid, {names_of(of)} FROM {table}"):
            reason = what_is_wrong(of(*row))
            if reason is not None:
                found.append((table, rowid, reason))
    return found
