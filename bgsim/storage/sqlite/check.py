"""The check of a store's file: it reads everything and says what is wrong."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bgsim.errors import DamagedResultError
from bgsim.parameters.nesting import read_json
from bgsim.storage.codec import segments
from bgsim.storage.codec.columns import block_moments
from bgsim.storage.records import Record, checked_parts
from bgsim.storage.reports import CheckReport
from bgsim.storage.sqlite import journal_tables, tables
from bgsim.storage.sqlite.database import SQLITE_ERRORS, is_damage, is_unreadable
from bgsim.storage.sqlite.values import Values

_RECORD_TYPES = (*(str,) * 6, int, int, str, str, int)


@dataclass(slots=True)
class Findings:
    """The findings of a check.

    Attributes
    ----------
    results, blocks : int
        Number read.
    damaged : dict of str to str
        The reason by hash, of results that cannot be used.
    counted : dict of str to int
        The replicates by hash, of results that are said to have another number, and are whole otherwise.
    problems : list of str
        All problems, these included.
    journal, identities : list of (str, int, str)
        Table, row and reason of invalid rows.
    file_damaged : bool
        Whether the database itself is damaged and has to be rebuilt.
    """

    results: int = 0
    blocks: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    journal: list[tuple[str, int, str]] = field(default_factory=list)
    identities: list[tuple[str, int, str]] = field(default_factory=list)
    file_damaged: bool = False

    def report(self, *repaired: str) -> CheckReport:
        """Return the findings as the caller's report."""
        return CheckReport(self.results, self.blocks, tuple(self.problems), repaired)


def check_file(connection: sqlite3.Connection) -> Findings:
    """Check the database, the references, and every result with all its blocks.

    Raises
    ------
    sqlite3.Error
        If SQLite cannot read the file now, which says nothing about the file.
    """
    found = Findings()
    try:
        _check_database(connection, found)
        for (result_hash,) in connection.execute("SELECT hash FROM results ORDER BY hash").fetchall():
            _check_result(connection, result_hash, found)
        _check_references(connection, found)
        _check_identities(connection, found)
        found.journal = journal_tables.find_wrong(connection)
        found.problems += [
            f"row {row} of {table} makes no sense: {reason}"
            for table, row, reason in (*found.journal, *found.identities)
        ]
    except SQLITE_ERRORS as error:
        if not is_damage(error):
            raise
        found.problems.append(f"the database cannot be read: {error}")
        found.file_damaged = True
    return found


def mend(connection: sqlite3.Connection, found: Findings) -> None:
    """Mend results, remove rows of results that are not stored, and sum the sizes again."""
    mend_results(connection, found)
    for table, rowid, _ in (*found.journal, *found.identities):
        connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
    connection.execute("DELETE FROM blocks WHERE hash NOT IN (SELECT hash FROM results)")
    connection.execute("DELETE FROM slots WHERE hash NOT IN (SELECT hash FROM results)")
    connection.execute(
        "DELETE FROM slots WHERE generation < 1 OR replicates < 1 "
        "OR replicates > (SELECT replicates FROM results WHERE results.hash = slots.hash)"
    )
    connection.execute(
        "DELETE FROM slots WHERE 2 <= (SELECT count(*) FROM slots AS newer WHERE newer.workspace = slots.workspace "
        "AND (newer.generation, newer.rowid) > (slots.generation, slots.rowid))"
    )
    connection.execute(
        "UPDATE results SET stored_bytes = (SELECT sum(length(data)) FROM blocks WHERE blocks.hash = results.hash)"
    )


def mend_results(connection: sqlite3.Connection, found: Findings) -> None:
    """Set damaged results aside, and write how many replicates the others have, and their slots at most."""
    for result_hash, reason in found.damaged.items():
        tables.set_aside(connection, result_hash, reason)
    for result_hash, replicates in found.counted.items():
        connection.execute("UPDATE results SET replicates = ? WHERE hash = ?", (replicates, result_hash))
        tables.cut_slots(connection, result_hash, replicates)


