"""The end of every transaction: the writer writes results, slots and uses, and evicts beyond the limits."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence

from bgsim.storage.limits import Limits
from bgsim.storage.reports import CleanupReport
from bgsim.storage.slots import place
from bgsim.storage.sqlite import tables
from bgsim.storage.sqlite.eviction import evict, measure
from bgsim.storage.sqlite.tables import NewResult
from bgsim.storage.times import now_text

_NOTHING = CleanupReport((), 0)


class Upkeep:
    """New results, slots, uses and sizes. Any thread may call `used`; only the writer calls the rest.

    Parameters
    ----------
    limits : Limits
        The store's, also for the writer.
    location : str
        The store, for people.
    pin : callable
        Called with the hashes that slots point at when they change.
    """

    def __init__(self, limits: Limits, location: str, pin: Callable[[set[str]], None]) -> None:
        self.limits = limits
        self._location = location
        self._pin = pin
        self._evicted: list[CleanupReport] = []  # by the current transaction
        self._beyond = 0  # bytes that it leaves, if they are more than the limit
        self._used: dict[str, float] = {}  # hash -> time of a load that is not written yet
        self._writing: dict[str, float] = {}  # those that the current transaction writes
        self._results: list[NewResult] = []  # to be stored by the current transaction
        self._newest: list[str] = []  # hashes that it has stored
        self._placed: dict[str, list[tuple[str, int, str]]] = {}  # its placements by workspace
        self._total: tuple[int, int] | None = None  # the file's data version, and the stored bytes then
        self._kept: tuple[int, set[str]] = (0, set())  # the data version, and fingerprints whose parts are in the file

    def used(self, result_hash: str) -> None:
        """Note that a result was loaded."""
        self._used[result_hash] = time.time()

    def store(self, result: NewResult) -> None:
        """Store a result at the end of this transaction, together with the others; it is not evicted then."""
        self._results.append(result)

    def place(self, workspace: str, result_hash: str, replicates: int) -> None:
        """Place a result in a workspace's primary slot at the end of this transaction."""
        self._placed.setdefault(workspace, []).append((result_hash, replicates, now_text()))

    def write(self, connection: sqlite3.Connection) -> None:
        """Write the results and placements of this transaction; a task that reads or changes them calls it first."""
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
        """Write what the results' fingerprints were made of, again only if another connection has written."""
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
        """Read sizes and identities again next time: a result was deleted, or a write was undone."""
        self._total = None
        self._kept = (0, set())

    def undo(self) -> None:
        """Forget a transaction that was rolled back, and keep its loads to be written."""
        for result_hash, seconds in self._writing.items():
            self._used.setdefault(result_hash, seconds)
        self._writing = {}
        self._newest.clear()
        self._evicted.clear()
        self.undo_task()

    def undo_task(self) -> None:
        """Forget the results and placements of a task that was rolled back."""
        self._results.clear()
        self._placed.clear()
        self.recount()

    def before_commit(self, connection: sqlite3.Connection) -> None:
        """Write the recent loads, and evict beyond the limits; of size, if there are new results."""
        self._writing = self._used.copy()
        for result_hash in self._writing:
            self._used.pop(result_hash, None)
        tables.write_uses(connection, self._writing)
        newest, self._newest = self._newest, []
        # Else there is nothing to do; each statement waits for the interpreter, which plain Python may hold.
        if newest or self.limits.max_age_s < math.inf:
            self.evict(connection, newest)

    def committed(self) -> None:
        """Note that the transaction is durable, and tell what it has evicted."""
        self._writing = {}
        evicted, self._evicted = self._evicted, []
        for report in evicted or ([_NOTHING] if self._beyond or self.limits.beyond else []):
            self.limits.tell(report, self._beyond, self._location)

    def evict(self, connection: sqlite3.Connection, kept: Collection[str] = ()) -> CleanupReport:
        """Delete what is beyond the limits, except results in slots and those in `kept`."""
        limits = self.limits
        version, used = measure(connection)
        if self._total is None or self._total[0] != version:  # another connection has written
            (found,) = connection.execute("SELECT coalesce(sum(stored_bytes), 0) FROM results").fetchone()
            self._total = (version, found)
        done = evict(connection, limits, time.time(), self._total[1], used, kept)
        self._beyond = done.left_bytes if done.left_bytes > limits.max_storage_bytes else 0
        if not done.aged and not done.others:
            return _NOTHING
        self._total = (version, self._total[1] - done.size_bytes)
        self._kept = (0, set())
        report = limits.report(done.aged, done.others, done.size_bytes)
        self._evicted.append(report)
        return report


def _data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection writes; each connection has a count of its own."""
    found: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return found
