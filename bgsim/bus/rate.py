"""How fast work is done, and how long what is left will take.

What has been done and the time it took are both summed, older measurements counting less and less; the rate is the
quotient. So the first estimate is the plain average, measurements may come at any interval, and replicates that take
longer than the interval do not make the rate jump between nothing and too much.
"""

from __future__ import annotations

import math

MEMORY_S = 10.0
"""After so long a measurement counts 1/e."""

MEMORY_STEPS = 4.0
"""Where steps come more slowly than that, it is so many of them that count."""

LEAST_S = 0.01
"""Less than that was watched is nothing to estimate from."""


class Rate:
    """Work a second, smoothed. Not thread-safe.

    What is done when it is first asked, stored replicates for one, does not count: only growth does.

    Attributes
    ----------
    per_second : float or None
        None until something has been done, and watched for `LEAST_S`.
    """

    __slots__ = ("_done", "_since", "_time_s", "_work", "per_second")

    def __init__(self) -> None:
        self.per_second: float | None = None
        self._since: float | None = None  # when `_done` was reached, None before the first measurement
        self._done = 0.0  # the most that was seen
        self._work = self._time_s = 0.0  # the sums

    def observe(self, now: float, done: float) -> None:
        """Take a measurement.

        Parameters
        ----------
        now : float
            Seconds, on any clock that does not run backwards.
        done : float
            How much is done altogether. Less than before counts as no growth.
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
        """Let the time, and what is added, from the last measurement to the next count for nothing.

        For when work is suspended, and for when finished work comes from elsewhere.
        """
        self._since = None
        if self.per_second is not None:
            self.per_second = self._work / self._time_s

    def remaining_s(self, left: float) -> float | None:
        """Return how many seconds so much work will take, None until that can be told."""
        if not self.per_second or not math.isfinite(left):
            return None
        return left / self.per_second
