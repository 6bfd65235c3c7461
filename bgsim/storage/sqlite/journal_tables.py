"""Operations on the journal's tables; each takes a connection that is in a transaction."""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar

from bgsim.parameters.nesting import read_json
from bgsim.storage.journal import MAX_DEAD_LETTERS, DeadLetter, PendingRequest, ScheduledRequest
from bgsim.storage.large_values import shortened
from bgsim.storage.owners import Owner
from bgsim.storage.sqlite import bulk, values
from bgsim.storage.times import seconds_of

ROWS: dict[str, type] = {
    "owners": Owner,
    "requests": PendingRequest,
    "dead_letters": DeadLetter,
    "schedules": ScheduledRequest,
}
"""The class of each table's rows; its fields are the columns."""

_Entry = TypeVar("_Entry", Owner, PendingRequest, DeadLetter, ScheduledRequest)

_JSON = {"parameters": dict, "options": dict, "attempts": list}


class Mark(enum.Enum):
    """A change of a request that may be in the file."""

    STARTED = "started"
    REMOVED = "removed"


def _columns(of: type) -> list[str]:
    """Return the columns of a class's table; `PendingRequest.stored` stands in the table of the checkpoints."""
    return [field.name for field in fields(of) if field.name != "stored"]


def _names(of: type) -> str:
    return ", ".join(_columns(of))


def _row(entry: Any) -> tuple[Any, ...]:
    return tuple(getattr(entry, name) for name in _columns(type(entry)))


def _short(connection: sqlite3.Connection, entry: Any) -> tuple[Any, ...]:
    """Return the row of an entry, whose large parameters are written beside it."""
    if not hasattr(entry, "parameters"):
        return _row(entry)
    short, found = shortened(entry.parameters)
    values.write(connection, found)
    return _row(replace(entry, parameters=short) if found else entry)


def _read(connection: sqlite3.Connection, of: type[_Entry], rows: Iterable[tuple[Any, ...]]) -> Iterator[_Entry]:
    """Return the entries of rows, with their parameters whole."""
    found = values.Values(connection)
    for row in rows:
        entry: Any = of(*row)
        changes: dict[str, Any] = {n: bool(getattr(entry, n)) for n in ("started", "paused") if n in of.__slots__}
        if "parameters" in of.__slots__:
            changes["parameters"] = found.whole(entry.parameters)
        yield replace(entry, **changes)


def _put(of: type, table: str, key: str) -> tuple[str, str]:
    """Return the text before and after the values of a statement that inserts or replaces rows."""
    names = _columns(of)
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name != key)
    return f"INSERT INTO {table} ({', '.join(names)})", f"ON CONFLICT ({key}) DO UPDATE SET {changed}"


_PUT_OWNER = _put(Owner, "owners", "owner")
_PUT_REQUEST = _put(PendingRequest, "requests", "id")
_PUT_SCHEDULE = _put(ScheduledRequest, "schedules", "name")
_SELECT_REQUESTS = (
    f"SELECT {_names(PendingRequest)}, coalesce(stored, 0) FROM requests LEFT JOIN checkpoints USING (id)"
)
_SELECT_LETTERS = f"SELECT {_names(DeadLetter)} FROM dead_letters"


# ---- owners ----------------------------------------------------------------------------------------


def write_owners(connection: sqlite3.Connection, owners: Mapping[str, Owner | None]) -> None:
    """Write owners; None deletes one."""
    head, tail = _PUT_OWNER
    bulk.insert(connection, head, [_row(owner) for owner in owners.values() if owner is not None], tail)
    released = [name for name, owner in owners.items() if owner is None]
    bulk.for_keys(connection, "DELETE FROM owners WHERE owner IN", released)


def alive(connection: sqlite3.Connection, now: float) -> set[str]:
    """Return the names of the owners that are alive; `now` in seconds since the epoch."""
    owners = [Owner(*row) for row in connection.execute(f"SELECT {_names(Owner)} FROM owners")]
    return {owner.owner for owner in owners if isinstance(owner.owner, str) and owner.is_alive(now)}


def forget_dead_owners(connection: sqlite3.Connection, now: float) -> None:
    """Delete the dead owners that have no requests."""
    idle = {row[0] for row in connection.execute("SELECT owner FROM owners EXCEPT SELECT owner FROM requests")}
    connection.executemany("DELETE FROM owners WHERE owner = ?", [(name,) for name in idle - alive(connection, now)])


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
    living = tuple(alive(connection, now))
    places = ", ".join("?" * len(living))
    dead = f"owner IS NULL OR owner NOT IN ({places})"
    rows = connection.execute(f"{_SELECT_REQUESTS} WHERE {dead} ORDER BY submitted_at, requests.rowid", living)
    return list(_read(connection, PendingRequest, rows))


