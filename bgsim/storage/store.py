"""The store in a SQLite file: one writer thread, readers that never wait for it.

::

    store() ──encode in the caller's thread──> backlog ──writer thread, one transaction a group──> file ──> on_stored
    load() ──> slots in memory, else a reader's connection ──> decode

``writer`` has the thread, ``database`` the file and its connections, ``segments`` turns columns into rows and back.
Reads are short and see whole transactions. ``PRAGMA synchronous``: see ``database``.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from itertools import chain
from operator import index
from pathlib import Path
from typing import TypeVar

from bgsim.errors import DamagedResultError, NewerSchemaError, StoreError
from bgsim.parameters import ResultKey
from bgsim.storage import segments, tables
from bgsim.storage.base import DEFAULT_MAX_AGE_S, DEFAULT_MAX_BYTES, OnStored, Store
from bgsim.storage.check import check_file, mend
from bgsim.storage.columns import Columns, checked_columns
from bgsim.storage.database import SQLITE_ERRORS, DamagedFileError, Readers, explained, is_unreadable, open_database
from bgsim.storage.file_journal import FileJournal
from bgsim.storage.records import Record, StoredResult
from bgsim.storage.reports import CheckReport, CleanupReport
from bgsim.storage.salvage import rebuild
from bgsim.storage.slots import SlotMemory, SlotPair, place, swap
from bgsim.storage.times import now_text, time_text
from bgsim.storage.writer import Task, Writer

logger = logging.getLogger("bgsim.storage")

T = TypeVar("T")


class ResultStore(Store):
    """Results in one SQLite file, shared by threads and processes.

    A file that a newer bgsim wrote is read, if that can be done, and not written: storing fails with a
    `NewerSchemaError`. A damaged file is set aside as ``*.corrupt-<time>`` with a warning, and a new one begun with all
    that could be saved of it.

    Parameters
    ----------
    path : path-like
        Made when there is none.
    max_storage_bytes : int
        Of stored results; beyond it the least recently used go, never those in a slot nor the last one stored.
    max_age_s : float
        Results not used for so long go as well.
    survive_power_loss : bool
        Whether a result counts as stored only when the disk has it; by default it survives the end of the process,
        ``kill -9`` included.

    Attributes
    ----------
    path : Path
    damaged : int
        How many results were found damaged and set aside since it was opened.

    Raises
    ------
    StoreError
        If the file cannot be used; see `bgsim.storage.database.open_database`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_storage_bytes: int = DEFAULT_MAX_BYTES,
        max_age_s: float = DEFAULT_MAX_AGE_S,
        survive_power_loss: bool = False,
    ) -> None:
        self.path = Path(path).absolute()
        self.max_storage_bytes = max_storage_bytes
        self.max_age_s = max_age_s
        self.damaged = 0
        self._survive_power_loss = survive_power_loss
        self._memory = SlotMemory()
        self._readers = Readers(self.path)
        # Guards `_used` and `damaged`; nothing is called under it.
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}  # hash -> time of a load that is not written down yet
        self._newest: list[str] = []  # what the writer's present group has stored; the writer's alone
        self._total: tuple[int, int] | None = None  # the file's data version, and the stored bytes then; the writer's
        self._refusal: NewerSchemaError | None = None
        self._writer: Writer | None = None
        self.journal: FileJournal = FileJournal(self._readers, self._run, self._submit)
        try:
            connection = self._open()
        except NewerSchemaError as error:
            self._open_newer(error)
        else:
            self._memory.pin(tables.pinned(connection))
            self._writer = Writer(connection, self.path, self._before_commit, self._recount, self.journal)

    def _open(self) -> sqlite3.Connection:
        try:
            return open_database(self.path, survive_power_loss=self._survive_power_loss)
        except DamagedFileError as error:
            aside, saved = rebuild(self.path)
            warnings.warn(
                f"the store {self.path} is damaged ({error.__cause__ or error}); it is now {aside.name}, and {saved} "
                "results were saved from it",
                RuntimeWarning,
                stacklevel=4,
            )
            return open_database(self.path, survive_power_loss=self._survive_power_loss)

    def _open_newer(self, error: NewerSchemaError) -> None:
        try:
            self._refusal = error
            self.results()
            with self._readers.reading() as reader:
                reader.execute(f"{segments.SELECT} LIMIT 0", ("", 0)).fetchall()
        except StoreError:
            self._readers.close()
            raise error from None
        logger.warning("%s", error)

    # ---- reading -------------------------------------------------------------------------------------

    def find(self, key: ResultKey) -> int:
        with self._readers.reading() as reader:
            row = reader.execute("SELECT identity, replicates FROM results WHERE hash = ?", (key.hash,)).fetchone()
        # Damage may have put something else in the place of the number.
        return row[1] if row is not None and row[0] == key.identity and isinstance(row[1], int) else 0

    def load(self, key: ResultKey | str, replicates: int | None = None) -> Columns | None:
        result_hash, identity = (key, None) if isinstance(key, str) else (key.hash, key.identity)
        columns = self._memory.get(result_hash, identity, replicates)
        if columns is None:
            columns = self._load(result_hash, identity, replicates)
        if columns is not None:
            with self._lock:
                self._used[result_hash] = time.time()
        return columns

    def _load(self, result_hash: str, identity: str | None, replicates: int | None) -> Columns | None:
        wanted = segments.MOST if replicates is None else index(replicates)
        connection, generation = self._readers.take()
        rows = connection.cursor()
        try:
            first = rows.execute(segments.SELECT, (result_hash, wanted)).fetchone()
            if first is None:
                _check_absent(connection, result_hash, wanted)
                return None
            if identity not in (None, first[0]):
                return None
            columns = segments.join(chain((first,), rows), result_hash, min(wanted, first[1]))
        except (DamagedResultError, TypeError) as error:  # the second: what should be a number is none
            damage = str(error)
        except SQLITE_ERRORS as error:
            if not is_unreadable(error):
                raise explained(self.path, "read", error) from error
            damage = str(error)
        else:
            self._memory.keep(result_hash, first[0], columns)
            return columns
        finally:
            rows.close()
            self._readers.give_back(connection, generation)
        self._set_aside(result_hash, damage)
        return None

    def results(self) -> list[StoredResult]:
        return self._results(None)

    def get(self, result_hash: str) -> StoredResult | None:
        return next(iter(self._results(result_hash)), None)

    def _results(self, result_hash: str | None) -> list[StoredResult]:
        with self._readers.reading(snapshot=True) as reader:
            found, unreadable = tables.read_results(reader, result_hash)
        for owner, reason in unreadable.items():
            self._set_aside(owner, reason)
        return found

    @property
    def location(self) -> str:
        return str(self.path)

    # ---- writing -------------------------------------------------------------------------------------

    def store(
        self,
        key: ResultKey | Record,
        columns: Columns,
        *,
        workspace: str | None = None,
        on_stored: OnStored | None = None,
        finishes: Iterable[str] = (),
    ) -> None:
        done = on_stored or _ignore
        record = Record.of(key) if isinstance(key, ResultKey) else key
        try:
            columns = checked_columns(columns, self.max_storage_bytes)
            with self._readers.reading() as reader:
                row = reader.execute("SELECT replicates FROM results WHERE hash = ?", (record.hash,)).fetchone()
            new = segments.split(columns, row[0] if row else 0, record.hash)
        except StoreError as error:
            done(error)
            return
        replicates, ended = len(next(iter(columns.values()))), tuple(finishes)

        def work(connection: sqlite3.Connection) -> None:
            added = tables.write_result(connection, record, columns, new)
            self._newest.append(record.hash)
            if self._total is not None:
                self._total = (self._total[0], self._total[1] + added)
            if workspace is not None:
                self._place(connection, record.hash, replicates, workspace)
            self.journal.end(ended)

        def stored(error: Exception | None) -> None:
            if error is None and workspace is not None:
                self._memory.keep(record.hash, record.identity, columns)
            done(error)

        self._submit(Task(work, stored, new.size_bytes))

    def delete(self, result_hash: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            rows = connection.execute("DELETE FROM results WHERE hash = ?", (result_hash,)).rowcount
            self._total = None
            self._memory.pin(tables.pinned(connection))
            return rows > 0

        deleted = self._run(work)
        self._memory.drop(result_hash)
        return deleted

    def flush(self) -> None:
        if self._writer is not None:
            self._run(lambda _: None, alone=True)  # after all that was handed over before; nothing to commit

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._readers.close()

    def __repr__(self) -> str:
        return f"<ResultStore {self.path}>"

    def _submit(self, task: Task) -> None:
        if self._writer is None:
            task.done(self._refusal)
        else:
            self._writer.submit(task)

    def _run(self, work: Callable[[sqlite3.Connection], T], *, alone: bool = False) -> T:
        """Have the writer do something, wait, and return what it returned."""
        if self._writer is None:
            assert self._refusal is not None
            raise self._refusal
        found: list[T] = []
        self._writer.run(lambda connection: found.append(work(connection)), alone=alone)
        return found[-1]

    def _set_aside(self, result_hash: str, reason: str) -> None:
        """Take a damaged result out of the way and write down that it was there."""
        logger.warning("result %s in %s is damaged and set aside: %s", result_hash, self.path, reason)
        with self._lock:
            self.damaged += 1

        def work(connection: sqlite3.Connection) -> None:
            tables.set_aside(connection, result_hash, reason)
            self._total = None
            self._memory.pin(tables.pinned(connection))

        try:
            self._run(work)
        except StoreError as error:
            logger.warning("result %s could not be set aside: %s", result_hash, error)

    # ---- slots ---------------------------------------------------------------------------------------

    def place(self, key: ResultKey, replicates: int, workspace: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            row = connection.execute(
                "SELECT replicates FROM results WHERE hash = ? AND identity = ?", (key.hash, key.identity)
            ).fetchone()
            if row is not None:
                self._place(connection, key.hash, min(replicates, row[0]), workspace)

        self._submit(Task(work, _ignore))

    def slots(self, workspace: str) -> SlotPair:
        with self._readers.reading() as reader:
            return tables.read_slots(reader, workspace)

    def workspaces(self) -> list[str]:
        with self._readers.reading() as reader:
            return [row[0] for row in reader.execute("SELECT DISTINCT workspace FROM slots ORDER BY 1")]

    def swap(self, workspace: str) -> SlotPair:
        def work(connection: sqlite3.Connection) -> SlotPair:
            pair = swap(tables.read_slots(connection, workspace), now_text())
            tables.write_slots(connection, workspace, pair)
            return pair

        return self._run(work)

    def clear(self, workspace: str) -> int:
        def work(connection: sqlite3.Connection) -> int:
            used = len(list(tables.read_slots(connection, workspace)))
            tables.write_slots(connection, workspace, SlotPair())
            self._memory.pin(tables.pinned(connection))
            return used

        return self._run(work)

    def _place(self, connection: sqlite3.Connection, result_hash: str, replicates: int, workspace: str) -> None:
        pair = place(tables.read_slots(connection, workspace), result_hash, replicates, now_text())
        tables.write_slots(connection, workspace, pair)
        self._memory.pin(tables.pinned(connection))

    # ---- limits and care -----------------------------------------------------------------------------

    def cleanup(self) -> CleanupReport:
        def work(connection: sqlite3.Connection) -> CleanupReport:
            connection.execute("DELETE FROM damaged")
            return self._evict(connection)

        before = self._file_bytes()
        report = self._run(work)
        self._run(Writer.tidy, alone=True)
        return CleanupReport(report.removed, report.removed_bytes, max(0, before - self._file_bytes()))

    def check(self, *, repair: bool = False) -> CheckReport:
        with suppress(StoreError):  # what keeps the writer from writing is found below
            self.flush()
        with self._readers.reading(snapshot=True) as reader:
            found = check_file(reader)
        if not repair or not found.problems:
            return found.report()
        if found.file_damaged:
            return found.report(self._run(self._rebuild, alone=True))

        def work(connection: sqlite3.Connection) -> None:
            mend(connection, found)
            self._total = None
            self._memory.pin(tables.pinned(connection))

        self._run(work)
        return found.report(f"{len(found.damaged)} damaged results were removed; asked for again, they are computed")

    def _rebuild(self, connection: sqlite3.Connection) -> str:
        """Set the file aside and go on with a new one; the writer's, alone."""
        assert self._writer is not None
        connection.close()
        aside, saved = rebuild(self.path)
        self._writer.file_replaced(open_database(self.path, survive_power_loss=self._survive_power_loss))
        self._readers.drop()
        self._total = None
        return f"the file is damaged and is now {aside.name}; {saved} results were saved from it"

    def _file_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _before_commit(self, connection: sqlite3.Connection) -> None:
        """Write down the loads of late, and keep to the limits: the end of each group's transaction."""
        with self._lock:
            used, self._used = self._used, {}
        tables.write_uses(connection, used)
        newest, self._newest = self._newest, []
        self._evict(connection, newest)

    def _recount(self) -> None:
        self._total = None

    def _evict(self, connection: sqlite3.Connection, kept: Collection[str] = ()) -> CleanupReport:
        oldest = time_text(time.time() - self.max_age_s)
        report = tables.evict(connection, self._stored_bytes(connection), self.max_storage_bytes, oldest, kept)
        if report.removed:
            self._total = None
        return report

    def _stored_bytes(self, connection: sqlite3.Connection) -> int:
        """Return the size of all results, added up again only when somebody else has written."""
        version: int = connection.execute("PRAGMA data_version").fetchone()[0]
        if self._total is None or self._total[0] != version:
            (found,) = connection.execute("SELECT coalesce(sum(stored_bytes), 0) FROM results").fetchone()
            self._total = (version, found)
        return self._total[1]


def _ignore(error: Exception | None) -> None:
    """Take no note: the caller did not ask."""


def _check_absent(connection: sqlite3.Connection, result_hash: str, wanted: int) -> None:
    """Tell a result that is not there from one that has lost its blocks.

    Raises
    ------
    DamagedResultError
        If it has.
    """
    if wanted > 0 and connection.execute("SELECT 1 FROM results WHERE hash = ?", (result_hash,)).fetchone():
        raise DamagedResultError("it has no blocks")