def _check_database(connection: sqlite3.Connection, found: Findings) -> None:
    wrong = [row[0] for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
    found.problems += [f"the database is damaged: {text}" for text in wrong]
    found.file_damaged = bool(wrong)


def _check_references(connection: sqlite3.Connection, found: Findings) -> None:
    for table in ("blocks", "slots"):
        (lost,) = connection.execute(
            f"SELECT count(*) FROM {table} WHERE hash NOT IN (SELECT hash FROM results)"
        ).fetchone()
        if lost:
            found.problems.append(f"{lost} rows of {table} belong to no result")
    for workspace, count in connection.execute(
        "SELECT workspace, count(*) FROM slots JOIN results USING (hash) WHERE generation < 1 "
        "OR slots.replicates NOT BETWEEN 1 AND results.replicates GROUP BY workspace"
    ):
        found.problems.append(f"{count} slots of workspace {workspace!r} make no sense")
    for workspace, count in connection.execute(
        "SELECT workspace, count(*) FROM slots GROUP BY workspace HAVING count(*) > 2"
    ):
        found.problems.append(f"workspace {workspace!r} has {count} slots")


def _check_identities(connection: sqlite3.Connection, found: Findings) -> None:
    rows = connection.execute(
        "SELECT rowid, parts, fingerprint IN (SELECT fingerprint FROM results) FROM identities ORDER BY rowid"
    )
    for row, text, used in rows:
        try:
            checked_parts(read_json(text))
        except (ValueError, TypeError) as error:
            found.identities.append(("identities", row, str(error)))
        else:
            if not used:
                found.identities.append(("identities", row, "no result has this fingerprint"))


def look_at(connection: sqlite3.Connection, result_hash: str) -> Findings:
    """Read all of a result; return what is wrong with it, nothing if it is not there."""
    found = Findings()
    _check_result(connection, result_hash, found)
    return found


def _check_result(connection: sqlite3.Connection, result_hash: str, found: Findings) -> None:
    found.results += 1
    try:
        blocks, said = _read_result(connection, result_hash)
    except DamagedResultError as error:
        replicates = _count(connection, result_hash)
        if replicates:
            found.counted[result_hash] = replicates
            found.problems.append(
                f"result {result_hash} has {replicates} replicates, which is not what it says: {error}"
            )
        else:
            found.damaged[result_hash] = str(error)
            found.problems.append(f"result {result_hash} is damaged: {error}")
        return
    found.blocks += blocks
    (size,) = connection.execute(
        "SELECT coalesce(sum(length(data)), 0) FROM blocks WHERE hash = ?", (result_hash,)
    ).fetchone()
    if size != said:
        found.problems.append(f"result {result_hash} is said to have {said} bytes, and has {size}")


def _count(connection: sqlite3.Connection, result_hash: str) -> int:
    """Return how many replicates a result has that does not know its number; 0 if it is damaged otherwise."""
    (replicates,) = connection.execute(
        "SELECT nullif(min(ends), (SELECT replicates FROM results WHERE hash = ?1)) "
        "FROM (SELECT max(first + count) AS ends FROM blocks WHERE hash = ?1 GROUP BY position)",
        (result_hash,),
    ).fetchone()
    if type(replicates) is not int or replicates < 1:
        return 0
    try:
        _read_result(connection, result_hash, replicates)
    except DamagedResultError:
        return 0
    return replicates


def _read_result(connection: sqlite3.Connection, result_hash: str, replicates: int | None = None) -> tuple[int, int]:
    """Read and check a result; return the number of its blocks, and of the bytes that it is said to have.

    Parameters
    ----------
    connection : sqlite3.Connection
    result_hash : str
    replicates : int or None
        How many it has; None is for as many as it says.

    Raises
    ------
    DamagedResultError
        If it is damaged. Any other error is not the result's.
    """
    try:
        row = connection.execute(
            f"SELECT {tables.RECORD}, checksum, replicates, created_at, used_at, stored_bytes FROM results "
            "WHERE hash = ?",
            (result_hash,),
        ).fetchone()
        if row is None:
            return 0, 0
        if replicates is not None:
            row = (*row[:7], replicates, *row[8:])
        _check_record(row, Values(connection))
        return _check_columns(connection, result_hash, row[7]), row[10]
    except SQLITE_ERRORS as error:
        if is_unreadable(error):
            raise DamagedResultError(str(error)) from error
        raise


def _check_record(row: Sequence[Any], values: Values) -> None:
    segments.check_types(row, _RECORD_TYPES)
    record = replace(Record(*row[:6]), parameters=values.whole(row[5]))
    if record.checksum != row[6] or record.hash != record.identity[:32]:
        raise DamagedResultError("its record does not match its checksum")
    record.values()
    try:
        for text in row[8:10]:
            datetime.fromisoformat(text)
    except ValueError as error:
        raise DamagedResultError(f"its times cannot be read: {error}") from error


def _check_columns(connection: sqlite3.Connection, result_hash: str, replicates: int) -> int:
    """Decode a result's columns; return the number of blocks."""
    with closing(connection.execute(segments.SELECT, (result_hash, replicates))) as rows:
        columns = segments.join(rows, result_hash, replicates)
    described = connection.execute(
        "SELECT name, first, count, versions, mean, squares, minimum, maximum FROM blocks WHERE hash = ?",
        (result_hash,),
    ).fetchall()
    for name, first, count, text, *stored in described:
        if name not in columns or first + count > replicates:
            raise DamagedResultError(f"replicates {first} to {first + count} of column {name!r} are out of place")
        if not any(f <= first and first + count <= f + c and text == t for f, c, t in columns.versions):
            raise DamagedResultError(f"replicates {first} to {first + count} of column {name!r} have other versions")
        computed = block_moments(columns[name], first, count)
        if not all(map(_same, stored, computed)):
            raise DamagedResultError(f"the summary of replicates {first} to {first + count} of {name!r} is wrong")
    return len(described)


def _same(a: object, b: object) -> bool:
    if not (isinstance(a, int | float) and isinstance(b, int | float)):
        return a is b
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-300)
