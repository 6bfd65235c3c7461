"""What each worker of an engine does at this moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bgsim.tables import Listing, Table

if TYPE_CHECKING:
    from bgsim.running.run import Run
    from bgsim.running.scheduler import Scheduler
    from bgsim.running.worker import Worker

_PHASES = {
    "prepare": "compiling",
    "compute": "running",
    "judge": "running",
    "store": "storing",
    "checkpoint": "storing",
    "call": "calling",
    "refuse": "running",
}
"""By the method of the worker that does it; the words are those of `JobStatus.phase`, where it has them."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What a worker does.

    Attributes
    ----------
    worker : int
        Its number, from 0 on.
    job : str or None
        The id of the job, of several that share a run the first.
    phase : str
        ``idle``, ``compiling``, ``running``, ``storing``, or ``calling`` for a function of an executor.
    place : str
        Where it computes, as its backend names that; empty for this process.
    """

    worker: int
    job: str | None
    phase: str
    place: str = ""


def workers_of(scheduler: Scheduler) -> Listing[WorkerStatus]:
    """Return what each worker of an engine does."""
    scheduler.check_process()
    with scheduler.lock.plain:
        found = [_status(number, worker) for number, worker in enumerate(scheduler.workers.all)]
    return Listing(found, _table)


def _status(number: int, worker: Worker) -> WorkerStatus:
    place = "" if worker.lane is None else worker.lane.place
    task = worker.task  # which the worker itself sets, without the lock
    if task is None:
        return WorkerStatus(number, None, "idle", place)
    do, subject = task
    run = _run_of(worker, do.__name__, subject)
    jobs = [] if run is None else list(run.jobs)
    return WorkerStatus(number, jobs[0].id if jobs else None, _PHASES[do.__name__], place)


def _run_of(worker: Worker, kind: str, subject: Any) -> Run | None:
    """Return the run that a task is for, None for a call; of a batch the one that the worker has come to."""
    if kind == "call":
        return None
    if kind == "compute":
        subject = subject[min(worker.reached, len(subject) - 1)][0]
    elif kind == "store":
        subject = subject[0]
    elif kind == "checkpoint":
        subject = subject.run
    found: Run = subject
    return found


def _table(workers: Sequence[WorkerStatus]) -> Table:
    columns = ("worker", "job", "phase", *(["place"] if any(one.place for one in workers) else []))
    return Table(columns, [(one.worker, one.job, one.phase, one.place)[: len(columns)] for one in workers])
