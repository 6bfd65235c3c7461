"""Jobs as they are seen from outside: their states, what is published of them, what outlives a crash, how they ended.

The scheduler says what happens to a job; the ledger moves its state, tells the progress bus and the journal, counts,
and remembers for a while. Everything here is called under the engine's lock, but for what it says otherwise.
"""

from __future__ import annotations

import json
import logging
import statistics
import traceback
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bgsim.errors import RequestNotFoundError
from bgsim.job import JobRecord, JobState, JobStatus
from bgsim.progress import ProgressBus, UpdateType
from bgsim.queue_manager import EntryState, SimulationQueue
from bgsim.result import SimulationResult
from bgsim.running.callbacks import Resolver
from bgsim.storage.journal import DeadLetter, PendingRequest
from bgsim.storage.times import time_text

if TYPE_CHECKING:
    from bgsim.clock import Clock
    from bgsim.config import EngineConfig
    from bgsim.job import Job
    from bgsim.logs import JobLog
    from bgsim.running.lock import DeferringLock
    from bgsim.running.run import Run
    from bgsim.storage import Columns
    from bgsim.storage.journal import Journal

logger = logging.getLogger("bgsim.engine")

TERMINAL_UPDATES = {
    JobState.COMPLETED: UpdateType.COMPLETED,
    JobState.FAILED: UpdateType.FAILED,
    JobState.CANCELLED: UpdateType.CANCELLED,
}

MAX_ENDED = 10_000
"""How many ended jobs are remembered, however young."""

_RECENT = 1000
"""From how many jobs, the newest, quantiles are taken."""


