"""Saving what can be read of a damaged file, and reading other stores' files."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bgsim.errors import StoreError
from bgsim.storage import journal_tables, segments, tables
from bgsim.storage.columns import Columns
from bgsim.storage.database import SQLITE_ERRORS, connect, open_database
from bgsim.storage.records import Record
from bgsim.storage.slots import SlotPair

logger = logging.getLogger("bgsim.storage")

_LOGS = ("-wal", "-shm", "-journal")


def rebuild(path: Path) -> tuple[Path, int]:
    """Rename a damaged file, and put all of it that can be read into a new one.

    Returns
    -------
    Path
        ``*.corrupt-<time>``, with its log beside it.
    int
        How many results were saved.
    """
    aside = _set_aside(path)
    target = open_database(path)
    saved = 0
    try:
        for record, columns in readable_results(aside):
            target.execute("BEGIN IMMEDIATE")
            tables.write_result(target, record, columns)
            target.execute("COMMIT")
            saved += 1
        for workspace, pair in _readable_slots(aside).items():
            with contextlib.suppress(sqlite3.IntegrityError):  # it points at what could not be saved
                tables.write_slots(target, workspace, pair)
        with closing(connect(aside, create=False)) as source:
            for table in journal_tables.ROWS:
                with contextlib.suppress(*SQLITE_ERRORS, TypeError):
                    journal_tables.copy_rows(source, target, table)
    finally:
        target.close()
    return aside, saved


def readable_results(path: Path) -> Iterator[tuple[Record, Columns]]:
    """Yield the results of a store's file that match their checksums; whatever else is in it.

    The caller has seen to it that it is a store's file.
    """
    connection = connect(path, create=False)
    try:
        for result_hash in _hashes(connection):
            try:
                row = connection.execute(
                    f"SELECT {tables.RECORD}, checksum, replicates FROM results WHERE hash = ?",
                    (result_hash,),
                ).fetchone()
                record = Record(*row[:6])
                if record.checksum != row[6]:
                    raise StoreError("its record does not match its checksum")
                with closing(connection.execute(segments.SELECT, (result_hash, row[7]))) as rows:
                    columns = segments.join(rows, result_hash, row[7])
            except (*SQLITE_ERRORS, StoreError, TypeError, ValueError, OverflowError) as error:
                logger.warning("result %s in %s cannot be read: %s", result_hash, path, error)
            else:
                yield record, columns
    finally:
        connection.close()


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    number = 1
    while aside.exists():
        number += 1
        aside = aside.with_name(f"{aside.name.partition('~')[0]}~{number}")
    for suffix in _LOGS:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    path.rename(aside)
    return aside


def _hashes(connection: sqlite3.Connection) -> list[str]:
    """Return the hashes that can be found: the table from both ends, since reading stops at a damaged page."""
    found: dict[str, None] = {}
    for order in ("rowid", "rowid DESC", "hash", "hash DESC"):
        with contextlib.suppress(*SQLITE_ERRORS):
            for (result_hash,) in connection.execute(f"SELECT hash FROM results ORDER BY {order}"):
                found[result_hash] = None
    return [result_hash for result_hash in found if isinstance(result_hash, str)]


def _readable_slots(path: Path) -> dict[str, SlotPair]:
    connection = connect(path, create=False)
    try:
        names = [row[0] for row in connection.execute("SELECT DISTINCT workspace FROM slots")]
        return {name: tables.read_slots(connection, name) for name in names}
    except (*SQLITE_ERRORS, TypeError):
        return {}
    finally:
        connection.close()
