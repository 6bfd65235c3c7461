"""The journal in a store's file, written by the store's writer.

Changes are collected in a dictionary. The writer writes them at the end of its transaction, or of one that it opens for
them. So a job's result and its end are one commit, and a request that ends before it is written costs no SQL.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from bgsim.errors import StoreError
from bgsim.storage.journal import MAX_DEAD_LETTERS, DeadLetter, Journal, PendingRequest, ScheduledRequest
from bgsim.storage.owners import Owner
from bgsim.storage.sqlite import journal_tables as tables
from bgsim.storage.sqlite.journal_tables import Mark
from bgsim.storage.sqlite.readers import Readers
from bgsim.storage.sqlite.task import Task, Tasks
from bgsim.threads.locks import Lock
from bgsim.threads.signals import HOLD

logger = logging.getLogger("bgsim.storage")

T = TypeVar("T")


@dataclass(slots=True)
class _Changes:
    """Changes that are not in the file yet; false if there are none."""

    owners: dict[str, Owner | None] = field(default_factory=dict)  # None: released
    requests: dict[str, PendingRequest | Mark] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.owners or self.requests or self.letters)

    def followed_by(self, later: _Changes) -> _Changes:
        requests = dict(self.requests)
        for key, change in later.requests.items():
            requests[key] = _started(requests.get(key)) if change is Mark.STARTED else change
        return _Changes(self.owners | later.owners, requests, self.letters + later.letters)

    def write(self, connection: sqlite3.Connection, now: float) -> None:
        tables.write_owners(connection, self.owners)
        tables.write_requests(connection, self.requests)
        if self.letters:
            tables.write_dead_letters(connection, self.letters)
        if self.owners:
            tables.forget_dead_owners(connection, now)


class FileJournal(Journal):
    """Requests, dead letters and schedules in a store's file.

    Parameters
    ----------
    readers : Readers
    tasks : Tasks
    clock : callable
        Seconds since the epoch.

    Attributes
    ----------
    failure : Exception or None
        Of the last attempt to write. Until a heartbeat, a release or `flush` all changes then stay in memory.
    """

    def __init__(self, readers: Readers, tasks: Tasks, clock: Callable[[], float] = time.time) -> None:
        self.failure: Exception | None = None
        self._readers = readers
        self._tasks = tasks
        self._clock = clock
        # Guards all below; SQLite and the writer are not called under it.
        self._lock = Lock()
        self._changes = _Changes()
        self._writing: _Changes | None = None  # in the writer's current transaction
        self._known: set[str] = set()  # requests that may be in the file, of those that this process has met
        self._asked = False  # whether a task that writes the changes is in the backlog
        self._failed_before = False
        self._ended: Collection[str] = ()  # requests that the writer's current transaction ends
        self._removed: set[str] = set()  # rows that it deletes
        self._made = self._made_then = self._written = 0  # changes: all, at the start of that, and in the file

    # ---- changes, which take microseconds --------------------------------------------------------------

    def register(self, owner: str) -> None:
        self._set_owner(owner, Owner.here(owner, self._clock()))

    def heartbeat(self, owner: str) -> None:
        self.register(owner)

    def release(self, owner: str) -> None:
        self._set_owner(owner, None)

    def _set_owner(self, name: str, owner: Owner | None) -> None:
        with self._lock:
            self._made += 1
            self._changes.owners[name] = owner
            self.failure = None
        self._ask()

    def add(self, request: PendingRequest) -> None:
        with self._lock:
            self._made += 1
            self._changes.requests[request.id] = request
        self._ask()

    def start(self, id: str) -> None:
        with self._lock:
            self._made += 1
            self._changes.requests[id] = _started(self._changes.requests.get(id))
        self._ask()

    def remove(self, id: str) -> None:
        with self._lock:
            self._made += 1
            is_to_be_written = self._end(self._changes.requests, id)
        if is_to_be_written:
            self._ask()

    def _end(self, changes: dict[str, PendingRequest | Mark], id: str) -> bool:
        """Add the end of a request to changes; return whether it has to be written. Under the lock."""
        if isinstance(changes.get(id), PendingRequest) and id not in self._known:
            del changes[id]
            return False
        changes[id] = Mark.REMOVED
        return True

    def add_dead_letter(self, letter: DeadLetter) -> None:
        with self._lock:
            self._made += 1
            self._changes.letters.append(letter)
            del self._changes.letters[:-MAX_DEAD_LETTERS]
        self._ask()

    def is_written(self, on_written: Callable[[Exception | None], None]) -> bool:
        with self._lock:
            if self.failure is not None or not (self._changes or self._writing):
                return True
        self._tasks.submit(Task(_nothing, on_written, patient=True))
        return False

    def _ask(self) -> None:
        """Submit a task that writes the changes, unless one is in the backlog."""
        with HOLD:  # both, or no task would ever be submitted again
            with self._lock:
                if self._asked or self.failure is not None:
                    return
                self._asked = True
            self._tasks.submit(Task(_nothing, self._answered, patient=True))  # most requests end soon

    def _answered(self, error: Exception | None) -> None:
        with self._lock:
            self._asked = False
        if error is not None:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Keep all changes in memory from now on, and log that once."""
        with self._lock:
            self.failure = error
            news, self._failed_before = not self._failed_before, True
        if news:
            logger.warning("the journal cannot be written, so a crash would lose it: %s", error)

    # ---- called by the writer, in and around its transactions ------------------------------------------

    def write(self, connection: sqlite3.Connection, ended: Collection[str]) -> None:
        """Write the changes, and the end of requests, into the transaction that the writer is about to commit.

        If that fails, the requests have not ended: what would end them is undone with it.
        """
        with self._lock:
            self._asked = False
            if self.failure is not None:
                self._end_later(ended)
                return
            if not (self._changes or ended):
                self._written = self._made
                return
            self._made_then, self._ended = self._made, ended
            self._writing, self._changes = self._changes, _Changes()
            changes = replace(self._writing, requests=dict(self._writing.requests))
            for each in ended:
                self._end(changes.requests, each)
            self._removed = {key for key, change in changes.requests.items() if change is Mark.REMOVED}
            self._known.update(changes.requests)
        changes.write(connection, self._clock())

    def _end_later(self, ended: Iterable[str]) -> None:
        """Keep the end of requests until the journal can be written; under the lock."""
        for each in ended:
            self._made += 1
            self._end(self._changes.requests, each)

    def committed(self) -> None:
        """Drop the changes that were written."""
        with self._lock:
            if self._writing is None:
                return
            self._known -= self._removed
            self._written, self._writing, self._failed_before = self._made_then, None, False

    def rolled_back(self, error: Exception | None) -> bool:
        """Take the changes back; return whether there were any.

        Parameters
        ----------
        error : Exception or None
            Given if the transaction held nothing else, so that the journal cannot be written.
        """
        with self._lock:
            if self._writing is None:
                return False
            self._changes, self._writing = self._writing.followed_by(self._changes), None
            if error is not None:
                self._end_later(self._ended)  # their results are stored
        if error is not None:
            self._fail(error)
        return True

    # ---- queries, after all changes --------------------------------------------------------------------

    def interrupted(self) -> list[PendingRequest]:
        found = self._read(lambda connection: tables.interrupted(connection, self._clock()))
        self._meet(found)
        return found

    def claim(self, owner: str, ids: Iterable[str] | None = None) -> list[PendingRequest]:
        wanted = None if ids is None else set(ids)
        self._flush_if_possible()
        found = self._tasks.run(lambda connection: tables.claim(connection, owner, wanted, self._clock()))
        self._meet(found)
        return found

    def _meet(self, requests: Iterable[PendingRequest]) -> None:
        with self._lock:
            self._known.update(request.id for request in requests)

    def dead_letters(self) -> list[DeadLetter]:
        return self._read(tables.read_dead_letters)

    def take_dead_letter(self, id: str) -> DeadLetter | None:
        self._flush_if_possible()
        return self._tasks.run(lambda connection: tables.take_dead_letter(connection, id))

    def put_schedule(self, schedule: ScheduledRequest) -> None:
        self._tasks.run(lambda connection: tables.put_schedule(connection, schedule))

    def schedules(self) -> list[ScheduledRequest]:
        return self._read(tables.read_schedules)

    def remove_schedule(self, name: str) -> bool:
        return self._tasks.run(lambda connection: tables.remove_schedule(connection, name))

    def mark_schedule_run(self, name: str, last_run_at: str | None, previous: str | None) -> bool:
        return self._tasks.run(lambda connection: tables.mark_schedule_run(connection, name, last_run_at, previous))

    def flush(self) -> None:
        with self._lock:
            self.failure = None
            made = self._made
        self._tasks.run(_nothing)
        with self._lock:  # another caller may have had the failure forgotten by now
            is_written = self._written >= made or not (self._changes or self._writing)
            failure = self.failure
        if not is_written:
            raise StoreError(f"the journal cannot be written: {failure or 'the store refused it'}") from failure

    def _flush_if_possible(self) -> None:
        with suppress(StoreError):  # a failed write does not prevent reading
            self.flush()

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        self._flush_if_possible()
        with self._readers.reading(snapshot=True) as connection:
            return read(connection)


def _started(change: PendingRequest | Mark | None) -> PendingRequest | Mark:
    """Return a change, followed by the start of the request."""
    if isinstance(change, PendingRequest):
        return replace(change, started=True)
    return change or Mark.STARTED


def _nothing(_: Any) -> None:
    """Do nothing: the journal is written at the end of every transaction."""
