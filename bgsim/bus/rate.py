"""How fast work is done, and how long the rest will take.

The rate is the quotient of two sums, work and the time it took; older measurements count exponentially less. So the
first estimate is the plain average, measurements may come at any interval, and replicates that take longer than the
interval do not make the rate jump.
"""

from __future__ import annotations

import math

MEMORY_S = 10.0
"""At this age a measurement counts 1/e."""

MEMORY_STEPS = 4.0
"""The memory is at least this many steps long."""

LEAST_S = 0.01
"""A shorter time gives no estimate."""


class Rate:
    """Work a second, smoothed. Not thread-safe.

    Only growth counts: what is done at the first measurement, such as stored replicates, does not.

    Attributes
    ----------
    per_second : float or None
        None until work has been measured over `LEAST_S`.
    """

    __slots__ = ("_done", "_since", "_time_s", "_work", "per_second")

    def __init__(self) -> None:
        self.per_second: float | None = None
        self._since: float | None = None  # when `_done` was reached, None before the first measurement
        self._done = 0.0  # the maximum so far
        self._work = self._time_s = 0.0  # the sums

    def observe(self, now: float, done: float) -> None:
        """Take a measurement.

        Parameters
        ----------
        now : float
            Seconds, on any clock that does not run backwards.
        done : float
            All work done so far. Less than before counts as no growth.
        """
        if self._since is None:
            self._since, self._done = now, done
            return
        span = now - self._since
        if span <= 0:
            return
        if done > self._done:
            kept = math.exp(-span / max(MEMORY_S, MEMORY_STEPS * span))
            self._work = kept * self._work + done - self._done
            self._time_s = kept * self._time_s + span
            self._since, self._done = now, done
            if self._time_s >= LEAST_S:
                self.per_second = self._work / self._time_s
        elif self.per_second is not None and span * self._work > self._time_s:
            self.per_second = self._work / (self._time_s + span)  # a unit of work is overdue

    def pause(self) -> None:
        """Ignore time and growth from the last measurement to the next.

        For work that is suspended, and for finished work that comes from elsewhere.
        """
        self._since = None
        if self.per_second is not None:
            self.per_second = self._work / self._time_s

    def remaining_s(self, left: float) -> float | None:
        """Return how many seconds the rest will take; None without an estimate."""
        if not self.per_second or not math.isfinite(left):
            return None
        return left / self.per_second
