"""A job: the caller's handle of one request, a future with progress, a status and an honest cancel."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol

from bgsim.checks import NotPicklable, refused
from bgsim.job_status import TERMINAL, TRANSITIONS, JobState, JobStatus
from bgsim.live.results import LiveResults, Reader
from bgsim.parameters.parameter_class import P_co
from bgsim.tables import HasCard
from bgsim.threads.locks import Future
from bgsim.threads.noted import NotedWaiters

if TYPE_CHECKING:
    import logging

    from bgsim.bus.subscription import Subscription
    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.precision import Stopping
    from bgsim.priority import Priority, PriorityName
    from bgsim.request import Request
    from bgsim.result import SimulationResult
    from bgsim.simulation import Simulation
    from bgsim.storage import Columns


__all__ = ["TRANSITIONS", "Controls", "Job", "JobState", "JobStatus"]


class Controls(Protocol):
    """What a job asks of its engine."""

    def state_of(self, job: Job) -> JobState:
        """Return where a job is."""

    def status(self, job: Job) -> JobStatus:
        """Return what a job is doing."""

    def logs(self, job_id: str) -> list[logging.LogRecord]:
        """Return what a job has logged."""

    def finished(self, job: Job) -> Columns | None:
        """Return the replicates of a job that are finished."""

    def updates(self, job: Job, maxlen: int) -> Subscription:
        """Return a job's updates."""

    def set_priority(self, job: Job, priority: Priority | PriorityName | int) -> None:
        """Change a job's priority."""

    def cancel(self, job: Job) -> bool:
        """Ask for a job to stop."""

    def pause_job(self, job: Job) -> bool:
        """Hold a job."""

    def resume_job(self, job: Job) -> bool:
        """Let a paused job go on."""

    def call_back(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Call something in the thread of the callbacks."""

    def before_waiting(self, job: Job, timeout_s: float | None) -> Any:
        """Get a job done that no thread works on; return what is to be told of the end of the wait, or None."""

    @property
    def waits(self) -> Any:
        """What takes note of waits: a `bgsim.running.waits.Waits`."""


def is_users(callback: Callable[..., object]) -> bool:
    """Tell whether a done-callback is a user's: that of `asyncio.wrap_future` wakes a loop, and none may delay it."""
    return getattr(callback, "__module__", None) != "asyncio.futures"


class Job(HasCard, NotPicklable, LiveResults, Future["SimulationResult"], Generic[P_co]):
    """The handle of one submitted request; made by `Engine.submit`.

    It is a `concurrent.futures.Future`, and can be awaited. Any thread may call any method. `status` tells
    what it is doing.

    Attributes
    ----------
    id : str
        Unique.
    priority : Priority
        What this handle asks for; the run it shares may have a higher one.
    replicates : int
        How many were asked for; with a precision the most that may be needed, until it is reached.
    asked_at : float
        The time of submission by the wall clock, in seconds since the epoch.
    submitted_at : float
        The same by the engine's monotonic clock.
    started_at, finished_at : float or None
        By the engine's monotonic clock, in seconds; None until then.
    paused : bool
        By `pause`, or with its simulation.
    recovered : bool
        Whether an earlier process was asked for it.
    replicates_done, from_store, attempts : int
    stopping : Stopping or None
        Where a `bgsim.Precision` has ended it, and why there; `replicates` is the number then.
    store_error, error : str or None
        As `JobStatus` has them.
    """

    # The engine alone sets the attributes; its lock guards them. Beside those of the docstring there are
    # request: what was asked for
    # run: the engine's record of the computation, until the job has ended
    # crashes: in how many crashes of earlier processes it ran, since its last checkpoint
    # stored: how many of its replicates were in the store at its last checkpoint
    # moved_to: the last state that the engine gave it; `state` also knows when a delay is over
    # due_at, expires_at: the earliest and the latest start, as the queue keeps them
    # deadline: when it has to be done
    # run_left_s, run_deadline: how long it may still run; when that is over, while it runs
    # asked_to_stop_at: infinity until then
    # held: whether it was paused with its simulation
    # pending_error: what ends it as FAILED once its kernel has stopped
    # kept: what was finished of it when it left its run
    # reader: what `estimate` and `histogram` have read so far

    instead = "pickle its id, result() or status()"

    _engine: Controls
    run: Any = None
    crashes = stored = 0
    recovered = False
    moved_to = JobState.QUEUED
    started_at: float | None = None
    finished_at: float | None = None
    due_at = -math.inf
    expires_at = math.inf
    deadline: float | None = None
    run_left_s: float | None = None
    run_deadline: float | None = None
    asked_to_stop_at = math.inf
    paused = held = False
    pending_error: BaseException | None = None
    kept: Columns | None = None
    stopping: Stopping | None = None
    replicates_done = from_store = attempts = 0
    store_error: str | None = None
    error: str | None = None

    def __init__(self, engine: Controls, job_id: str, request: Request, now: float, asked_at: float = 0.0) -> None:
        super().__init__()
        self._waiters = NotedWaiters()
        self.id = job_id
        self.request = request
        self.priority = request.urgency
        self.replicates = request.replicates
        self.supersede = request.supersede
        self.submitted_at = now
        self.asked_at = asked_at
        self._engine = engine
        self.reader = Reader()

    @property
    def simulation(self) -> Simulation[P_co]:
        """What runs."""
        return self.request.simulation

    @property
    def parameters(self) -> ParameterSet[P_co]:
        """What it runs with."""
        return self.request.parameters

    @property
    def seed(self) -> int:
        """What the replicates' streams come from."""
        return self.request.seed

    @property
    def workspace(self) -> str | None:
        """The workspace whose slots get the result."""
        return self.request.workspace

    @property
    def tags(self) -> tuple[str, ...]:
        """The words to find it by."""
        return tuple(self.request.tags)

    @property
    def tenant(self) -> str | None:
        """For whom it is."""
        return self.request.tenant

    @property
    def debounce_s(self) -> float | None:
        """As submitted; the queue reads it."""
        return self.request.debounce_s

    @property
    def max_wait_s(self) -> float | None:
        """As submitted; the queue reads it."""
        return self.request.max_wait_s

    @property
    def waits(self) -> Any:
        """What takes note of waits for it."""
        return self._engine.waits

    @property
    def state(self) -> JobState:
        """Where it is."""
        return self._engine.state_of(self)

    def move(self, state: JobState) -> None:
        """Change the state, for the engine.

        Raises
        ------
        RuntimeError
            If `TRANSITIONS` has no such step: a bug.
        """
        if state is self.moved_to:
            return
        if state not in TRANSITIONS[self.moved_to]:
            raise RuntimeError(f"{self.id} cannot go from {self.moved_to} to {state}")
        self.moved_to = state

    def next_deadline(self) -> float | None:
        """Return when it has run, or lived, for too long; None for never."""
        if self.run_deadline is None or self.deadline is None:
            return self.deadline if self.run_deadline is None else self.run_deadline
        return min(self.run_deadline, self.deadline)

    def set_priority(self, priority: Priority | PriorityName | int) -> None:
        """Change the priority; a queued job moves, a running one is overtaken or overtakes at the next chunk.

        Raises
        ------
        InvalidInputError
            If there is no such priority.
        RequestNotFoundError
            If the job has finished.
        """
        self._engine.set_priority(self, priority)

    def cancel(self) -> bool:
        """Ask for the job to stop.

        A queued job is cancelled at once. A running one is `JobState.CANCELLING` until its kernel has stopped, and
        keeps its finished replicates in the store. Other callers who asked for the same keep the run going.

        Returns
        -------
        bool
            False when it is too late: the job has finished, or its result is being stored.
        """
        return self._engine.cancel(self)

    def pause(self) -> bool:
        """Hold the job until `resume`: a queued one does not start, a running one stops after its present replicates.

        Nothing is lost. Other callers who asked for the same keep the run going.

        Returns
        -------
        bool
            False when it is too late: the job has finished, is being cancelled, or its result is being stored.
        """
        return self._engine.pause_job(self)

    def resume(self) -> bool:
        """Let a paused job go on in its old place; return False when it was not paused."""
        return self._engine.resume_job(self)

    def cancelled(self) -> bool:
        """Tell whether the job has been cancelled and its kernel has stopped."""
        return self.moved_to is JobState.CANCELLED

    def running(self) -> bool:
        """Tell whether it has started and not finished."""
        return self.started_at is not None and self.moved_to not in TERMINAL

    def result(self, timeout: float | None = None) -> SimulationResult:
        """Wait for the result and return it.

        Returns
        -------
        SimulationResult
            With ``keep="summary"`` a `SummaryResult`; tell a checker of types by `typing.cast`.

        Raises
        ------
        concurrent.futures.CancelledError, TimeoutError
            If the job was cancelled; if it has not ended in time.
        ReplicateError, JobTimeoutError, CompileError
            Why it failed.
        DeadlockError
            If a function that a worker of the engine runs would wait for ever.
        """
        wait = self._engine.before_waiting(self, timeout)
        try:
            return super().result(timeout)
        except CancelledError:
            told = f"{self.id} was cancelled; partial() has the replicates that were finished"
            raise CancelledError(told) from None
        finally:
            if wait is not None:
                wait.end()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the job to end, and return why it failed, or None."""
        wait = self._engine.before_waiting(self, timeout)
        if wait is None:
            return super().exception(timeout)
        try:
            return super().exception(timeout)
        finally:
            wait.end()

    def add_done_callback(self, fn: Callable[[Job[P_co]], object]) -> None:
        """Have a function called with this job when it has ended; at the soonest if it has.

        It comes in the engine's callback thread, after the job's terminal update: never in a worker's, nor within
        `Engine.submit`, `cancel` or any other call of the caller's. An immediate engine has no such thread, and calls
        in the thread that steps. Callbacks come one at a time, those of one job in the order of adding, those of
        several in the order of their ends. What one raises is logged. One that does not return holds the others up for
        a second; then they go on in another thread.

        Raises
        ------
        InvalidInputError
            If `fn` is not callable.
        """
        if not callable(fn):
            raise refused("fn", fn, "callable")
        self.when_done(partial(self._engine.call_back, fn) if is_users(fn) else fn)

    def when_done(self, note: Callable[[Any], object]) -> None:
        """Have bgsim's own books kept when the job ends: at once, in whatever thread ends it, whatever callbacks do."""
        super().add_done_callback(note)

    def status(self) -> JobStatus:
        """Return what the job is doing now."""
        return self._engine.status(self)

    def updates(self, *, maxlen: int = 256) -> Subscription:
        """Return an iterator, for ``for`` and ``async for``, over updates from now to the terminal one.

        It is empty for a job that ended more than ``max_completed_age_seconds`` ago.
        """
        return self._engine.updates(self, maxlen)

    def logs(self) -> list[logging.LogRecord]:
        """Return what was logged, with the `logging` module, within the job's plain Python; the newest thousand."""
        return self._engine.logs(self.id)

    def resolve(self, result: SimulationResult | None, error: BaseException | None) -> None:
        """Say how the job ended, once `moved_to` does, and hand the done-callbacks on; for the engine."""
        if self.moved_to is JobState.CANCELLED:
            super().cancel()
            self.set_running_or_notify_cancel()
        elif result is None:
            self.set_exception(error)
        else:
            self.set_result(result)

    def resolve_without_callbacks(self, result: SimulationResult | None, error: BaseException | None) -> bool:
        """Do the same under the engine's lock if there are no callbacks, so that nothing is called; else return False.

        It also returns False if another thread has the future's own lock, for which the engine does not wait.
        """
        if not self.lock.acquire_raw(blocking=False):
            return False
        try:
            if self._done_callbacks:  # type: ignore[attr-defined] # and none is added meanwhile
                return False
            self.resolve(result, error)
            return True
        finally:
            self.lock.release_raw()

    def __await__(self) -> Generator[Any, None, SimulationResult]:
        with self.waits.during(self.id, (self,), lambda: self.finished_at is not None):
            return (yield from asyncio.wrap_future(self).__await__())

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.replicates:,} replicates, {self.moved_to.value}>"
