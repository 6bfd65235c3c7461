"""Operations on the tables of the history; each takes a connection, which is in a transaction to change them.

They use nothing of the store's file, so that a history in memory has the same ones.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from bgsim.storage import bulk
from bgsim.storage.history import KEY_AGE_S, OF_END, AuditRow, Delivery, JobQuery, JobRow, TokenRow
from bgsim.storage.large_values import shortened
from bgsim.storage.rows import as_text, columns_of, names_of, typed, values_of
from bgsim.storage.times import seconds_of, time_text

ROWS: dict[str, type] = {"jobs": JobRow, "tokens": TokenRow, "deliveries": Delivery, "audit": AuditRow}
"""The class of each table's rows."""

_AT_ONCE = 1000
"""Rows that one transaction forgets."""

T = TypeVar("T", JobRow, TokenRow, Delivery, AuditRow)


def _select(connection: sqlite3.Connection, of: type[T], table: str, tail: str, given: Sequence[Any] = ()) -> list[T]:
    """Return rows, each value of its field's type."""
    connection.text_factory = as_text
    try:
        found = connection.execute(f"SELECT {names_of(of)}, {table}.rowid FROM {table} {tail}", given).fetchall()
    finally:
        connection.text_factory = str
    numbered = of is AuditRow
    return [typed(of(*row) if numbered else of(*row[:-1]), f"row {row[-1]} of {table}") for row in found]


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[Any], then: str) -> None:
    bulk.insert(connection, f"INSERT INTO {table} ({names_of(ROWS[table])})", [values_of(row) for row in rows], then)


# ---- jobs ------------------------------------------------------------------------------------------

_ADD = (
    f"INSERT INTO jobs ({names_of(JobRow)}) VALUES ({', '.join('?' * len(columns_of(JobRow)))}) ON CONFLICT DO NOTHING"
)
_END = f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in OF_END)}"


_HAS_TAG = "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)"


def add_job(connection: sqlite3.Connection, row: JobRow) -> JobRow | None:
    """Add a job, or return the one that is there; see `History.add_job`."""
    if _added(connection, row):
        return None
    key = (row.token, row.idempotency_key)
    found = _select(connection, JobRow, "jobs", "WHERE id = ?", (row.id,))
    if not found:
        found = _select(
            connection, JobRow, "jobs", "WHERE token = ? AND idempotency_key = ? AND idempotency_key != ''", key
        )
        if found[0].submitted_at < time_text(seconds_of(row.submitted_at) - KEY_AGE_S):
            connection.execute("UPDATE jobs SET idempotency_key = '' WHERE token = ? AND idempotency_key = ?", key)
            _added(connection, row)
            return None
    return found[0]


def job_by_key(connection: sqlite3.Connection, token: str, idempotency_key: str, now: str) -> JobRow | None:
    """Return the job that has a key at a time, None if there is none, or it is too old."""
    where = "WHERE token = ? AND idempotency_key = ? AND idempotency_key != '' AND submitted_at >= ?"
    oldest = time_text(seconds_of(now) - KEY_AGE_S)
    return next(iter(_select(connection, JobRow, "jobs", where, (token, idempotency_key, oldest))), None)


def _added(connection: sqlite3.Connection, row: JobRow) -> bool:
    return connection.execute(_ADD, values_of(row)).rowcount > 0


def note_jobs(connection: sqlite3.Connection, rows: Sequence[JobRow]) -> None:
    """Add the jobs whose ids are not there; they have no keys."""
    _insert(connection, "jobs", rows, "ON CONFLICT DO NOTHING")


def end_jobs(connection: sqlite3.Connection, rows: Sequence[JobRow]) -> None:
    """Complete jobs, or add them; they have no keys."""
    _insert(connection, "jobs", rows, _END)


def job(connection: sqlite3.Connection, id: str) -> JobRow | None:
    """Return a job, None if there is none of this id."""
    return next(iter(_select(connection, JobRow, "jobs", "WHERE id = ?", (id,))), None)


def jobs(connection: sqlite3.Connection, query: JobQuery) -> list[JobRow]:
    """Return the jobs that are meant, the newest first."""
    order = "ORDER BY submitted_at DESC, id DESC LIMIT ?"
    arms, given = [], []
    for where, arguments in _arms(connection, query):  # each arm is read in the order of its index
        arms.append(f"SELECT * FROM (SELECT rowid AS number, submitted_at, id FROM jobs WHERE {where} {order})")
        given += [*arguments, query.limit]
    if not arms:
        return []
    chosen = f"(SELECT number FROM ({' UNION ALL '.join(arms)}) {order})"
    return _select(
        connection,
        JobRow,
        "jobs",
        f"WHERE rowid IN {chosen} ORDER BY submitted_at DESC, id DESC",
        [*given, query.limit],
    )


def count_jobs(connection: sqlite3.Connection, query: JobQuery) -> int:
    """Return how many jobs are meant."""
    counts = [
        connection.execute(f"SELECT count(*) FROM jobs WHERE {where}", given).fetchone()[0]
        for where, given in _arms(connection, query)
    ]
    return sum(counts)


