"""The one thread that writes: all tasks in the backlog go into one transaction (group commit).

A task that fails fails alone: the group is done again, with a savepoint for each task. If a group cannot be committed,
the writer moves the write-ahead log into the file, which may make room on a full disk, and tries the tasks one by one.
So a large task that does not fit fails alone, and so does the journal, which comes last in every transaction. An idle
writer shortens the log and gives free pages back.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

from bgsim.errors import StoreError, start_thread
from bgsim.storage.sqlite import forks, values
from bgsim.storage.sqlite.database import (
    BUSY_TIMEOUT_MS,
    JOURNAL_LIMIT_BYTES,
    LOCKED_TIMEOUT_MS,
    SQLITE_ERRORS,
    code_of,
    explained,
    file_identity,
    is_busy,
)
from bgsim.storage.sqlite.entries import check_entries
from bgsim.storage.sqlite.task import Task, Work
from bgsim.storage.sqlite.upkeep import Upkeep
from bgsim.threads.locks import Condition, Latch, Lock, Thread

logger = logging.getLogger("bgsim.storage")

BACKLOG_BYTES = 256 * 2**20
"""`Writer.submit` waits while the backlog is larger."""

LINGER_S = 0.002
"""A patient task waits this long for others."""

IDLE_S = 1.0
"""The writer tidies up after this time without work."""

_LONG = 4
"""A log of this many times its size that cannot be moved is kept by a reader."""

_FREE_PAGES_A_STEP = 2000


class LateWork(Protocol):
    """Writes at the end of every transaction; if that fails, no result fails with it."""

    def write(self, connection: sqlite3.Connection, ended: Collection[str]) -> None:
        """Write what is pending, and that these requests have ended."""

    def committed(self) -> None:
        """Note that it is durable."""

    def rolled_back(self, error: Exception | None) -> bool:
        """Keep it for later; return whether there was any. The error is given if nothing else can be the cause."""


class Writer:
    """The writer's thread and its backlog. Any thread may submit; `done` is called in the writer's, without a lock.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's own; a task that replaces the file replaces it too, and runs alone.
    reopen : callable
        Opens another after a fork.
    path : Path
    upkeep : Upkeep
        Runs at the end of each group's transaction.
    late : LateWork
        Runs after that.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        reopen: Callable[[], sqlite3.Connection],
        path: Path,
        upkeep: Upkeep,
        late: LateWork,
    ) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._reopen = reopen
        self.path = path
        self._upkeep = upkeep
        self._late = late
        self._pid = os.getpid()
        # Guards all below; no task runs under it, and SQLite is not called.
        self._lock = Lock()
        self._changed = Condition(self._lock.raw)
        self._backlog: deque[Task] = deque()
        self._backlog_bytes = 0
        self._urgent = False  # a task in the backlog is not patient
        self._closing = False
        self._file = file_identity(path)  # written by the writer alone, and so is the next
        self._is_locked = False  # another process has kept the file locked for the whole time-out
        self._schema_version = -1  # of the entries that were checked; of another file after a replacement
        self._thread = Thread(self._run_forever, name="bgsim-store")
        start_thread(self._thread)

    @property
    def connection(self) -> sqlite3.Connection:
        """The writer's own, for its thread, while it has a `forks.Use`."""
        if self._connection is None:
            self._check_file()
            self._connection = self._reopen()
            self._upkeep.recount()  # the data version is a connection's
        return self._connection

    def submit(self, task: Task) -> None:
        """Add a task to the backlog; wait while that is full, unless the writer itself calls."""
        if os.getpid() != self._pid:
            task.done(StoreError(f"the store {self.path} was opened before a fork; open it anew in the child"))
            return
        with self._lock:
            inside = self._thread is threading.current_thread()
            while self._backlog_bytes > BACKLOG_BYTES and task.size_bytes and not self._closing and not inside:
                self._changed.wait()
            if not self._closing:
                self._backlog.append(task)
                self._backlog_bytes += task.size_bytes
                self._urgent = self._urgent or not task.patient
                self._changed.notify_all()
                return
        task.done(StoreError(f"the store {self.path} is closed"))

    def run(self, work: Work, *, alone: bool = False, closed: bool = False) -> None:
        """Submit work, and wait until it is durable.

        Raises
        ------
        StoreError
            If it cannot be done, or is submitted inside a task's `done`, which would wait for itself.
        """
        if threading.current_thread() is self._thread and os.getpid() == self._pid:
            raise StoreError("the store cannot wait for itself: call this outside of on_stored")
        finished = Latch()
        failed: list[Exception] = []

        def done(error: Exception | None) -> None:
            if error is not None:
                failed.append(error)
            finished.set()

        self.submit(Task(work, done, alone=alone or closed, closed=closed))
        finished.wait()
        if failed:
            raise failed[0]

    def file_replaced(self, connection: sqlite3.Connection) -> None:
        """Go on with another file under the same path; call it in a task that runs alone."""
        self._connection = connection
        self._file, self._schema_version = file_identity(self.path), -1

    def close_connection(self) -> None:
        """Close the connection until it is needed again; no thread uses it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Finish the backlog, tidy up, and end; more than once, or in a forked child, does nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run_forever(self) -> None:
        dirty = False
        while True:
            with self._lock:
                if not self._backlog and not self._closing:
                    self._changed.wait(IDLE_S if dirty else None)
                if self._backlog:
                    self._changed.wait_for(lambda: self._urgent or self._closing, LINGER_S)
                tasks = list(self._backlog)
                self._backlog.clear()
                self._urgent = False
                ending = self._closing and not tasks
            if tasks:
                self._do(tasks)
                tasks.clear()  # a job that waits for its end goes with its task
                self._bound_log()
                dirty = True
            elif dirty or ending:
                self._tidy()
                dirty = False
            if ending:
                break
        with forks.Use(self.path):
            self.close_connection()

    def _do(self, tasks: list[Task]) -> None:
        groups: list[list[Task]] = []
        size_bytes = 0
        for task in tasks:
            size_bytes += task.size_bytes
            if groups and not task.alone and not groups[-1][0].alone and size_bytes <= self._upkeep.limits.group_bytes:
                groups[-1].append(task)
            else:
                groups.append([task])
                size_bytes = task.size_bytes
        for group in groups:
            errors = [self._alone(group[0])] if group[0].alone else self._commit(group)
            with self._lock:
                self._backlog_bytes -= sum(task.size_bytes for task in group)
                self._changed.notify_all()
            for task, error in zip(group, errors, strict=True):
                try:
                    task.done(error)
                except Exception:  # raised by the caller's code; the next result must be written all the same
                    logger.exception("a callback on the end of storing raised")

    def _bound_log(self) -> None:
        """Move a long write-ahead log into the file, after the callers that wait for the commit were called back."""
        limits, left = self._upkeep.limits, 0
        most = min(JOURNAL_LIMIT_BYTES, limits.group_bytes)
        try:
            size_bytes = Path(f"{self.path}-wal").stat().st_size
            if size_bytes > most:
                with forks.Use(self.path):
                    self.connection.execute(f"PRAGMA journal_size_limit = {most}")  # when the log begins again
                    _, length, moved = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                left = size_bytes if moved < length and size_bytes > _LONG * most else 0
            limits.tell_log(left, str(self.path))
        except (OSError, MemoryError, *SQLITE_ERRORS):
            return  # there is no log, or another process moves it, or SQLite has no memory for it now

    def _tidy(self) -> None:
        """Commit what is pending, then tidy the file in short steps."""
        try:
            self._commit([])
            with forks.Use(self.path):
                self.tidy(self.connection)
            self._bound_log()
        except (StoreError, MemoryError, *SQLITE_ERRORS):
            return  # another process tidies, or the file is gone: then the next write fails

    @staticmethod
    def tidy(connection: sqlite3.Connection) -> None:
        """Delete values that nothing refers to, give free pages back and shorten the write-ahead log."""
        values.sweep_alone(connection)
        while connection.execute("PRAGMA freelist_count").fetchone()[0]:
            connection.execute(f"PRAGMA incremental_vacuum({_FREE_PAGES_A_STEP})").fetchall()
        connection.execute("PRAGMA busy_timeout = 0")  # other writers would wait while this one waits for a reader
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")

    def _alone(self, task: Task) -> Exception | None:
        try:
            with forks.Use(self.path):
                if task.closed:
                    self.close_connection()
                task.work(None if task.closed else self.connection)
        except SQLITE_ERRORS as error:
            return explained(self.path, "written", error)
        except Exception as error:  # of this task, whatever it is; the writer goes on
            return error
        return None

    def _commit(self, tasks: list[Task]) -> list[Exception | None]:
        """Do the tasks and the late work in one transaction; return an error or None for each task."""
        with forks.Use(self.path):
            return self._transact(tasks, late=True)

    def _transact(
        self, tasks: list[Task], *, late: bool, apart: bool = False, ended: Iterable[str] = ()
    ) -> list[Exception | None]:
        """Do that; with `apart` each task has a savepoint, and fails alone. `ended` are requests of earlier tasks."""
        errors: list[Exception | None] = [None] * len(tasks)
        working = False
        try:
            self._check_file()
            self._begin()
            self._check_schema()
            if apart:
                errors = [self._in_savepoint(task) for task in tasks]
            else:
                working = True
                for task in tasks:
                    task.work(self.connection)
                self._upkeep.write(self.connection)
                working = False
            self._upkeep.before_commit(self.connection)
            if late:
                self._late.write(self.connection, [*ended, *_ends(tasks, errors)])
            self.connection.execute("COMMIT")
            self._upkeep.committed()
        except Exception as error:  # the writer goes on after any error
            open_still = self._connection is not None and self._connection.in_transaction
            if open_still:
                self.connection.execute("ROLLBACK")
            self._upkeep.undo()
            if working and open_still:
                return self._transact(tasks, late=late, apart=True)  # a task has failed, not SQLite
            failure = explained(self.path, "written", error) if isinstance(error, SQLITE_ERRORS) else error
            busy = is_busy(error)  # each task would wait as long again
            self._is_locked = self._is_locked or busy
            had_late = late and self._late.rolled_back(None if tasks or busy else failure)
            made_room = late and code_of(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) and self._make_room()
            if busy or not tasks or not (len(tasks) > 1 or had_late or made_room):
                return [failure] * len(tasks)
            errors = [self._transact([task], late=False)[0] for task in tasks]
            self._transact([], late=True, ended=_ends(tasks, errors))
            return errors
        if late:
            self._late.committed()
        return errors

    def _begin(self) -> None:
        """Begin a transaction; once the file was found locked, wait no longer than for a moment until it is free."""
        if self._is_locked:
            self.connection.execute(f"PRAGMA busy_timeout = {LOCKED_TIMEOUT_MS}")
        self.connection.execute("BEGIN IMMEDIATE")
        if self._is_locked:
            self.connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            self._is_locked = False

    def _make_room(self) -> bool:
        """Move the write-ahead log into the file, so that it starts again; return whether that was possible."""
        try:
            blocked, length, moved = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except (StoreError, *SQLITE_ERRORS):
            return False
        return not blocked and 0 < length == moved

    def _in_savepoint(self, task: Task) -> Exception | None:
        self.connection.execute("SAVEPOINT task")
        try:
            task.work(self.connection)
            self._upkeep.write(self.connection)  # or it would be undone with the next task that fails
        except Exception as error:  # of this task, whatever it is
            if not self.connection.in_transaction:
                raise  # SQLite has rolled everything back: a full disk, say
            self.connection.execute("ROLLBACK TO task")
            self.connection.execute("RELEASE task")
            self._upkeep.undo_task()
            return explained(self.path, "written", error) if isinstance(error, SQLITE_ERRORS) else error
        self.connection.execute("RELEASE task")
        return None

    def _check_schema(self) -> None:
        """Refuse to write if another program has added what would run with our statements."""
        (version,) = self.connection.execute("PRAGMA schema_version").fetchone()
        if version != self._schema_version:
            check_entries(self.connection, self.path)
            self._schema_version = version

    def _check_file(self) -> None:
        """Refuse to write into a file that was deleted or replaced, where the results would be lost."""
        if file_identity(self.path) != self._file:
            raise StoreError(
                f"the store {self.path} was deleted or replaced while it was open, so nothing more is written; "
                "open it anew"
            )


def _ends(tasks: list[Task], errors: list[Exception | None]) -> list[str]:
    """Return the requests that end with the tasks that have not failed."""
    return [each for task, error in zip(tasks, errors, strict=True) if error is None for each in task.ends]
