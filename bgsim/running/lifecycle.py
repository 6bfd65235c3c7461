"""Which runs wait, run and stop: admission, preemption, pause, retry, cancel, and the end of a run.

::

    place ──> queue ──admit──> running ──a worker takes chunks──> came_back ──> stopping or complete ──> finish
                ^                 │
                ├────suspend──────┤   a job of higher priority waits, and all places are taken
                ├────hold─────────┤   all its jobs were paused by hand; they resume it
                └────retry────────┘   a chunk failed with what may pass; the timers release it after the backoff

A run that is cancelled, fails or is complete gives its key up at once, so that the same request can come again. A new
run that comes while the old one is stopping *follows* it: it starts when the old one's replicates are stored.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bgsim.control import STOP, YIELD
from bgsim.errors import JobTimeoutError, SimulationChangedError, text_of
from bgsim.job import Job, JobState
from bgsim.queue.entry import EntryState
from bgsim.retry import wait_before
from bgsim.running.judge import Judge
from bgsim.running.records import debug, info
from bgsim.running.run import Run
from bgsim.running.stages import Attempt, Stage
from bgsim.running.wake import wake_worker

if TYPE_CHECKING:
    from bgsim.running.checkpoints import Checkpoints
    from bgsim.running.finish import Finish
    from bgsim.running.job_table import JobTable
    from bgsim.running.state import State

_PROCESSING, _DELAYED, _GONE = EntryState.PROCESSING, EntryState.DELAYED, EntryState.GONE


class Lifecycle:
    """Moves the runs of a state; called under the engine's lock, with the time by `State.now`."""

    def __init__(self, state: State, jobs: JobTable, finish: Finish, checkpoints: Checkpoints) -> None:
        self._state = state
        self._config = state.config
        self._queue = state.queue
        self._jobs = jobs
        self._finish = finish
        self._checkpoints = checkpoints
        self.judge = Judge(state)

    # ---- coming --------------------------------------------------------------------------------------

    def place(self, job: Job, run: Run, now: float) -> bool:
        """Let a job join the run with its key, or wait in the queue with one of its own; False if there is no room."""
        state = self._state
        job.due_at = now
        if job.request.is_timed:
            job.due_at += job.request.start_delay_s(state.clock.time())
            job.expires_at = now + job.request.latest_start_s
        held = bool(state.held) and state.holds(job)
        has_place = len(state.running) < self._config.max_concurrent_simulations and not (state.paused or held)
        placed = self._queue.put(job, run, now, at_once=has_place)
        if placed is None:
            return False
        there, superseded = placed
        assert isinstance(there, Run)
        if there is not run:
            self._join(job, there)
        elif state.by_key or run.key is None:
            self._follow(run)
        self._jobs.enter(job, there)
        if superseded is not None:
            self._supersede(superseded, now)
        if there.state is _PROCESSING:
            self._start_job(job, there, now)
        elif there.state is _DELAYED:
            self._delay(job, there, now)
        if held or job.deadline is not None or job.run_deadline is not None:
            self._hold_or_watch(job, now, held=held)
        if self._queue.order.waiting:
            self.admit(now)
        return True

    def _hold_or_watch(self, job: Job, now: float, *, held: bool) -> None:
        """Pause a job with its simulation; note when it will have lived for too long."""
        if held:
            job.held = self.pause_job(job, now)
        self._state.alarms.watch(job)

    def _start_job(self, job: Job, run: Run, now: float) -> None:
        """Start a job whose run has a place: a new one, or one in progress."""
        if run.stage is Stage.WAITING:
            self._start(run, now)
        else:
            self._jobs.start(job, now, "joined a run in progress")
            self._state.sleepers.wake_one_for(run)

    def _join(self, job: Job, run: Run) -> None:
        debug(self._state, "%s: joins the run of %s, which asks for the same", job.id, next(iter(run.members), ""))
        self._state.counts["joined"] += 1
        self.judge.joined(run)
        retry = job.request.retry
        if retry is not None and (run.retry is None or run.retry.retries < retry.retries):
            run.retry = retry

    def _follow(self, run: Run) -> None:
        """Let a new run follow the one with its key that is stopping, if there is one."""
        before = self._state.by_key.get(run.request.key.identity)
        if before is not None:
            run.follows = before
            before.followers += (run,)
        if before is not None or run.key is None:
            run.missed_at = -math.inf  # another run with this key may store something before it starts

    def _supersede(self, older: Job, now: float) -> None:
        if older.id in self._queue.by_id:
            self.stop_job(older, None, now)
        else:
            self._leave(older.run, older, None, now)

    def _delay(self, job: Job, run: Run, now: float) -> None:
        """Let a job wait with a delayed run, which it may have released or moved forward."""
        others = [other for other in run.members.values() if other is not job]
        if others and all(other.paused for other in others) and job.due_at < math.inf:
            self._queue.release(run, now, job.due_at)  # it was held, and this job wants it
        if run.state is _DELAYED:
            self._jobs.hold(job, JobState.DELAYED, now)
            if job.request.at is not None:
                self._state.alarms.release_at(job.request.at.timestamp(), job.id)

    # ---- running and not -----------------------------------------------------------------------------

    def admit(self, now: float) -> None:
        """Start what may start; suspend what must give way."""
        state = self._state
        while self._queue.order.waiting and not state.paused:
            going = [run for run in state.running if run.stage is not Stage.STOPPING]  # workers take nothing from those
            if len(going) >= self._config.max_concurrent_simulations:
                # By level, as the queue goes by it: what has aged to the front would be suspended and taken for ever.
                lowest = min(going, key=lambda run: (run.level, -run.sequence))
                head = self._queue.order.first(now)
                if head is None or head.level <= lowest.level:
                    break
                self._suspend(lowest, now, "overtaken by a more urgent job")
            entry = self._queue.take(now)
            if entry is None:
                break
            assert isinstance(entry, Run)
            self._start(entry, now)

    def _start(self, run: Run, now: float) -> None:
        state = self._state
        state.running.append(run)
        messages = () if run.stage is Stage.WAITING else ("resumed",)
        run.stage = Stage.ADMITTED
        for job in run.members.values():
            if not job.paused:
                self._jobs.start(job, now, *messages)
                if job.run_deadline is not None:
                    state.alarms.watch(job)
        run.begin_watch(now)
        self.judge.request_look(run)
        if self._checkpoints.interval_s is not None:
            self._checkpoints.watch(run, now)
        wake_worker(state, run)
        if state.alarms.sample_at == math.inf:
            state.alarms.sample_from(now + self._config.progress_update_interval_ms / 1000)

    def _suspend(self, run: Run, now: float, why: str) -> None:
        """Put a running one back in the queue, in its old place."""
        self._take_off(run)
        self._queue.requeue(run, now)
        for job in run.members.values():
            self._jobs.hold(job, JobState.SUSPENDED, now, why)
        self._count_until_off(run, now)

    def pause(self, now: float) -> None:
        """Start nothing, and let what runs stop at its next replicate boundary."""
        self._state.paused = True
        for run in [run for run in self._state.running if run.stage is not Stage.STOPPING]:
            self._suspend(run, now, "the engine is paused")

    def _take_off(self, run: Run) -> None:
        """Take a running one out, to be put back in the queue; its workers give up what they have not done."""
        self._set_aside(run)
        for worker in run.workers:
            worker.order(YIELD)

    def _set_aside(self, run: Run) -> None:
        self._state.running.remove(run)
        run.eta.pause()

    def _count_until_off(self, run: Run, now: float) -> None:
        """Go on counting the time of a run that was taken off, until its kernels have stopped.

        A replicate that never ends would hold its worker for ever, and no time-out would stop it.
        """
        if run.workers:
            for job in run.members.values():
                self._jobs.start_clock(job, now)
                self._state.alarms.watch(job)

    def _hold_if_unwanted(self, run: Run, now: float) -> None:
        """Hold a run all of whose jobs are paused."""
        if not run.is_paused:
            return
        if run.state is _PROCESSING:
            self._take_off(run)
        self._queue.hold(run, now)
        self._count_until_off(run, now)
        self.admit(now)

    def release(self, job_id: str, now: float) -> None:
        """Let the run of a job that waited for a time of the wall clock be served, unless it is paused by hand."""
        run = self._queue.by_id.get(job_id)
        if isinstance(run, Run) and run.state is _DELAYED and not run.is_paused:
            self._queue.release(run, now)

    def pause_job(self, job: Job, now: float) -> bool:
        """Hold a job; return False when it is too late."""
        if job.run is None or job.run.stage >= Stage.STOPPING:
            return False
        if not job.paused:
            job.paused = True
            self._jobs.hold(job, JobState.SUSPENDED, now, "paused")
            self._hold_if_unwanted(job.run, now)
        return True

    def resume_job(self, job: Job, now: float) -> bool:
        """Let a job that was paused by hand go on; `admit` is to follow. Return False when it was not paused."""
        run: Run | None = job.run
        if run is None or not job.paused or run.stage >= Stage.STOPPING:
            return False
        was_held = run.is_paused
        job.paused = job.held = False
        if run.state is _PROCESSING:
            self._jobs.start(job, now, "resumed")
            self._state.alarms.watch(job)
            return True
        state, until = JobState.SUSPENDED, -math.inf
        if run.stage is Stage.WAITING:
            until = self._start_after_pause(job)
            state = JobState.DELAYED if until > now else JobState.QUEUED
        if was_held:
            self._queue.release(run, now, until)
        elif run.state is _DELAYED:
            state = JobState.DELAYED  # until the others' time has come
        self._jobs.hold(job, state, now)
        return True

    def _start_after_pause(self, job: Job) -> float:
        """Return when a job that has never started may start."""
        request = job.request
        if request.at is not None and request.at.timestamp() > self._state.clock.time():
            self._state.alarms.release_at(request.at.timestamp(), job.id)
            return math.inf  # until then
        return job.submitted_at + request.delay_s

    def resume_all(self, now: float) -> None:
        """End every pause: what was submitted is to end."""
        self._state.paused = False
        self._state.held.clear()
        for job in list(self._state.jobs.values()):
            self.resume_job(job, now)
        self.admit(now)
        self._state.sleepers.wake_all()

    def _try_again(self, run: Run, error: BaseException, now: float) -> bool:
        """Put a run that failed back in the queue, for its next try; False when it has failed for good."""
        retry, state = run.retry, self._state
        if run.is_stopped or retry is None or not retry.retries:
            return False
        wait_s = wait_before(retry, len(run.attempts) + 1, error)
        if wait_s is None:
            return False
        if run.state is _DELAYED:
            return True  # another chunk of the same try has failed, or it is held
        if len(run.attempts) >= retry.retries:
            return False
        run.attempts += (Attempt(state.clock.time(), error),)
        state.counts["retries"] += 1
        number = len(run.attempts)
        if run.state is _PROCESSING:
            self._set_aside(run)
            self._queue.requeue(run, now, now + wait_s)
        else:  # it was suspended meanwhile
            self._queue.hold(run, now)
            self._queue.release(run, now, now + wait_s)
        reason = text_of(error).partition("\n")[0]
        text = f"retry {number} of {retry.retries} in {wait_s:g} s: {type(error).__name__}: {reason}"
        info(state, "%s: %s", run.request.simulation.name, text)
        for job in run.members.values():
            if not job.paused:
                self._jobs.hold(job, JobState.DELAYED, now, text)
        self._count_until_off(run, now)
        self.admit(now)
        return True

    # ---- ending --------------------------------------------------------------------------------------

    def stop_job(self, job: Job, error: BaseException | None, now: float) -> bool:
        """Take a job off its run, to end as CANCELLED or, with an error, as FAILED; False when it is too late."""
        run: Run | None = job.run
        if run is None or run.stage >= Stage.STOPPED:
            return False
        if job.moved_to is not JobState.CANCELLING:
            if job.id not in self._queue.by_id:
                self.expire(now)  # it has waited for too long, and has not ended yet
                return False
            self._queue.remove(job.id, now)
            self._leave(run, job, error, now)
        return True

    def _leave(self, run: Run, job: Job, error: BaseException | None, now: float) -> None:
        """End a job that has left the queue: at once, or, if it is the last of a run that has started, with the run."""
        if Stage.WAITING < run.stage < Stage.STOPPED and not run.members and run.last is None:
            run.last = job
            self._jobs.stopping(job, error, now)
            self._stop(run, 0)
            self.finish_if_idle(run, now)
            self.admit(now)
            return
        self._jobs.end(job, JobState.CANCELLED if error is None else JobState.FAILED, now, error=error)
        # Without the job that wanted most, what is done may be enough.
        if run.members and run.stage is not Stage.STOPPING and not self.finish_if_idle(run, now):
            self._hold_if_unwanted(run, now)

    def cancel_all(self, now: float) -> None:
        """Cancel every job, what waits before what runs, which would start in its place."""
        jobs = [job for job in self._state.jobs.values() if job.run is not None]
        for job in sorted(jobs, key=lambda job: job.run.stage is not Stage.WAITING):
            self.stop_job(job, None, now)

    def expire(self, now: float) -> None:
        """End the jobs that have waited in the queue for too long."""
        for job in self._queue.take_expired():
            if job.run is not None:
                limits = {name: getattr(job.request, name) for name in ("queue_timeout_s", "deadline_s")}
                name, limit = min((item for item in limits.items() if item[1] is not None), key=lambda item: item[1])
                self._leave(job.run, job, JobTimeoutError(f"{job.id} waited longer than {name}={limit}"), now)

    def came_back(self, run: Run, now: float, error: BaseException | None = None, failed_at: int = 0) -> None:
        """Go on with a run that a worker has given back."""
        if not run.workers and run.state is not _PROCESSING:
            for job in run.jobs:
                self._jobs.stop_clock(job, now)
        if error is not None and not self._try_again(run, error, now):
            self._fail(run, error, failed_at, now)
        self.judge.request_look(run)
        self.finish_if_idle(run, now, by_worker=True)

    def _fail(self, run: Run, error: BaseException, replicate: int, now: float) -> None:
        """Note a failure; of several the lowest replicate's counts, so those below it may go on.

        Code that has changed counts more than any: no replicate is what was asked for.
        """
        if isinstance(error, SimulationChangedError):
            replicate = -1
        if run.error is None or replicate < run.failed_at:
            run.error, run.failed_at = error, replicate
        self._stop(run, run.failed_at)
        self.admit(now)

    def _stop(self, run: Run, above: int) -> None:
        """Let no worker take from the run any more, and stop its kernels that are at or above a replicate."""
        run.stage = Stage.STOPPING
        self._state.by_key[run.request.key.identity] = run
        for worker, chunk in run.workers.items():
            if chunk is None or chunk.first >= above:
                worker.order(STOP)

    def finish_if_idle(self, run: Run, now: float, *, by_worker: bool = False) -> bool:
        """Once no worker is on a run that is done or stopping, end it, or have a worker store it.

        A caller that is a worker itself, `by_worker`, looks for work next.
        """
        if run.workers or run.stage >= Stage.STOPPED or not (run.stage is Stage.STOPPING or run.is_done):
            return False
        state = self._state
        if self._queue.expired:
            self.expire(now)  # jobs that have waited for too long must not get what others wanted less of
            if run.stage >= Stage.STOPPED:
                return True
        run.stage = Stage.STOPPED if run.stage is Stage.STOPPING else Stage.COMPLETE
        if run.state is _PROCESSING:
            state.running.remove(run)
        if run.state is not _GONE:  # as it is when a suspended run's last job has left
            self._queue.finish(run, now)
        if self._finish.is_to_store(run):
            state.storing.append(run)
            state.by_key[run.request.key.identity] = run
            state.to_store.append(run)
            if not by_worker:
                state.sleepers.wake_one()
        else:
            self._finish.settle(run, now)
        if self._queue.order.waiting:
            self.admit(now)
        return True
