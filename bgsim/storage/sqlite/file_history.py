"""The history in a store's file, written by the store's writer.

What need not be waited for is collected in a batch, which the writer writes in one of its transactions. So a job that
ends soon is one row, written once.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from bgsim.errors import StoreError
from bgsim.storage import history_tables as tables
from bgsim.storage.history import OF_END, AuditRow, Delivery, JobRow, TokenRow
from bgsim.storage.large_values import MARK, shortened
from bgsim.storage.sql_history import SqlHistory
from bgsim.storage.sqlite import values
from bgsim.storage.sqlite.readers import Readers
from bgsim.storage.sqlite.task import Task, Tasks
from bgsim.threads.locks import Lock
from bgsim.threads.signals import HOLD

logger = logging.getLogger("bgsim.storage")

T = TypeVar("T")

_MOST_KEPT = 10_000
"""Rows of jobs, and of all else, that wait in memory for a file that cannot be written; the oldest beyond it go."""


@dataclass(slots=True)
class _Batch:
    """Changes that one task of the writer's makes."""

    noted: dict[str, JobRow] = field(default_factory=dict)
    ended: dict[str, JobRow] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    entries: list[AuditRow] = field(default_factory=list)
    on_written: list[Callable[[Exception | None], None]] = field(default_factory=list)

    def add(self, later: _Batch) -> None:
        self.noted |= {key: row for key, row in later.noted.items() if key not in self.noted}
        self.ended |= later.ended
        self.deliveries += later.deliveries
        self.entries += later.entries
        self.on_written += later.on_written

    def follow(self, earlier: _Batch) -> None:
        """Put earlier changes before these."""
        earlier.add(self)
        self.noted, self.ended, self.deliveries = earlier.noted, earlier.ended, earlier.deliveries
        self.entries, self.on_written = earlier.entries, earlier.on_written

    def bound(self) -> None:
        for rows in (self.noted, self.ended):
            for oldest in list(rows)[: max(0, len(rows) - _MOST_KEPT)]:
                del rows[oldest]
        del self.deliveries[:-_MOST_KEPT], self.entries[:-_MOST_KEPT]


class FileHistory(SqlHistory):
    """Jobs, tokens, deliveries and an audit log in a store's file.

    Parameters
    ----------
    readers : Readers
    tasks : Tasks
    """

    def __init__(self, readers: Readers, tasks: Tasks) -> None:
        self._readers = readers
        self._tasks = tasks
        # Guards all below; SQLite and the writer are not called under it.
        self._lock = Lock()
        self._open: _Batch | None = None  # its task is in the backlog
        self._sealed: list[_Batch] = []  # their tasks are being done
        self._kept: _Batch | None = None  # could not be written
        self._failed_before = False

    # ---- changes, which take microseconds --------------------------------------------------------------

    def note_job(self, row: JobRow) -> None:
        self._add(_Batch(noted={row.id: replace(row, idempotency_key="")}))

    def end_job(
        self,
        row: JobRow,
        deliveries: Sequence[Delivery] = (),
        on_written: Callable[[Exception | None], None] | None = None,
    ) -> None:
        told = [] if on_written is None else [on_written]
        self._add(_Batch(ended={row.id: replace(row, idempotency_key="")}, deliveries=[*deliveries], on_written=told))

    def add_audit(self, row: AuditRow) -> None:
        self._add(_Batch(entries=[row]))

    def _add(self, change: _Batch) -> None:
        """Add to the batch that waits for the writer, or submit a new one."""
        with HOLD:  # both, or nothing would ever be submitted again
            with self._lock:
                if self._open is not None:
                    self._open.add(change)
                    return
                self._open = batch = change
            self._tasks.submit(Task(partial(self._write_batch, batch), partial(self._written, batch), patient=True))

    # ---- called by the writer --------------------------------------------------------------------------

    def _write_batch(self, batch: _Batch, connection: sqlite3.Connection) -> None:
        with self._lock:
            if self._open is batch:  # else this transaction is tried again
                self._open = None
                self._sealed.append(batch)
                if self._kept is not None:
                    batch.follow(self._kept)
                    self._kept = None
        noted = [row for row in batch.noted.values() if row.id not in batch.ended]
        tables.note_jobs(connection, [self._short(connection, row) for row in noted])
        tables.end_jobs(connection, [self._short(connection, row) for row in batch.ended.values()])
        tables.add_deliveries(connection, batch.deliveries)
        tables.add_audit(connection, batch.entries)

    def _written(self, batch: _Batch, error: Exception | None) -> None:
        news = False
        with self._lock:
            if self._open is batch:  # its task was refused
                self._open = None
            if batch in self._sealed:
                self._sealed.remove(batch)
            told, batch.on_written = batch.on_written, []
            if error is not None:
                if self._kept is not None:
                    batch.follow(self._kept)
                batch.bound()
                self._kept = batch
                news = not self._failed_before
            self._failed_before = error is not None
        if news:
            logger.warning("the history of jobs cannot be written, and is kept in memory: %s", error)
        for tell in told:
            tell(error)

    # ---- queries, after all changes --------------------------------------------------------------------

    def job(self, id: str) -> JobRow | None:
        ended = noted = None
        with self._lock:  # before the file is read: what is in none of these is there
            for batch in (self._kept, *self._sealed, self._open):
                if batch is not None:
                    ended, noted = batch.ended.get(id, ended), noted or batch.noted.get(id)
        with self._readers.reading() as connection:
            found = self._job(connection, id) or noted
        if found is None or ended is None:
            return found or ended
        return replace(found, **{name: getattr(ended, name) for name in OF_END})

    def job_by_key(self, token: str, idempotency_key: str, now: str) -> JobRow | None:
        if not idempotency_key:
            return None
        with self._readers.reading() as connection:
            found = tables.job_by_key(connection, token, idempotency_key, now)
            return None if found is None else self._whole(connection, [found])[0]

    def token(self, id: str) -> TokenRow | None:
        with self._readers.reading() as connection:
            return tables.token(connection, id)

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        self._flush_if_possible()
        with self._readers.reading(snapshot=True) as connection:
            return read(connection)

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._flush_if_possible()
        return self._tasks.run(work)

    def _flush_if_possible(self) -> None:
        with self._lock:
            waits = self._open is not None or self._sealed or self._kept is not None
        if waits:
            with suppress(StoreError):  # a failed write does not prevent reading
                self._add(_Batch())
                self._tasks.run(_nothing)

    def _short(self, connection: sqlite3.Connection, row: JobRow) -> JobRow:
        short, found = shortened(row.parameters)
        values.write(connection, found)
        return replace(row, parameters=short) if found else row

    def _whole(self, connection: sqlite3.Connection, rows: list[JobRow]) -> list[JobRow]:
        found = values.Values(connection)
        return [replace(row, parameters=found.whole(row.parameters)) if MARK in row.parameters else row for row in rows]


def _nothing(_: object) -> None:
    """Do nothing: the batch was submitted before."""
