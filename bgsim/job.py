"""A job: the caller's handle of one request, a future with progress, a status and an honest cancel."""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
import secrets
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bgsim.progress import format_duration

if TYPE_CHECKING:
    from bgsim.parameters import ParameterSet
    from bgsim.queue_manager import Priority
    from bgsim.result import SimulationResult
    from bgsim.scheduler import Scheduler
    from bgsim.simulation import Simulation
    from bgsim.subscription import Subscription


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
    JobState.QUEUED: frozenset({JobState.DELAYED, JobState.RUNNING, *_TERMINAL}),
    JobState.DELAYED: frozenset({JobState.QUEUED, JobState.RUNNING, *_TERMINAL}),
    JobState.RUNNING: frozenset({JobState.SUSPENDED, JobState.CANCELLING, *_TERMINAL}),
    JobState.SUSPENDED: frozenset({JobState.RUNNING, JobState.CANCELLING, *_TERMINAL}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.FAILED}),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""Which states may follow which. QUEUED to COMPLETED is an answer from the store; a job goes from CANCELLING to
FAILED when its time-out asked for the stop."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What a job is doing at one moment.

    Attributes
    ----------
    id, simulation : str
    state : JobState
    phase : str
        ``queued``, ``compiling``, ``running``, ``storing``, or the terminal state.
    fraction : float
        Part of the replicates that is done, 0 to 1.
    replicates_completed, total_replicates : int
    from_store : int
        How many of them were in the store already.
    position : int or None
        How many jobs are served before it, while it is queued.
    rate : float or None
        Replicates a second, while it runs.
    estimated_time_remaining_s : float or None
    elapsed_s : float
        Since it was submitted, to its end.
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
    rate: float | None
    estimated_time_remaining_s: float | None
    elapsed_s: float
    store_error: str | None
    error: str | None

    def __str__(self) -> str:
        text = f"{self.simulation}: {self.state.value}"
        if self.state is JobState.QUEUED and self.position is not None:
            text += f", {self.position} before it"
        if self.state in (JobState.RUNNING, JobState.SUSPENDED, JobState.CANCELLING):
            text += f" ({self.phase}) {self.fraction:.1%} of {self.total_replicates:,}"
        if self.estimated_time_remaining_s is not None:
            text += f", {format_duration(1000 * self.estimated_time_remaining_s)} left"
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
    simulation : Simulation
    parameters : ParameterSet
    seed, replicates : int
    workspace : str or None
        Whose slots the result goes to.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        simulation: Simulation,
        parameters: ParameterSet,
        seed: int,
        replicates: int,
        priority: Priority,
        workspace: str | None,
        timeout_s: float | None,
    ) -> None:
        super().__init__()
        self.id = f"{simulation.name.rpartition('.')[2]}-{secrets.token_hex(4)}"
        self.simulation = simulation
        self.parameters = parameters
        self.seed = seed
        self.replicates = replicates
        self.workspace = workspace
        self.timeout_s = timeout_s
        self.submitted_at = time.monotonic()
        # Guarded by the scheduler's lock.
        self._scheduler = scheduler
        self._priority = priority
        self._current = JobState.QUEUED
        self._deadline: float | None = None
        self._finished_at: float | None = None
        self._from_store = 0
        self._store_error: str | None = None
        self._done = 0
        self._error: BaseException | None = None
        self._pending_error: BaseException | None = None  # ends it as FAILED once the kernel has let go

    @property
    def state(self) -> JobState:
        """Where it is."""
        return self._current

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

    def cancelled(self) -> bool:
        """Tell whether the job has been cancelled and its kernel has let go."""
        return self._current is JobState.CANCELLED

    def running(self) -> bool:
        """Tell whether it has started and not finished."""
        return self._current in (JobState.RUNNING, JobState.SUSPENDED, JobState.CANCELLING)

    def status(self) -> JobStatus:
        """Return what the job is doing now."""
        return self._scheduler.status(self)

    def updates(self, *, maxlen: int = 256) -> Subscription:
        """Return an iterator, for ``for`` and ``async for``, over updates from now to the terminal one.

        It is empty for a job that ended more than ``max_completed_age_seconds`` ago.
        """
        return self._scheduler.updates(self, maxlen)

    def __await__(self) -> Generator[Any, None, SimulationResult]:
        return asyncio.wrap_future(self).__await__()

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.replicates:,} replicates, {self._current.value}>"

    def _move(self, state: JobState) -> None:
        """Change the state; under the scheduler's lock.

        Raises
        ------
        RuntimeError
            If `TRANSITIONS` has no such step: a bug.
        """
        if state is self._current:
            return
        if state not in TRANSITIONS[self._current]:
            raise RuntimeError(f"{self.id} cannot go from {self._current} to {state}")
        self._current = state
        if state.is_terminal:
            self._finished_at = time.monotonic()
