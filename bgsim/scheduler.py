"""Which run gets the next worker: admission, preemption, pause, retry, cancel, and the storing of what is finished.

::

    submit ──> queue ──admit──> running ──next_task──> worker ──give_back──> storing ──on_stored──> settled
                 ^                 │
                 ├────suspend──────┤   a request of higher priority waits, and all places are taken
                 ├────hold─────────┤   paused by hand; released by hand
                 └────retry────────┘   a chunk failed with what may pass; released after the backoff

Locks, in the order in which they may be taken: the engine's, then those of the queues, the bus, the journal or a
future. Under the engine's lock no kernel runs, no subscriber or done-callback is called, and no store is touched.

A run that is cancelled, fails or is complete gives its key up at once, so that the same request can come again; one
that comes while the old run is letting go *follows* it: it starts when the old one's replicates are stored.
"""

from __future__ import annotations

import concurrent.futures
import math
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from bgsim.chunks import Attempt, Run
from bgsim.control import STOP, YIELD
from bgsim.dispatch import Dispatch
from bgsim.errors import EngineClosedError, JobTimeoutError, QueueFullError, RequestNotFoundError
from bgsim.job import Job, JobState
from bgsim.ledger import Ledger
from bgsim.locking import DeferringLock
from bgsim.progress import ProgressBus
from bgsim.queue_manager import EntryState, Priority, SimulationQueue, SimulationRequest
from bgsim.settlement import Settlement
from bgsim.timekeeper import Timekeeper

