"""What callers may ask of an engine: the verbs of a job and of the whole, each a step under the engine's lock.

The scheduler puts the parts together, and its threads hold on to it. What becomes of runs is in
`bgsim.running.lifecycle`, what workers do next in `bgsim.running.workers`, what happens by time in
`bgsim.running.timers`.

Locks, in the order in which they may be taken: the engine's, then those of the queues, the bus, the journal or a
future. Under the engine's lock no kernel runs, no subscriber or done-callback is called, and no store is touched.
"""

from __future__ import annotations

import concurrent.futures
import os
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from bgsim.errors import EngineClosedError, JobTimeoutError, QueueFullError
from bgsim.job import Job, JobState
from bgsim.priority import Priority
from bgsim.progress import ProgressBus
from bgsim.queue_manager import SimulationQueue
from bgsim.running.finish import Settlement
from bgsim.running.job_table import Ledger
from bgsim.running.lifecycle import Runs
from bgsim.running.lock import DeferringLock
from bgsim.running.run import Run
from bgsim.running.timers import Timekeeper
from bgsim.running.workers import Dispatch

if TYPE_CHECKING:
    from bgsim.bus.subscription import Subscription
    from bgsim.clock import Clock
    from bgsim.config import EngineConfig
    from bgsim.jobs.executor import EngineExecutor
    from bgsim.storage import Columns, Store
    from bgsim.storage.journal import Journal


