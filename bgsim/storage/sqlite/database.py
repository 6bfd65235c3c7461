"""The SQLite file: opening it safely, and its settings.

``synchronous = NORMAL`` in WAL mode: a commit survives the end of the process, ``kill -9`` included, since it is in the
system's memory. A loss of power may take the last commits; the file stays whole. ``survive_power_loss`` waits for the
disk at every commit.

The file is not mapped into memory: to read a mapping of a file that is cut short ends the process.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from bgsim.errors import ForeignFileError, NewerSchemaError, StoreError
from bgsim.storage.sqlite import forks, schema
from bgsim.storage.sqlite.entries import check_entries

BUSY_TIMEOUT_MS = 60_000
"""How long to wait for a file that another process has locked: once."""

LOCKED_TIMEOUT_MS = 100
"""How long to wait from then on, until the file has answered: each job would wait for a minute otherwise."""

JOURNAL_LIMIT_BYTES = 16 * 2**20
"""Size to which the writer cuts the write-ahead log back, where the store's limit is large."""

VFS = ""
"""SQLite's access to the file system; a test takes one without shared memory, as on a network drive."""

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_WRITE_FORMAT, _LAST_FORMAT = 18, 2
"""Place of the format for writing in a header, and the last one, that of a write-ahead log."""

_LOOKS = 3
"""Attempts to read a header before the file counts as another program's."""

_OPEN_ATTEMPTS = 200
"""Looks at a file that another process may be making."""

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class DamagedFileError(StoreError):
    """The database itself is damaged, not just a result in it."""


SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Raised by SQLite; the second when its message contains damaged text."""


def code_of(error: Exception) -> int:
    """Return SQLite's primary code of an error; 0 if it has none."""
    code: int = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code


def is_unreadable(error: Exception) -> bool:
    """Tell whether SQLite read a row whose text Python cannot decode."""
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8")


def is_damage(error: Exception) -> bool:
    """Tell whether SQLite found the file itself to be damaged."""
    return isinstance(error, UnicodeDecodeError) or is_unreadable(error) or code_of(error) in _DAMAGE


def is_busy(error: Exception) -> bool:
    """Tell whether another connection has kept the file locked."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_read_only(error: Exception) -> bool:
    """Tell whether SQLite may not write, without saying why."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY


def explained(path: Path, verb: str, error: Exception) -> StoreError:
    """Return the error of a store that cannot be read or written, with advice."""
    if is_damage(error):
        found: StoreError = DamagedFileError(
            f"the store {path} is damaged ({error}); `bgsim store check --repair` saves what can be read"
        )
    elif code_of(error) == sqlite3.SQLITE_FULL:
        found = StoreError(f"the store {path} cannot be {verb}: the disk is full, or the file's limit is reached")
    elif is_busy(error):
        found = StoreError(
            f"the store {path} cannot be {verb}: another process keeps it locked ({error}); until it answers, jobs go "
            "on without it"
        )
    else:
        found = StoreError(f"the store {path} cannot be {verb}: {error}")
    found.__cause__ = error
    return found


def open_database(path: Path, *, survive_power_loss: bool = False) -> sqlite3.Connection:
    """Open the store's file for writing; make it if there is none.

    Raises
    ------
    StoreError
        If the path is a directory, or cannot be written.
    ForeignFileError
        If the file is not a store; it is left untouched.
    DamagedFileError
        If it is a damaged store.
    NewerSchemaError
        If a newer bgsim wrote it.
    """
    forks.GUARD.check(path)
    check_path(path)
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection = connect(path)
        except SQLITE_ERRORS as error:  # as where a link points to no directory
            raise explained(path, "opened", error) from error
        try:
            connection.execute(f"PRAGMA busy_timeout = {LOCKED_TIMEOUT_MS}")  # Ctrl-C ends no wait of SQLite's
            _prepare(connection, path, survive_power_loss=survive_power_loss)
        except SQLITE_ERRORS as error:
            connection.close()
            # Where no header says so, it is what lies beside the file that SQLite may not write.
            if is_read_only(error) and _header_forbids_writing(path):
                raise DamagedFileError(f"the header of the store {path} is damaged") from error
            # The change to WAL needs exclusive access, for which SQLite does not wait.
            if not is_busy(error) or time.monotonic() >= deadline:
                raise explained(path, "opened", error) from error
            time.sleep(0.01)
        except BaseException:
            connection.close()
            raise
        else:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            return connection


def reopen_database(path: Path, *, survive_power_loss: bool) -> sqlite3.Connection:
    """Open a file again that this process had open before.

    Raises
    ------
    sqlite3.Error
        If it cannot be opened.
    """
    connection = connect(path, mode="rw")
    try:
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        _set(connection, wait_for_disk=survive_power_loss or mode != "wal")
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: Path, *, mode: str = "rwc", timeout_ms: int | None = None) -> sqlite3.Connection:
    """Return a connection that any one thread at a time may use; ``rwc`` makes a file.

    It waits for a locked file for `timeout_ms`, by default `BUSY_TIMEOUT_MS`.

    With ``ro`` it writes to no file, and only the thread that has made it may use it: users get it.
    """
    uri = f"file:{quote(str(path))}?mode={mode}{f'&vfs={VFS}' if VFS else ''}"
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=(BUSY_TIMEOUT_MS if timeout_ms is None else timeout_ms) / 1000,
        isolation_level=None,
        check_same_thread=mode == "ro",
        cached_statements=64,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    if mode == "ro":
        # So it can attach no file, to which it could write, nor VACUUM INTO one. An authorizer would do the same,
        # but SQLite calls it within its own lock: there it waits for Python's lock, whose holder may wait for SQLite's.
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    return connection