if TYPE_CHECKING:
    from bgsim.bus.subscription import Subscription
    from bgsim.clock import Clock
    from bgsim.config import EngineConfig
    from bgsim.executor import EngineExecutor
    from bgsim.queue_manager import Entry
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
        self.idle = threading.Condition(self.lock.raw)  # `drain` and `close` wait for the last run
        self.ledger = Ledger(config, clock, self.lock, self.bus, self.queue, journal, owner)
        self.settlement = Settlement(self)
        self.running: list[Run] = []  # at most max_concurrent_simulations, but for those that are stopping
        self.letting_go: list[Run] = []  # stopping or storing; not settled
        self._by_key: dict[str, Run] = {}  # of `letting_go`, by the identity of their keys
        self.paused = False
        self.closed = False
        self.close_store = close_store
        self._process = os.getpid()
        self.dispatch = Dispatch(self)
        self.timekeeper = Timekeeper(self)
        self._driving = False  # an immediate engine is at work further up the stack
        self.executors: weakref.WeakSet[EngineExecutor] = weakref.WeakSet()

    def start(self) -> None:
        """Start the threads, but for an immediate engine."""
        if not self.config.immediate:
            for worker in self.dispatch.workers:
                worker.start()
            self.timekeeper.start()

    # ---- the callers' side ---------------------------------------------------------------------------

    def submit(self, job: Job, *, block: bool, timeout_s: float | None) -> None:
        """Queue a job, or let it join the run with its key.

        Raises
        ------
        QueueFullError, EngineClosedError
        """
        run = Run(job.submission, job.id)
        request = job.submission.request(job.id, run, now=self.clock.time())
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                with self.lock:
                    self._place(job, request)
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
                    self.stop_job(old, None)
            job.record.from_store = job.replicates
            self.ledger.counts["from_store"] += 1
            self.ledger.start(job)
            self.ledger.end(job, JobState.COMPLETED, columns=columns, messages=("from the store",))

    def cancel(self, job: Job) -> bool:
        """Ask for a job to stop; see `Job.cancel`."""
        self.check_process()
        with self.lock:
            return self.stop_job(job, None)

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
                self._hold_if_unwanted(run)
            return True

    def resume_job(self, job: Job) -> bool:
        """Let a paused job go on; see `Job.resume`."""
        self.check_process()
        with self.lock:
            run = self.ledger.run_of.get(job.id)
            if run is None or run.is_ending or not job.record.paused:
                return False
            self._resume(job, run)
            self.admit()
            return True

    def set_priority(self, job: Job, priority: Priority | str | int) -> None:
        """Change a job's priority; see `Job.set_priority`."""
        self.check_process()
        priority = Priority.of(priority)
        with self.lock:
            self.queue.set_priority(job.id, priority)
            job._priority = priority
            self.ledger.changed(job)
            self.admit()

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
            self.paused = True
            for run in [run for run in self.running if not run.stopping]:
                self._suspend(run, "the engine is paused")

    def resume(self) -> None:
        """Go on after `pause`."""
        self.check_process()
        with self.lock:
            self.paused = False
            self.admit()
            self.dispatch.wake_all()

    def drain(self, timeout_s: float | None) -> bool:
        """Wait until every job has ended; return whether that came in time."""
        self.check_process()
        if self.config.immediate:
            self.drive()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self.lock.raw:
            if not self.idle.wait_for(self.is_idle, 0 if self.config.immediate else timeout_s):
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
            left = len(self.letting_go)
            if left:
                self.settlement.flush()
            return len(self.letting_go) < left
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

    # ---- under the lock ------------------------------------------------------------------------------

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

    def _place(self, job: Job, request: SimulationRequest) -> None:
        self.check_open()
        placement = self.queue.put(request)
        run: Run = placement.entry.payload
        if placement.joined:
            self.ledger.counts["joined"] += 1
            if request.payload.retry is not None and (
                run.retry is None or run.retry.attempts < request.payload.retry.attempts
            ):
                run.retry = request.payload.retry
        else:
            run.entry = placement.entry
            before = self._by_key.get(run.key.identity)
            if before is not None:
                run.follows = before
                before.followers += (run,)
            elif request.key is not None:
                run.missed_at = job.missed_at
        self.ledger.enter(job, run)
        for old in placement.dropped:
            self._leave(self.ledger.run_of[old.id], self._job(old.id), None)
        for old in placement.to_cancel:
            self.stop_job(self._job(old.id), None)
        if run in self.running:
            self.ledger.start(job, "joined a run in progress")
            self.dispatch.wake()
        elif placement.entry.state is EntryState.DELAYED:
            others = [other for other in run.jobs.values() if other is not job]
            if others and all(other.record.paused for other in others) and request.delay_s < math.inf:
                self.queue.release(placement.entry, delay_s=request.delay_s)  # it was held, and somebody wants it
            if placement.entry.state is EntryState.DELAYED:
                self.ledger.hold(job, JobState.DELAYED)
        if job.submission.at is not None and placement.entry.state is EntryState.DELAYED:
            self.timekeeper.release_at(job.submission.at.timestamp(), placement.entry)
        self.timekeeper.watch(job)
        self.admit()

    def _job(self, job_id: str) -> Job:
        return self.ledger.run_of[job_id].jobs[job_id]

    def admit(self) -> None:
        """Start what may start; suspend what must give way."""
        while not self.paused:
            going = [run for run in self.running if not run.stopping]  # who stops takes nothing any more
            if len(going) >= self.config.max_concurrent_simulations:
                # By level, as the queue goes by it: what has aged to the front would be suspended and taken for ever.
                lowest = min(going, key=lambda run: (run.entry.level, -run.entry.sequence))  # type: ignore[union-attr]
                head = self.queue.peek()
                if head is not None and head.level <= lowest.entry.level:  # type: ignore[union-attr]
                    return
                if head is not None:
                    self._suspend(lowest, "overtaken by a more urgent job")
            entry = self.queue.get_nowait()
            if entry is None:
                if self.config.rate_limits:
                    self.timekeeper.look_again()  # what waits for its rate may have begun to just now
                return
            self._start(entry.payload)

    def _start(self, run: Run) -> None:
        self.running.append(run)
        again = run.started
        run.started = True
        for job in run.jobs.values():
            if not job.record.paused:
                self.ledger.start(job, *(("resumed",) if again else ()))
                self.timekeeper.watch(job)
        run.begin_watch(self.clock.monotonic())
        self.dispatch.call_for(run)
        self.timekeeper.started()

    def _suspend(self, run: Run, why: str) -> None:
        """Put a running one back in the queue, in its old place."""
        assert run.entry is not None
        self._take_off(run)
        self.queue.requeue(run.entry)
        for job in run.jobs.values():
            self.ledger.hold(job, JobState.SUSPENDED, why)
        self._count_until_off(run)

    def _count_until_off(self, run: Run) -> None:
        """Go on counting the time of a run that was taken off, until its kernels have let go.

        A replicate that never ends would hold its worker for ever, and no time-out would stop it.
        """
        if run.workers:
            for job in run.jobs.values():
                self.ledger.start_clock(job)
                self.timekeeper.watch(job)

    def _stop_counting_if_off(self, run: Run) -> None:
        if not run.workers and run not in self.running:
            for job in run.jobs.values():
                self.ledger.stop_clock(job)

    def _take_off(self, run: Run) -> None:
        """Take a running one out, to be put back in the queue; those on it give up what they have not done."""
        self._set_aside(run)
        for worker in run.workers:
            worker.order(YIELD)

    def _set_aside(self, run: Run) -> None:
        self.running.remove(run)
        run.eta.pause()

    def _hold_if_unwanted(self, run: Run) -> None:
        """Hold a run all of whose jobs are paused."""
        if not run.is_paused:
            return
        assert run.entry is not None
        if run in self.running:
            self._take_off(run)
        self.queue.hold(run.entry)
        self._count_until_off(run)
        self.admit()

    def release(self, entry: Entry) -> None:
        """Let an entry that waited for a time of the wall clock be served, unless it is paused by hand."""
        if entry.state is EntryState.DELAYED and not entry.payload.is_paused:
            self.queue.release(entry)

    def _resume(self, job: Job, run: Run) -> None:
        if not job.record.paused or run.is_ending:
            return
        held = run.is_paused
        job.record.paused = False
        assert run.entry is not None
        if run in self.running:
            self.ledger.start(job, "resumed")
            self.timekeeper.watch(job)
            return
        submission = job.submission
        state, delay_s = JobState.SUSPENDED, 0.0
        if not run.started:
            if submission.at is not None and submission.at.timestamp() > self.clock.time():
                delay_s = math.inf  # the timekeeper releases it by the wall clock
                self.timekeeper.release_at(submission.at.timestamp(), run.entry)
            elif submission.delay_s:
                delay_s = job.record.submitted_at + submission.delay_s - self.clock.monotonic()
            state = JobState.DELAYED if delay_s > 0 else JobState.QUEUED
        if held:
            self.queue.release(run.entry, delay_s=delay_s)
        elif run.entry.state is EntryState.DELAYED:
            state = JobState.DELAYED  # until the others' time has come
        self.ledger.hold(job, state)
        self.timekeeper.look_again()

    def _try_again(self, run: Run, error: BaseException) -> bool:
        """Put a run that failed back in the queue, to be tried again later; False when it has failed for good."""
        retry = run.retry
        assert run.entry is not None
        if run.stopping or retry is None or not retry.attempts or not retry.covers(error):
            return False
        if run not in self.running and run.entry.state is EntryState.DELAYED:
            return True  # another chunk of the same attempt has failed, or it is held
        if len(run.attempts) >= retry.attempts:
            return False
        run.attempts += (Attempt(self.clock.time(), error),)
        self.ledger.counts["retries"] += 1
        number = len(run.attempts)
        wait_s = retry.wait_s(number)
        if run in self.running:
            self._set_aside(run)
            self.queue.requeue(run.entry, delay_s=wait_s)
        else:  # it was suspended meanwhile
            self.queue.hold(run.entry)
            self.queue.release(run.entry, delay_s=wait_s)
        reason = str(error).partition("\n")[0]
        text = f"retry {number} of {retry.attempts} in {wait_s:g} s: {type(error).__name__}: {reason}"
        for job in run.jobs.values():
            if not job.record.paused:
                self.ledger.hold(job, JobState.DELAYED, text)
        self._count_until_off(run)
        self.timekeeper.look_again()
        self.admit()
        return True

    def stop_job(self, job: Job, error: BaseException | None) -> bool:
        """Take a job off its run, to end as CANCELLED or, with an error, as FAILED; False when it is too late."""
        run = self.ledger.run_of.get(job.id)
        if run is None or run.phase == "storing":
            return False
        if job.record.state is not JobState.CANCELLING:
            try:
                self.queue.cancel(job.id)
            except RequestNotFoundError:
                self.expire()  # it has waited for too long, and nobody has said so yet
                return False
            self._leave(run, job, error)
        return True

    def _leave(self, run: Run, job: Job, error: BaseException | None) -> None:
        """End a job that has left the queue: at once, or, if it is the last of a run that has started, with the run."""
        if run.started and len(run.jobs) == 1:
            self.ledger.stopping(job, error)
            self._stop(run, 0)
            self._finish_if_idle(run)
            self.admit()
        else:
            self._end(job, JobState.CANCELLED if error is None else JobState.FAILED, error)
            # Without the one that wanted most, what is done may be enough.
            if run.jobs and not run.stopping and not self._finish_if_idle(run):
                self._hold_if_unwanted(run)

    def expire(self) -> None:
        """End the jobs that have waited in the queue for too long."""
        for request in self.queue.take_expired():
            run = self.ledger.run_of.get(request.id)
            if run is not None:
                job = self._job(request.id)
                limits = {name: getattr(job.submission, name) for name in ("queue_timeout_s", "deadline_s")}
                name, limit = min((item for item in limits.items() if item[1] is not None), key=lambda item: item[1])
                self._leave(run, job, JobTimeoutError(f"{job.id} waited longer than {name}={limit}"))

    def _fail(self, run: Run, error: BaseException, replicate: int) -> None:
        """Take note of a failure; of several the lowest replicate's counts, so those below it may go on."""
        if run.error is None or replicate < run.failed_at:
            run.error, run.failed_at = error, replicate
        self._stop(run, run.failed_at)
        self.admit()

    def _stop(self, run: Run, above: int) -> None:
        """Let nobody take from the run any more, and have its kernels stop that are at or above a replicate."""
        run.stopping = True
        self._by_key[run.key.identity] = run
        for worker, chunk in run.workers.items():
            if chunk is None or chunk.first >= above:
                worker.order(STOP)

    def _finish_if_idle(self, run: Run, *, by_worker: bool = False) -> bool:
        """Once nobody is on a run that is done or stopping, take it out, and have a worker store it."""
        if run.workers or run.phase == "storing" or not (run.stopping or run.done):
            return False
        assert run.entry is not None
        if run in self.running:
            self.running.remove(run)
        run.phase = "storing"
        if run.entry.state is not EntryState.GONE:  # as it is when a suspended run's last job has left
            self.queue.done(run.entry)
        self.letting_go.append(run)
        self._by_key[run.key.identity] = run
        if by_worker:
            self.lock.defer(lambda: self.settlement.keep(run))
        else:
            self.dispatch.add_errand(lambda: self.settlement.keep(run))
        self.admit()
        return True

    def settled(self, run: Run) -> None:
        """Let go of a run whose jobs have ended, and let those begin that follow it."""
        self.letting_go.remove(run)
        run.columns = ()  # its entry may be in a heap for a while yet, as the time of a time-out
        if self._by_key.get(run.key.identity) is run:
            del self._by_key[run.key.identity]
        for follower in run.followers:
            follower.follows = None
            self.dispatch.wake()
        self.tell_if_idle()

    def came_back(self, run: Run, error: BaseException | None = None, failed_at: int = 0) -> bool:
        """Go on with a run that a worker has come back from; return whether it is done with."""
        self._stop_counting_if_off(run)
        if error is not None and not self._try_again(run, error):
            self._fail(run, error, failed_at)
        return self._finish_if_idle(run, by_worker=True)

    def _end(self, job: Job, state: JobState, error: BaseException | None) -> None:
        self.ledger.end(job, state, error=error)
        self.tell_if_idle()

    def tell_if_idle(self) -> None:
        """Wake those who wait for the last job, if it has ended."""
        if self.is_idle():
            self.idle.notify_all()

    def is_idle(self) -> bool:
        """Tell whether nothing is wanted, runs, or is being stored."""
        return not self.ledger.run_of and not self.letting_go and self.dispatch.calls.is_idle()

    def let_go_on(self) -> None:
        """End every pause: what was submitted is to end."""
        self.paused = False
        for run in {run for run in self.ledger.run_of.values() if any(j.record.paused for j in run.jobs.values())}:
            for job in run.jobs.values():
                self._resume(job, run)
        self.admit()
        self.dispatch.wake_all()

    def cancel_all(self) -> None:
        """Cancel every job, what waits before what runs, which would start in its place."""
        for job in sorted(self.ledger.live(), key=lambda job: self.ledger.run_of[job.id].started):
            self.stop_job(job, None)
