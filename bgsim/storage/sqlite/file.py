"""A store's file in use: its readers, its writer, and what to do about damage."""

from __future__ import annotations

import logging
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bgsim.errors import NewerSchemaError, StoreError, printable
from bgsim.storage.codec import segments
from bgsim.storage.slots import SlotCache
from bgsim.storage.sqlite import forks, tables
from bgsim.storage.sqlite.check import Findings, look_at, mend_results
from bgsim.storage.sqlite.database import DamagedFileError, file_identity, open_database, reopen_database
from bgsim.storage.sqlite.entries import check_entries
from bgsim.storage.sqlite.file_history import FileHistory
from bgsim.storage.sqlite.file_journal import FileJournal
from bgsim.storage.sqlite.readers import Readers
from bgsim.storage.sqlite.salvage import rebuild
from bgsim.storage.sqlite.task import Task
from bgsim.storage.sqlite.upkeep import Upkeep
from bgsim.storage.sqlite.writer import Writer
from bgsim.threads.locks import Lock
from bgsim.threads.signals import HOLD, interruptibly

logger = logging.getLogger("bgsim.storage")

T = TypeVar("T")


class StoreFile:
    """The file of a `ResultStore`. Any thread may call any method.

    Parameters
    ----------
    path, survive_power_loss
        As for `ResultStore`.
    upkeep : Upkeep
    cache : SlotCache

    Attributes
    ----------
    path : Path
    readers : Readers
    writer : Writer or None
        None if a newer bgsim wrote the file.
    cache : SlotCache
    journal : FileJournal
    history : FileHistory
    upkeep : Upkeep
    damaged : int
        Number of damaged results found.

    Raises
    ------
    StoreError
        If the file cannot be used.
    """

    def __init__(self, path: Path, upkeep: Upkeep, cache: SlotCache, *, survive_power_loss: bool) -> None:
        self.path = path
        self.upkeep = upkeep
        self.damaged = 0
        self.readers = Readers(path)
        self.cache = cache
        self.journal = FileJournal(self.readers, self)
        self.history = FileHistory(self.readers, self)
        self.writer: Writer | None = None
        self._survive_power_loss = survive_power_loss
        self._refusal: NewerSchemaError | None = None
        # Guards `damaged`; nothing is called under it.
        self._lock = Lock()
        try:
            with HOLD, forks.Use(path):
                self._begin()
        except BaseException:  # of a signal's handler: nobody gets this store
            self.close()
            raise

    def _begin(self) -> None:
        forks.GUARD.register(self)
        try:
            connection = interruptibly(self._open)
        except NewerSchemaError as error:
            self._open_newer(error)
        else:
            try:
                self.cache.pin(tables.pinned(connection))
                self.writer = Writer(connection, self._reopen, self.path, self.upkeep, self.journal)
            except BaseException:  # such as a system that starts no thread: nothing is left open
                connection.close()
                raise

    def submit(self, task: Task) -> None:
        """Hand a task to the writer."""
        if self.writer is None:
            task.done(self._refusal)
        else:
            self.writer.submit(task)

    def run(self, work: Callable[[sqlite3.Connection], T], *, alone: bool = False, closed: bool = False) -> T:
        """Have the writer do something, wait until it is durable, and return what it returned.

        Raises
        ------
        StoreError
            If it cannot be done.
        """
        if self.writer is None:
            assert self._refusal is not None
            raise self._refusal
        found: list[T] = []

        def do(connection: sqlite3.Connection) -> None:
            self.upkeep.write(connection)  # the work may read or change it
            found.append(work(connection))

        self.writer.run(do, alone=alone, closed=closed)
        return found[-1]

    def flush(self) -> None:
        """Return when everything submitted before is durable."""
        if self.writer is not None:
            self.run(lambda _: None, alone=True)  # after all the rest; nothing to commit

    def results_changed(self, connection: sqlite3.Connection) -> None:
        """Read sizes and slots again, in a transaction that has deleted or placed a result."""
        self.upkeep.recount()
        self.cache.pin(tables.pinned(connection))

    def set_aside(self, result_hash: str, reason: str) -> None:
        """Mend a result that was found damaged, if the writer finds it so too; leave a note if that removes it."""

        def work(connection: sqlite3.Connection) -> Findings:
            found = look_at(connection, result_hash)
            if found.problems:
                mend_results(connection, found)
                self.results_changed(connection)
            return found

        try:
            found = self.run(work)
            if not found.damaged:
                now = found.problems[0] if found.problems else "it is whole"
                logger.warning("result %s in %s could not be read (%s): %s", result_hash, self.path, reason, now)
                return
            logger.warning("result %s in %s is damaged and set aside: %s", result_hash, self.path, reason)
        except StoreError as error:
            logger.warning(
                "result %s in %s is damaged (%s), and could not be set aside: %s", result_hash, self.path, reason, error
            )
        with self._lock:
            self.damaged += 1

    def rebuild(self) -> str:
        """Set the whole file aside, go on with a new one, and return a sentence that says so."""

        def work(_: object) -> str:
            assert self.writer is not None
            before = file_identity(self.path)
            rebuilt = rebuild(self.path, before)
            self.writer.file_replaced(open_database(self.path, survive_power_loss=self._survive_power_loss))
            self.readers.drop()
            self.upkeep.recount()
            if rebuilt is None:
                return "the file was damaged, and another process has made it anew"
            return f"the file is damaged and is now {rebuilt.aside.name}; {rebuilt.saved} results were saved from it"

        return self.run(work, closed=True)

    def close_connections(self) -> None:
        """Close all connections until they are needed again, for a fork; no thread uses one."""
        if self.writer is not None:
            self.writer.close_connection()
        self.readers.drop()

    def close(self) -> None:
        """Finish what was submitted, and close the file."""
        if self.writer is not None:
            self.writer.close()
        self.readers.close()

    def _reopen(self) -> sqlite3.Connection:
        return reopen_database(self.path, survive_power_loss=self._survive_power_loss)

    def _open(self) -> sqlite3.Connection:
        before = file_identity(self.path)
        try:
            return open_database(self.path, survive_power_loss=self._survive_power_loss)
        except DamagedFileError as error:
            rebuilt = rebuild(self.path, before)
            if rebuilt is not None:
                warnings.warn(
                    printable(
                        f"the store {self.path} is damaged ({error.__cause__ or error}); it is now "
                        f"{rebuilt.aside.name}, and {rebuilt.saved} results were saved from it"
                    ),
                    RuntimeWarning,
                    stacklevel=4,
                )
            return open_database(self.path, survive_power_loss=self._survive_power_loss)

    def _open_newer(self, error: NewerSchemaError) -> None:
        """Open the file for reading alone, if its tables can be read as they are."""
        self._refusal = error
        try:
            with self.readers.reading(snapshot=True) as reader:
                check_entries(reader, self.path)
                for read in (tables.READ_RESULTS, tables.READ_OUTPUTS):
                    reader.execute(f"{read} LIMIT 0").fetchall()
                reader.execute(f"{segments.SELECT} LIMIT 0", ("", 0)).fetchall()
        except StoreError:
            self.readers.close()
            raise error from None
        logger.warning("%s", error)