def check_path(path: Path) -> None:
    """Refuse a path that cannot be a store, without touching it; see `open_database`."""
    if path.is_dir():
        raise StoreError(f"the store path {path} is a directory; name a file in it, such as {path / 'bgsim.db'}")
    if not path.parent.is_dir():
        raise StoreError(f"the directory {path.parent} of the store does not exist; make it, or choose another path")
    target = path if path.exists() else path.parent
    if not (_writable(target) and _writable(path.parent)):
        raise StoreError(
            f"the store {path} is read-only; choose another path, or allow writing to it and its directory"
        )
    journal = Path(f"{path}-journal")
    for attempt in range(_OPEN_ATTEMPTS):
        if not path.exists() or path.stat().st_size == 0:
            return
        try:
            _check_header(path)
        except StoreError:
            # Another process may be making the file: then a journal is beside it.
            if attempt >= _LOOKS and not journal.exists():
                raise
            time.sleep(0.01)
        else:
            return
    _check_header(path)


def _check_header(path: Path) -> None:
    """Refuse a file whose first page is not a store's."""
    try:
        application = _application_id(path)
    except SQLITE_ERRORS as error:
        if not is_damage(error):
            raise explained(path, "opened", error) from error
        # It is no database's header. A damaged one of ours is recognized by the bytes that are intact.
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        if header.startswith(_MAGIC) and header[68:72] == schema.APPLICATION_ID.to_bytes(4, "big"):
            raise explained(path, "opened", error) from error
        raise ForeignFileError(
            f"{path} is not a bgsim store, so it was left untouched; choose another path, or, if it was one, let "
            "`bgsim store check --repair` look for its results"
        ) from error
    if application != schema.APPLICATION_ID:
        raise ForeignFileError(
            f"{path} is another program's SQLite database, so it was left untouched; choose another path, or, if it "
            f"was a store, have `bgsim store check --repair --store {path}` look for its results"
        )


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _header_forbids_writing(path: Path) -> bool:
    """Tell whether the format that a header names is none that SQLite writes."""
    with path.open("rb") as file:
        return file.read(_HEADER_BYTES)[_WRITE_FORMAT] > _LAST_FORMAT


def _application_id(path: Path) -> int:
    """Return the application that a database's header names.

    SQLite reads it, without locks, journal or log: to open and close the file by other means would end the locks that
    this process holds on it. If that finds damage the log is read too: a process that ended while it moved the log into
    the file has left part of the data in the log.
    """
    try:
        return _read_application_id(path, "immutable=1")
    except sqlite3.DatabaseError:
        return _read_application_id(path, "mode=ro")


def _read_application_id(path: Path, how: str) -> int:
    with closing(sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True)) as connection:
        found: int = connection.execute("PRAGMA application_id").fetchone()[0]
        return found


def _prepare(connection: sqlite3.Connection, path: Path, *, survive_power_loss: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version < 0 or (version == 0 and not schema.create(connection)):
        raise DamagedFileError(f"the header of the store {path} is damaged: its schema version is {version}")
    if version > schema.SCHEMA_VERSION:
        raise NewerSchemaError(
            f"{path} was written by a newer bgsim (schema {version}, this one knows {schema.SCHEMA_VERSION}), so "
            "nothing is written to it; update bgsim, or choose another path"
        )
    check_entries(connection, path)
    if 0 < version < schema.SCHEMA_VERSION:
        schema.migrate(connection, path)
    # Without shared memory, as on a network drive, this stays "delete": readers then wait for the writer.
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    _set(connection, wait_for_disk=survive_power_loss or mode != "wal")
    for probe in (  # a value of the journal that is no text or number costs its row alone
        "count(*), max(replicates) FROM results",
        "* FROM blocks LIMIT 1",
        "max(generation) FROM slots",
        "count(DISTINCT hash) FROM slots",
        "count(*), total(crashes) FROM requests",
        "count(*), total(pid) FROM owners",
        "count(*) FROM identities",
        "max(rowid) FROM jobs",
        "max(rowid) FROM tokens",
        "max(rowid) FROM deliveries",
        "max(rowid) FROM audit",
    ):
        connection.execute(f"SELECT {probe}").fetchone()
    connection.execute("DELETE FROM damaged WHERE 0")  # a damaged header may allow reading alone


def _set(connection: sqlite3.Connection, *, wait_for_disk: bool) -> None:
    """Make the settings of a connection; the others are the file's."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if wait_for_disk else 'NORMAL'}")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # the writer does it when no caller waits


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode, which differ for another file under the same path; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
