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
    """

    def __init__(self, max_storage_bytes: int, max_age_s: float) -> None:
        self.max_storage_bytes = max_storage_bytes
        self.max_age_s = max_age_s
        self.evicted = 0
        self.beyond = 0

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
            logger.warning("%s", self.alert(location))

    def alert(self, location: str) -> str:
        """Return the sentence that a store is beyond its limit."""
        return (
            f"{location} has {self.beyond:,} bytes, beyond max_storage_bytes={self.max_storage_bytes:,}: results in "
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
        return (self._limits.alert(self.location),) if self._limits.beyond else ()