class Scheduler:
    """The state machine behind an `Engine`; what its threads hold on to, so that a dropped engine can be closed.

    Parameters
    ----------
    config : EngineConfig
    store : Store
    journal : Journal
    owner : str or None
        Under which the journal keeps what is pending; None keeps nothing.
    close_store : bool
        Whether `close` closes it.
    clock : Clock
    """

    def __init__(
        self,
        config: EngineConfig,
        store: Store,
        journal: Journal,
        *,
        owner: str | None,
        close_store: bool,
        clock: Clock,
    ) -> None:
        self.config = config
        self.store = store
        self.journal = journal
        self.clock = clock
        self.bus = ProgressBus(threads=not config.immediate)
        self.queue = SimulationQueue(
            config.max_queue_size,
            limits=config.limits,
            rate_limits=config.rate_limits,
            age_after_s=config.age_after_s,
            clock=clock.monotonic,
        )
        self.lock = DeferringLock()  # guards all below, the runs, and the jobs' records
        self.ledger = Ledger(config, clock, self.lock, self.bus, self.queue, journal, owner)
        self.settlement = Settlement(self)
        self.closed = False
        self.close_store = close_store
        self._process = os.getpid()
        self.dispatch = Dispatch(self)
        self.timekeeper = Timekeeper(self)
        self.runs = Runs(self)
        self._driving = False  # an immediate engine is at work further up the stack
        self.executors: weakref.WeakSet[EngineExecutor] = weakref.WeakSet()

    def start(self) -> None:
        """Start the threads, but for an immediate engine."""
        if not self.config.immediate:
            for worker in self.dispatch.workers:
                worker.start()
            self.timekeeper.start()

    # ---- the callers' side ---------------------------------------------------------------------------

    def submit(self, job: Job, *, missed_at: float, block: bool, timeout_s: float | None) -> None:
        """Queue a job, or let it join the run with its key.

        Parameters
        ----------
        missed_at : float
            When the store was asked and had nothing, by the monotonic clock; minus infinity for never.

        Raises
        ------
        QueueFullError, EngineClosedError
        """
        run = Run(job.submission, job.id, missed_at)
        request = job.submission.request(job.id, run, now=self.clock.time())
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                with self.lock:
                    self.check_open()
                    self.runs.place(job, request)
            except QueueFullError:
                if block and self.config.immediate and self.step():
                    continue  # that may have made room, and nobody else will
                left = None if deadline is None else deadline - time.monotonic()
                if not block or self.config.immediate or not self.queue.wait_for_room(request.key, timeout_s=left):
                    raise
            else:
                return

    def answer(self, job: Job, columns: Columns) -> None:
        """Complete a job with what the store had."""
        word = job.submission.supersede
        with self.lock:
            self.check_open()
            for old in self.ledger.live() if word is not None else ():
                if old.submission.supersede == word:
                    self.runs.stop_job(old, None)
            job.record.from_store = job.replicates
            self.ledger.counts["from_store"] += 1
            self.ledger.start(job)
            self.ledger.end(job, JobState.COMPLETED, columns=columns, messages=("from the store",))

    def cancel(self, job: Job) -> bool:
        """Ask for a job to stop; see `Job.cancel`."""
        self.check_process()
        with self.lock:
            return self.runs.stop_job(job, None)

    def pause_job(self, job: Job) -> bool:
        """Hold a job; see `Job.pause`."""
        self.check_process()
        with self.lock:
            run = self.ledger.run_of.get(job.id)
            if run is None or run.is_ending:
                return False
            if not job.record.paused:
                job.record.paused = True
                self.ledger.hold(job, JobState.SUSPENDED, "paused")
                self.runs.hold_if_unwanted(run)
            return True

    def resume_job(self, job: Job) -> bool:
        """Let a paused job go on; see `Job.resume`."""
        self.check_process()
        with self.lock:
            run = self.ledger.run_of.get(job.id)
            if run is None or run.is_ending or not job.record.paused:
                return False
            self.runs.resume_job(job, run)
            self.runs.admit()
            return True

    def set_priority(self, job: Job, priority: Priority | str | int) -> None:
        """Change a job's priority; see `Job.set_priority`."""
        self.check_process()
        priority = Priority.of(priority)
        with self.lock:
            self.queue.set_priority(job.id, priority)
            job._priority = priority
            self.ledger.changed(job)
            self.runs.admit()

    def updates(self, job: Job, maxlen: int) -> Subscription:
        """Return an iterator over a job's updates; see `Job.updates`."""
        self.check_process()
        updates = self.bus.subscribe(job=job.id, maxlen=maxlen)
        if job.record.state.is_terminal and self.bus.current(job.id) is None:
            updates.unsubscribe()  # all is forgotten; without this it would wait for ever
        return updates

    def pause(self) -> None:
        """Start nothing, and let what runs stop at its next replicate boundary."""
        self.check_process()
        with self.lock:
            self.runs.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self.check_process()
        with self.lock:
            self.runs.paused = False
            self.runs.admit()
            self.dispatch.wake_all()

    def drain(self, timeout_s: float | None) -> bool:
        """Wait until every job has ended; return whether that came in time."""
        self.check_process()
        if self.config.immediate:
            self.drive()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self.lock.raw:
            if not self.runs.idle.wait_for(self.runs.is_idle, 0 if self.config.immediate else timeout_s):
                return False
            ended = list(self.ledger.unresolved.values())
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        return not concurrent.futures.wait(ended, left).not_done  # their futures are resolved without the lock

    def call(self, task: Callable[[], None], *, priority: Priority, group: str | None) -> Callable[[], bool]:
        """Have a worker call something, in its turn by priority; return what takes it back while it waits.

        Raises
        ------
        EngineClosedError
        """
        self.check_process()
        with self.lock:
            self.check_open()
            withdraw = self.dispatch.add_call(task, priority, group)
        if self.config.immediate:
            self.drive()
        return withdraw

    # ---- without threads -----------------------------------------------------------------------------

    def step(self) -> bool:
        """Do one unit of work in this thread; return False when nothing is due."""
        if self._driving:
            return False
        self._driving = True
        try:
            self.timekeeper.tick()
            if self.dispatch.workers[0].step():
                return True
            left = len(self.runs.letting_go)
            if left:
                self.settlement.flush()
            return len(self.runs.letting_go) < left
        finally:
            self._driving = False
            self.bus.deliver()

    def drive(self) -> None:
        """Do all that is due in this thread."""
        while self.step():
            pass

    def before_waiting(self, job: Job) -> None:
        """Get a job done in this thread, if the engine has none of its own, rather than wait for it in vain.

        Raises
        ------
        JobTimeoutError
            If it waits for a time that only the caller can bring about.
        """
        if job.record.state.is_terminal:
            return
        self.check_process()
        if self.config.immediate:
            self.drive()
            if not job.record.state.is_terminal:
                raise JobTimeoutError(
                    f"{job.id} is {self.ledger.state(job.record).value} in an immediate engine, and nothing is due; "
                    "advance its clock, or resume it"
                )

    # ---- whether it takes anything -------------------------------------------------------------------

    def check_open(self) -> None:
        """Refuse to go on once the engine is closed.

        Raises
        ------
        EngineClosedError
        """
        if self.closed:
            raise EngineClosedError("the engine is closed; make a new one to go on")

    def is_forked(self) -> bool:
        """Tell whether this is a forked child, which has none of the engine's threads."""
        return self._process != os.getpid()

    def check_process(self) -> None:
        """Refuse to go on in a forked child, which has none of the engine's threads. Without the lock.

        Raises
        ------
        EngineClosedError
        """
        if self.is_forked():
            raise EngineClosedError(
                "this engine belongs to the process that made it, and its threads do not live in a forked child; make "
                "a new engine here, on the same store, or start processes with the method 'spawn'"
            )
