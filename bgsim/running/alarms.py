"""The times at which an engine has to do something by itself; data only, which `bgsim.running.timers` looks at."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgsim.job import Job


class Alarms:
    """Deadlines of jobs, times `at` which jobs may start, and the next progress. The engine's lock guards it.

    Attributes
    ----------
    at : float
        No alarm comes before, by the monotonic clock; minus infinity after a change of the wall clock's times.
    sample_at : float
        When the progress of the running jobs is to be published; infinity while nothing runs.
    checkpoint_at : float
        When what is finished of a run is to be stored; infinity while none waits for that.
    """

    def __init__(self) -> None:
        self.at = math.inf
        self.sample_at = math.inf
        self.checkpoint_at = math.inf
        self._deadlines: list[tuple[float, int, str]] = []  # by job id; stale unless it is its job's next one
        self._releases: list[tuple[float, int, str]] = []  # the same by the wall clock
        self._numbers = itertools.count()

    def watch(self, job: Job) -> None:
        """Note when a job will have run, or lived, for too long, if it has a limit."""
        deadline = job.next_deadline()
        if deadline is not None:
            heapq.heappush(self._deadlines, (deadline, next(self._numbers), job.id))
            self.at = min(self.at, deadline)

    def release_at(self, time: float, job_id: str) -> None:
        """Note when a job may start, by the wall clock."""
        heapq.heappush(self._releases, (time, next(self._numbers), job_id))
        self.at = -math.inf

    def sample_from(self, when: float) -> None:
        """Publish progress from this time on, unless that is to come sooner."""
        if self.sample_at == math.inf:
            self.sample_at = when
            self.at = min(self.at, when)

    def checkpoint_from(self, when: float) -> None:
        """Store what is finished of a run at this time, unless that is to come sooner."""
        if when < self.checkpoint_at:
            self.checkpoint_at = when
            self.at = min(self.at, when)

    def overdue(self, now: float) -> Iterator[tuple[float, str]]:
        """Take the deadlines that have passed; yield each with its job's id."""
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, _, job_id = heapq.heappop(self._deadlines)
            yield deadline, job_id

    def released(self, wall: float) -> Iterator[str]:
        """Take the ids of the jobs that may start by this time of the wall clock."""
        while self._releases and self._releases[0][0] <= wall:
            yield heapq.heappop(self._releases)[2]

    def look(self, now: float, wall: float, longest_s: float) -> float:
        """Return when to look again, and keep it in `at`.

        Parameters
        ----------
        now, wall : float
            By the monotonic and by the wall clock.
        longest_s : float
            How long to wait at most for a time of the wall clock, which may be set.
        """
        self.at = min(self.sample_at, self.checkpoint_at, self._deadlines[0][0] if self._deadlines else math.inf)
        if self._releases:
            self.at = min(self.at, now + min(self._releases[0][0] - wall, longest_s))
        return self.at