def claim(connection: sqlite3.Connection, owner: str, ids: set[str] | None, now: float) -> list[PendingRequest]:
    """Give interrupted requests, or those of them with these ids, to an owner; return them."""
    claimed = [(owner, request.id) for request in interrupted(connection, now) if ids is None or request.id in ids]
    connection.executemany(
        "UPDATE requests SET owner = ?, crashes = crashes + started, started = 0 WHERE id = ?", claimed
    )
    forget_dead_owners(connection, now)
    rows = [connection.execute(f"{_SELECT_REQUESTS} WHERE id = ?", claim[1:]).fetchone() for claim in claimed]
    return list(_read(connection, PendingRequest, rows))


# ---- dead letters ----------------------------------------------------------------------------------


def write_dead_letters(connection: sqlite3.Connection, letters: Iterable[DeadLetter]) -> None:
    """Add dead letters, and delete the oldest beyond the bound."""
    insert = f"INSERT OR REPLACE INTO dead_letters ({_names(DeadLetter)})"
    bulk.insert(connection, insert, [_short(connection, letter) for letter in letters])
    connection.execute(
        "DELETE FROM dead_letters WHERE rowid IN "
        "(SELECT rowid FROM dead_letters ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
        (MAX_DEAD_LETTERS,),
    )


def read_dead_letters(connection: sqlite3.Connection) -> list[DeadLetter]:
    """Return the dead letters, the newest first."""
    return list(_read(connection, DeadLetter, connection.execute(f"{_SELECT_LETTERS} ORDER BY rowid DESC")))


def take_dead_letter(connection: sqlite3.Connection, id: str) -> DeadLetter | None:
    """Delete a dead letter and return it; None if there is none."""
    found = _read(connection, DeadLetter, connection.execute(f"{_SELECT_LETTERS} WHERE id = ?", (id,)).fetchall())
    letter = next(found, None)
    connection.execute("DELETE FROM dead_letters WHERE id = ?", (id,))
    return letter


# ---- schedules -------------------------------------------------------------------------------------


def put_schedule(connection: sqlite3.Connection, schedule: ScheduledRequest) -> None:
    """Insert a schedule, or replace the one of this name; with the same times its last run stays."""
    row = connection.execute(
        "SELECT last_run_at FROM schedules WHERE name = ? AND cron = ? AND timezone = ?",
        (schedule.name, schedule.cron, schedule.timezone),
    ).fetchone()
    head, tail = _PUT_SCHEDULE
    kept = schedule if row is None else replace(schedule, last_run_at=row[0])
    bulk.insert(connection, head, [_short(connection, kept)], tail)


def read_schedules(connection: sqlite3.Connection) -> list[ScheduledRequest]:
    """Return the schedules, by name."""
    rows = connection.execute(f"SELECT {_names(ScheduledRequest)} FROM schedules ORDER BY name")
    return list(_read(connection, ScheduledRequest, rows))


def remove_schedule(connection: sqlite3.Connection, name: str) -> bool:
    """Delete a schedule; return whether it was there."""
    return connection.execute("DELETE FROM schedules WHERE name = ?", (name,)).rowcount > 0


def mark_schedule_run(connection: sqlite3.Connection, name: str, last_run_at: str | None, previous: str | None) -> bool:
    """Set the last run if it is still the one before; return whether it was."""
    statement = "UPDATE schedules SET last_run_at = ? WHERE name = ? AND last_run_at IS ?"
    return connection.execute(statement, (last_run_at, name, previous)).rowcount > 0


# ---- care ------------------------------------------------------------------------------------------


def add_rows(connection: sqlite3.Connection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add the valid ones of rows that were found in a damaged file, given by column."""
    of = ROWS[table]
    insert = f"INSERT OR IGNORE INTO {table} ({_names(of)}) VALUES ({', '.join('?' * len(_columns(of)))})"
    for row in rows:
        entry = of(**row)
        if _wrong(entry) is None:
            connection.execute(insert, _row(entry))


def find_wrong(connection: sqlite3.Connection) -> list[tuple[str, int, str]]:
    """Return table, row and reason of each invalid row."""
    found = []
    for table, of in ROWS.items():
        for rowid, *row in connection.execute(f"SELECT rowid, {_names(of)} FROM {table}"):
            reason = _wrong(of(*row))
            if reason is not None:
                found.append((table, rowid, reason))
    return found


def _wrong(row: Any) -> str | None:
    """Return what is invalid in a row, None if nothing is."""
    for name, value in asdict(row).items():
        try:
            if name in _JSON and not isinstance(read_json(value), _JSON[name]):
                return f"{name} is no {_JSON[name].__name__}"
            if name.endswith("_at") and value is not None:
                seconds_of(value)
            if name == "seed":
                int(value)
        except (ValueError, TypeError) as error:
            return f"{name} cannot be read: {error}"
    return None
