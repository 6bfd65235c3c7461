"""What happens by time: progress, time-outs, delays that end, stalled runs, and chores such as schedules.

`Timekeeper.tick` does what is due; one thread, asleep while there is nothing to wait for, calls it.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
from typing import TYPE_CHECKING, Protocol

from bgsim.errors import JobTimeoutError
from bgsim.job import JobState
from bgsim.progress import format_duration

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.queue_manager import Entry
    from bgsim.running.scheduler import Scheduler

logger = logging.getLogger("bgsim.engine")

MAX_WALL_WAIT_S = 60.0
"""How long to wait for a time of the wall clock before looking again: it may be set, or the computer may sleep."""


class Chore(Protocol):
    """Something to be done now and then, without the engine's lock."""

    def wait_s(self) -> float:
        """Return in how many seconds it is due; infinity for never."""

    def run(self) -> None:
        """Do it, if it is due."""


class Timekeeper:
    """The engine's sense of time; works on a scheduler, under its lock.

    Attributes
    ----------
    chores : list of Chore
        Only to be added to before the thread starts.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._clock = scheduler.clock
        self._interval_s = scheduler.config.progress_update_interval_ms / 1000
        self._tick = threading.Condition(scheduler.lock.raw)
        self.chores: list[Chore] = []
        # Guarded by the engine's lock.
        self._deadlines: list[tuple[float, int, str]] = []  # of jobs, by id; stale unless it is the next one of its job
        self._releases: list[tuple[float, int, Entry]] = []  # by the wall clock
        self._numbers = itertools.count()
        self._sample_at = math.inf  # finite while something runs, and once more after that
        self._wakes_at = -math.inf  # when the thread will look again by itself; -inf while it is looking
        self._ask_chores = False  # they have changed since they were asked
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="bgsim-timekeeper", daemon=True)

    # ---- told by the scheduler, under the lock ---------------------------------------------------------

    def watch(self, job: Job) -> None:
        """Take note of a job's deadline, and of what the queue waits for."""
        deadline = job.record.next_deadline()
        if deadline is not None:
            heapq.heappush(self._deadlines, (deadline, next(self._numbers), job.id))
            self._nudge(deadline)
        self.look_again()

    def look_again(self) -> None:
        """Wake the thread if the queue waits for something that comes before it would look."""
        self._nudge(self._next_event_at())

    def release_at(self, time: float, entry: Entry) -> None:
        """Release an entry of the queue when the wall clock says so."""
        heapq.heappush(self._releases, (time, next(self._numbers), entry))
        self._nudge(-math.inf)

    def started(self) -> None:
        """Sample from now on: something runs."""
        if self._sample_at == math.inf:
            self._sample_at = self._clock.monotonic() + self._interval_s
            self._nudge(self._sample_at)

    def chores_changed(self) -> None:
        """Ask the chores again when they are due.

        1. The thread asks them, without the lock.
        2. A schedule is added here.
        3. The thread is about to wait for what it was told before: it sees the mark, and asks again.
        """
        self._ask_chores = True
        self._tick.notify()

    def _nudge(self, when: float) -> None:
        if when < self._wakes_at:
            self._tick.notify()

    # ---- the thread ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end; under the lock."""
        self._stopped = True
        self._tick.notify()

    def join(self) -> None:
        """Wait for the thread to end, if it has begun."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            self.tick()
            chores_s = min((chore.wait_s() for chore in self.chores), default=math.inf)
            with self._scheduler.lock:
                if self._stopped:
                    return
                if self._ask_chores:
                    self._ask_chores = False
                    continue
                left = min(self._next_at() - self._clock.monotonic(), chores_s)
                if left > 0:
                    self._wakes_at = self._clock.monotonic() + left
                    self._tick.wait(None if left == math.inf else min(left, threading.TIMEOUT_MAX))
                    self._wakes_at = -math.inf
                if self._stopped:
                    return

    def _next_at(self) -> float:
        deadline = self._deadlines[0][0] if self._deadlines else math.inf
        found = min(self._sample_at, deadline, self._next_event_at())
        if self._releases:
            wait_s = min(self._releases[0][0] - self._clock.time(), MAX_WALL_WAIT_S)
            found = min(found, self._clock.monotonic() + wait_s)
        return found

    def _next_event_at(self) -> float:
        """Return when something happens in a queue by itself; infinity for never."""
        of_jobs, of_calls = self._scheduler.queue.next_event_at(), self._scheduler.dispatch.calls.next_event_at()
        return min(math.inf if of_jobs is None else of_jobs, math.inf if of_calls is None else of_calls)

    # ---- what is due ---------------------------------------------------------------------------------

    def tick(self) -> None:
        """Do what is due by the clock."""
        scheduler = self._scheduler
        with scheduler.lock:
            now = self._clock.monotonic()
            scheduler.runs.expire()
            while self._releases and self._releases[0][0] <= self._clock.time():
                scheduler.runs.release(heapq.heappop(self._releases)[2])
            self._stop_overdue(now)
            scheduler.runs.admit()
            scheduler.dispatch.offer_calls()
            if now >= self._sample_at:
                self._sample(now)
                self._sample_at = now + self._interval_s if scheduler.runs.running else math.inf
        for chore in self.chores:
            try:
                chore.run()
            except Exception:
                logger.exception("a chore of the engine failed; it will be tried again")

    def _stop_overdue(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, _, job_id = heapq.heappop(self._deadlines)
            run = self._scheduler.ledger.run_of.get(job_id)
            if run is None:
                continue
            job = run.jobs[job_id]
            record = job.record
            if record.state is JobState.CANCELLING:
                continue
            if record.next_deadline() != deadline:  # it was suspended; it may have a later one
                if (later := record.next_deadline()) is not None:
                    heapq.heappush(self._deadlines, (later, next(self._numbers), job_id))
                continue
            name = "deadline_s" if deadline == record.deadline else "timeout_s"
            verb = "was not done within" if name == "deadline_s" else "ran longer than"
            error = JobTimeoutError(f"{job.id} {verb} {name}={getattr(job.submission, name)}")
            self._scheduler.runs.stop_job(job, error)

    def _sample(self, now: float) -> None:
        """Publish the progress of every running job, and say what has stalled."""
        for run in self._scheduler.runs.running:
            if run.phase == "running":
                run.eta.observe(now, run.in_progress()[1] * run.target)
            idle_s = run.observe(now)
            messages: tuple[str, ...] = ()
            if idle_s >= self._scheduler.config.stalled_after_s and not run.stalled and not run.stopping:
                run.stalled = True
                messages = (f"stalled: no progress for {format_duration(1000 * idle_s)}",)
                logger.warning("%s has %s", next(iter(run.jobs), run.simulation.name), messages[0])
            for job in run.jobs.values():
                if job.record.state is JobState.RUNNING:
                    self._scheduler.ledger.publish_progress(job, run, run.phase, messages)
                elif job.record.state is JobState.CANCELLING:
                    late_s = now - job.record.asked_to_stop_at
                    text = f"has not let go for {format_duration(1000 * late_s)}"
                    self._scheduler.ledger.publish_progress(job, run, "cancelling", (text,))
