"""Which runs wait, which run, and which let go: admission, preemption, pause, retry, cancel, and the end of a run.

::

    place ──> queue ──admit──> running ──next_task──> worker ──came_back──> letting go ──settled──> gone
                ^                 │
                ├────suspend──────┤   a request of higher priority waits, and all places are taken
                ├────hold─────────┤   paused by hand; released by hand
                └────retry────────┘   a chunk failed with what may pass; released after the backoff

A run that is cancelled, fails or is complete gives its key up at once, so that the same request can come again; one
that comes while the old run is letting go *follows* it: it starts when the old one's replicates are stored.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from bgsim.control import STOP, YIELD
from bgsim.errors import JobTimeoutError, RequestNotFoundError, SimulationChangedError
from bgsim.job import Job, JobState
from bgsim.queue_manager import EntryState
from bgsim.running.run import Attempt, Run

if TYPE_CHECKING:
    from bgsim.queue_manager import Entry, SimulationRequest
    from bgsim.running.scheduler import Scheduler

LOOK_AGAIN_S = 10.0
"""A miss of the store holds for so long, unless this engine has stored it since: what is computed in vain, because
another process has just stored it, is the same."""


class Runs:
    """The runs of a scheduler. Everything here is called under the engine's lock.

    Attributes
    ----------
    running : list of Run
        At most ``max_concurrent_simulations``, but for those that are stopping.
    letting_go : list of Run
        Stopping or storing; not settled.
    paused : bool
        Nothing is started.
    idle : threading.Condition
        Notified when the last run is gone.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._config = scheduler.config
        self._clock = scheduler.clock
        self._lock = scheduler.lock
        self._queue = scheduler.queue
        self._ledger = scheduler.ledger
        self._settlement = scheduler.settlement
        self._dispatch = scheduler.dispatch
        self._timekeeper = scheduler.timekeeper
        self.running: list[Run] = []
        self.letting_go: list[Run] = []
        self.paused = False
        self.idle = threading.Condition(scheduler.lock.raw)
        self._by_key: dict[str, Run] = {}  # of `letting_go`, by the identity of their keys
        self._settled_at: OrderedDict[str, float] = OrderedDict()  # those of late by the same, the oldest first

    # ---- coming --------------------------------------------------------------------------------------

    def place(self, job: Job, request: SimulationRequest) -> None:
        """Let a job join the run with its key, or wait in the queue with one of its own.

        Raises
        ------
        QueueFullError
        """
        placement = self._queue.put(request)
        run: Run = placement.entry.payload
        if placement.joined:
            self._ledger.counts["joined"] += 1
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
            if before is not None or request.key is None:
                run.missed_at = -math.inf  # another run with this key may store something before it starts
        self._ledger.enter(job, run)
        for old in placement.dropped:
            self._leave(self._ledger.run_of[old.id], self._job(old.id), None)
        for old in placement.to_cancel:
            self.stop_job(self._job(old.id), None)
        if run in self.running:
            self._ledger.start(job, "joined a run in progress")
            self._dispatch.wake()
        elif placement.entry.state is EntryState.DELAYED:
            others = [other for other in run.jobs.values() if other is not job]
            if others and all(other.record.paused for other in others) and request.delay_s < math.inf:
                self._queue.release(placement.entry, delay_s=request.delay_s)  # it was held, and somebody wants it
            if placement.entry.state is EntryState.DELAYED:
                self._ledger.hold(job, JobState.DELAYED)
        if job.submission.at is not None and placement.entry.state is EntryState.DELAYED:
            self._timekeeper.release_at(job.submission.at.timestamp(), placement.entry)
        self._timekeeper.watch(job)
        self.admit()

    def _job(self, job_id: str) -> Job:
        return self._ledger.run_of[job_id].jobs[job_id]

    # ---- running and not -----------------------------------------------------------------------------

    def admit(self) -> None:
        """Start what may start; suspend what must give way."""
        while not self.paused and len(self._queue):
            going = [run for run in self.running if not run.stopping]  # who stops takes nothing any more
            if len(going) >= self._config.max_concurrent_simulations:
                # By level, as the queue goes by it: what has aged to the front would be suspended and taken for ever.
                lowest = min(going, key=lambda run: (run.entry.level, -run.entry.sequence))  # type: ignore[union-attr]
                head = self._queue.peek()
                if head is None or head.level <= lowest.entry.level:  # type: ignore[union-attr]
                    break
                self._suspend(lowest, "overtaken by a more urgent job")
            entry = self._queue.get_nowait()
            if entry is None:
                break
            self._start(entry.payload)
        if self._config.rate_limits:
            self._timekeeper.look_again()  # what waits for its rate may have begun to just now

    def _start(self, run: Run) -> None:
        self.running.append(run)
        again = run.started
        run.started = True
        for job in run.jobs.values():
            if not job.record.paused:
                self._ledger.start(job, *(("resumed",) if again else ()))
                self._timekeeper.watch(job)
        run.begin_watch(self._clock.monotonic())
        self._dispatch.call_for(run)
        self._timekeeper.started()

    def _suspend(self, run: Run, why: str) -> None:
        """Put a running one back in the queue, in its old place."""
        assert run.entry is not None
        self._take_off(run)
        self._queue.requeue(run.entry)
        for job in run.jobs.values():
            self._ledger.hold(job, JobState.SUSPENDED, why)
        self._count_until_off(run)

    def pause(self) -> None:
        """Start nothing, and let what runs stop at its next replicate boundary."""
        self.paused = True
        for run in [run for run in self.running if not run.stopping]:
            self._suspend(run, "the engine is paused")

    def _take_off(self, run: Run) -> None:
        """Take a running one out, to be put back in the queue; those on it give up what they have not done."""
        self._set_aside(run)
        for worker in run.workers:
            worker.order(YIELD)

    def _set_aside(self, run: Run) -> None:
        self.running.remove(run)
        run.eta.pause()

    def _count_until_off(self, run: Run) -> None:
        """Go on counting the time of a run that was taken off, until its kernels have let go.

        A replicate that never ends would hold its worker for ever, and no time-out would stop it.
        """
        if run.workers:
            for job in run.jobs.values():
                self._ledger.start_clock(job)
                self._timekeeper.watch(job)

    def _stop_counting_if_off(self, run: Run) -> None:
        if not run.workers and run not in self.running:
            for job in run.jobs.values():
                self._ledger.stop_clock(job)

    def hold_if_unwanted(self, run: Run) -> None:
        """Hold a run all of whose jobs are paused."""
        if not run.is_paused:
            return
        assert run.entry is not None
        if run in self.running:
            self._take_off(run)
        self._queue.hold(run.entry)
        self._count_until_off(run)
        self.admit()

    def release(self, entry: Entry) -> None:
        """Let an entry that waited for a time of the wall clock be served, unless it is paused by hand."""
        if entry.state is EntryState.DELAYED and not entry.payload.is_paused:
            self._queue.release(entry)

    def resume_job(self, job: Job, run: Run) -> None:
        """Let a job that was paused by hand go on; `admit` is to follow."""
        if not job.record.paused or run.is_ending:
            return
        held = run.is_paused
        job.record.paused = False
        assert run.entry is not None
        if run in self.running:
            self._ledger.start(job, "resumed")
            self._timekeeper.watch(job)
            return
        submission = job.submission
        state, delay_s = JobState.SUSPENDED, 0.0
        if not run.started:
            if submission.at is not None and submission.at.timestamp() > self._clock.time():
                delay_s = math.inf  # the timekeeper releases it by the wall clock
                self._timekeeper.release_at(submission.at.timestamp(), run.entry)
            elif submission.delay_s:
                delay_s = job.record.submitted_at + submission.delay_s - self._clock.monotonic()
            state = JobState.DELAYED if delay_s > 0 else JobState.QUEUED
        if held:
            self._queue.release(run.entry, delay_s=delay_s)
        elif run.entry.state is EntryState.DELAYED:
            state = JobState.DELAYED  # until the others' time has come
        self._ledger.hold(job, state)
        self._timekeeper.look_again()

    def let_go_on(self) -> None:
        """End every pause: what was submitted is to end."""
        self.paused = False
        for run in {run for run in self._ledger.run_of.values() if any(j.record.paused for j in run.jobs.values())}:
            for job in run.jobs.values():
                self.resume_job(job, run)
        self.admit()
        self._dispatch.wake_all()

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
        run.attempts += (Attempt(self._clock.time(), error),)
        self._ledger.counts["retries"] += 1
        number = len(run.attempts)
        wait_s = retry.wait_s(number)
        if run in self.running:
            self._set_aside(run)
            self._queue.requeue(run.entry, delay_s=wait_s)
        else:  # it was suspended meanwhile
            self._queue.hold(run.entry)
            self._queue.release(run.entry, delay_s=wait_s)
        reason = str(error).partition("\n")[0]
        text = f"retry {number} of {retry.attempts} in {wait_s:g} s: {type(error).__name__}: {reason}"
        for job in run.jobs.values():
            if not job.record.paused:
                self._ledger.hold(job, JobState.DELAYED, text)
        self._count_until_off(run)
        self._timekeeper.look_again()
        self.admit()
        return True

    # ---- ending --------------------------------------------------------------------------------------

    def stop_job(self, job: Job, error: BaseException | None) -> bool:
        """Take a job off its run, to end as CANCELLED or, with an error, as FAILED; False when it is too late."""
        run = self._ledger.run_of.get(job.id)
        if run is None or run.phase == "storing":
            return False
        if job.record.state is not JobState.CANCELLING:
            try:
                self._queue.cancel(job.id)
            except RequestNotFoundError:
                self.expire()  # it has waited for too long, and nobody has said so yet
                return False
            self._leave(run, job, error)
        return True

    def _leave(self, run: Run, job: Job, error: BaseException | None) -> None:
        """End a job that has left the queue: at once, or, if it is the last of a run that has started, with the run."""
        if run.started and len(run.jobs) == 1:
            self._ledger.stopping(job, error)
            self._stop(run, 0)
            self._finish_if_idle(run)
            self.admit()
        else:
            self._end(job, JobState.CANCELLED if error is None else JobState.FAILED, error)
            # Without the one that wanted most, what is done may be enough.
            if run.jobs and not run.stopping and not self._finish_if_idle(run):
                self.hold_if_unwanted(run)

    def cancel_all(self) -> None:
        """Cancel every job, what waits before what runs, which would start in its place."""
        for job in sorted(self._ledger.live(), key=lambda job: self._ledger.run_of[job.id].started):
            self.stop_job(job, None)

    def expire(self) -> None:
        """End the jobs that have waited in the queue for too long."""
        for request in self._queue.take_expired():
            run = self._ledger.run_of.get(request.id)
            if run is not None:
                job = self._job(request.id)
                limits = {name: getattr(job.submission, name) for name in ("queue_timeout_s", "deadline_s")}
                name, limit = min((item for item in limits.items() if item[1] is not None), key=lambda item: item[1])
                self._leave(run, job, JobTimeoutError(f"{job.id} waited longer than {name}={limit}"))

    def came_back(self, run: Run, error: BaseException | None = None, failed_at: int = 0) -> bool:
        """Go on with a run that a worker has come back from; return whether it is done with."""
        self._stop_counting_if_off(run)
        if error is not None and not self._try_again(run, error):
            self._fail(run, error, failed_at)
        return self._finish_if_idle(run, by_worker=True)

    def _fail(self, run: Run, error: BaseException, replicate: int) -> None:
        """Take note of a failure; of several the lowest replicate's counts, so those below it may go on.

        Code that has changed counts more than any: no replicate is what was asked for.
        """
        if isinstance(error, SimulationChangedError):
            replicate = -1
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
        """Once nobody is on a run that is done or stopping, take it out, and end it or have a worker store it."""
        if run.workers or run.phase == "storing" or not (run.stopping or run.done):
            return False
        self.expire()  # those who have waited for too long must not get what others wanted less of
        if run.phase == "storing":
            return True
        assert run.entry is not None
        if run in self.running:
            self.running.remove(run)
        run.phase = "storing"
        if run.entry.state is not EntryState.GONE:  # as it is when a suspended run's last job has left
            self._queue.done(run.entry)
        self.letting_go.append(run)
        self._by_key[run.key.identity] = run
        if not self._settlement.is_to_keep(run):
            self._settlement.settle(run)
        elif by_worker:
            self._lock.defer(lambda: self._settlement.keep(run))
        else:
            self._dispatch.add_errand(lambda: self._settlement.keep(run))
        self.admit()
        return True

    def settled(self, run: Run) -> None:
        """Let go of a run whose jobs have ended, and let those begin that follow it."""
        self.letting_go.remove(run)
        run.columns = ()  # its entry may be in a heap for a while yet, as the time of a time-out
        if self._by_key.get(run.key.identity) is run:
            del self._by_key[run.key.identity]
        if run.cache != "off":
            self._note_settled(run.key.identity)
        for follower in run.followers:
            follower.follows = None
            self._dispatch.wake()
        self.tell_if_idle()

    def _note_settled(self, identity: str) -> None:
        now = self._clock.monotonic()
        self._settled_at[identity] = now
        self._settled_at.move_to_end(identity)
        while now - self._settled_at[oldest := next(iter(self._settled_at))] > LOOK_AGAIN_S:
            del self._settled_at[oldest]

    def is_still_missed(self, run: Run) -> bool:
        """Tell whether the store, which had nothing for a run, need not be asked again; without the lock."""
        now, settled_at = self._clock.monotonic(), self._settled_at.get(run.key.identity, -math.inf)
        return now - run.missed_at <= LOOK_AGAIN_S and settled_at < run.missed_at

    def _end(self, job: Job, state: JobState, error: BaseException | None) -> None:
        self._ledger.end(job, state, error=error)
        self.tell_if_idle()

    def tell_if_idle(self) -> None:
        """Wake those who wait for the last job, if it has ended."""
        if self.is_idle():
            self.idle.notify_all()

    def is_idle(self) -> bool:
        """Tell whether nothing is wanted, runs, or is being stored."""
        return not self._ledger.run_of and not self.letting_go and self._dispatch.calls.is_idle()
