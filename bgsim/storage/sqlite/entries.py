"""The comparison of a file's schema with ours, before any statement reads a table.

What stands in a schema may run: a view when it is read, a trigger when a row is written, an expression in an index, a
check or a default with either. SQLite parses the schema, and runs nothing of it, to list its entries. So the list is
compared with that of a new file, and what bgsim has not made is refused by name. Tables and plain indexes that a user
has added do nothing by themselves, and are let be.
"""

from __future__ import annotations

import functools
import sqlite3
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from bgsim.errors import StoreError
from bgsim.parameters.fields import brief
from bgsim.storage.sqlite import schema

_MOST = 1000
"""No file of bgsim's, with what a user adds, has more entries."""

_STATISTICS = ("sqlite_stat1", "sqlite_stat4")
"""Made by ANALYZE."""

_COLLATIONS = frozenset({"BINARY", "NOCASE", "RTRIM"})


class ForeignEntriesError(StoreError):
    """The schema is not bgsim's; the file was not touched."""


class Entry(NamedTuple):
    """A row of ``sqlite_schema``: an entry, the table that it belongs to, and the statement that makes it."""

    kind: str
    name: str
    table: str
    sql: str | None


def check_entries(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file whose schema is not that of its version, with what a user may add.

    Parameters
    ----------
    connection : sqlite3.Connection
    path : Path
        For the message.

    Raises
    ------
    ForeignEntriesError
        Naming the entry, and what to do.
    """
    ours_already = connection.in_transaction
    if not ours_already:
        connection.execute("BEGIN")  # the version and the entries are of one moment
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        wrong = _find_wrong(connection, version)
    finally:
        if not ours_already:
            connection.rollback()
    if wrong is not None:
        raise ForeignEntriesError(
            f"the store {path} {wrong}, so it is not used, for that could run with bgsim's statements; remove it, or "
            f"have `bgsim store check --repair --store {path}` copy the results to a new file"
        )


def _find_wrong(connection: sqlite3.Connection, version: int) -> str | None:
    """Return what is wrong with the entries, None if nothing is."""
    found: dict[str, Entry] = {}
    for row in connection.execute(f"SELECT type, name, tbl_name, sql FROM sqlite_schema LIMIT {_MOST + 1}"):
        entry = Entry(*row)
        if entry.name in found or len(found) == _MOST:
            return f"has more entries than bgsim makes, such as the {entry.kind} {brief(entry.name)}"
        found[entry.name] = entry
    ours = _ours(version) if version <= schema.SCHEMA_VERSION else _readable(found)
    for entry in found.values():
        known = ours.get(entry.name)
        if known is None and not _is_harmless(connection, entry, found, ours):
            return f"has the {entry.kind} {brief(entry.name)}, which is not bgsim's"
        if known is not None and not _is_same(entry, known):
            return f"has another {known.kind} {brief(entry.name)} than bgsim makes"
    for known in ours.values():
        if known.name not in found:
            return f"has no {known.kind} {known.name}"
    return None


@functools.lru_cache(maxsize=8)
def _ours(version: int) -> dict[str, Entry]:
    """Return the entries of a new file of this version."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in chain.from_iterable(schema.STATEMENTS[:version]):
            connection.execute(statement)
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")
        return {entry.name: entry for entry in map(Entry._make, rows)}


def _readable(found: dict[str, Entry]) -> dict[str, Entry]:
    """Return what has to be in a file of a newer version, which is only read.

    Its tables may have more columns, and are as they are; the one view that bgsim reads has to be ours. Nothing runs
    what else is there.
    """
    known = _ours(len(schema.STATEMENTS))
    wanted = {name: entry for name, entry in found.items() if entry.kind != "table" or name not in known}
    wanted |= {name: found.get(name, entry) for name, entry in known.items() if entry.kind == "table"}
    return {**wanted, "stored_outputs": known["stored_outputs"]}


def _is_same(entry: Entry, known: Entry) -> bool:
    """Tell whether an entry is the known one; a newer file's table, which stands for itself, has to be a plain one."""
    if entry is known:
        return entry.kind != "table" or _is_plain_table(entry)
    return entry._replace(sql=_spaced(entry.sql)) == known._replace(sql=_spaced(known.sql))


def _spaced(sql: str | None) -> str:
    return " ".join((sql or "").split())


def _is_plain_table(entry: Entry) -> bool:
    """Tell whether it is neither virtual nor has columns that are computed."""
    words = _spaced(entry.sql).upper()
    return words.startswith("CREATE TABLE ") and " AS (" not in words and "GENERATED" not in words


def _is_harmless(connection: sqlite3.Connection, entry: Entry, found: dict[str, Entry], ours: dict[str, Entry]) -> bool:
    """Tell whether an entry that is not ours runs nothing when our tables are read and written."""
    if entry.kind == "table":
        if not _is_plain_table(entry) or (entry.name.startswith("sqlite_") and entry.name not in _STATISTICS):
            return False
        referred = connection.execute('SELECT "table" FROM pragma_foreign_key_list(?)', (entry.name,)).fetchall()
        return not any(str(row[0]).lower() in ours for row in referred)
    if entry.kind != "index":
        return False
    if entry.table not in ours:
        return entry.table in found
    of_table = 'SELECT "unique" OR partial FROM pragma_index_list(?) WHERE name = ?'
    if connection.execute(of_table, (entry.table, entry.name)).fetchone() != (0,):
        return False
    columns = connection.execute("SELECT cid, coll FROM pragma_index_xinfo(?) WHERE key", (entry.name,)).fetchall()
    return all(cid >= 0 and collation in _COLLATIONS for cid, collation in columns)
