"""What callers may ask of an engine: the verbs of a job and of the whole, each a step under the engine's lock.

The scheduler puts the parts together, and its threads hold on to it. Each part gets the `State` and parts above it
in this list::

    events      what the bus and the journal are told
    job_table   the states of jobs
    finish      the end of a run
    checkpoints what is stored of runs that go on
    lifecycle   which runs wait, run and stop
    holds       the simulations whose jobs are paused
    storing     runs and the store
    workers     what a worker does next
    waits       which waits of what workers run would have no end
    timers      what happens by time
    stepper     the work of an engine without threads

Locks, in the order in which they may be taken: the engine's, then those of the bus, the journal or a future. Under the
engine's lock no kernel runs, no subscriber or done-callback is called, and no store is touched.
"""

from __future__ import annotations

import concurrent.futures
import os
import time
import weakref
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any

from bgsim.checks import check_seconds
from bgsim.clock import ManualClock
from bgsim.errors import DeadlockError, EngineClosedError, QueueFullError
from bgsim.job import Job, JobState, JobStatus
from bgsim.priority import Priority
from bgsim.progress import ProgressBus
from bgsim.running.calls import Call
from bgsim.running.checkpoints import Checkpoints
from bgsim.running.events import Events
from bgsim.running.finish import Finish
from bgsim.running.holds import Holds
from bgsim.running.job_table import JobTable
from bgsim.running.lifecycle import Lifecycle
from bgsim.running.run import Run
from bgsim.running.state import State
from bgsim.running.status import StatusReader, nothing_due
from bgsim.running.stepper import Stepper
from bgsim.running.storing import Storing
from bgsim.running.timers import Released, Timers
from bgsim.running.waits import Waits
from bgsim.running.worker import WORKERS
from bgsim.running.workers import Workers

if TYPE_CHECKING:
    import logging

    from bgsim.backends.base import Backend
    from bgsim.bus.subscription import Subscription
    from bgsim.clock import Clock
    from bgsim.config import EngineConfig
    from bgsim.running.waits import Wait
    from bgsim.storage import Columns, Store
    from bgsim.storage.journal import Journal


