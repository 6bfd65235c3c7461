"""What happens by time: `Timers.tick` says what is due, and one thread waits until something is.

The thread knows the scheduler by one function: `act`, which does what is due and runs `Periodic` tasks.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bgsim.errors import JobTimeoutError, start_thread
from bgsim.job import JobState
from bgsim.progress import format_duration
from bgsim.threads.locks import Thread
from bgsim.threads.signals import HOLD, interruptibly, is_interrupt

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.running.run import Run
    from bgsim.running.state import State

logger = logging.getLogger("bgsim.engine")

MAX_WALL_WAIT_S = 60.0
"""How long to wait for a time of the wall clock before looking again: it may be set, or the computer may sleep."""

COMPILING_S = 1.0
"""After this time an update says that a run compiles. Machine code from the disk is there before."""


class Periodic(Protocol):
    """A task that the timer thread runs now and then, without the engine's lock."""

    def wait_s(self) -> float:
        """Return in how many seconds it is due; infinity for never."""

    def run(self) -> None:
        """Do it, if it is due."""


@dataclass(slots=True)
class Overdue:
    """A job that has run, or lived, for too long, and the error that says so."""

    job: Job
    error: JobTimeoutError


@dataclass(slots=True)
class Released:
    """A job that may start, by the wall clock."""

    job_id: str


@dataclass(slots=True)
class Sample:
    """The progress of a running job is to be published."""

    job: Job
    phase: str
    messages: tuple[str, ...]


Due = Overdue | Released


class Timers:
    """What is due, and the thread that waits for it. The engine's lock guards everything.

    Parameters
    ----------
    state : State
    act : callable
        Does what is due; called by the thread without the lock.

    Attributes
    ----------
    act : callable
    periodic : list of Periodic
        To be added to before the thread starts.
    """

    def __init__(self, state: State, act: Callable[[], None]) -> None:
        self.periodic: list[Periodic] = []
        self._state = state
        self.act = act
        self._interval_s = state.config.progress_update_interval_ms / 1000
        self._periodic_changed = False
        self._thread = Thread(self._run, name="bgsim-timers")

    # ---- what is due, under the lock -----------------------------------------------------------------

    def due(self, now: float) -> list[Due]:
        """Return what is due by the clocks, in the order in which it is to be done."""
        state = self._state
        found: list[Due] = [Released(job_id) for job_id in state.alarms.released(state.clock.time())]
        for deadline, job_id in state.alarms.overdue(now):
            job = state.jobs.get(job_id)
            if job is None or job.moved_to is JobState.CANCELLING:
                continue
            if job.next_deadline() != deadline:  # it was suspended; it may have a later one
                state.alarms.watch(job)
                continue
            name = "deadline_s" if deadline == job.deadline else "timeout_s"
            verb = "was not done within" if name == "deadline_s" else "ran longer than"
            limit = getattr(job.request, name)
            found.append(Overdue(job, JobTimeoutError(f"{job.id} {verb} {name}={limit}")))
        return found

    def samples(self, now: float) -> list[Sample]:
        """Return the running jobs whose progress is to be published by now, and say what has stalled."""
        alarms = self._state.alarms
        if now < alarms.sample_at:
            return []
        found = [sample for run in self._state.running for sample in self._sample(run, now)]
        alarms.sample_at = now + self._interval_s if self._state.running else math.inf
        return found

    def _sample(self, run: Run, now: float) -> list[Sample]:
        if run.phase == "running":
            run.eta.observe(now, run.amount()[1])
        idle_s = run.observe(now)
        messages: tuple[str, ...] = ()
        if idle_s >= self._state.config.stalled_after_s and not run.stalled and not run.is_stopped:
            run.stalled = True
            messages = (f"stalled: no progress for {format_duration(1000 * idle_s)}",)
            logger.warning("%s has %s", next(iter(run.members), run.request.simulation.name), messages[0])
        if run.phase == "compiling" and now - run.prepares_since >= COMPILING_S:
            messages += (f"the first run compiles, {now - run.prepares_since:.0f} s so far; that happens once",)
        if run.phase == "running" and not self._state.lanes and not run.is_stopped:
            messages += ("waits for a worker",)
        found: list[Sample] = []
        for job in run.jobs:
            if job.moved_to is JobState.RUNNING:
                found.append(Sample(job, run.phase, messages))
            elif job.moved_to is JobState.CANCELLING:
                late_s = now - job.asked_to_stop_at
                found.append(Sample(job, "cancelling", (f"has not let go for {format_duration(1000 * late_s)}",)))
        return found

    def periodic_changed(self) -> None:
        """Ask the periodic tasks again when they are due; under the lock.

        1. The thread asks them, without the lock.
        2. A schedule is added here.
        3. The thread is about to wait for what it was told before: it sees the mark, and asks again.
        """
        self._periodic_changed = True
        self._state.alarm.notify()

    # ---- the thread ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        start_thread(self._thread)

    def stop(self) -> None:
        """Have the thread end; under the lock, after `State.stopped` is set."""
        self._state.alarm.notify()

    def join(self) -> None:
        """Wait for the thread to end, if it has begun."""
        if self._thread.is_alive():
            self._thread.join()

    def run_periodic(self) -> None:
        """Run the periodic tasks that are due; without the lock."""
        for task in self.periodic:
            with HOLD:
                self._run_one(task)

    def _run_one(self, task: Periodic) -> None:
        try:
            interruptibly(task.run)
        except Exception as error:
            if is_interrupt(error):
                raise
            logger.exception("a periodic task of the engine failed; it will be tried again")

    def _run(self) -> None:
        state = self._state
        while not state.stopped:
            self.act()
            self.run_periodic()
            periodic_s = min([task.wait_s() for task in self.periodic], default=math.inf)
            with state.lock:
                if self._periodic_changed:
                    self._periodic_changed = False
                elif not state.stopped:
                    self._wait(periodic_s)

    def _wait(self, periodic_s: float) -> None:
        state = self._state
        now = state.clock.monotonic()
        next_at = min(state.alarms.look(now, state.clock.time(), MAX_WALL_WAIT_S), state.next_event_at)
        left = min(next_at - now, periodic_s)
        if left > 0 and not state.is_due:  # as it is if another thread has looked at the clock since `act`
            state.wake()  # the wait releases the lock
            state.wakes_at = now + left
            state.alarm.wait(None if left == math.inf else min(left, threading.TIMEOUT_MAX))
            state.wakes_at = -math.inf
