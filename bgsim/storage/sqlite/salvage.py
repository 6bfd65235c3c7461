"""Saving the readable part of a damaged file, and reading other stores' files."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from bgsim.errors import DamagedResultError
from bgsim.storage.codec import segments
from bgsim.storage.codec.columns import Columns
from bgsim.storage.records import Record
from bgsim.storage.slots import pair_of
from bgsim.storage.sqlite import forks, journal_tables, tables, values
from bgsim.storage.sqlite.database import (
    SQLITE_ERRORS,
    check_path,
    code_of,
    connect,
    explained,
    file_identity,
    open_database,
)
from bgsim.storage.sqlite.entries import check_entries
from bgsim.storage.sqlite.permissions import make_like
from bgsim.storage.sqlite.remains import Remains
from bgsim.storage.sqlite.values import Values

logger = logging.getLogger("bgsim.storage")

_LOGS = ("-wal", "-shm", "-journal")

_LOCK_ATTEMPTS = 20
"""More than the processes that are likely to wait for each other."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The outcome of rebuilding a damaged file.

    Attributes
    ----------
    aside : Path
        ``*.corrupt-<time>``: the damaged file, with its log beside it.
    saved : int
        Number of results saved.
    """

    aside: Path
    saved: int


def rebuild(path: Path, seen: tuple[int, int] | None) -> Rebuilt | None:
    """Copy all that can be read of a damaged file into a new one, which replaces it.

    Of several processes that find the damage one does it, and the others wait. The new file is put in place when it is
    complete: after an interrupt the damaged one is still there.

    Parameters
    ----------
    path : Path
    seen : (int, int) or None
        The identity of the file that was found damaged; see `bgsim.storage.sqlite.database.file_identity`.

    Returns
    -------
    Rebuilt or None
        None if another process has replaced the file.
    """
    with _alone(path):
        if file_identity(path) != seen:
            return None
        new = path.with_name(f"{path.name}.rebuilding")
        for suffix in ("", *_LOGS):
            Path(f"{new}{suffix}").unlink(missing_ok=True)  # of a process that was interrupted
        make_like(path, new)
        saved = _save(path, new)
        aside = _set_aside(path)
        new.replace(path)
        return Rebuilt(aside, saved)


def repair(path: Path) -> str | None:
    """Make a file anew that cannot be opened as a store, of what it holds; return a sentence that says so.

    Returns
    -------
    str or None
        None if it holds no row of a store: then it is left untouched.

    Raises
    ------
    StoreError
        If another process uses the file, or it cannot be written.
    """
    path = path.resolve()
    with closing(Remains(path)) as remains:
        if not remains.rows["results"]:
            return None
    with forks.Use(path):
        rebuilt = rebuild(path, file_identity(path))
    if rebuilt is None:
        return "the file was damaged, and another process has made it anew"
    return f"the file could not be opened and is now {rebuilt.aside.name}; {rebuilt.saved} results were saved from it"


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from rebuilding the file, by a lock of SQLite's, which ends with the process."""
    lock = path.with_name(f"{path.name}.rebuild-lock")
    with closing(_locked(lock, path)) as connection:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()
            connection.execute("ROLLBACK")


def _locked(lock: Path, path: Path) -> sqlite3.Connection:
    """Wait for the lock, and return a connection that has it."""
    for attempt in range(_LOCK_ATTEMPTS):
        connection = connect(lock)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            connection.close()
            # The process that had the lock has removed the file, so this connection has nothing to lock.
            removed = code_of(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
            if not removed or attempt == _LOCK_ATTEMPTS - 1:
                raise explained(path, "rebuilt", error) from error
        else:
            return connection
    raise AssertionError("unreachable")


def _save(damaged: Path, new: Path) -> int:
    """Copy the readable part of a damaged file into a new one; return the number of results."""
    with closing(Remains(damaged)) as remains, closing(open_database(new)) as target:
        target.execute("BEGIN IMMEDIATE")
        saved: dict[str, int] = {}
        for record, columns, times in remains.results():
            if record.hash not in saved:
                tables.write_results(target, [tables.NewResult.of(record, columns)])
                saved[record.hash] = len(next(iter(columns.values())))
                if times is not None:
                    tables.write_times(target, record.hash, *times)
                if record.parts:
                    tables.write_identities(target, {record.fingerprint: record.parts})
        for workspace, slots in remains.slots(saved).items():
            tables.write_slots(target, workspace, pair_of(slots))
        values.write(target, remains.values)
        for table in journal_tables.ROWS:
            journal_tables.add_rows(target, table, remains.rows[table])
        values.sweep(target)
        target.execute("COMMIT")
    return len(saved)


def read_store(path: Path) -> Iterator[tuple[Record, Columns]]:
    """Return the results of another store's file; see `readable_results`.

    Raises
    ------
    StoreError
        If it cannot be a store's file.
    """
    check_path(path)
    with forks.Use(path), closing(connect(path, mode="rw")) as connection:
        try:
            check_entries(connection, path)
        except SQLITE_ERRORS as error:
            raise explained(path, "read", error) from error
    return readable_results(path)


def readable_results(path: Path) -> Iterator[tuple[Record, Columns]]:
    """Yield the results of a store's file that match their checksums; the caller has checked the file."""
    use = forks.Use(path)
    connection = connect(path, mode="rw")
    try:
        select, of_file = _select(connection), Values(connection)
        for (result_hash,) in connection.execute("SELECT hash FROM results ORDER BY rowid").fetchall():
            try:
                row = connection.execute(
                    f"SELECT {tables.RECORD}, checksum, replicates FROM results WHERE hash = ?",
                    (result_hash,),
                ).fetchone()
                segments.check_types(row, (*(str,) * 6, int, int))
                record = replace(Record(*row[:6]), parameters=of_file.whole(row[5]))
                if record.checksum != row[6]:
                    raise DamagedResultError("its record does not match its checksum")
                with closing(connection.execute(select, (result_hash, row[7]))) as rows:
                    columns = segments.join_all(rows, result_hash, row[7])
            except DamagedResultError as error:
                logger.warning("result %s in %s cannot be read: %s", result_hash, path, error)
            else:
                yield replace(record, parts=_readable_parts(connection, record.fingerprint)), columns
    finally:
        connection.close()
        use.end()


def _select(connection: sqlite3.Connection) -> str:
    """Return `segments.SELECT` for the file's schema; blocks of older ones have no versions."""
    query = "SELECT count(*) FROM pragma_table_info('blocks') WHERE name = 'versions'"
    try:
        (known,) = connection.execute(query).fetchone()
    except SQLITE_ERRORS:  # damage
        return segments.SELECT
    return segments.SELECT if known else segments.SELECT.replace("b.versions", "''")


def _set_aside(path: Path) -> Path:
    """Rename the log and link the file under another name; rename the file where it cannot have two names."""
    aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    number = 1
    while aside.exists():
        number += 1
        aside = aside.with_name(f"{aside.name.partition('~')[0]}~{number}")
    for suffix in _LOGS:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    try:
        aside.hardlink_to(path)
    except OSError:
        path.rename(aside)
    return aside


def _readable_parts(connection: sqlite3.Connection, fingerprint: str) -> dict[str, str]:
    try:
        return tables.read_parts(connection, fingerprint)
    except SQLITE_ERRORS:  # damage, or an older schema
        return {}
