"""The store in a SQLite file: one writer thread, readers that never wait for it.

::

    store() ──encode in the caller's thread──> backlog ──writer thread, one transaction a group──> file ──> on_stored
    load() ──> slots in memory, else a reader's connection ──> decode

Reads are short and see whole transactions. ``PRAGMA synchronous``: see ``database``.
"""

from __future__ import annotations

import math
import sqlite3
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgsim.checks import check_text
from bgsim.errors import DamagedResultError, StoreError, brief
from bgsim.parameters.parameter_set import ResultKey
from bgsim.storage.base import DEFAULT_MAX_AGE_S, DEFAULT_MAX_BYTES, OnStored
from bgsim.storage.codec import segments
from bgsim.storage.codec.columns import Columns, checked_columns, too_large
from bgsim.storage.finding import Query
from bgsim.storage.limits import LimitedStore, Limits
from bgsim.storage.listing import listing
from bgsim.storage.nearest import Wanted
from bgsim.storage.records import Record, StoredResult
from bgsim.storage.reports import CheckReport, CleanupReport
from bgsim.storage.slots import SlotCache, SlotPair
from bgsim.storage.sqlite import tables, values
from bgsim.storage.sqlite.check import check_file, mend
from bgsim.storage.sqlite.database import SQLITE_ERRORS, is_unreadable
from bgsim.storage.sqlite.eviction import measure
from bgsim.storage.sqlite.file import StoreFile
from bgsim.storage.sqlite.finding import find_results
from bgsim.storage.sqlite.listings import Listed, list_results, list_workspaces
from bgsim.storage.sqlite.loading import read
from bgsim.storage.sqlite.search import similar
from bgsim.storage.sqlite.tables import NewResult
from bgsim.storage.sqlite.task import Task
from bgsim.storage.sqlite.upkeep import Upkeep
from bgsim.storage.sqlite.writer import Writer
from bgsim.summaries.column import is_summary
from bgsim.tables import Listing
from bgsim.threads.signals import HOLD

if TYPE_CHECKING:
    from sqlite_utils import Database


