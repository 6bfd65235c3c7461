"""Why a job does not run, or does not stop, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bgsim.job import JobState
from bgsim.progress import format_duration
from bgsim.queue.entry import EntryState

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.running.run import Run
    from bgsim.running.state import State

_WAITING = frozenset({JobState.QUEUED, JobState.DELAYED, JobState.SUSPENDED})


def waiting_for(job: Job, state: State, where: JobState, now: float) -> str | None:
    """Return what a job waits for; None for nothing, or if no run has it any more. Under the lock."""
    run: Run | None = job.run
    if run is None:
        return None
    if where not in _WAITING:
        return _workers(run, state, where)
    if job.paused:
        return "its simulation is paused" if job.held else "paused by hand"
    if where is JobState.DELAYED:
        return _delay(job, run, now)
    if state.paused:
        return "the engine is paused"
    full = _full_group(run, state, now)
    if full is not None:
        return full
    if where is JobState.SUSPENDED:
        return "overtaken by a more urgent job"
    most = state.config.max_concurrent_simulations
    return f"a place: {len(state.running)} of {most} {'job runs' if most == 1 else 'jobs run'}"


def _workers(run: Run, state: State, where: JobState) -> str | None:
    """Return what a job with a running place waits for."""
    if where is JobState.CANCELLING and not all(worker.sees_orders for worker in run.workers):
        return "the end of the chunks in hand, whose kernels no order reaches"
    if where is JobState.RUNNING and not state.lanes:
        return "a worker: the backend has none"
    return None


def _delay(job: Job, run: Run, now: float) -> str:
    """Return what a delayed job waits for."""
    left_s = run.starts_at - now
    if left_s == math.inf:
        at = job.request.at
        return "its time" if at is None else f"its time, {at.isoformat(timespec='seconds')}"
    left = format_duration(1000 * max(0.0, left_s))
    if run.attempts and run.held_until == run.starts_at:
        return f"its retry in {left}"
    if job.request.debounce_s is not None:
        return f"whether a newer one comes within {left}"
    return f"its delay, {left} more"


def _full_group(run: Run, state: State, now: float) -> str | None:
    """Return that the group of a run takes no more now; None if it does, or the run has none."""
    if run.group is None or run.state is EntryState.PROCESSING:
        return None
    group = state.queue.order.groups[run.group]
    if group.room(now) > 0:
        return None
    if group.limit is not None and group.processing >= group.limit:
        return f"its group {run.group!r}: {group.processing} of {group.limit} run"
    assert group.rate is not None
    number, seconds = group.rate
    left = format_duration(1000 * max(0.0, group.reopens_at() - now))
    return f"its group {run.group!r}: {number} have started within {seconds:g} s, the next may in {left}"
