"""The limits of bgsim's own stores: checked when they are set, and what they remove is told.

A store logs its first eviction as a WARNING and later ones as INFO, and counts them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from bgsim.checks import check_integer, check_number
from bgsim.storage.base import Store
from bgsim.storage.reports import CleanupReport
from bgsim.storage.times import time_text

logger = logging.getLogger("bgsim.storage")

MOST_BYTES = 2**62
"""More than any disk has."""

_LEAST_BYTES = 2**19
"""Of the write-ahead log, and of a transaction, where the limit is small."""


def checked_max_bytes(field: str, value: object) -> int:
    """Return a limit of bytes, or refuse it.

    Raises
    ------
    InvalidInputError
    """
    return check_integer(field, value, most=MOST_BYTES, allowed="a number of bytes, an integer from 1 to 2**62")


def checked_max_age(field: str, value: object) -> float:
    """Return a limit of age, which may be infinite, or refuse it.

    Raises
    ------
    InvalidInputError
    """
    return check_number(field, value, "a number of seconds, 0 or more, or math.inf for no limit", finite=False)


class Limits:
    """What a store may keep, and what it has removed for that. Any thread may read it.

    Attributes
    ----------
    evicted : int
        Results that the limits have removed since the store was opened.
    beyond : int
        Bytes that the store has although they are more than the limit; 0 if they are not.
    long_log : int
        Bytes of the write-ahead log, if a reader keeps it long; else 0.
    """

    def __init__(self, max_storage_bytes: int, max_age_s: float) -> None:
        self.max_storage_bytes = max_storage_bytes
        self.max_age_s = max_age_s
        self.evicted = 0
        self.beyond = 0
        self.long_log = 0
        self._told_log = 0  # its bytes when that was logged

    @property
    def max_storage_bytes(self) -> int:
        """Bytes that a store may take."""
        return self._max_storage_bytes

    @max_storage_bytes.setter
    def max_storage_bytes(self, size: int) -> None:
        self._max_storage_bytes = checked_max_bytes("max_storage_bytes", size)

    @property
    def max_age_s(self) -> float:
        """Results that were last used longer ago go."""
        return self._max_age_s

    @max_age_s.setter
    def max_age_s(self, seconds: float) -> None:
        self._max_age_s = checked_max_age("max_age_s", seconds)

    @property
    def group_bytes(self) -> int:
        """Size of the new results that one transaction stores: by so much the file may pass the limit."""
        return max(self.max_storage_bytes // 8, _LEAST_BYTES)

    def oldest(self, now: float) -> str:
        """Return the time before which a result is too old, as text.

        Parameters
        ----------
        now : float
            Seconds since the epoch.
        """
        return time_text(max(0.0, now - self.max_age_s))

    def report(self, aged: Sequence[str], others: Sequence[str], removed_bytes: int) -> CleanupReport:
        """Return the report of results that were too old, and of others that had to make room."""
        reasons = []
        if aged:
            reasons.append(f"{_results(aged)} were last used longer ago than max_age_s={self.max_age_s:g}")
        if others:
            reasons.append(
                f"{_results(others)}, the least recently used, made room: max_storage_bytes={self.max_storage_bytes:,}"
            )
        return CleanupReport((*aged, *others), removed_bytes, reasons=tuple(reasons))

    def tell(self, report: CleanupReport, beyond: int, location: str) -> None:
        """Count and log an eviction, and that it was not enough; without a lock, since a handler may use the store.

        Parameters
        ----------
        report : CleanupReport
        beyond : int
            Bytes that the store still has if they are more than the limit, else 0.
        location : str
            The store, for people.
        """
        if report.removed:
            level = logging.INFO if self.evicted else logging.WARNING
            self.evicted += len(report.removed)
            logger.log(level, "%s: results were removed: %s", location, "; ".join(report.reasons))
        news, self.beyond = bool(beyond and not self.beyond), beyond
        if news:
            logger.warning("%s", self._beyond_alert(location, beyond))

    def tell_log(self, size_bytes: int, location: str) -> None:
        """Note the size of a long write-ahead log, and log it each time it has doubled.

        Parameters
        ----------
        size_bytes : int
            0 if it is not long.
        location : str
            The store, for people.
        """
        self.long_log = size_bytes
        if not self.long_log:
            self._told_log = 0
        elif self.long_log >= 2 * self._told_log:
            self._told_log = self.long_log
            logger.warning("%s", self._log_alert(location))

    def alerts(self, location: str, used_bytes: int | None = None) -> tuple[str, ...]:
        """Return a sentence for each thing that needs attention.

        Parameters
        ----------
        location : str
            The store, for people.
        used_bytes : int, optional
            What it takes now: the journal grows between two evictions. By default as after the latest one.
        """
        beyond = self.beyond
        if used_bytes is not None:
            beyond = used_bytes if used_bytes > self.max_storage_bytes else 0
        told = (self._beyond_alert(location, beyond),) if beyond else ()
        return (*told, self._log_alert(location)) if self.long_log else told

    def _log_alert(self, location: str) -> str:
        return (
            f"the log {location}-wal has {self.long_log:,} bytes: a reader that goes on, such as another process or a "
            "`with store.database()` block, keeps it from being moved into the file; let that reader end"
        )

    def _beyond_alert(self, location: str, beyond: int) -> str:
        return (
            f"{location} has {beyond:,} bytes, beyond max_storage_bytes={self.max_storage_bytes:,}: results in "
            "slots, the newest result and the journal are never removed; clear slots with store.clear(workspace), or "
            "raise the limit"
        )


def _results(hashes: Sequence[str]) -> str:
    return f"{len(hashes):,} {'result' if len(hashes) == 1 else 'results'}"


class LimitedStore(Store):
    """A store with `Limits`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    @property
    def max_storage_bytes(self) -> int:
        return self._limits.max_storage_bytes

    @max_storage_bytes.setter
    def max_storage_bytes(self, size: int) -> None:
        self._limits.max_storage_bytes = size

    @property
    def max_age_s(self) -> float:
        """Results that were last used longer ago go."""
        return self._limits.max_age_s

    @max_age_s.setter
    def max_age_s(self, seconds: float) -> None:
        self._limits.max_age_s = seconds

    @property
    def evicted(self) -> int:
        return self._limits.evicted

    def alerts(self) -> tuple[str, ...]:
        return self._limits.alerts(self.location)