class ResultStore(LimitedStore):
    """Results in one SQLite file, shared by threads and processes.

    A file that a newer bgsim wrote is read, if its tables allow that, and not written: storing fails with a
    `NewerSchemaError`. A damaged file is set aside as ``*.corrupt-<time>`` with a warning, and a new one begins with
    all that could be read of it.

    Parameters
    ----------
    path : path-like
        Made if there is none.
    max_storage_bytes : int
        Of stored results; beyond it the least recently used go, never one in a slot nor the one stored last.
    max_age_s : float
        Results that were last used longer ago go as well; by default age removes none.
    survive_power_loss : bool
        Whether a result counts as stored only when the disk has it; by default it survives the end of the process,
        ``kill -9`` included.

    Attributes
    ----------
    path : Path

    Raises
    ------
    StoreError
        If the file cannot be used; see `bgsim.storage.sqlite.database.open_database`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_storage_bytes: int = DEFAULT_MAX_BYTES,
        max_age_s: float = DEFAULT_MAX_AGE_S,
        survive_power_loss: bool = False,
    ) -> None:
        self.path = _checked_path(path)
        self._cache = SlotCache(self._is_stored)
        super().__init__(Limits(max_storage_bytes, max_age_s))
        self._placing: set[object] = set()  # placements that are not in the file yet
        self._upkeep = Upkeep(self._limits, self.location, self._cache.pin)
        self._file = StoreFile(self.path, self._upkeep, self._cache, survive_power_loss=survive_power_loss)
        self._readers = self._file.readers
        self.journal = self._file.journal
        self.history = self._file.history

    @property
    def damaged(self) -> int:
        """Number of results found damaged and set aside since the store was opened."""
        return self._file.damaged

    # ---- reading -------------------------------------------------------------------------------------

    def count(self, key: ResultKey) -> int:
        with self._readers.reading() as reader:
            row = reader.execute("SELECT identity, replicates FROM results WHERE hash = ?", (key.hash,)).fetchone()
        # Damage may have put something else in the place of the number.
        return row[1] if row is not None and row[0] == key.identity and isinstance(row[1], int) else 0

    def load(self, key: ResultKey | str, replicates: int | None = None) -> Columns | None:
        self._readers.check_process()
        if isinstance(key, ResultKey):
            result_hash, identity = key.hash, key.identity
        else:
            result_hash, identity = check_text("key", key, allowed="a ResultKey or a hash"), None
        columns = self._cache.get(result_hash, identity, replicates)
        if columns is None:
            columns = self._load(result_hash, identity, replicates)
            if columns is None:
                return None
        self._upkeep.used(result_hash)
        return columns

    def _load(self, result_hash: str, identity: str | None, replicates: int | None) -> Columns | None:
        wanted = segments.MOST if replicates is None else min(index(replicates), segments.MOST)
        if wanted < 1:
            return None
        lease = self._readers.take()
        try:
            found = read(lease.connection, result_hash, identity, wanted)
        except DamagedResultError as error:
            damage = str(error)
        except SQLITE_ERRORS as error:
            if not is_unreadable(error):
                raise self._readers.refused(error) from error
            damage = str(error)
        else:
            if found is None:
                return None
            self._cache.put(result_hash, *found)
            return found[1]
        finally:
            self._readers.give_back(lease)
        self._file.set_aside(result_hash, damage)
        return None

    def parts(self, fingerprint: str) -> dict[str, str]:
        check_text("fingerprint", fingerprint)
        with self._readers.reading() as reader:
            return tables.read_parts(reader, fingerprint)

    def results(self) -> Listing[StoredResult]:
        return listing(self._results())

    def size(self) -> tuple[int, int]:
        with self._readers.reading() as reader:
            found: tuple[int, int] = reader.execute(
                "SELECT count(*), coalesce(sum(stored_bytes), 0) FROM results"
            ).fetchone()
            return found

    def get(self, result_hash: str) -> StoredResult | None:
        check_text("result_hash", result_hash)

        def find(reader: sqlite3.Connection) -> Listed:
            rows = reader.execute("SELECT rowid FROM results WHERE hash = ?", (result_hash,))
            return list_results(reader, [row[0] for row in rows])

        return next(iter(self._results(find)), None)

    def find_all(self, query: Query) -> list[StoredResult]:
        return self._results(lambda reader: find_results(reader, query))

    def alike(self, wanted: Wanted) -> list[StoredResult]:
        return self._results(lambda reader: list_results(reader, similar(reader, wanted)))

    def _results(self, find: Callable[[sqlite3.Connection], Listed] = list_results) -> list[StoredResult]:
        # An interrupt would be lost in sqlite-utils: it ends a savepoint that is there no more.
        with self._readers.reading(snapshot=True) as reader, HOLD:
            found, unreadable = find(reader)
        for owner, reason in unreadable.items():
            self._file.set_aside(owner, reason)
        return found

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Give a read-only `sqlite_utils.Database` on the file, for questions of the caller's own.

        It is closed at the end of the ``with`` block. Any thread may open one, and uses it alone. It sees what is
        durable; `flush` first to see all. A fork waits for the block to end.

        Raises
        ------
        StoreError
            If the store is closed, or was opened before a fork.
        """
        with self._readers.alone() as connection:
            from sqlite_utils import Database  # noqa: PLC0415 - takes longer to import than NumPy

            yield Database(connection, recursive_triggers=False)

    @property
    def location(self) -> str:
        return str(self.path)

    @property
    def permissions(self) -> int:
        try:
            return self.path.stat().st_mode & 0o666
        except OSError:  # another process has just removed the file
            return 0o600

    # ---- writing -------------------------------------------------------------------------------------

    def store(
        self,
        key: ResultKey | Record,
        columns: Mapping[str, Any],
        *,
        workspace: str | None = None,
        held: int | None = None,
        on_stored: OnStored | None = None,
        finishes: Iterable[str] = (),
    ) -> None:
        done = on_stored or _ignore
        record = Record.of(key) if isinstance(key, ResultKey) else key
        try:
            limit = math.inf if is_summary(columns) else self.max_storage_bytes
            checked = checked_columns(columns, limit, is_kept=workspace is not None)
            first = self._replicates(record.hash) if held is None else held
            new = NewResult.of(record, checked, first, is_computed=isinstance(key, ResultKey))
            if new.size_bytes > self.max_storage_bytes and is_summary(columns):  # in the file it is much smaller
                raise too_large(new.size_bytes, self.max_storage_bytes)
        except StoreError as error:
            done(error)
            return
        replicates = len(next(iter(checked.values())))

        def work(_: object) -> None:
            self._upkeep.store(new)
            if workspace is not None:
                self._upkeep.place(workspace, record.hash, replicates)

        def stored(error: Exception | None) -> None:
            if error is None and workspace is not None:
                self._cache.put(record.hash, record.identity, checked)
            elif error is None:
                self._cache.drop_other(record.hash, checked)
            done(error)

        self._file.submit(Task(work, stored, new.size_bytes, ends=tuple(finishes)))

    def delete(self, result_hash: str) -> bool:
        check_text("result_hash", result_hash)

        def work(connection: sqlite3.Connection) -> bool:
            rows = connection.execute("DELETE FROM results WHERE hash = ?", (result_hash,)).rowcount
            self._file.results_changed(connection)
            return rows > 0

        deleted = self._file.run(work)
        self._cache.drop(result_hash)
        return deleted

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __repr__(self) -> str:
        return f"<ResultStore {self.path}>"

    # ---- slots ---------------------------------------------------------------------------------------

    def place(self, key: ResultKey, replicates: int, workspace: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            self._upkeep.write(connection)
            row = connection.execute(
                "SELECT replicates FROM results WHERE hash = ? AND identity = ?", (key.hash, key.identity)
            ).fetchone()
            if row is not None:
                self._upkeep.place(workspace, key.hash, min(replicates, row[0]))

        placement = object()
        self._placing.add(placement)
        self._file.submit(Task(work, lambda _: self._placing.discard(placement)))

    def _wait_for_slots(self) -> None:
        """Let what was placed before be in the file, so that the caller sees it."""
        if self._placing:
            with suppress(StoreError):  # the file shows what it has
                self.flush()

    def slots(self, workspace: str) -> SlotPair:
        check_text("workspace", workspace)
        self._wait_for_slots()
        with self._readers.reading() as reader:
            return tables.read_slots(reader, workspace)

    def workspaces(self) -> list[str]:
        self._wait_for_slots()
        with self._readers.reading() as reader, HOLD:
            return list_workspaces(reader)

    def change_slots(self, workspace: str, change: Callable[[SlotPair], SlotPair]) -> SlotPair:
        check_text("workspace", workspace)

        def work(connection: sqlite3.Connection) -> SlotPair:
            wanted = change(tables.read_slots(connection, workspace))
            pair = SlotPair(*(slot for slot in wanted if tables.is_stored(connection, slot.hash)))
            tables.write_slots(connection, workspace, pair)
            self._cache.pin(tables.pinned(connection))
            return pair

        return self._file.run(work)

    # ---- limits and care -----------------------------------------------------------------------------

    def alerts(self) -> tuple[str, ...]:
        with suppress(StoreError), self._readers.reading() as reader:
            return self._limits.alerts(self.location, measure(reader)[1])
        return super().alerts()

    def evict(self, keep: Collection[str] = ()) -> CleanupReport:
        return self._file.run(lambda connection: self._upkeep.evict(connection, keep))

    def cleanup(self) -> CleanupReport:
        def work(connection: sqlite3.Connection) -> CleanupReport:
            tables.forget_damaged(connection)
            values.sweep(connection)
            return self._upkeep.evict(connection)

        before = self._file_bytes()
        report = self._file.run(work)
        self._file.run(Writer.tidy, alone=True)
        return replace(report, file_bytes=max(0, before - self._file_bytes()))

    def check(self, *, repair: bool = False) -> CheckReport:
        with suppress(StoreError):  # the check below finds the cause
            self.flush()
        with self._readers.reading(snapshot=True) as reader:
            found = check_file(reader)
        if not repair or not found.problems:
            return found.report()
        if found.file_damaged:
            return found.report(self._file.rebuild())

        def work(connection: sqlite3.Connection) -> None:
            mend(connection, found)
            self._file.results_changed(connection)

        self._file.run(work)
        return found.report(f"{len(found.damaged)} damaged results were removed; the next request computes them")

    def _replicates(self, result_hash: str) -> int:
        with self._readers.reading() as reader:
            row = reader.execute("SELECT replicates FROM results WHERE hash = ?", (result_hash,)).fetchone()
        return row[0] if row else 0

    def _is_stored(self, result_hash: str) -> bool:
        with self._readers.reading() as reader:
            return tables.is_stored(reader, result_hash)

    def _file_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


def _ignore(error: Exception | None) -> None:
    """Do nothing: the caller gave no `on_stored`."""


def _checked_path(path: str | Path) -> Path:
    """Return an absolute path that a file may have."""
    if str(path) == ":memory:":
        raise StoreError("':memory:' names no file; use Engine(store=':memory:') or MemoryStore()")
    try:
        found = Path(path).resolve()  # as SQLite does: the log is beside the file itself
        str(found).encode()  # as SQLite takes it
        kind = found.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return found  # opening it says what is wrong with that
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreError(f"{brief(str(path))} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise StoreError(f"{found} is a device or a pipe, and no file; choose another path")
    return found
