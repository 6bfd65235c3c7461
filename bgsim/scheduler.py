"""Which run gets the next worker: admission, preemption, cancel, and the way of every job to its end.

::

    submit ──> queue ──admit──> running ──next_task──> worker ──give_back──> storing ──on_stored──> settled
                 ^                 │
                 └────suspend──────┘   when a request of higher priority waits and all places are taken

Locks, in the order in which they may be taken: the scheduler's, then the queue's, the bus's, or a future's. Under the
scheduler's lock no kernel runs, no subscriber or done-callback is called, and no store is touched.

A run that is cancelled, fails or is complete gives its key up at once, so that the same request can come again; one
that comes while the old run is letting go *follows* it: it starts when the old one's replicates are stored.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from bgsim.control import STOP, YIELD
from bgsim.errors import EngineClosedError, InvalidInputError, JobTimeoutError, QueueFullError, RequestNotFoundError
from bgsim.job import Job, JobState, JobStatus
from bgsim.progress import ProgressBus, UpdateType
from bgsim.queue_manager import Priority, SimulationQueue, SimulationRequest
from bgsim.result import SimulationResult
from bgsim.worker import Worker

if TYPE_CHECKING:
    from bgsim.config import EngineConfig
    from bgsim.run import Run
    from bgsim.storage import Columns, Store
    from bgsim.subscription import Subscription

logger = logging.getLogger("bgsim.engine")

_TERMINAL_UPDATES = {
    JobState.COMPLETED: UpdateType.COMPLETED,
    JobState.FAILED: UpdateType.FAILED,
    JobState.CANCELLED: UpdateType.CANCELLED,
}

_MAX_ENDED = 10_000
"""How many ended jobs are remembered, however young."""

_CLOSE_GRACE_S = 1.0
"""How long `close(cancel=True)` waits for kernels to let go, when it is given no time-out."""


class Scheduler:
    """The state machine behind an `Engine`; what its threads hold on to, so that a dropped engine can be closed."""

    def __init__(self, config: EngineConfig, store: Store, *, close_store: bool) -> None:
        self.config = config
        self.store = store
        self._close_store = close_store
        self.bus = ProgressBus()
        self.queue = SimulationQueue(config.max_queue_size, limits=config.limits)
        # Guards all below, the runs, and the jobs' states.
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # workers wait for a task
        self._idle = threading.Condition(self._lock)  # `close` waits for the last run
        self._tick = threading.Condition(self._lock)  # the sampler waits for something to sample
        self._running: list[Run] = []  # at most max_concurrent_simulations; the longest running first
        self._suspended: list[Run] = []
        self._letting_go: list[Run] = []  # stopping or storing; not settled
        self._by_key: dict[str, Run] = {}  # of `_letting_go`, by parameter hash
        self._run_of: dict[str, Run] = {}  # by id, of jobs that have not ended
        self._jobs: WeakValueDictionary[str, Job] = WeakValueDictionary()  # all that anybody still holds
        self._ended: dict[str, tuple[float, JobStatus]] = {}  # by id: when and how; the oldest first
        self._errands: deque[Callable[[], None]] = deque()  # for any worker, before anything else
        self._deferred: list[Callable[[], None]] = []  # to be done when the lock is released
        self._closed = False
        self._stopped = False  # no thread takes anything any more
        self._workers = [Worker(self, number) for number in range(config.workers)]
        self._sampler = threading.Thread(target=self._sample_forever, name="bgsim-sampler", daemon=True)
        for worker in self._workers:
            worker.start()
        self._sampler.start()

    # ---- the callers' side ---------------------------------------------------------------------------

    def submit(self, job: Job, request: SimulationRequest, *, block: bool, timeout_s: float | None) -> None:
        """Queue a job, or let it join the run with its key.

        Raises
        ------
        QueueFullError, EngineClosedError
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                with self._locked():
                    self._place(job, request)
            except QueueFullError:
                left = None if deadline is None else deadline - time.monotonic()
                if not block or not self.queue.wait_for_room(request.key, timeout_s=left):
                    raise
            else:
                return

    def answer(self, job: Job, columns: Columns) -> None:
        """Complete a job with what the store had."""
        with self._locked():
            self._check_open()
            self._jobs[job.id] = job
            job._from_store = job.replicates
            self._publish_start(job)
            self._end(job, JobState.COMPLETED, columns=columns, messages=("from the store",))

    def cancel(self, job: Job) -> bool:
        """Ask for a job to stop; see `Job.cancel`."""
        with self._locked():
            return self._cancel(job, None)

    def set_priority(self, job: Job, priority: Priority | str | int) -> None:
        """Change a job's priority; see `Job.set_priority`."""
        priority = Priority.of(priority)
        with self._locked():
            self.queue.set_priority(job.id, priority)
            job._priority = priority
            self._admit()

    def status(self, job: Job) -> JobStatus:
        """Return what a job is doing now."""
        with self._lock:
            return self._status(job)

    def status_of(self, job_id: str) -> JobStatus:
        """Return what a job is doing, or, for ``max_completed_age_seconds``, how it ended.

        Raises
        ------
        RequestNotFoundError
            If it is unknown, or finished longer ago.
        """
        job = self._jobs.get(job_id)
        if job is not None:
            return self.status(job)
        with self._lock:
            try:
                return self._ended[job_id][1]
            except KeyError:
                raise RequestNotFoundError(f"no job {job_id!r}; it is unknown, or finished long ago") from None

    def live_jobs(self) -> list[Job]:
        """Return the jobs that have not ended."""
        with self._lock:
            return [run.jobs[job_id] for job_id, run in self._run_of.items()]

    def updates(self, job: Job, maxlen: int) -> Subscription:
        """Return an iterator over a job's updates; see `Job.updates`."""
        updates = self.bus.subscribe(job=job.id, maxlen=maxlen)
        if job._current.is_terminal and self.bus.current(job.id) is None:
            updates.unsubscribe()  # all is forgotten; without this it would wait for ever
        return updates

    def busy_s(self) -> float:
        """Return the seconds that workers have spent in kernels."""
        return sum(worker.busy_s for worker in self._workers)

    # ---- the workers' side ---------------------------------------------------------------------------

    def next_task(self, worker: Worker, *, wait: bool) -> Callable[[], None] | None:
        """Return what the worker is to do next.

        None means that there is nothing to do, or, with `wait`, that the scheduler has stopped.
        """
        with self._lock:
            while not self._stopped:
                if self._errands:
                    return self._errands.popleft()
                for run in sorted(self._running, key=_by_need):
                    task = self._offer(run, worker)
                    if task is not None:
                        return task
                if not wait:
                    return None
                self._work.wait()
            return None

    def prepare(self, run: Run) -> None:
        """Load what is stored of a run, make room for its target, and compile it; by one worker, without the lock."""
        target = run.target
        _check_size(run, target, self.config.max_result_bytes, "max_result_bytes")
        if run.cache != "off" and self.config.auto_store_completed:
            _check_size(run, target, self.store.max_storage_bytes, "max_storage_bytes")
        stored = None
        if not run.loaded:
            if run.cache == "use":
                stored = self._try_store(run, lambda: self.store.load(run.key, target))
            elif run.cache == "refresh":
                self._try_store(run, lambda: self.store.delete(run.key.hash))
        held = len(next(iter(stored.values()))) if stored else 0
        columns = run.allocate(target, stored)
        runner = run.runner
        if runner is None and max(held, run.length) < target:
            runner = run.simulation.prepare(run.parameters)
        with self._lock:
            run.adopt(columns, held)
            run.runner = runner
            run.phase = "running"

    def give_back(self, worker: Worker, run: Run, done: int, error: BaseException | None) -> None:
        """Take back what `next_task` gave out: so many replicates done, and why no more."""
        with self._locked():
            chunk = run.workers.get(worker)
            if chunk is None:
                del run.workers[worker]
            else:
                run.give_back(worker, done)
            if error is not None:
                run.error = run.error or error
                self._stop(run)
            if chunk is None or done < chunk.count:
                self._work.notify_all()
            self._finish_if_idle(run)

    def _offer(self, run: Run, worker: Worker) -> Callable[[], None] | None:
        if run.stopping or run.follows is not None or None in run.workers.values():
            return None
        if run.needs_preparing:
            if run.workers:
                return None  # chunks of the shorter columns have to come back first
            run.workers[worker] = None
            if run.runner is None:
                run.phase = "compiling"
            return lambda: worker.prepare(run)
        worker.reset()
        chunk = run.take(worker, len(self._workers), self.config.chunk_target_ms / 1000)
        return None if chunk is None else lambda: worker.run_chunk(run, chunk)

    # ---- under the lock ------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise EngineClosedError("the engine is closed; make a new one to go on")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock; once it is released, do what was put off in the meantime: resolving futures."""
        with self._lock:
            try:
                yield
            finally:
                deferred, self._deferred = self._deferred, []
        for action in deferred:
            action()

    def _place(self, job: Job, request: SimulationRequest) -> None:
        self._check_open()
        placement = self.queue.put(request)
        run: Run = placement.entry.payload
        if not placement.joined:
            run.entry = placement.entry
            before = self._by_key.get(run.key.hash)
            if before is not None:
                run.follows = before
                before.followers.append(run)
        run.jobs[job.id] = job
        self._run_of[job.id] = run
        self._jobs[job.id] = job
        for old in placement.dropped:
            self._leave(self._run_of[old.id], self._jobs[old.id], None)
        for old in placement.to_cancel:
            self._cancel(self._jobs[old.id], None)
        if run in self._running or run in self._suspended:
            self._publish_start(job, "joined a run in progress")
            if run in self._suspended:
                job._move(JobState.SUSPENDED)
            self._work.notify()
        self._admit()

    def _admit(self) -> None:
        """Start what may start; suspend what must give way."""
        while True:
            head = self.queue.peek()
            if head is None:
                return
            if len(self._running) >= self.config.max_concurrent_simulations:
                lowest = min(self._running, key=lambda run: (run.entry.priority, -run.entry.sequence))  # type: ignore[union-attr]
                assert lowest.entry is not None
                if head.priority <= lowest.entry.priority:
                    return
                self._suspend(lowest)
            entry = self.queue.get_nowait()
            if entry is None:
                return
            self._start(entry.payload)

    def _start(self, run: Run) -> None:
        self._running.append(run)
        if run in self._suspended:
            self._suspended.remove(run)
        for job in run.jobs.values():
            self._publish_start(job)
        self._work.notify()
        if len(self._running) == 1 or any(job.timeout_s is not None for job in run.jobs.values()):
            self._tick.notify()

    def _publish_start(self, job: Job, *messages: str) -> None:
        first = job._current in (JobState.QUEUED, JobState.DELAYED)
        job._move(JobState.RUNNING)
        if job.timeout_s is not None and job._deadline is None:
            job._deadline = time.monotonic() + job.timeout_s
        if first:
            self.bus.publish(
                job.id,
                UpdateType.STARTED,
                total_replicates=job.replicates,
                current_phase="running",
                messages=messages,
                metadata=_metadata(job),
            )

    def _suspend(self, run: Run) -> None:
        assert run.entry is not None
        self._running.remove(run)
        self._suspended.append(run)
        for job in run.jobs.values():
            job._move(JobState.SUSPENDED)
        for worker in run.workers:
            worker.order(YIELD)
        self.queue.requeue(run.entry)

    def _cancel(self, job: Job, error: BaseException | None) -> bool:
        """Take a job off its run, to end as CANCELLED or, with an error, as FAILED; False when it is too late."""
        run = self._run_of.get(job.id)
        if run is None or run.phase == "storing":
            return False
        if job._current is not JobState.CANCELLING:
            self.queue.cancel(job.id)
            self._leave(run, job, error)
        return True

    def _leave(self, run: Run, job: Job, error: BaseException | None) -> None:
        """End a job that has left the queue: at once, or, if it is the last of a run that has started, with the run."""
        started = run in self._running or run in self._suspended
        if started and len(run.jobs) == 1:
            job._pending_error = error
            job._move(JobState.CANCELLING)
            self._stop(run)
            self._finish_if_idle(run)
        else:
            self._end(job, JobState.CANCELLED if error is None else JobState.FAILED, error=error)

    def _stop(self, run: Run) -> None:
        """Let nobody take from the run any more, and have its kernels stop."""
        run.stopping = True
        self._by_key[run.key.hash] = run
        for worker in run.workers:
            worker.order(STOP)

    def _finish_if_idle(self, run: Run) -> None:
        """Once nobody is on a run that is done or stopping, take it out, and send a worker to store it."""
        if run.workers or run.phase == "storing" or not (run.stopping or run.done):
            return
        assert run.entry is not None
        for held in (self._running, self._suspended):
            if run in held:
                held.remove(run)
        run.phase = "storing"
        self.queue.done(run.entry)
        self._letting_go.append(run)
        self._by_key[run.key.hash] = run
        self._errands.append(lambda: self._keep(run))
        self._work.notify()
        self._admit()

    def _keep(self, run: Run) -> None:
        """Hand the finished replicates to the store; settle the run when they are durable. Without the lock."""
        replicates = run.prefix
        workspaces = list(dict.fromkeys(job.workspace for job in run.jobs.values() if job.workspace))
        complete = not run.stopping
        if run.cache == "off" or not self.config.auto_store_completed or not replicates:
            self._settle(run, None)
        elif replicates == run.from_store:
            if complete:
                for workspace in workspaces:
                    self._try_store(run, lambda w=workspace: self.store.place(run.key, replicates, w))  # type: ignore[misc]
            self._settle(run, None)
        else:
            first = workspaces[0] if workspaces and complete else None
            for column in run.columns:
                column.flags.writeable = False
            try:
                self.store.store(
                    run.key,
                    run.result_columns(replicates),
                    workspace=first,
                    on_stored=lambda error: self._settle(run, error),
                )
            except Exception as error:  # a store that breaks its contract must not lose a result
                self._settle(run, error)
                return
            for workspace in workspaces[1:] if complete else ():
                self._try_store(run, lambda w=workspace: self.store.place(run.key, replicates, w))  # type: ignore[misc]

    def _settle(self, run: Run, store_error: Exception | None) -> None:
        """End a run's jobs; the last step, in the store's thread or a worker's."""
        if store_error is not None:
            run.store_error = str(store_error)
            logger.warning("a result of %s is delivered but not stored: %s", run.simulation.name, store_error)
        with self._locked():
            for job in list(run.jobs.values()):
                job._from_store = min(run.from_store, job.replicates)
                job._store_error = run.store_error
                error = run.error or job._pending_error
                if error is not None:
                    self._end(job, JobState.FAILED, error=error)
                elif run.stopping:
                    self._end(job, JobState.CANCELLED)
                else:
                    self._end(job, JobState.COMPLETED, columns=run.result_columns(job.replicates))
            self._letting_go.remove(run)
            if self._by_key.get(run.key.hash) is run:
                del self._by_key[run.key.hash]
            for follower in run.followers:
                follower.follows = None
            self._work.notify_all()
            self._idle.notify_all()

    def _end(
        self,
        job: Job,
        state: JobState,
        *,
        columns: Columns | None = None,
        error: BaseException | None = None,
        messages: tuple[str, ...] = (),
    ) -> None:
        """Move a job to its terminal state, publish that, and have its future resolved once the lock is released."""
        run = self._run_of.pop(job.id, None)
        if run is not None:
            del run.jobs[job.id]
            job._done = min(run.in_progress()[0], job.replicates)
        if state is JobState.COMPLETED:
            job._done = job.replicates
        job._error = error
        job._move(state)
        if error is not None:
            messages = (*messages, f"{type(error).__name__}: {error}")
        if job._store_error is not None:
            messages = (*messages, f"not stored: {job._store_error}")
        self.bus.publish(
            job.id,
            _TERMINAL_UPDATES[state],
            fraction=job._done / job.replicates,
            replicates_completed=job._done,
            total_replicates=job.replicates,
            current_phase=state.value,
            messages=messages,
            metadata=_metadata(job),
        )
        self._record_end(job)
        if not self._run_of:
            self._idle.notify_all()
        self._deferred.append(lambda: _resolve(job, columns))

    def _record_end(self, job: Job) -> None:
        """Keep how a job ended for a while, and forget the oldest."""
        now = time.monotonic()
        self._ended[job.id] = (now, self._status(job))
        while self._ended:
            oldest = next(iter(self._ended))
            too_old = self._ended[oldest][0] < now - self.config.max_completed_age_seconds
            if not too_old and len(self._ended) <= _MAX_ENDED:
                return
            del self._ended[oldest]
            self.bus.forget(oldest)

    def _try_store(self, run: Run, action: Callable[[], Any]) -> Any:
        """Use the store; if it fails, take note and go on without."""
        try:
            return action()
        except Exception as error:
            run.store_error = str(error)
            logger.warning("the store cannot serve %s, which goes on without it: %s", run.simulation.name, error)
            return None

    def _status(self, job: Job) -> JobStatus:
        run = self._run_of.get(job.id)
        state = job._current
        done, position, rate, remaining = job._done, None, None, None
        if run is not None:
            done, fraction = run.in_progress()
            done = min(done, job.replicates)
            if state is JobState.RUNNING:
                rate = run.eta.per_second
                remaining = run.eta.remaining_s(run.target * (1 - fraction))
            elif state is JobState.QUEUED:
                position = self.queue.position(job.id)
        else:
            fraction = done / job.replicates
        return JobStatus(
            id=job.id,
            simulation=job.simulation.name,
            state=state,
            phase=state.value if run is None else run.phase,
            fraction=fraction,
            replicates_completed=done,
            total_replicates=job.replicates,
            from_store=job._from_store if run is None else min(run.from_store, job.replicates),
            position=position,
            rate=rate,
            estimated_time_remaining_s=remaining,
            elapsed_s=(job._finished_at or time.monotonic()) - job.submitted_at,
            store_error=job._store_error,
            error=None if job._error is None else f"{type(job._error).__name__}: {job._error}",
        )

    # ---- time ----------------------------------------------------------------------------------------

    def _sample_forever(self) -> None:
        interval = self.config.progress_update_interval_ms / 1000
        due = time.monotonic() + interval
        while True:
            with self._lock:
                while not self._running and not self._stopped:
                    self._tick.wait()
                    due = time.monotonic() + interval
                if self._stopped:
                    return
                deadlines = [j._deadline for run in self._running for j in run.jobs.values() if j._deadline is not None]
                left = min([due, *deadlines]) - time.monotonic()
                if left > 0:
                    self._tick.wait(left)
                    continue
            self.sample()
            due = time.monotonic() + interval

    def sample(self) -> None:
        """Publish the progress of every running job, and stop those that have run for too long."""
        with self._locked():
            now = time.monotonic()
            for run in list(self._running):
                done, fraction = run.in_progress()
                run.shown = fraction = max(run.shown, fraction)
                if run.phase == "running":
                    run.eta.observe(now, fraction * run.target)
                for job in list(run.jobs.values()):
                    if job._deadline is not None and now >= job._deadline:
                        self._cancel(job, JobTimeoutError(f"{job.id} ran longer than timeout_s={job.timeout_s}"))
                        job._deadline = None
                    else:
                        self._publish_progress(run, job, done, fraction)

    def _publish_progress(self, run: Run, job: Job, done: int, fraction: float) -> None:
        remaining = run.eta.remaining_s(run.target * (1 - fraction))
        self.bus.publish(
            job.id,
            UpdateType.PROGRESS,
            fraction=fraction,
            replicates_completed=min(done, job.replicates),
            total_replicates=job.replicates,
            estimated_time_remaining_ms=None if remaining is None else 1000 * remaining,
            current_phase=run.phase,
            metadata={**_metadata(job), "rate": run.eta.per_second},
        )

    # ---- closing -------------------------------------------------------------------------------------

    def close(self, *, cancel: bool, timeout_s: float | None) -> list[Job]:
        """Take no more, finish or cancel what is here, stop the threads; return the jobs that still ran."""
        if cancel and timeout_s is None:
            timeout_s = _CLOSE_GRACE_S
        with self._lock:
            self._closed = True
            self.queue.close()
        if cancel:
            for job in self.live_jobs():
                job.cancel()
        with self._lock:
            drained = self._idle.wait_for(lambda: not self._run_of and not self._letting_go, timeout_s)
            left = [run.jobs[job_id] for job_id, run in self._run_of.items()]
            if self._stopped:
                return left
            self._stopped = True
            self._work.notify_all()
            self._tick.notify_all()
        for worker in self._workers:
            worker.join(None if drained else 0.0)
        if self._sampler is not threading.current_thread():
            self._sampler.join()
        self.bus.close()
        if self._close_store:
            self.store.close()
        return left


def _resolve(job: Job, columns: Columns | None) -> None:
    """Resolve a job's future, which runs its done-callbacks: without the lock."""
    if job._current is JobState.CANCELLED:
        super(Job, job).cancel()
        job.set_running_or_notify_cancel()
    elif columns is None:
        job.set_exception(job._error)
    else:
        job.set_result(SimulationResult(job.simulation, job.parameters, job.seed, columns))


def _check_size(run: Run, replicates: int, limit: int, setting: str) -> None:
    size = replicates * run.simulation.replicate_bytes(run.parameters)
    if size > limit:
        raise InvalidInputError(
            f"{replicates:,} replicates of {run.simulation.name} need {size:,} bytes, more than {setting}="
            f"{limit:,}; ask for fewer, or raise it in EngineConfig",
            field="replicates",
            value=replicates,
        )


def _by_need(run: Run) -> tuple[int, int]:
    """Order runs: the highest priority first, among equals the one with the fewest workers."""
    assert run.entry is not None
    return -run.entry.priority, len(run.workers)


def _metadata(job: Job) -> dict[str, Any]:
    return {"simulation": job.simulation.name, "workspace": job.workspace}
