"""The verbs of an engine that say what it does: its jobs, its figures, its health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgsim.running.stats import EngineStats, Health, health_of, stats_of

if TYPE_CHECKING:
    from bgsim.job import Job, JobStatus
    from bgsim.running.scheduler import Scheduler


class StatusVerbs:
    """What `bgsim.Engine` tells of itself; any thread may call any method."""

    _scheduler: Scheduler
    _began: float

    def status(self, job_id: str) -> JobStatus:
        """Return what a job is doing, or how it ended.

        Raises
        ------
        RequestNotFoundError
            If it is unknown, or ended more than ``max_completed_age_seconds`` ago.
        """
        self._scheduler.check_process()
        if self._scheduler.config.immediate:
            self._scheduler.drive()
        return self._scheduler.reader.find(job_id)

    def jobs(self) -> list[Job]:
        """Return the jobs that have not ended, in the order of submission."""
        self._scheduler.check_process()
        return self._scheduler.reader.jobs()

    def stats(self) -> EngineStats:
        """Return counts, waits, rates and sizes."""
        return stats_of(self._scheduler, self._began)

    def health(self) -> Health:
        """Return whether the engine needs attention, and why."""
        return health_of(self._scheduler)