def tally(connection: sqlite3.Connection) -> dict[tuple[str, str, str], int]:
    """Return how many jobs there are, by tenant, simulation and state."""
    found = connection.execute(  # in the order of the table: by an index it takes four times as long
        "SELECT tenant, simulation, state, count(*) FROM jobs NOT INDEXED GROUP BY tenant, simulation, state"
    )
    return {(tenant, simulation, state): count for tenant, simulation, state, count in found}


def _arms(connection: sqlite3.Connection, query: JobQuery) -> list[tuple[str, list[Any]]]:
    """Return conditions, and their values, that no two of which a job meets: one for each state and simulation."""
    conditions: dict[str, Any] = {
        "tenant = ?": query.tenant,
        "submitted_at >= ?": query.since,
        "submitted_at <= ?": query.until,
        "id IN (SELECT value FROM json_each(?))": None if query.ids is None else json.dumps(list(query.ids)),
        f"CASE WHEN json_valid(tags) THEN {_HAS_TAG} ELSE 0 END": query.tag,
    }
    common = [(text, [value]) for text, value in conditions.items() if value is not None]
    if query.before is not None:
        common.append(("(submitted_at, id) < (?, ?)", list(query.before)))
    common += [_parameter(name, value) for name, value in query.parameters.items()]
    states = [[("state = ?", [state])] for state in dict.fromkeys(query.states)] or [[]]
    simulations: list[list[tuple[str, list[Any]]]] = [[]]
    if query.simulation is not None:
        simulations = [[("simulation = ?", [name])] for name in _simulations(connection, query.simulation)]
    found = []
    for state in states:
        for simulation in simulations:
            every = [*state, *simulation, *common] or [("1", [])]
            found.append((" AND ".join(text for text, _ in every), [value for _, given in every for value in given]))
    return found


def _simulations(connection: sqlite3.Connection, name: str) -> list[str]:
    """Return the names of simulations that are meant by a name, or by the last part of one."""
    following = "SELECT min(simulation) FROM jobs WHERE simulation > ?"
    found, last = [], ""
    while (last := connection.execute(following, (last,)).fetchone()[0]) is not None:
        if name in (last, last.rpartition(".")[2]):
            found.append(last)
    return found


def _parameter(name: str, value: Any) -> tuple[str, list[Any]]:
    """Return the condition that a parameter has a value.

    Its text is compared, which is read as no number: the same value is always written the same. Two paths have SQLite
    return the text; JSON writes each.
    """
    texts = set().union(*(_texts_in_list(name, each) for each in (value, *_equal_numbers(value))))
    path = f"$.{json.dumps(name)}"
    places = ", ".join("?" * len(texts))
    is_there = "json_type(parameters, ?) IS NOT NULL" if value is None else "1"
    meant = f"{is_there} AND json_extract(parameters, ?, ?) IN ({places})"
    given = [path] * (3 if value is None else 2)
    return f"CASE WHEN json_valid(parameters) THEN {meant} ELSE 0 END", [*given, *texts]


def _texts_in_list(name: str, value: Any) -> set[str]:
    """Return the texts of a value, whole and as a file has it, as SQLite returns them."""
    short, _ = shortened(json.dumps({name: value}))
    texts = [json.dumps(each, separators=(",", ":")) for each in (value, json.loads(short)[name])]
    return {f"[{text},{text}]" for text in texts}


def _equal_numbers(value: Any) -> list[Any]:
    """Return the other numbers that are equal to a number: a parameter may be an integer or a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    if value == 0:
        return [0, 0.0, -0.0]
    try:
        other = int(value) if isinstance(value, float) else float(value)
    except (OverflowError, ValueError):
        return []
    return [other] if other == value else []


def open_jobs(connection: sqlite3.Connection) -> list[JobRow]:
    """Return the jobs that have not ended, the oldest first."""
    return _select(connection, JobRow, "jobs", "WHERE state = '' ORDER BY submitted_at, id")


def change_job(connection: sqlite3.Connection, id: str, changes: dict[str, Any]) -> bool:
    """Set columns of a job; return whether it is there."""
    changed = ", ".join(f"{name} = ?" for name in changes)
    return connection.execute(f"UPDATE jobs SET {changed} WHERE id = ?", [*changes.values(), id]).rowcount > 0


def ask_cancel(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Note of jobs that they are to be cancelled."""
    bulk.for_keys(connection, "UPDATE jobs SET cancel_asked = 1 WHERE id IN", list(ids))


def forget_jobs(connection: sqlite3.Connection, before: str, most: int) -> int:
    """Delete some of the jobs that `History.forget_jobs` means; return how many."""
    forgotten = _forget(connection, "jobs", "ended_at < ?", before)
    if forgotten:
        return forgotten
    beyond = "ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT -1 OFFSET ?"
    return _forget(connection, "jobs", f"rowid IN (SELECT rowid FROM jobs WHERE {beyond})", most)


