"""The history of a store in memory, which ends with the process."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from bgsim.errors import StoreError
from bgsim.storage import history_tables as tables
from bgsim.storage.history import AuditRow, Delivery, JobRow
from bgsim.storage.history_schema import STATEMENTS
from bgsim.storage.sql_history import SqlHistory
from bgsim.threads.locks import Lock

T = TypeVar("T")


class MemoryHistory(SqlHistory):
    """Jobs, tokens, deliveries and an audit log in a database in memory."""

    def __init__(self) -> None:
        # Guards the connection, for the time of one operation.
        self._lock = Lock()
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._connection.close)
        for statement in STATEMENTS:
            self._connection.execute(statement)

    def note_job(self, row: JobRow) -> None:
        self._write(lambda connection: tables.note_jobs(connection, [replace(row, idempotency_key="")]))

    def end_job(
        self,
        row: JobRow,
        deliveries: Sequence[Delivery] = (),
        on_written: Callable[[Exception | None], None] | None = None,
    ) -> None:
        def work(connection: sqlite3.Connection) -> None:
            tables.end_jobs(connection, [replace(row, idempotency_key="")])
            tables.add_deliveries(connection, deliveries)

        self._write(work)
        if on_written is not None:
            on_written(None)

    def add_audit(self, row: AuditRow) -> None:
        self._write(lambda connection: tables.add_audit(connection, [row]))

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            return self._call(read)

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            return self._call(work)

    def _call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return function(self._connection)
        except sqlite3.Error as error:
            raise StoreError(f"the history in memory refuses that: {error}") from error
