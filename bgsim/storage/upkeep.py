"""What the writer does at the end of every transaction: it writes down uses, and keeps to the limits."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection

from bgsim.storage import tables
from bgsim.storage.reports import CleanupReport
from bgsim.storage.times import time_text


class Upkeep:
    """Uses and sizes of results. `used` may be called by any thread, all else is the writer's.

    Attributes
    ----------
    max_storage_bytes : int
        Of stored results.
    max_age_s : float
        Since the last use.
    """

    def __init__(self, max_storage_bytes: int, max_age_s: float) -> None:
        self.max_storage_bytes = max_storage_bytes
        self.max_age_s = max_age_s
        self._used: dict[str, float] = {}  # hash -> time of a load that is not written down yet
        self._newest: list[str] = []  # what the present transaction has stored
        self._total: tuple[int, int] | None = None  # the file's data version, and the stored bytes then

    def used(self, result_hash: str) -> None:
        """Note that a result was loaded."""
        self._used[result_hash] = time.time()

    def stored(self, result_hash: str, added_bytes: int) -> None:
        """Note that a result was stored in this transaction: it stays."""
        self._newest.append(result_hash)
        if self._total is not None:
            self._total = (self._total[0], self._total[1] + added_bytes)

    def recount(self) -> None:
        """Add the sizes up again the next time: something was deleted or undone."""
        self._total = None

    def before_commit(self, connection: sqlite3.Connection) -> None:
        """Write down the loads of late, and keep to the limits."""
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
