"""What the writer does at the end of every transaction: it writes down uses, and keeps to the limits."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection

from bgsim.storage import tables
from bgsim.storage.reports import CleanupReport
from bgsim.storage.slots import place
from bgsim.storage.times import now_text, time_text


class Upkeep:
    """Uses and sizes of results. `used` may be called by any thread, all else is the writer's.

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
        self._newest: list[str] = []  # what the present transaction has stored
        self._placed: dict[str, list[tuple[str, int, str]]] = {}  # by workspace, what it has placed in slots
        self._total: tuple[int, int] | None = None  # the file's data version, and the stored bytes then

    def used(self, result_hash: str) -> None:
        """Note that a result was loaded."""
        self._used[result_hash] = time.time()

    def stored(self, result_hash: str, added_bytes: int) -> None:
        """Note that a result was stored in this transaction: it stays."""
        self._newest.append(result_hash)
        if self._total is not None:
            self._total = (self._total[0], self._total[1] + added_bytes)

    def place(self, workspace: str, result_hash: str, replicates: int) -> None:
        """Place a result in a workspace's primary slot, in this transaction: at its end, once for all that were."""
        self._placed.setdefault(workspace, []).append((result_hash, replicates, now_text()))

    def write_slots(self, connection: sqlite3.Connection) -> None:
        """Write down what was placed in this transaction; for who reads or changes slots in it."""
        placed, self._placed = self._placed, {}
        for workspace, results in placed.items():
            pair = tables.read_slots(connection, workspace)
            for result in results:
                pair = place(pair, *result)
            tables.write_slots(connection, workspace, pair)
        if placed:
            self._pin(tables.pinned(connection))

    def recount(self) -> None:
        """Add the sizes up again the next time: something was deleted or undone."""
        self._total = None

    def undo(self) -> None:
        """Forget what was done in a transaction that was rolled back."""
        self._newest.clear()
        self.undo_task()

    def undo_task(self) -> None:
        """Forget what was placed since slots were written last, by a task that was rolled back."""
        self._placed.clear()
        self.recount()

    def before_commit(self, connection: sqlite3.Connection) -> None:
        """Write down slots and the loads of late, and keep to the limits."""
        self.write_slots(connection)
        used = self._used.copy()
        for result_hash in used:
            self._used.pop(result_hash, None)
        tables.write_uses(connection, used)
        newest, self._newest = self._newest, []
        self.evict(connection, newest)

    def evict(self, connection: sqlite3.Connection, kept: Collection[str] = ()) -> CleanupReport:
        """Delete what is too old or too much, but for slots and these."""
        oldest = time_text(time.time() - self.max_age_s)
        report = tables.evict(connection, self._stored_bytes(connection), self.max_storage_bytes, oldest, kept)
        if report.removed:
            self.recount()
        return report

    def _stored_bytes(self, connection: sqlite3.Connection) -> int:
        """Return the size of all results, added up again only when somebody else has written."""
        version: int = connection.execute("PRAGMA data_version").fetchone()[0]
        if self._total is None or self._total[0] != version:
            (found,) = connection.execute("SELECT coalesce(sum(stored_bytes), 0) FROM results").fetchone()
            self._total = (version, found)
        return self._total[1]