def _forget(connection: sqlite3.Connection, table: str, where: str, given: str | int) -> int:
    """Delete some of the rows that are meant, not all at once, so that other writers wait for a moment only."""
    chosen = f"SELECT rowid FROM {table} WHERE {where} LIMIT {_AT_ONCE}"
    return connection.execute(f"DELETE FROM {table} WHERE rowid IN ({chosen})", (given,)).rowcount


# ---- tokens ----------------------------------------------------------------------------------------


def add_token(connection: sqlite3.Connection, row: TokenRow) -> None:
    """Add a token."""
    _insert(connection, "tokens", [row], "")


def token(connection: sqlite3.Connection, id: str) -> TokenRow | None:
    """Return a token, None if there is none of this id."""
    return next(iter(_select(connection, TokenRow, "tokens", "WHERE id = ?", (id,))), None)


def tokens(connection: sqlite3.Connection) -> list[TokenRow]:
    """Return all tokens, the oldest first."""
    return _select(connection, TokenRow, "tokens", "ORDER BY created_at, rowid")


def revoke_token(connection: sqlite3.Connection, id: str, at: str) -> bool:
    """Note that a token counts no more; return whether that is new."""
    statement = "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
    return connection.execute(statement, (at, id)).rowcount > 0


# ---- deliveries ------------------------------------------------------------------------------------


def add_deliveries(connection: sqlite3.Connection, rows: Sequence[Delivery]) -> None:
    """Add the deliveries whose ids are not there."""
    _insert(connection, "deliveries", rows, "ON CONFLICT DO NOTHING")


def due_deliveries(connection: sqlite3.Connection, now: str, limit: int) -> list[Delivery]:
    """Return pending deliveries that are due, the first due first; one for each address."""
    due = (
        "SELECT rowid AS number, row_number() OVER (PARTITION BY url ORDER BY due_at, rowid) AS place FROM deliveries "
    )
    chosen = f"SELECT number FROM ({due} WHERE state = 'pending' AND due_at <= ?) WHERE place = 1"
    tail = f"WHERE rowid IN ({chosen}) ORDER BY due_at, rowid LIMIT ?"
    return _select(connection, Delivery, "deliveries", tail, (now, limit))


def next_delivery_at(connection: sqlite3.Connection, now: str) -> str | None:
    """Return when the next pending delivery is due that is not due yet, None if there is none."""
    tail = "WHERE state = 'pending' AND due_at > ? ORDER BY due_at LIMIT 1"
    return next((row.due_at for row in _select(connection, Delivery, "deliveries", tail, (now,))), None)


def claim_delivery(connection: sqlite3.Connection, id: str, seen: str, due_at: str) -> bool:
    """Set when a pending delivery is due, if that is still what was seen; return whether it was."""
    statement = "UPDATE deliveries SET due_at = ? WHERE id = ? AND due_at = ? AND state = 'pending'"
    return connection.execute(statement, (due_at, id, seen)).rowcount > 0


def put_delivery(connection: sqlite3.Connection, row: Delivery) -> None:
    """Set what an attempt has changed."""
    connection.execute(
        "UPDATE deliveries SET attempts = ?, due_at = ?, state = ?, status = ?, error = ? WHERE id = ?",
        (row.attempts, row.due_at, row.state, row.status, row.error, row.id),
    )


def deliveries(connection: sqlite3.Connection, job: str | None, state: str | None, limit: int) -> list[Delivery]:
    """Return deliveries, the newest first."""
    where, given = _all_of({"job = ?": job, "state = ?": state})
    tail = f"WHERE {where} ORDER BY created_at DESC, rowid DESC LIMIT ?"
    return _select(connection, Delivery, "deliveries", tail, [*given, limit])


def forget_deliveries(connection: sqlite3.Connection, before: str) -> int:
    """Delete some of the deliveries that were made before a time; return how many."""
    return _forget(connection, "deliveries", "created_at < ?", before)


# ---- audit -----------------------------------------------------------------------------------------


def add_audit(connection: sqlite3.Connection, rows: Sequence[AuditRow]) -> None:
    """Add entries."""
    _insert(connection, "audit", rows, "")


def audit(connection: sqlite3.Connection, tenant: str | None, limit: int, before_id: int | None) -> list[AuditRow]:
    """Return entries, the newest first."""
    where, given = _all_of({"tenant = ?": tenant, "rowid < ?": before_id})
    return _select(connection, AuditRow, "audit", f"WHERE {where} ORDER BY rowid DESC LIMIT ?", [*given, limit])


def forget_audit(connection: sqlite3.Connection, before: str) -> int:
    """Delete some of the entries before a time; return how many."""
    return _forget(connection, "audit", "at < ?", before)


def _all_of(conditions: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the conditions whose values are not None as one, and these values."""
    given = {text: value for text, value in conditions.items() if value is not None}
    return " AND ".join(given) or "1", list(given.values())
