"""What callers read of jobs: where one is, what it is doing, and how it ended."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from bgsim.checks import check_text
from bgsim.errors import JobTimeoutError, RequestNotFoundError
from bgsim.job import JobState, JobStatus
from bgsim.logs import records_table
from bgsim.progress import format_duration
from bgsim.queue.entry import EntryState
from bgsim.running.finished import finished_columns
from bgsim.running.waiting import waiting_for
from bgsim.tables import Listing, Table

if TYPE_CHECKING:
    import logging

    from bgsim.job import Job
    from bgsim.running.run import Run
    from bgsim.running.state import State
    from bgsim.storage import Columns


def state_of(job: Job) -> JobState:
    """Return where a job is; one whose delay is over is QUEUED. Under the lock."""
    state = job.moved_to
    if state is JobState.DELAYED and job.run is not None and job.run.state is not EntryState.DELAYED:
        return JobState.QUEUED
    return state


def nothing_due(job: Job) -> JobTimeoutError:
    """Return the error of a wait, in an immediate engine, that only its caller could end."""
    return JobTimeoutError(
        f"{job.id} is {job.state.value} in an immediate engine, and nothing is due; advance its clock, or resume it"
    )


def outcome(job: Job) -> tuple[Any, ...]:
    """Return when a job ended, and what else `ended_status` needs of it; it keeps no result."""
    assert job.finished_at is not None
    return (
        job.finished_at, job.request.simulation.name, job.moved_to, job.replicates_done, job.replicates,
        job.from_store, job.finished_at - job.submitted_at, job.attempts, job.store_error, job.error,
    )  # fmt: skip


def has_failed(ended: tuple[Any, ...]) -> bool:
    """Tell whether an outcome is a failure."""
    return ended[2] is JobState.FAILED


def ended_status(job_id: str, ended: tuple[Any, ...]) -> JobStatus:
    """Return how a job ended."""
    _, simulation, state, done, replicates, from_store, elapsed_s, attempts, store_error, error = ended
    return JobStatus(
        id=job_id,
        simulation=simulation,
        state=state,
        phase=state.value,
        fraction=done / replicates,
        replicates_completed=done,
        total_replicates=replicates,
        from_store=from_store,
        position=None,
        estimated_wait_s=None,
        waiting_for=None,
        rate=None,
        estimated_time_remaining_s=None,
        elapsed_s=elapsed_s,
        compiling_s=None,
        attempts=attempts,
        overdue_s=None,
        store_error=store_error,
        error=error,
    )


def jobs_table(jobs: Sequence[Job]) -> Table:
    """Return a table of what jobs are doing now."""
    return statuses_table([job.status() for job in jobs])


def statuses_table(statuses: Sequence[JobStatus]) -> Table:
    """Return a table of what jobs were doing."""
    rows = []
    for status in statuses:
        left, what = status.estimated_time_remaining_s, status.simulation.rpartition(".")[2]
        remaining = None if left is None else format_duration(1000 * left)
        done = f"{100 * status.fraction:.1f} %"
        rows.append((status.id, what, status.state.value, done, status.total_replicates, remaining, status.error))
    return Table(("job", "simulation", "state", "done", "replicates", "left", "error"), rows).trimmed()


class StatusReader:
    """Reads a state for callers; every method takes the lock itself."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = state.lock.plain

    def jobs(self) -> Listing[Job]:
        """Return the jobs that have not ended, in the order of submission."""
        with self._lock:
            return Listing(self._state.jobs.values(), jobs_table)

    def find(self, job_id: str) -> JobStatus:
        """Return what a job is doing, or, for ``max_completed_age_seconds``, how it ended.

        Raises
        ------
        RequestNotFoundError
            If it is unknown, or ended longer ago.
        """
        check_text("job_id", job_id)
        with self._lock:
            job = self._state.jobs.get(job_id)
            if job is not None:
                return self._live_status(job)
            ended = self._state.ended.get(job_id)
        if ended is None:
            raise RequestNotFoundError(f"no job {job_id!r}; it is unknown, or finished long ago")
        return ended_status(job_id, ended)

    def recent(self, most: int) -> Listing[JobStatus]:
        """Return what the newest jobs are doing, or how they ended; the newest first."""
        with self._lock:
            live = list(islice(reversed(self._state.jobs.values()), most))
            ended = list(islice(reversed(self._state.ended.items()), most))
            found = [(job.submitted_at, self._live_status(job)) for job in live]
        found += [(outcome[0] - outcome[6], ended_status(job_id, outcome)) for job_id, outcome in ended]
        found.sort(key=lambda pair: -pair[0])
        return Listing((status for _, status in found[:most]), statuses_table)

    def status(self, job: Job) -> JobStatus:
        """Return what a job is doing, or how it ended."""
        with self._lock:
            if job.id in self._state.jobs or not job.moved_to.is_terminal:
                return self._live_status(job)
            return ended_status(job.id, outcome(job))

    def state(self, job: Job) -> JobState:
        """Return where a job is."""
        if job.moved_to is not JobState.DELAYED:
            return job.moved_to  # a plain read needs no lock
        with self._lock:
            return state_of(job)

    def finished(self, job: Job) -> Columns | None:
        """Return the replicates of a job that are finished, or were when it left its run; None for none."""
        with self._lock:
            return job.kept if job.run is None else finished_columns(job.run, job.replicates)

    def logs(self, job_id: str) -> Listing[logging.LogRecord]:
        """Return what a job has logged."""
        with self._lock:
            log = self._state.logs.get(job_id)
            return Listing(log.records if log is not None else (), records_table)

    def _live_status(self, job: Job) -> JobStatus:
        run: Run | None = job.run
        now = self._state.now()
        state = state_of(job)
        done, fraction = run.in_progress() if run is not None else (0, 0.0)
        total = job.replicates if run is None else min(job.replicates, run.goal)
        position = rate = remaining = wait = None
        if run is not None and state is JobState.RUNNING and self._state.lanes:
            rate = run.eta.per_second
            remaining = run.eta.remaining_s(run.goal * (1 - fraction))
        elif state is JobState.QUEUED:
            with suppress(RequestNotFoundError):  # it has just waited for too long
                position = self._state.queue.position(job.id)
            wait = self._estimated_wait_s(position)
        has_place = run is not None and state in (JobState.RUNNING, JobState.CANCELLING)
        return JobStatus(
            id=job.id,
            simulation=job.request.simulation.name,
            state=state,
            phase=run.phase if run is not None and has_place else state.value,
            fraction=fraction,
            replicates_completed=min(done, total),
            total_replicates=total,
            from_store=min(run.from_store, job.replicates) if run is not None else 0,
            position=position,
            estimated_wait_s=wait,
            waiting_for=waiting_for(job, self._state, state, now),
            rate=rate,
            estimated_time_remaining_s=remaining,
            elapsed_s=now - job.submitted_at,
            compiling_s=now - run.prepares_since
            if run is not None and has_place and run.phase == "compiling"
            else None,
            attempts=len(run.attempts) if run is not None else 0,
            overdue_s=now - job.asked_to_stop_at if state is JobState.CANCELLING else None,
            store_error=job.store_error,
            error=job.error,
        )

    def _estimated_wait_s(self, position: int | None) -> float | None:
        """Return how long a job at this position will wait, from how long the newest ones ran."""
        runs_s = self._state.runs_s
        if position is None or not runs_s:
            return None
        return statistics.median(runs_s) * (position + 1) / self._state.config.max_concurrent_simulations
