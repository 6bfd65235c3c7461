"""The connections that read a store's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bgsim.errors import StoreError
from bgsim.storage.sqlite import forks
from bgsim.storage.sqlite.database import LOCKED_TIMEOUT_MS, SQLITE_ERRORS, connect, explained, is_busy
from bgsim.threads.signals import HOLD


class Lease(forks.Use):
    """The use of a connection by one thread, from `Readers.take` to `Readers.give_back`.

    One that an interrupt keeps from being given back drops its connection, and then its token. The garbage collector
    closes the connection; the end of the store, or the next fork, has it do so.
    """

    __slots__ = ("connection", "idle")

    connection: sqlite3.Connection
    idle: list[sqlite3.Connection]  # where the connection goes


class Readers:
    """One connection for each thread that reads at the moment, kept for the next reader.

    Any thread may call any method; one thread at a time uses a connection. There is no lock: popping the last element
    of a list, and appending one, are single steps.
    """

    _KEPT = 4

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forks = forks.GUARD.count
        self._idle: list[sqlite3.Connection] = []  # replaced by another list when these are dropped
        self._closed = False
        self._is_locked = False  # another process has kept the file locked for the whole time-out

    @contextmanager
    def reading(self, *, snapshot: bool = False) -> Iterator[sqlite3.Connection]:
        """Give a connection; with `snapshot` in a transaction, so that all statements see one state of the file.

        Raises
        ------
        StoreError
            If the store is closed, or SQLite raises inside.
        """
        lease = None
        try:
            lease = self.take()
            if snapshot:
                lease.connection.execute("BEGIN")
            yield lease.connection
            if self._is_locked:
                self._is_locked = False
                self.drop()  # they wait for a moment only
        except SQLITE_ERRORS as error:
            raise self.refused(error) from error
        finally:
            if lease is not None:
                self.give_back(lease)

    def refused(self, error: Exception) -> StoreError:
        """Return the error of a statement that SQLite refused; once the file was locked, wait for a moment only."""
        if is_busy(error) and not self._is_locked:
            self._is_locked = True
            self.drop()
        return explained(self._path, "read", error)

    def take(self) -> Lease:
        """Return a connection for `give_back`; `reading` does both, and takes a microsecond longer."""
        self.check_process()
        lease = Lease(self._path)
        lease.idle = idle = self._idle
        try:
            try:
                lease.connection = idle.pop()
            except IndexError:
                with HOLD:
                    lease.connection = self._new()
        except BaseException:
            if hasattr(lease, "connection"):
                lease.connection.close()
            lease.end()  # now: the error's traceback keeps the object alive
            raise
        return lease

    def check_process(self) -> None:
        """Refuse to serve a forked child process.

        Raises
        ------
        StoreError
        """
        if self._forks != forks.GUARD.count:
            raise StoreError(f"the store {self._path} was opened before a fork; open it anew in the child")

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that no other caller gets and that can write nothing, and close it.

        Raises
        ------
        StoreError
            If the store is closed, or the file cannot be opened.
        """
        self.check_process()
        with forks.Use(self._path):
            self._check_open()
            try:
                connection = connect(self._path, mode="ro")
            except SQLITE_ERRORS as error:
                raise explained(self._path, "read", error) from error
            with closing(connection):
                yield connection

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the store {self._path} is closed")

    def _new(self) -> sqlite3.Connection:
        self._check_open()
        connection = connect(self._path, mode="rw", timeout_ms=LOCKED_TIMEOUT_MS if self._is_locked else None)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def give_back(self, lease: Lease) -> None:
        """Keep a connection for the next reader, or close it."""
        connection, idle = lease.connection, lease.idle
        del lease.connection
        try:
            if connection.in_transaction:
                connection.rollback()
            if len(idle) < self._KEPT:
                idle.append(connection)
            else:
                connection.close()
            # 1. This thread finds room in the list. 2. `drop` replaces the list and empties the old one. 3. This thread
            # adds to the old one. Either `drop` or this thread comes last, and empties it.
            if idle is not self._idle:
                _close_all(idle)
        except BaseException:  # of a signal's handler
            if connection not in idle:
                connection.close()
            raise
        finally:
            lease.end()

    def drop(self) -> None:
        """Close these connections: the file has been replaced, or the process forks."""
        idle, self._idle = self._idle, []
        _close_all(idle)

    def close(self) -> None:
        """Close all connections; those in use, when they are given back."""
        self._closed = True
        with forks.Use(self._path):
            self.drop()
        forks.GUARD.forget_dropped()


def _close_all(connections: list[sqlite3.Connection]) -> None:
    """Close each once, even if two threads call this."""
    while True:
        try:
            connection = connections.pop()
        except IndexError:
            return
        connection.close()
