"""What the writer does at the end of every transaction: it writes results, slots and uses, and keeps to the limits."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Sequence

from bgsim.storage.reports import CleanupReport
from bgsim.storage.slots import place
from bgsim.storage.sqlite import tables
from bgsim.storage.sqlite.tables import NewResult
from bgsim.storage.times import now_text, time_text


class Upkeep:
    """New results, slots, uses and sizes. `used` may be called by any thread, all else is the writer's.

    Attributes
    ----------
    max_storage_bytes : int
        Of stored results.
    max_age_s : float
        Since the last use.
    pin : callable
        Called with the hashes that slots point at when that has changed.
    """

    def __init__(self, max_storage_bytes: int, max_age_s: float, pin: Callable[[set[str]], None]) -> None:
        self.max_storage_bytes = max_storage_bytes
        self.max_age_s = max_age_s
        self._pin = pin
        self._used: dict[str, float] = {}  # hash -> time of a load that is not written down yet
        self._writing: dict[str, float] = {}  # those that the present transaction writes down
        self._results: list[NewResult] = []  # what the present transaction is to store
        self._newest: list[str] = []  # what it has stored
        self._placed: dict[str, list[tuple[str, int, str]]] = {}  # by workspace, what it has placed in slots
        self._total: tuple[int, int] | None = None  # the file's data version, and the stored bytes then
        self._kept: tuple[int, set[str]] = (0, set())  # the same, and fingerprints whose parts are in the file

    def used(self, result_hash: str) -> None:
        """Note that a result was loaded."""
        self._used[result_hash] = time.time()

    def store(self, result: NewResult) -> None:
        """Store a result in this transaction: at its end, together with all others, and it stays."""
        self._results.append(result)

    def place(self, workspace: str, result_hash: str, replicates: int) -> None:
        """Place a result in a workspace's primary slot, in this transaction: at its end, once for all that were."""
        self._placed.setdefault(workspace, []).append((result_hash, replicates, now_text()))

    def write(self, connection: sqlite3.Connection) -> None:
        """Write down what was stored and placed in this transaction; for who reads or changes the same in it."""
        results, self._results = self._results, []
        added = tables.write_results(connection, results)
        self._newest += [result.record.hash for result in results]
        self._write_identities(connection, results)
        if self._total is not None:
            self._total = (self._total[0], self._total[1] + sum(added))
        placed, self._placed = self._placed, {}
        for workspace, placements in placed.items():
            pair = tables.read_slots(connection, workspace)
            for placement in placements:
                pair = place(pair, *placement)
            tables.write_slots(connection, workspace, pair)
        if placed:
            self._pin(tables.pinned(connection))

    def _write_identities(self, connection: sqlite3.Connection, results: Sequence[NewResult]) -> None:
        """Write down what the results' fingerprints were made of, once each unless somebody else has written."""
        parts = {result.record.fingerprint: result.record.parts for result in results if result.record.parts}
        if not parts:
            return
        version = _data_version(connection)
        if self._kept[0] != version:
            self._kept = (version, set())
        kept = self._kept[1]
        tables.write_identities(connection, {f: content for f, content in parts.items() if f not in kept})
        kept.update(parts)

    def recount(self) -> None:
        """Look at sizes and identities again the next time: something was deleted or undone."""
        self._total = None
        self._kept = (0, set())

    def undo(self) -> None:
        """Forget what was done in a transaction that was rolled back, but for the loads, which were."""
        for result_hash, seconds in self._writing.items():
            self._used.setdefault(result_hash, seconds)
        self._writing = {}
        self._newest.clear()
        self.undo_task()

    def undo_task(self) -> None:
        """Forget what a task that was rolled back has stored and placed."""
        self._results.clear()
        self._placed.clear()
        self.recount()

    def before_commit(self, connection: sqlite3.Connection) -> None:
        """Write down the loads of late, and keep to the limits."""
        self._writing = self._used.copy()
        for result_hash in self._writing:
            self._used.pop(result_hash, None)
        tables.write_uses(connection, self._writing)
        newest, self._newest = self._newest, []
        self.evict(connection, newest)

    def committed(self) -> None:
        """Take note that it is durable."""
        self._writing = {}

    def evict(self, connection: sqlite3.Connection, kept: Collection[str] = ()) -> CleanupReport:
        """Delete what is too old or too much, but for slots and these."""
        oldest = time_text(time.time() - self.max_age_s)
        report = tables.evict(connection, self._stored_bytes(connection), self.max_storage_bytes, oldest, kept)
        if report.removed:
            self.recount()
        return report

    def _stored_bytes(self, connection: sqlite3.Connection) -> int:
        """Return the size of all results, added up again only when somebody else has written."""
        version = _data_version(connection)
        if self._total is None or self._total[0] != version:
            (found,) = connection.execute("SELECT coalesce(sum(stored_bytes), 0) FROM results").fetchone()
            self._total = (version, found)
        return self._total[1]


def _data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection has written; a new connection begins with another count."""
    found: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return found
