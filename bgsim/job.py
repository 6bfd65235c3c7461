"""A job: the caller's handle of one request, a future with progress, a status and an honest cancel."""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bgsim.progress import format_duration

if TYPE_CHECKING:
    import logging

    from bgsim.bus.subscription import Subscription
    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.priority import Priority
    from bgsim.request import Submission
    from bgsim.result import SimulationResult
    from bgsim.running.scheduler import Scheduler
    from bgsim.simulation import Simulation


class JobState(enum.Enum):
    """Where a job is. The last three are terminal."""

    QUEUED = "queued"
    DELAYED = "delayed"
    RUNNING = "running"
    SUSPENDED = "suspended"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows it."""
        return self in _TERMINAL


_TERMINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    before: frozenset(JobState(name) for name in after.split())
    for before, after in {
        JobState.QUEUED: "delayed running suspended cancelling failed cancelled",
        JobState.DELAYED: "queued running suspended cancelling completed failed cancelled",
        JobState.RUNNING: "delayed suspended cancelling completed failed cancelled",
        JobState.SUSPENDED: "queued delayed running cancelling completed failed cancelled",
        JobState.CANCELLING: "failed cancelled",
        JobState.COMPLETED: "",
        JobState.FAILED: "",
        JobState.CANCELLED: "",
    }.items()
}
"""Which states may follow which.

RUNNING to DELAYED waits for the next attempt, and DELAYED to QUEUED is that its time has come. SUSPENDED is paused by
hand or overtaken; a job that was paused before it started goes back to QUEUED. QUEUED to CANCELLING is a job that
joined a suspended run and is its last. A suspended or delayed run may turn out to be COMPLETED: its last chunk was in
hand, or the job that wanted more has left. A job goes from CANCELLING to FAILED when its time-out, or a replicate that
raised meanwhile, asked for the stop.
"""


class JobRecord:
    """What is known of one request. It outlives the handle, so that `Engine.status` can say how a job ended.

    Guarded by the engine's lock.
    """

    __slots__ = (
        "asked_to_stop_at", "attempts", "deadline", "done", "error", "finished_at", "from_store", "id", "paused",
        "pending_error", "replicates", "run_deadline", "run_left_s", "simulation", "started_at", "state",
        "store_error", "submitted_at",
    )  # fmt: skip

    def __init__(self, job_id: str, submission: Submission, now: float) -> None:
        self.id = job_id
        self.simulation = submission.simulation.name
        self.replicates = submission.replicates
        self.state = JobState.QUEUED
        self.submitted_at = now  # by the monotonic clock, as all times here
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.run_left_s = submission.timeout_s  # how long it may still run
        self.run_deadline: float | None = None  # when that is over, while it runs
        self.deadline = None if submission.deadline_s is None else now + submission.deadline_s
        self.asked_to_stop_at = math.inf
        self.paused = False  # by hand
        self.attempts = 0  # how often it was tried again
        self.done = 0
        self.from_store = 0
        self.store_error: str | None = None
        self.error: str | None = None
        self.pending_error: BaseException | None = None  # ends it as FAILED once the kernel has let go

    def move(self, state: JobState) -> None:
        """Change the state.

        Raises
        ------
        RuntimeError
            If `TRANSITIONS` has no such step: a bug.
        """
        if state is self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"{self.id} cannot go from {self.state} to {state}")
        self.state = state

    def next_deadline(self) -> float | None:
        """Return when it has run, or lived, for too long; None for never."""
        if self.run_deadline is None or self.deadline is None:
            return self.deadline if self.run_deadline is None else self.run_deadline
        return min(self.run_deadline, self.deadline)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What a job is doing at one moment.

    Attributes
    ----------
    id, simulation : str
    state : JobState
    phase : str
        ``queued``, ``compiling``, ``running``, ``storing``, or the state.
    fraction : float
        Part of the replicates that is done, 0 to 1.
    replicates_completed, total_replicates : int
    from_store : int
        How many of them were in the store already.
    position : int or None
        How many jobs are served before it, while it is queued.
    estimated_wait_s : float or None
        Until it starts, while it is queued; None until there is something to estimate from.
    rate : float or None
        Replicates a second, while it runs.
    estimated_time_remaining_s : float or None
    elapsed_s : float
        Since it was submitted, to its end.
    attempts : int
        How often it was tried again after a failure.
    overdue_s : float or None
        How long ago it was asked to stop, while its kernel has not let go.
    store_error : str or None
        Why the result could not be stored; it is delivered all the same.
    error : str or None
        Why it failed.
    """

    id: str
    simulation: str
    state: JobState
    phase: str
    fraction: float
    replicates_completed: int
    total_replicates: int
    from_store: int
    position: int | None
    estimated_wait_s: float | None
    rate: float | None
    estimated_time_remaining_s: float | None
    elapsed_s: float
    attempts: int
    overdue_s: float | None
    store_error: str | None
    error: str | None

    def __str__(self) -> str:
        text = f"{self.simulation}: {self.state.value}"
        if self.state is JobState.QUEUED and self.position is not None:
            text += f", {self.position} before it"
        if self.estimated_wait_s is not None:
            text += f", starts in about {format_duration(1000 * self.estimated_wait_s)}"
        if self.state in (JobState.RUNNING, JobState.SUSPENDED, JobState.CANCELLING):
            text += f" ({self.phase}) {self.fraction:.1%} of {self.total_replicates:,}"
        if self.estimated_time_remaining_s is not None:
            text += f", {format_duration(1000 * self.estimated_time_remaining_s)} left"
        if self.overdue_s is not None:
            text += f", asked to stop {format_duration(1000 * self.overdue_s)} ago"
        if self.attempts:
            text += f", {self.attempts} failed attempts"
        if self.from_store and self.state is JobState.COMPLETED:
            text += f", {self.from_store:,} of {self.total_replicates:,} from the store"
        for problem in (self.error, self.store_error):
            if problem:
                text += f"; {problem}"
        return text


