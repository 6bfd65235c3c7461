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

from bgsim.errors import StoreError
from bgsim.storage.codec import segments
from bgsim.storage.codec.columns import Columns
from bgsim.storage.records import Record
from bgsim.storage.slots import SlotPair
from bgsim.storage.sqlite import forks, journal_tables, tables
from bgsim.storage.sqlite.database import SQLITE_ERRORS, check_path, connect, explained, file_identity, open_database
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
        saved = _save(path, new)
        aside = _set_aside(path)
        new.replace(path)
        return Rebuilt(aside, saved)


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
            removed = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
            if not removed or attempt == _LOCK_ATTEMPTS - 1:
                raise explained(path, "rebuilt", error) from error
        else:
            return connection
    raise AssertionError("unreachable")


def _save(damaged: Path, new: Path) -> int:
    """Copy the readable part of a damaged file into a new one; return the number of results."""
    saved = 0
    with closing(open_database(new)) as target:
        for record, columns in readable_results(damaged):
            target.execute("BEGIN IMMEDIATE")
            tables.write_results(target, [tables.NewResult.of(record, columns)])
            if record.parts:
                tables.write_identities(target, {record.fingerprint: record.parts})
            target.execute("COMMIT")
            saved += 1
        with closing(connect(damaged, mode="rw")) as source:
            for workspace, pair in _readable_slots(source).items():
                with contextlib.suppress(sqlite3.IntegrityError):  # it points at what could not be saved
                    tables.write_slots(target, workspace, pair)
            for table in journal_tables.ROWS:
                with contextlib.suppress(*SQLITE_ERRORS, TypeError):
                    journal_tables.copy_rows(source, target, table)
    return saved


def read_store(path: Path) -> Iterator[tuple[Record, Columns]]:
    """Return the results of another store's file; see `readable_results`.

    Raises
    ------
    StoreError
        If it cannot be a store's file.
    """
    check_path(path)
    return readable_results(path)


def readable_results(path: Path) -> Iterator[tuple[Record, Columns]]:
    """Yield the results of a store's file that match their checksums.

    The caller has checked that it is a store's file.
    """
    use = forks.Use(path)
    connection = connect(path, mode="rw")
    try:
        select, values = _select(connection), Values(connection)
        for result_hash in _hashes(connection):
            try:
                row = connection.execute(
                    f"SELECT {tables.RECORD}, checksum, replicates FROM results WHERE hash = ?",
                    (result_hash,),
                ).fetchone()
                record = replace(Record(*row[:6]), parameters=values.whole(row[5]))
                if record.checksum != row[6]:
                    raise StoreError("its record does not match its checksum")
                with closing(connection.execute(select, (result_hash, row[7]))) as rows:
                    columns = segments.join(rows, result_hash, row[7])
            except (*SQLITE_ERRORS, StoreError, TypeError, ValueError, OverflowError) as error:
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


def _hashes(connection: sqlite3.Connection) -> list[str]:
    """Return the hashes found from both ends of table and index, since reading stops at a damaged page."""
    found: dict[str, None] = {}
    for order in ("rowid", "rowid DESC", "hash", "hash DESC"):
        with contextlib.suppress(*SQLITE_ERRORS):
            for (result_hash,) in connection.execute(f"SELECT hash FROM results ORDER BY {order}"):
                found[result_hash] = None
    return [result_hash for result_hash in found if isinstance(result_hash, str)]


def _readable_parts(connection: sqlite3.Connection, fingerprint: str) -> dict[str, str]:
    try:
        return tables.read_parts(connection, fingerprint)
    except SQLITE_ERRORS:  # damage, or an older schema
        return {}


def _readable_slots(connection: sqlite3.Connection) -> dict[str, SlotPair]:
    try:
        names = [row[0] for row in connection.execute("SELECT DISTINCT workspace FROM slots")]
        return {name: tables.read_slots(connection, name) for name in names}
    except (*SQLITE_ERRORS, TypeError):
        return {}
