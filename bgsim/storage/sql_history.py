"""The history in tables of SQLite, wherever they are."""

from __future__ import annotations

import abc
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from bgsim.checks import check_word
from bgsim.storage import history_tables as tables
from bgsim.storage.history import CHANGEABLE, AuditRow, Delivery, History, JobQuery, JobRow, TokenRow

T = TypeVar("T")


class SqlHistory(History):
    """The methods that read, and those that wait until their change is durable."""

    @abc.abstractmethod
    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a function reads, after all changes."""

    @abc.abstractmethod
    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a function returns that changes tables, in a transaction, when that is durable."""

    def _short(self, connection: sqlite3.Connection, row: JobRow) -> JobRow:  # noqa: ARG002 - a file has large values apart
        """Return a job as its table has it."""
        return row

    def _whole(self, connection: sqlite3.Connection, rows: list[JobRow]) -> list[JobRow]:  # noqa: ARG002
        """Return jobs as they were given."""
        return rows

    # ---- jobs ----------------------------------------------------------------------------------------

    def add_job(self, row: JobRow) -> JobRow | None:
        def work(connection: sqlite3.Connection) -> JobRow | None:
            found = tables.add_job(connection, self._short(connection, row))
            return None if found is None else self._whole(connection, [found])[0]

        return self._write(work)

    def job(self, id: str) -> JobRow | None:
        return self._read(lambda connection: self._job(connection, id))

    def _job(self, connection: sqlite3.Connection, id: str) -> JobRow | None:
        found = tables.job(connection, id)
        return None if found is None else self._whole(connection, [found])[0]

    def job_by_key(self, token: str, idempotency_key: str, now: str) -> JobRow | None:
        def read(connection: sqlite3.Connection) -> JobRow | None:
            found = tables.job_by_key(connection, token, idempotency_key, now)
            return None if found is None else self._whole(connection, [found])[0]

        return self._read(read) if idempotency_key else None

    def jobs(self, query: JobQuery) -> list[JobRow]:
        return self._read(lambda connection: self._whole(connection, tables.jobs(connection, query)))

    def count_jobs(self, query: JobQuery) -> int:
        return self._read(lambda connection: tables.count_jobs(connection, query))

    def tally(self) -> dict[tuple[str, str, str], int]:
        return self._read(tables.tally)

    def open_jobs(self) -> list[JobRow]:
        return self._read(lambda connection: self._whole(connection, tables.open_jobs(connection)))

    def change_job(self, id: str, **columns: Any) -> bool:
        for name in columns:
            check_word("columns", name, CHANGEABLE)
        return self._write(lambda connection: tables.change_job(connection, id, columns))

    def ask_cancel(self, ids: Iterable[str]) -> None:
        wanted = list(ids)
        self._write(lambda connection: tables.ask_cancel(connection, wanted))

    def forget_jobs(self, before: str, most: int) -> int:
        return self._forget(lambda connection: tables.forget_jobs(connection, before, most))

    def _forget(self, some: Callable[[sqlite3.Connection], int]) -> int:
        """Forget some rows a transaction, until none is left to forget."""
        forgotten = 0
        while found := self._write(some):
            forgotten += found
        return forgotten

    # ---- tokens --------------------------------------------------------------------------------------

    def add_token(self, row: TokenRow) -> None:
        self._write(lambda connection: tables.add_token(connection, row))

    def token(self, id: str) -> TokenRow | None:
        return self._read(lambda connection: tables.token(connection, id))

    def tokens(self) -> list[TokenRow]:
        return self._read(tables.tokens)

    def revoke_token(self, id: str, at: str) -> bool:
        return self._write(lambda connection: tables.revoke_token(connection, id, at))

    # ---- deliveries ----------------------------------------------------------------------------------

    def due_deliveries(self, now: str, limit: int) -> list[Delivery]:
        return self._read(lambda connection: tables.due_deliveries(connection, now, limit))

    def next_delivery_at(self, now: str) -> str | None:
        return self._read(lambda connection: tables.next_delivery_at(connection, now))

    def claim_delivery(self, id: str, due_at_seen: str, new_due_at: str) -> bool:
        return self._write(lambda connection: tables.claim_delivery(connection, id, due_at_seen, new_due_at))

    def put_delivery(self, delivery: Delivery) -> None:
        self._write(lambda connection: tables.put_delivery(connection, delivery))

    def deliveries(self, job: str | None = None, state: str | None = None, limit: int = 100) -> list[Delivery]:
        return self._read(lambda connection: tables.deliveries(connection, job, state, limit))

    def forget_deliveries(self, before: str) -> int:
        return self._forget(lambda connection: tables.forget_deliveries(connection, before))

    # ---- audit ---------------------------------------------------------------------------------------

    def audit(self, tenant: str | None, limit: int, before_id: int | None = None) -> list[AuditRow]:
        return self._read(lambda connection: tables.audit(connection, tenant, limit, before_id))

    def forget_audit(self, before: str) -> int:
        return self._forget(lambda connection: tables.forget_audit(connection, before))