class Job(concurrent.futures.Future["SimulationResult"]):
    """The handle of one submitted request; made by `Engine.submit`.

    It is a `concurrent.futures.Future`, and can be awaited. Any thread may call any method.

    Attributes
    ----------
    id : str
        Unique.
    submission : Submission
        What was asked for.
    asked_at : float
        When, by the wall clock, in seconds since the epoch.
    crashes : int
        In how many crashes of earlier processes it ran.
    recovered : bool
        Whether an earlier process was asked for it.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        job_id: str,
        submission: Submission,
        now: float,
        asked_at: float = 0.0,
        crashes: int = 0,
        *,
        recovered: bool = False,
    ) -> None:
        super().__init__()
        self.id = job_id
        self.submission = submission
        self.asked_at = asked_at
        self.crashes = crashes
        self.recovered = recovered
        self.record = JobRecord(job_id, submission, now)
        self._scheduler = scheduler
        self._priority = submission.urgency  # guarded by the engine's lock

    @property
    def simulation(self) -> Simulation:
        """What runs."""
        return self.submission.simulation

    @property
    def parameters(self) -> ParameterSet:
        """What it runs with."""
        return self.submission.parameters

    @property
    def seed(self) -> int:
        """What the replicates' streams come from."""
        return self.submission.seed

    @property
    def replicates(self) -> int:
        """How many were asked for."""
        return self.submission.replicates

    @property
    def workspace(self) -> str | None:
        """Whose slots the result goes to."""
        return self.submission.workspace

    @property
    def state(self) -> JobState:
        """Where it is."""
        return self._scheduler.ledger.state(self.record)

    @property
    def priority(self) -> Priority:
        """What this handle asks for; the run it shares may have a higher one."""
        return self._priority

    def set_priority(self, priority: Priority | str | int) -> None:
        """Change the priority; a queued job moves, a running one is overtaken or overtakes at the next chunk.

        Raises
        ------
        InvalidInputError
            If there is no such priority.
        RequestNotFoundError
            If the job has finished.
        """
        self._scheduler.set_priority(self, priority)

    def cancel(self) -> bool:
        """Ask for the job to stop.

        A queued job is cancelled at once. A running one is `JobState.CANCELLING` until its kernel has let go, and keeps
        its finished replicates in the store. Other callers who asked for the same keep the run going.

        Returns
        -------
        bool
            False when it is too late: the job has finished, or its result is being stored.
        """
        return self._scheduler.cancel(self)

    def pause(self) -> bool:
        """Hold the job until `resume`: a queued one does not start, a running one stops after its present replicates.

        Nothing is lost. Other callers who asked for the same keep the run going.

        Returns
        -------
        bool
            False when it is too late: the job has finished, is being cancelled, or its result is being stored.
        """
        return self._scheduler.pause_job(self)

    def resume(self) -> bool:
        """Let a paused job go on in its old place; return False when it was not paused."""
        return self._scheduler.resume_job(self)

    def cancelled(self) -> bool:
        """Tell whether the job has been cancelled and its kernel has let go."""
        return self.record.state is JobState.CANCELLED

    def running(self) -> bool:
        """Tell whether it has started and not finished."""
        return self.record.started_at is not None and not self.record.state.is_terminal

    def result(self, timeout: float | None = None) -> SimulationResult:
        """Wait for the result and return it.

        Raises
        ------
        concurrent.futures.CancelledError, TimeoutError
            If the job was cancelled; if it has not ended in time.
        ReplicateError, JobTimeoutError, CompileError
            Why it failed.
        """
        self._scheduler.before_waiting(self)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the job to end, and return why it failed, or None."""
        self._scheduler.before_waiting(self)
        return super().exception(timeout)

    def status(self) -> JobStatus:
        """Return what the job is doing now."""
        self._scheduler.check_process()
        return self._scheduler.ledger.status(self.record)

    def updates(self, *, maxlen: int = 256) -> Subscription:
        """Return an iterator, for ``for`` and ``async for``, over updates from now to the terminal one.

        It is empty for a job that ended more than ``max_completed_age_seconds`` ago.
        """
        return self._scheduler.updates(self, maxlen)

    def logs(self) -> list[logging.LogRecord]:
        """Return what was logged, with the `logging` module, within the job's plain Python; the newest thousand."""
        return self._scheduler.ledger.logs(self.id)

    def _resolve(self, result: SimulationResult | None, error: BaseException | None) -> None:
        """Say how it ended, once its record does, and call the done-callbacks."""
        if self.record.state is JobState.CANCELLED:
            super().cancel()
            self.set_running_or_notify_cancel()
        elif result is None:
            self.set_exception(error)
        else:
            self.set_result(result)

    def _resolve_quietly(self, result: SimulationResult | None, error: BaseException | None) -> bool:
        """Do the same under the engine's lock, if there are no callbacks, so that nothing is called; else return False.

        Also if somebody has the future's own lock: `concurrent.futures.wait`, interrupted by Ctrl-C, keeps it for ever.
        """
        if not self._condition.acquire(blocking=False):
            return False
        try:
            if self._done_callbacks:  # type: ignore[attr-defined] # and none is added meanwhile
                return False
            self._resolve(result, error)
            return True
        finally:
            self._condition.release()

    def __await__(self) -> Generator[Any, None, SimulationResult]:
        return asyncio.wrap_future(self).__await__()

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.replicates:,} replicates, {self.record.state.value}>"
