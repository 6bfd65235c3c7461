"""Functions that workers run and that wait for the same engine: which of these waits would never end.

A function of an executor, or a plain simulation, holds its worker while it waits for a job, and a simulation its
running place too. The wait is hopeless if what it waits for needs one of these, or if all workers wait. Each wait is
looked at when it begins: without it the others had hope, so the one that would take the last of it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING

from bgsim.errors import DeadlockError
from bgsim.queue.entry import EntryState
from bgsim.running.run import Run
from bgsim.running.stages import Stage
from bgsim.running.worker import WORKERS, Worker

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.running.state import State

_WAITS_FOR_PLACE = (EntryState.READY, EntryState.PARKED)


class Wait:
    """A wait of a function that a worker runs.

    Attributes
    ----------
    worker : Worker
    jobs : tuple of Job
        The end of one of them may end the wait; empty for a wait for something else.
    is_over : callable
        Tells whether what it waits for has come.
    """

    __slots__ = ("_waits", "is_over", "jobs", "worker")

    def __init__(self, waits: Waits, worker: Worker, jobs: tuple[Job, ...], is_over: Callable[[], bool]) -> None:
        self._waits = waits
        self.worker = worker
        self.jobs = jobs
        self.is_over = is_over

    def end(self) -> None:
        """Note that it is over. Without the lock."""
        self._waits.end(self)


class Waits:
    """The waits of the functions that workers run."""

    def __init__(self, state: State, workers: list[Worker]) -> None:
        self._state = state
        self._workers = workers
        self._of: dict[Worker, list[Wait]] = {}  # guarded by the engine's lock; several for a function that awaits

    def worker_here(self) -> Worker | None:
        """Return the worker that runs what calls this, if it is one of this engine."""
        worker = WORKERS.get(get_ident())
        return worker if worker is not None and worker in self._workers else None

    def begin(self, what: str, jobs: Iterable[Job] = (), is_over: Callable[[], bool] | None = None) -> Wait | None:
        """Note that the calling thread is about to wait; None if it is no worker's. Without the lock.

        Raises
        ------
        DeadlockError
            If it would wait for ever.
        """
        worker = self.worker_here()
        if worker is None:
            return None
        awaited = tuple(job for job in jobs if job.finished_at is None)
        wait = Wait(self, worker, awaited, is_over or (lambda: any(job.finished_at is not None for job in awaited)))
        with self._state.lock:
            self._of.setdefault(worker, []).append(wait)
            why = self._why_hopeless(wait)
            if why is None:
                return wait
            self._forget(wait)
        raise DeadlockError(
            f"{what} would be waited for without end, by a function that a worker of the same engine runs: {why}; let "
            "the function return, and wait outside of it"
        )

    def end(self, wait: Wait) -> None:
        """Note that a wait is over. Without the lock."""
        with self._state.lock:
            self._forget(wait)

    @contextmanager
    def during(self, what: str, jobs: Iterable[Job] = (), is_over: Callable[[], bool] | None = None) -> Iterator[None]:
        """Note a wait for the time of a block."""
        wait = self.begin(what, jobs, is_over)
        try:
            yield
        finally:
            if wait is not None:
                wait.end()

    # ---- under the lock ------------------------------------------------------------------------------

    def _forget(self, wait: Wait) -> None:
        waits = self._of[wait.worker]
        waits.remove(wait)
        if not waits:
            del self._of[wait.worker]

    def _why_hopeless(self, wait: Wait) -> str | None:
        """Return why a wait would have no end; None if it may have one."""
        if wait.is_over():
            return None
        if len(self._of) == len(self._workers) and not any(map(self._comes_by_itself, self._of.values())):
            count = len(self._workers)
            return f"{f'all {count} workers wait' if count > 1 else 'the only worker waits'}, and none can compute it"
        if not self._ends(wait, {}):
            return "it needs the end, or the running place, of that function"
        return None

    def _comes_by_itself(self, waits: list[Wait]) -> bool:
        """Tell whether a worker goes on without another: what it waits for has come, or the store's thread has it."""
        return any(wait.is_over() or any(map(self._comes, wait.jobs)) for wait in waits)

    def _comes(self, job: Job) -> bool:
        if job.finished_at is not None:
            return job.id in self._state.resolving  # else the wait is for others, too
        return self._is_handed_over(job.run)

    def _is_handed_over(self, run: Run | None) -> bool:
        return run is None or (run in self._state.storing and run not in self._state.to_store)

    def _ends(self, wait: Wait, known: dict[Run, bool]) -> bool:
        open_jobs = [job for job in wait.jobs if job.finished_at is None]
        return not open_jobs or wait.is_over() or any(self._run_ends(job.run, known) for job in open_jobs)

    def _run_ends(self, run: Run | None, known: dict[Run, bool]) -> bool:
        """Tell whether a run ends though the waits do not; what depends on itself does not."""
        if run is None or self._is_handed_over(run):
            return True
        if run not in known:
            known[run] = False
            known[run] = (
                (run.follows is None or self._run_ends(run.follows, known))
                and all(self._goes_on(worker, known) for worker in run.workers)
                and self._gets_place(run, known)
            )
        return known[run]

    def _goes_on(self, worker: object, known: dict[Run, bool]) -> bool:
        waits = self._of.get(worker)  # type: ignore[call-overload]
        return waits is None or any(self._ends(wait, known) for wait in waits)

    def _gets_place(self, run: Run, known: dict[Run, bool]) -> bool:
        """Tell whether a run has a running place, or may get one."""
        state, order = self._state, self._state.queue.order
        if run.state not in _WAITS_FOR_PLACE or state.paused:
            return True
        going = [other for other in state.running if other.stage is not Stage.STOPPING]
        held = len(going) >= state.config.max_concurrent_simulations
        if held and run.level <= min(other.level for other in going) and not self._one_ends(going, known):
            return False
        group = order.groups[run.group] if run.group is not None else None
        if group is None or group.limit is None or group.processing < group.limit:
            return True
        return self._one_ends([other for other in state.running if other.group == run.group], known)

    def _one_ends(self, runs: list[Run], known: dict[Run, bool]) -> bool:
        return any(self._run_ends(run, known) for run in runs)
