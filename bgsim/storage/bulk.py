"""Statements for many rows at once.

SQLite runs each statement without Python's lock, and in a busy program it takes milliseconds to get the lock back. So a
writer's time follows the number of statements, not of rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

_MOST = 64
"""Rows a statement: an SQLite with strict tables takes 32,766 values, and no table here has more than 32 columns."""


def insert(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]], then: str = "") -> None:
    """Insert rows.

    Parameters
    ----------
    connection : sqlite3.Connection
    statement : str
        ``INSERT INTO ...`` up to ``VALUES``.
    rows : sequence of tuple
        Of one length.
    then : str
        Follows the values, such as ``ON CONFLICT ...``.
    """
    for piece in _pieces(rows):
        places = f"({', '.join('?' * len(piece[0]))})"
        values = ", ".join([places] * len(piece))
        connection.execute(f"{statement} VALUES {values} {then}", list(chain.from_iterable(piece)))


def for_keys(connection: sqlite3.Connection, statement: str, keys: Sequence[str]) -> list[tuple[Any, ...]]:
    """Run a statement that ends with ``IN`` for all keys; return the rows found."""
    found: list[tuple[Any, ...]] = []
    for piece in _pieces(keys):
        found += connection.execute(f"{statement} ({', '.join('?' * len(piece))})", piece).fetchall()
    return found


def _pieces(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut rows into pieces of 64, 32, 16 ..., so that few statements are prepared."""
    start, size = 0, _MOST
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        yield rows[start : start + size]
        start += size
