"""Loading a result's columns: a small result with one statement, a larger one block by block."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import lru_cache
from itertools import chain
from typing import Any
from zlib import crc32

import numpy as np
from numpy import frombuffer

from bgsim.errors import DamagedResultError
from bgsim.storage.codec import segments
from bgsim.storage.codec.codec import Layout, decode, decompress, layout_of
from bgsim.storage.codec.columns import Columns
from bgsim.storage.codec.tallies import FORMS

_BYTE = np.dtype(np.uint8)

_SMALL_STORED_BYTES = 2**16

_SELECT_SMALL = (
    "SELECT r.identity, r.replicates, r.outputs, b.name, b.dtype, b.shape, b.filter, b.checksum, b.data, b.versions "
    "FROM results r LEFT JOIN blocks b "
    f"ON b.hash = r.hash AND b.first = 0 AND r.stored_bytes < {_SMALL_STORED_BYTES} "
    "WHERE r.hash = ? ORDER BY b.position"
)
"""The first blocks of a small result's columns; one row without a block of a larger result. The checksum covers the
descriptions that are not read."""

_TYPES = (int, int, str, str, str, str, int, bytes, str)
"""Of these columns but the identity."""


def read(
    connection: sqlite3.Connection, result_hash: str, identity: str | None, wanted: int
) -> tuple[str, Columns] | None:
    """Return the identity of a result and its first `wanted` replicates, or as many as there are.

    Parameters
    ----------
    connection : sqlite3.Connection
        In no transaction, before and after.
    result_hash : str
    identity : str or None
        Of the wanted result.
    wanted : int
        1 or more.

    Returns
    -------
    (str, Columns) or None
        Read-only arrays, or the tallies that lie within them; None if there is no such result, or no such tally.

    Raises
    ------
    DamagedResultError
        If it is damaged. Any other error is not the result's.
    """
    rows = connection.execute(_SELECT_SMALL, (result_hash,)).fetchall()
    if not rows or (identity is not None and identity != rows[0][0]):
        return None
    if rows[0][3] is not None:
        try:
            columns = _join_small(rows, result_hash, wanted)
        except Exception:
            for row in rows:
                segments.check_types(row[1:], _TYPES)
            raise  # a `DamagedResultError`, or what the result is not the cause of
        if columns is not None:
            segments.check_types((rows[0][0], rows[0][-1]), (str, str))
            return rows[0][0], columns
    return _read_blocks(connection, result_hash, identity, wanted)


def _read_blocks(
    connection: sqlite3.Connection, result_hash: str, identity: str | None, wanted: int
) -> tuple[str, Columns] | None:
    connection.execute("BEGIN")  # one snapshot: the result may be deleted and stored again meanwhile
    try:
        with closing(connection.execute(segments.SELECT, (result_hash, wanted))) as rows:
            first = rows.fetchone()
            if first is None:
                _check_absent(connection, result_hash)
                return None
            if identity is not None and identity != first[0]:
                return None
            segments.check_types(first[:2], (str, int))
            columns = segments.join(chain((first,), rows), result_hash, min(wanted, first[1]))
            return (first[0], columns) if columns else None
    finally:
        connection.rollback()


def _join_small(rows: list[tuple[Any, ...]], result_hash: str, wanted: int) -> Columns | None:
    """Decode rows of `_SELECT_SMALL`; None if a column has several blocks, or is a summary."""
    columns = Columns()
    begun = crc32(result_hash.encode())
    for _, held, _, name, dtype, shape, kind, checksum, data, _ in rows:
        layout, count, described, quick = _described(len(columns), name, dtype, shape, kind)
        replicates = held if held < wanted else wanted
        if count < replicates:
            return None
        if quick:
            raw = decompress(data, layout.raw_bytes)
            if kind == "shuffle":
                raw = frombuffer(raw, _BYTE).reshape(layout.planes).tobytes("F")
            if crc32(raw, crc32(described, begun)) != checksum:
                raise DamagedResultError(f"the first block of column {name!r} does not match its checksum")
            column = frombuffer(raw, layout.dtype)
        else:
            column = decode(layout, kind, layout.raw_bytes, checksum, data, crc32(described, begun))
        columns[name] = column if count == replicates else column[:replicates]
    if len(columns) != rows[0][2]:
        raise DamagedResultError(f"{len(columns)} of {rows[0][2]} columns are there")
    columns.versions = ((0, replicates, rows[0][-1]),)
    return columns


@lru_cache(maxsize=256)
def _described(position: int, name: str, dtype: str, shape_text: str, kind: str) -> tuple[Layout, int, bytes, bool]:
    """Return what the description of a column's first block implies.

    Returns
    -------
    Layout
    int
        Replicates; 0 of a tally, which is not read like this.
    bytes
        Covered by its checksum, between the hash and the raw bytes.
    bool
        Whether only zstd and the shuffle have to be undone.
    """
    if kind in FORMS:
        return _NO_ROWS, 0, b"", False
    layout = layout_of(dtype, segments.shape_of(shape_text))
    quick = layout.native and kind in ("none", "shuffle") and len(layout.shape) == 1 and layout.raw_bytes > 0
    return layout, layout.shape[0], f" {position} {name} 0 {layout.text} {kind}".encode(), quick


_NO_ROWS = layout_of("|u1", (0,))


def _check_absent(connection: sqlite3.Connection, result_hash: str) -> None:
    """Tell an absent result from one that has lost its blocks.

    Raises
    ------
    DamagedResultError
        If it has.
    """
    if connection.execute("SELECT 1 FROM results WHERE hash = ?", (result_hash,)).fetchone():
        raise DamagedResultError("it has no blocks")