class Scheduler:
    """The verbs behind an `Engine`; what its threads hold on to, so that a dropped engine can be closed.

    Parameters
    ----------
    config : EngineConfig
    store : Store
    journal : Journal
    owner : str or None
        The name under which the journal keeps what is pending; None keeps nothing.
    close_store : bool
        Whether closing the engine closes it.
    clock : Clock
    """

    def __init__(
        self,
        config: EngineConfig,
        store: Store,
        journal: Journal,
        backend: Backend,
        *,
        owner: str | None,
        close_store: bool,
        clock: Clock,
    ) -> None:
        self.config = config
        self.store = store
        self.journal = journal
        self.clock = clock
        self.close_store = close_store
        self.state = State(config, clock, store)
        self.lock = self.state.lock
        self.bus = ProgressBus(threads=not config.immediate)
        self.events = Events(self.state, self.bus, journal, owner)
        self.job_table = JobTable(self.state, self.events)
        self.finish = Finish(self.state, self.job_table)
        self.checkpoints = Checkpoints(self.state, self.events)
        self.lifecycle = Lifecycle(self.state, self.job_table, self.finish, self.checkpoints)
        self.holds = Holds(self.state, self.lifecycle)
        self.storing = Storing(self.state, self.events, self.finish)
        self.backend = backend
        self.workers = Workers(self.state, self.lifecycle, self.finish, self.storing, self.checkpoints, self.backend)
        self.waits = Waits(self.state, self.workers.all)
        self.timers = Timers(self.state, self.tick)
        self.stepper = Stepper(self.state, self.storing, self.workers, self.timers, self.bus)
        self.reader = StatusReader(self.state)
        self.executors: weakref.WeakSet[concurrent.futures.Executor] = weakref.WeakSet()
        self._process = os.getpid()

    def start(self) -> None:
        """Open the backend, and start the threads, but for an immediate engine."""
        if isinstance(self.clock, ManualClock):
            self.clock.on_move(self.clock_moved)
        self.workers.open()
        if not self.config.immediate:
            self.timers.start()

    # ---- submitting ----------------------------------------------------------------------------------

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
        run = Run(job.request, job.id, missed_at)
        state, deadline = self.state, None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with self.lock:
                if state.closed:
                    self.check_open()
                if self.lifecycle.place(job, run, state.now()):
                    return
            if block and self.config.immediate and self.step():
                continue  # that may have made room, and no other thread will
            if not block or self.config.immediate or not self._wait_for_room(run.key, deadline):
                raise QueueFullError(state.queue.full_text())

    def _wait_for_room(self, key: str | None, deadline: float | None) -> bool:
        """Wait until a run with this key may fit, or the engine is closed; return False if that did not come in time.

        Another caller may take the room, so `submit` tries, and waits again if there is none.
        """
        state = self.state
        left = None if deadline is None else deadline - time.monotonic()
        with self.waits.during("room in the queue", is_over=lambda: state.queue.may_fit(key)), self.lock.plain:
            state.wanted_room[key] += 1
            try:
                return state.room.wait_for(lambda: state.queue.may_fit(key), left)
            finally:
                state.wanted_room[key] -= 1
                if not state.wanted_room[key]:
                    del state.wanted_room[key]

    def answer(self, job: Job, columns: Columns) -> None:
        """Complete a job with what the store had."""
        state, word = self.state, job.request.supersede
        with self.lock:
            self.check_open()
            now = state.now()
            for old in list(state.jobs.values()) if word is not None else ():
                if old.request.supersede == word:
                    self.lifecycle.stop_job(old, None, now)
            self.job_table.answer(job, columns, now)

    def call(self, task: Callable[[], None], *, priority: Priority, group: str | None) -> Callable[[], bool]:
        """Have a worker call something, in its turn by priority; return what takes it back while it waits.

        Raises
        ------
        EngineClosedError
        """
        self.check_process()
        call = Call(task, priority, group)
        with self.lock:
            self.check_open()
            self.workers.calls.put(call)
        if self.config.immediate:
            self.drive()

        def withdraw() -> bool:
            with self.lock:
                return self.workers.calls.withdraw(call)

        return withdraw

    # ---- what a job asks: `bgsim.job.Controls` --------------------------------------------------------

    def state_of(self, job: Job) -> JobState:
        """Return where a job is."""
        return self.reader.state(job)

    def status(self, job: Job) -> JobStatus:
        """Return what a job is doing, or how it ended."""
        self.check_process()
        if self.config.immediate:
            self.drive()
        return self.reader.status(job)

    def logs(self, job_id: str) -> list[logging.LogRecord]:
        """Return what a job has logged."""
        return self.reader.logs(job_id)

    def finished(self, job: Job) -> Columns | None:
        """Return the replicates of a job that are finished; see `Job.partial`."""
        self.check_process()
        return self.reader.finished(job)

    def updates(self, job: Job, maxlen: int) -> Subscription:
        """Return an iterator over a job's updates; see `Job.updates`."""
        self.check_process()
        updates = self.bus.subscribe(job=job.id, maxlen=maxlen)
        if job.moved_to.is_terminal and self.bus.current(job.id) is None:
            updates.unsubscribe()  # all is forgotten; without this it would wait for ever
        return updates

    def cancel(self, job: Job) -> bool:
        """Ask for a job to stop; see `Job.cancel`."""
        self.check_process()
        with self.lock:
            return self.lifecycle.stop_job(job, None, self.state.now())

    def pause_job(self, job: Job) -> bool:
        """Hold a job; see `Job.pause`."""
        self.check_process()
        with self.lock:
            return self.lifecycle.pause_job(job, self.state.now())

    def resume_job(self, job: Job) -> bool:
        """Let a paused job go on; see `Job.resume`."""
        self.check_process()
        with self.lock:
            now = self.state.now()
            resumed = self.lifecycle.resume_job(job, now)
            self.lifecycle.admit(now)
            return resumed

    def set_priority(self, job: Job, priority: Priority | str | int) -> None:
        """Change a job's priority; see `Job.set_priority`."""
        self.check_process()
        priority = Priority.of(priority)
        with self.lock:
            now = self.state.now()
            self.state.queue.set_priority(job.id, priority, now)
            self.events.entered(job, started=job.started_at is not None)
            self.lifecycle.admit(now)

    def before_waiting(self, job: Job, timeout_s: float | None = None) -> Wait | None:
        """Get a job done in this thread, if the engine has none of its own, rather than wait for it in vain.

        Returns
        -------
        Wait or None
            If this is a worker's thread; `Waits.end` is to follow.

        Raises
        ------
        JobTimeoutError
            If it waits for a time that only the caller can bring about.
        DeadlockError
            If a function that a worker runs would wait for ever.
        """
        if job.finished_at is not None:
            return None
        self.check_process()
        if self.config.immediate:
            self.drive()
        wait = None
        if get_ident() in WORKERS and (timeout_s is None or timeout_s > 0):  # most waits are no worker's
            wait = self.waits.begin(job.id, (job,))
        if self.config.immediate and job.finished_at is None:
            raise nothing_due(job)
        return wait

    def call_back(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Call something in the thread of the callbacks, or, in an immediate engine, in the one that steps."""
        if self.is_forked():
            callback(*arguments)  # there is no such thread here
            return
        self.bus.call(callback, *arguments)
        if self.config.immediate and not self.stepper.is_here:  # else the step does so
            self.bus.deliver()

    # ---- the whole -----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Start nothing, and let what runs stop at its next replicate boundary."""
        self.check_process()
        with self.lock:
            self.lifecycle.pause(self.state.now())

    def resume(self) -> None:
        """Go on after `pause`."""
        self.check_process()
        with self.lock:
            self.state.paused = False
            self.lifecycle.admit(self.state.now())
            self.state.sleepers.wake_all()

    def drain(self, timeout_s: float | None) -> bool:
        """Wait until every job has ended; return whether that came in time."""
        self.check_process()
        timeout_s = None if timeout_s is None else check_seconds("timeout_s", timeout_s)
        if timeout_s != 0 and self.waits.worker_here() is not None:
            raise DeadlockError(
                "engine.drain() would wait without end for the function that calls it, which a worker of the engine "
                "runs; let the function return, and wait outside of it"
            )
        if self.config.immediate:
            self.drive()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self.lock.plain:
            if not self.state.idle.wait_for(lambda: self.state.is_idle, 0 if self.config.immediate else timeout_s):
                return False
            ended = list(self.state.resolving.values())
        return all(job.ends_by(deadline) for job in ended)  # their futures are resolved without the lock

    # ---- time, and work without threads --------------------------------------------------------------

    def tick(self) -> None:
        """Do what is due by the clocks."""
        with self.lock:
            now = self.state.now()
            self.state.is_due = False
            self.lifecycle.expire(now)
            for due in self.timers.due(now):
                if isinstance(due, Released):
                    self.lifecycle.release(due.job_id, now)
                else:
                    self.lifecycle.stop_job(due.job, due.error, now)
            self.lifecycle.admit(now)
            if self.config.rate_limits and self.workers.calls.urgency(now) is not None:
                self.state.sleepers.wake_one()  # it waited for its rate
            if self.state.small_batches:
                self.workers.chooser.wake_another()  # a batch may take longer than runs like it did
            self.checkpoints.collect(now)
            samples = self.timers.samples(now)
            if samples:
                self.workers.take_late_chunks_back()
                self.workers.recall_waiting(now)
            for sample in samples:
                self.events.progress(sample.job, sample.phase, sample.messages)

    def step(self) -> bool:
        """Do one unit of work in this thread, for an immediate engine; return False when nothing is due."""
        return self.stepper.step()

    def drive(self) -> None:
        """Do all that is due in this thread, for an immediate engine."""
        self.stepper.drive()

    def clock_moved(self) -> None:
        """Do what a move of a `ManualClock` has made due, or have the timer thread look."""
        if self.is_forked() or self.state.stopped:
            return
        if self.config.immediate:
            self.drive()
        else:
            with self.lock:
                self.timers.periodic_changed()

    # ---- whether it takes anything -------------------------------------------------------------------

    def check_open(self) -> None:
        """Refuse to go on once the engine is closed, by an `EngineClosedError`."""
        if self.state.closed:
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
        if self._process != os.getpid():
            raise EngineClosedError(
                "this engine belongs to the process that made it, and its threads do not live in a forked child; make "
                "a new engine here, on the same store, or start processes with the method 'spawn'"
            )