class Ledger:
    """What is known of jobs.

    Attributes
    ----------
    run_of : dict of str to Run
        By id, of the jobs that have not ended.
    unresolved : dict of str to Job
        By id, of those that have ended and whose futures have not said so yet.
    ended : OrderedDict of str to JobRecord
        By id, the oldest first; for ``max_completed_age_seconds``.
    journal_error : str or None
        Why the journal refused the last time; a journal that keeps its contract never does.
    counts : Counter
        Since the engine began: by terminal state, and ``joined``, ``from_store``, ``retries``.
    waits_s, runs_s : deque of float
        How long the newest jobs waited for their start, and from there to their end.
    """

    def __init__(
        self,
        config: EngineConfig,
        clock: Clock,
        lock: DeferringLock,
        bus: ProgressBus,
        queue: SimulationQueue,
        journal: Journal,
        owner: str | None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._lock = lock
        self._bus = bus
        self._queue = queue
        self._journal = journal
        self._owner = owner  # None where nothing outlives a crash, and when the engine is closed
        self.journal_error: str | None = None
        self.resolver = Resolver()
        self.run_of: dict[str, Run] = {}
        self.ended: OrderedDict[str, JobRecord] = OrderedDict()  # a dict takes long to find its first after deletions
        self.counts: Counter[str] = Counter()
        self.waits_s: deque[float] = deque(maxlen=_RECENT)
        self.runs_s: deque[float] = deque(maxlen=_RECENT)
        self.unresolved: dict[str, Job] = {}  # have ended, and their futures are about to say so
        self._logs: dict[str, JobLog] = {}  # of the jobs in `run_of` and `ended` that are plain Python

    # ---- the way of a job ----------------------------------------------------------------------------

    def enter(self, job: Job, run: Run) -> None:
        """Take a new job."""
        run.jobs[job.id] = job
        self.run_of[job.id] = run
        if run.log is not None:
            self._logs[job.id] = run.log
        if self._owner is not None:
            self._tell_journal(self._journal.add, self._pending(job, self._owner))

    def changed(self, job: Job) -> None:
        """Take note that a job asks for something else than before."""
        if self._owner is not None:
            started = job.record.started_at is not None
            self._tell_journal(self._journal.add, self._pending(job, self._owner, started=started))

    def _pending(self, job: Job, owner: str, *, started: bool = False) -> PendingRequest:
        return job.submission.pending(
            job.id, owner, job.asked_at, priority=job.priority, crashes=job.crashes, started=started
        )

    def _tell_journal(self, verb: Callable[..., object], *arguments: Any) -> None:
        """Tell the journal something; one that raises, as it must not, costs no job."""
        try:
            verb(*arguments)
        except Exception as error:
            self.journal_error = str(error)
            logger.warning("the journal refuses, so a crash would lose what it was told: %s", error)

    @property
    def journals(self) -> bool:
        """Whether the journal is told what becomes of jobs."""
        return self._owner is not None

    def register(self) -> None:
        """Say that this engine lives."""
        if self._owner is not None:
            self._tell_journal(self._journal.register, self._owner)

    def release(self) -> None:
        """Say that this engine is closed: what it leaves pending is interrupted, and not by a crash."""
        if self._owner is None:
            return
        for job in self.live():
            if job.record.state is not JobState.CANCELLING and self.run_of[job.id].phase != "storing":
                self._tell_journal(self._journal.add, self._pending(job, self._owner))  # as one that has not started
        self._tell_journal(self._journal.release, self._owner)
        self._owner = None

    def start(self, job: Job, *messages: str) -> None:
        """Say that a job is running, for the first time or again."""
        record = job.record
        first = record.started_at is None
        record.move(JobState.RUNNING)
        now = self._clock.monotonic()
        self.start_clock(job)
        if first:
            record.started_at = now
            self.waits_s.append(now - record.submitted_at)
            if self._owner is not None and job.id in self.run_of:
                self._tell_journal(self._journal.start, job.id)
            self._bus.publish(
                job.id,
                UpdateType.STARTED,
                total_replicates=record.replicates,
                current_phase="running",
                messages=messages,
                metadata=metadata(job),
            )
        elif messages:
            self.say(job, "running", *messages)

    def hold(self, job: Job, state: JobState, *messages: str) -> None:
        """Say that a job is not running for a while: SUSPENDED, DELAYED, or QUEUED again."""
        record = job.record
        if record.state is state:
            return
        record.move(state)
        self.stop_clock(job)
        if record.started_at is not None:
            self.say(job, state.value, *messages)

    def start_clock(self, job: Job) -> None:
        """Count the time against the job's time-out, from now on."""
        record = job.record
        if record.run_left_s is not None and record.run_deadline is None:
            record.run_deadline = self._clock.monotonic() + record.run_left_s

    def stop_clock(self, job: Job) -> None:
        """Count no time against the job's time-out until it runs again."""
        record = job.record
        if record.run_deadline is not None:
            record.run_left_s = max(0.0, record.run_deadline - self._clock.monotonic())
            record.run_deadline = None

    def stopping(self, job: Job, error: BaseException | None) -> None:
        """Say that a job ends once its kernel has let go; with an error, as FAILED.

        One that was cancelled is not wanted any more, also if the process ends before its kernel lets go.
        """
        if error is None and self._owner is not None:
            self._tell_journal(self._journal.remove, job.id)
        job.record.pending_error = error
        job.record.asked_to_stop_at = self._clock.monotonic()
        job.record.move(JobState.CANCELLING)

    def say(self, job: Job, phase: str, *messages: str) -> None:
        """Publish where a job is, with messages."""
        run = self.run_of[job.id]
        self.publish_progress(job, run, phase, messages)

    def publish_progress(self, job: Job, run: Run, phase: str, messages: Sequence[str] = ()) -> None:
        """Publish how far a job is."""
        done, fraction = run.in_progress()
        run.shown = fraction = max(run.shown, fraction)
        remaining = run.eta.remaining_s(run.target * (1 - fraction)) if job.record.state is JobState.RUNNING else None
        self._bus.publish(
            job.id,
            UpdateType.PROGRESS,
            fraction=fraction,
            replicates_completed=min(done, job.record.replicates),
            total_replicates=job.record.replicates,
            estimated_time_remaining_ms=None if remaining is None else 1000 * remaining,
            current_phase=phase,
            messages=tuple(messages),
            metadata={**metadata(job, run.from_store), "rate": run.eta.per_second},
        )

    def end(
        self,
        job: Job,
        state: JobState,
        *,
        columns: Columns | None = None,
        error: BaseException | None = None,
        messages: tuple[str, ...] = (),
        letter: bool = True,
        left_journal: bool = False,
        elsewhere: bool = False,
    ) -> None:
        """Move a job to its terminal state, publish that, and resolve its future.

        If it has done-callbacks, that is put off until the lock is released.

        Parameters
        ----------
        letter : bool
            Whether a failure becomes a dead letter.
        left_journal : bool
            Whether the journal has let go of it already.
        elsewhere : bool
            Whether done-callbacks must not run in this thread.
        """
        record = job.record
        run = self.run_of.pop(job.id, None)
        if run is not None:
            del run.jobs[job.id]
            record.done = run.done_within(record.replicates)
            record.attempts = len(run.attempts)
            if self._owner is not None and not left_journal and not (letter and error is not None):
                self._tell_journal(self._journal.remove, job.id)
        if state is JobState.COMPLETED:
            record.done = record.replicates
        record.move(state)
        record.finished_at = self._clock.monotonic()
        self.counts[state.name] += 1
        if record.started_at is not None:
            self.runs_s.append(record.finished_at - record.started_at)
        if error is not None:
            record.error = f"{type(error).__name__}: {error}"
            messages = (*messages, record.error)
            if letter:
                self._bury(job, run, error)
        if record.store_error is not None:
            messages = (*messages, f"not stored: {record.store_error}")
        self._bus.publish(
            job.id,
            TERMINAL_UPDATES[state],
            fraction=record.done / record.replicates,
            replicates_completed=record.done,
            total_replicates=record.replicates,
            current_phase=state.value,
            messages=messages,
            metadata=metadata(job, record.from_store if run is None else run.from_store),
        )
        self._remember(record)
        result = (
            None
            if columns is None
            else SimulationResult(job.simulation, job.parameters, job.seed, columns, job.submission.key.fingerprint)
        )
        if not self._lock.owes and job._resolve_quietly(result, error):  # else after what is owed, its dead letter say
            return
        self.unresolved[job.id] = job
        if elsewhere:
            self._lock.defer(lambda: self.resolver.put(lambda: self._resolve(job, result, error)))
        else:
            self._lock.defer(lambda: self._resolve(job, result, error))

    def _resolve(self, job: Job, result: SimulationResult | None, error: BaseException | None) -> None:
        """Resolve a job's future, which runs its done-callbacks: without the lock."""
        try:
            job._resolve(result, error)
        finally:
            del self.unresolved[job.id]

    def _bury(self, job: Job, run: Run | None, error: BaseException) -> None:
        """Keep what failed for good as a dead letter."""
        failures = [(a.at, a.error) for a in run.attempts] if run is not None else []
        failures.append((self._clock.time(), error))
        failed_at = self._clock.time()
        submitted_at = failed_at - (self._clock.monotonic() - job.record.submitted_at)

        def write() -> None:  # without the lock: a traceback as text takes a while
            s = job.submission
            attempts = [
                {
                    "at": time_text(at),
                    "error": f"{type(e).__name__}: {e}",
                    "traceback": "".join(traceback.format_exception(e)),
                }
                for at, e in failures
            ]
            self._tell_journal(
                self._journal.add_dead_letter,
                DeadLetter(
                    id=job.id,
                    **s.kept(),
                    options=s.options_json(),
                    submitted_at=time_text(submitted_at),
                    failed_at=time_text(failed_at),
                    attempts=json.dumps(attempts),
                ),
            )
            if run is not None and self._owner is not None:
                self._tell_journal(self._journal.remove, job.id)  # after that, or a crash between them would lose it

        self._lock.defer(write)

    def _remember(self, record: JobRecord) -> None:
        """Keep how a job ended for a while, and forget the oldest."""
        self.ended[record.id] = record
        self.forget(self._config.max_completed_age_seconds)
        if len(self.ended) > MAX_ENDED:
            self._forget_oldest()

    def forget(self, older_than_s: float) -> int:
        """Forget the jobs that ended so long ago; return how many."""
        before = len(self.ended)
        limit = self._clock.monotonic() - older_than_s
        while self.ended and next(iter(self.ended.values())).finished_at < limit:  # type: ignore[operator]
            self._forget_oldest()
        return before - len(self.ended)

    def _forget_oldest(self) -> None:
        oldest, _ = self.ended.popitem(last=False)
        self._logs.pop(oldest, None)
        self._bus.forget(oldest)

    def live(self) -> list[Job]:
        """Return the jobs that have not ended, in the order of submission."""
        return [run.jobs[job_id] for job_id, run in self.run_of.items()]

    def state_now(self, record: JobRecord) -> JobState:
        """Return where a job is; one whose time has come is QUEUED."""
        if record.state is JobState.DELAYED:
            run = self.run_of.get(record.id)
            if run is not None and run.entry is not None and run.entry.state is not EntryState.DELAYED:
                return JobState.QUEUED
        return record.state

    # ---- reading: these take the lock themselves -------------------------------------------------------

    def live_jobs(self) -> list[Job]:
        """Return the jobs that have not ended, in the order of submission."""
        with self._lock.raw:
            return self.live()

    def find(self, job_id: str) -> JobStatus:
        """Return what a job is doing, or, for ``max_completed_age_seconds``, how it ended.

        Raises
        ------
        RequestNotFoundError
            If it is unknown, or ended longer ago.
        """
        with self._lock.raw:
            run = self.run_of.get(job_id)
            record = run.jobs[job_id].record if run is not None else self.ended.get(job_id)
            if record is None:
                raise RequestNotFoundError(f"no job {job_id!r}; it is unknown, or finished long ago")
            return self._status(record)

    def logs(self, job_id: str) -> list[logging.LogRecord]:
        """Return what a job has logged."""
        with self._lock.raw:
            log = self._logs.get(job_id)
            return list(log.records) if log is not None else []

    def state(self, record: JobRecord) -> JobState:
        """Return where a job is."""
        if record.state is not JobState.DELAYED:
            return record.state  # a plain read needs no lock
        with self._lock.raw:
            return self.state_now(record)

    def status(self, record: JobRecord) -> JobStatus:
        """Return what a job is doing, or how it ended."""
        with self._lock.raw:
            return self._status(record)

    def clean(self, older_than_s: float) -> int:
        """Forget the jobs that ended so long ago; return how many."""
        with self._lock.raw:
            return self.forget(older_than_s)

    def _status(self, record: JobRecord) -> JobStatus:
        run = self.run_of.get(record.id)
        now = self._clock.monotonic()
        state = self.state_now(record)
        position = rate = remaining = wait = overdue = None
        if run is None:
            done, fraction = record.done, record.done / record.replicates
        else:
            done, fraction = run.in_progress()
            done = min(done, record.replicates)
            if state is JobState.RUNNING:
                rate = run.eta.per_second
                remaining = run.eta.remaining_s(run.target * (1 - fraction))
            elif state is JobState.QUEUED:
                with suppress(RequestNotFoundError):  # it has just waited for too long
                    position = self._queue.position(record.id)
                wait = self._estimated_wait_s(position)
            elif state is JobState.CANCELLING:
                overdue = now - record.asked_to_stop_at
        in_phase = run is not None and state in (JobState.RUNNING, JobState.CANCELLING)
        return JobStatus(
            id=record.id,
            simulation=record.simulation,
            state=state,
            phase=run.phase if run is not None and in_phase else state.value,
            fraction=fraction,
            replicates_completed=done,
            total_replicates=record.replicates,
            from_store=record.from_store if run is None else min(run.from_store, record.replicates),
            position=position,
            estimated_wait_s=wait,
            rate=rate,
            estimated_time_remaining_s=remaining,
            elapsed_s=(now if record.finished_at is None else record.finished_at) - record.submitted_at,
            attempts=record.attempts if run is None else len(run.attempts),
            overdue_s=overdue,
            store_error=record.store_error,
            error=record.error,
        )

    def _estimated_wait_s(self, position: int | None) -> float | None:
        """Return how long a job with so many before it will wait, from how long the newest ones ran."""
        if position is None or not self.runs_s:
            return None
        return statistics.median(self.runs_s) * (position + 1) / self._config.max_concurrent_simulations


def metadata(job: Job, from_store: int = 0) -> Mapping[str, Any]:
    """Return what an update says of its job."""
    record = job.record
    return _metadata(record.simulation, job.submission.workspace, min(from_store, record.replicates))


@lru_cache(maxsize=1024)
def _metadata(simulation: str, workspace: str | None, from_store: int) -> Mapping[str, Any]:
    return MappingProxyType({"simulation": simulation, "workspace": workspace, "from_store": from_store})
