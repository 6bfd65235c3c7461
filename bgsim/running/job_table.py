"""The states of jobs: one enters, starts, is held, is asked to stop, ends. Each step is told to the bus and journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgsim.checks import check_seconds
from bgsim.errors import named_text
from bgsim.job import JobState
from bgsim.running.finished import finished_columns
from bgsim.running.records import debug
from bgsim.running.status import outcome
from bgsim.summaries.of_columns import result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgsim.job import Job
    from bgsim.result import SimulationResult
    from bgsim.running.events import Events
    from bgsim.running.run import Run
    from bgsim.running.state import State
    from bgsim.storage import Columns

MAX_ENDED = 10_000
"""How many ended jobs are remembered, however young."""

_RUNNING, _COMPLETED = JobState.RUNNING, JobState.COMPLETED


class JobTable:
    """Moves jobs from state to state; called under the engine's lock, except where a method says otherwise."""

    def __init__(self, state: State, events: Events) -> None:
        self._state = state
        self._events = events
        self._lock = state.lock

    # ---- the way of a job ----------------------------------------------------------------------------

    def enter(self, job: Job, run: Run) -> None:
        """Take a new job, which is a member of the run."""
        job.run = run
        self._state.jobs[job.id] = job
        if run.computation.log is not None:
            self._state.logs[job.id] = run.computation.log
        if self._state.submissions:
            self._tell_of(job)
        self._events.entered(job)

    def answer(self, job: Job, columns: Columns, now: float) -> None:
        """Take a new job, and complete it with what the store had."""
        job.from_store = job.replicates
        self._state.counts["from_store"] += 1
        self._tell_of(job)
        debug(self._state, "%s: %d replicates answered from the store", job.id, job.replicates)
        self.start(job, now)
        self.end(job, _COMPLETED, now, columns=columns, message="from the store")

    def _tell_of(self, job: Job) -> None:
        for note in self._state.submissions:
            note(job)

    def start(self, job: Job, now: float, *messages: str) -> None:
        """Let a job be running, for the first time or again."""
        job.move(_RUNNING)
        if job.run_left_s is not None:
            self.start_clock(job, now)
        if job.started_at is None:
            job.started_at = now
            self._state.waits_s.append(now - job.submitted_at)
            self._events.started(job, messages)
        elif messages:
            self._events.progress(job, "running", messages)

    def hold(self, job: Job, state: JobState, now: float, *messages: str) -> None:
        """Let a job not run for a while: SUSPENDED, DELAYED, or QUEUED again."""
        if job.moved_to is state:
            return
        job.move(state)
        self.stop_clock(job, now)
        if job.started_at is not None:
            self._events.progress(job, state.value, messages)

    def start_clock(self, job: Job, now: float) -> None:
        """Count the time against the job's time-out, from now on."""
        if job.run_left_s is not None and job.run_deadline is None:
            job.run_deadline = now + job.run_left_s

    def stop_clock(self, job: Job, now: float) -> None:
        """Count no time against the job's time-out until it runs again."""
        if job.run_deadline is not None:
            job.run_left_s = max(0.0, job.run_deadline - now)
            job.run_deadline = None

    def stopping(self, job: Job, error: BaseException | None, now: float) -> None:
        """Let a job end once its kernel has stopped; with an error, as FAILED.

        A cancelled job leaves the journal at once, also if the process ends before its kernel stops.
        """
        if error is None:
            self._events.left(job)
        job.pending_error = error
        job.asked_to_stop_at = now
        job.move(JobState.CANCELLING)

    def end(
        self,
        job: Job,
        state: JobState,
        now: float,
        *,
        columns: Columns | None = None,
        error: BaseException | None = None,
        message: str | None = None,
        letter: bool = True,
        in_journal: bool = True,
    ) -> None:
        """Move a job to its terminal state, publish that, and resolve its future.

        If the journal still has the job, or is to get its dead letter, that comes when its end is written: a job that
        is told to have ended must not run again after a crash, and a failure that is told has its letter. If it has
        done-callbacks, that is put off until the release of the lock.

        Parameters
        ----------
        letter : bool
            Whether a failure becomes a dead letter.
        in_journal : bool
            Whether the journal still has the job.
        """
        run: Run | None = job.run
        from_store = job.from_store
        _keep(job, columns)
        if run is not None:
            bury = self._events.buried(job, run, error) if error is not None and letter else None
            job.run = None
            from_store = run.from_store
            job.replicates_done = run.done_within(job.replicates)
            job.attempts = len(run.attempts)
            if error is not None or (in_journal and self._events.owner is not None):
                job.from_store = min(from_store, job.replicates)
                self._end_when_written(job, state, bury, columns, error, message)
                return
            del self._state.jobs[job.id]
        if state is _COMPLETED:
            job.replicates_done = job.replicates
        job.move(state)
        job.finished_at = now
        self._state.counts[state.name] += 1
        if job.started_at is not None:
            self._state.runs_s.append(now - job.started_at)
        if error is not None:
            job.error = named_text(error)
        self._events.ended(job, from_store, () if message is None else (message,))
        self._remember(job, now)
        request = job.request
        result = None
        if columns is not None:
            made_of = request.simulation, request.parameters, request.seed, columns, request.key.fingerprint
            result = result_of(*made_of, job.stopping)
        # After what is deferred; else at once, which spares a switch of threads.
        if not self._lock.has_deferred and job.resolve_without_callbacks(result, error):
            return
        self._state.resolving[job.id] = job
        self._lock.defer(lambda: self._resolve(job, result, error))

    def _end_when_written(
        self,
        job: Job,
        state: JobState,
        write: Callable[[], None] | None,
        columns: Columns | None,
        error: BaseException | None,
        message: str | None,
    ) -> None:
        """End a job that has left its run once it has left the journal, too; `write` writes its dead letter."""
        if state is not _COMPLETED and job.moved_to is not JobState.CANCELLING:
            job.move(JobState.CANCELLING)

        def end() -> None:
            self.end_left(job, state, columns=columns, error=error, message=message)

        def is_written(_: Exception | None = None) -> None:  # or cannot be, which the journal logs
            with self._lock:
                end()

        def bury() -> None:
            assert write is not None
            write()
            if self._events.is_written(is_written):
                is_written()

        self.leave(job)
        if write is not None:
            self._lock.defer(bury)  # a traceback as text takes a while
            return
        self._events.left(job)
        if self._events.is_written(is_written):
            end()

    def leave(self, job: Job) -> None:
        """Keep a job among those that have not ended, though no run has it, until `end_left`."""
        self._state.jobs[job.id] = job
        self._state.leaving += 1

    def end_left(
        self,
        job: Job,
        state: JobState,
        *,
        columns: Columns | None = None,
        error: BaseException | None = None,
        message: str | None = None,
    ) -> None:
        """End a job after `leave`: what had to be durable before it is told is durable."""
        self._state.leaving -= 1
        del self._state.jobs[job.id]
        self.end(job, state, self._state.now(), columns=columns, error=error, message=message, letter=False)

    def _resolve(self, job: Job, result: SimulationResult | None, error: BaseException | None) -> None:
        """Resolve a job's future, which hands its done-callbacks on: without the lock."""
        try:
            job.resolve(result, error)
        finally:
            del self._state.resolving[job.id]

    # ---- memory --------------------------------------------------------------------------------------

    def _remember(self, job: Job, now: float) -> None:
        """Keep how a job ended for a while, and forget the oldest."""
        ended = self._state.ended
        ended[job.id] = outcome(job)
        limit = now - self._state.config.max_completed_age_seconds
        while ended and (len(ended) > MAX_ENDED or next(iter(ended.values()))[0] < limit):
            self._forget_oldest()

    def forget(self, older_than_s: float) -> int:
        """Forget the jobs that ended longer ago; return how many. It takes the lock itself."""
        check_seconds("older_than_s", older_than_s)
        with self._lock.plain:
            ended = self._state.ended
            before = len(ended)
            limit = self._state.clock.monotonic() - older_than_s
            while ended and next(iter(ended.values()))[0] < limit:
                self._forget_oldest()
            return before - len(ended)

    def _forget_oldest(self) -> None:
        oldest, _ = self._state.ended.popitem(last=False)
        self._state.logs.pop(oldest, None)
        self._events.bus.forget(oldest)


def _keep(job: Job, columns: Columns | None) -> None:
    """Let a job keep its result, or what is finished of it when it leaves its run."""
    if columns is not None:
        job.kept = columns
    elif job.run is not None:
        job.kept = finished_columns(job.run, job.replicates)
