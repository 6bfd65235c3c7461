"""Puts values of any type into the tables of a store's file, as a program that heeds no schema may."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from bgsim.storage import DeadLetter, PendingRequest, ScheduledRequest
from bgsim.storage.owners import Owner

_ROWS = {"requests": PendingRequest, "dead_letters": DeadLetter, "schedules": ScheduledRequest, "owners": Owner}

TABLES: dict[str, list[str]] = {
    **{table: [field.name for field in fields(of) if field.name != "stored"] for table, of in _ROWS.items()},
    "checkpoints": ["id", "stored"],
}
"""The columns of the journal's tables, the key first."""


_RULES = re.compile(r" (STRICT|NOT NULL|TEXT|REAL|BLOB|INTEGER(?! PRIMARY KEY))\b")
"""What an SQL of a table says of the values of its columns."""


def execute(path: Path, statement: str, values: Sequence[Any] = ()) -> None:
    """Execute a statement, whatever it breaks."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(statement, values)


def execute_unchecked(path: Path, statement: str, values: Sequence[Any] = ()) -> None:
    """Execute a statement while the tables take any value in any column; their schema is as before then."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        kept = file.execute("SELECT sql, name FROM sqlite_schema WHERE type = 'table'").fetchall()
        _set_schema(file, [(_RULES.sub("", sql), table) for sql, table in kept])
        try:
            file.execute(statement, values)
        finally:
            _set_schema(file, kept)


def _set_schema(file: sqlite3.Connection, statements: list[tuple[str, str]]) -> None:
    file.execute("PRAGMA writable_schema = ON")
    file.executemany("UPDATE sqlite_schema SET sql = ? WHERE name = ?", statements)
    file.execute("PRAGMA writable_schema = RESET")


def set_value(path: Path, table: str, column: str, value: Any, key: str) -> None:
    """Put a value into a column of the row with this key; bytes in a tuple of one are text that is no UTF-8."""
    place, value = ("CAST(? AS TEXT)", value[0]) if isinstance(value, tuple) else ("?", value)
    execute_unchecked(path, f"UPDATE {table} SET {column} = {place} WHERE {TABLES[table][0]} = ?", (value, key))
