"""What a worker does next, and what it brings back."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bgsim.control import YIELD
from bgsim.environment import versions_of
from bgsim.running.calls import Calls
from bgsim.running.worker import Task, Worker

if TYPE_CHECKING:
    from bgsim.environment import Versions
    from bgsim.priority import Priority
    from bgsim.queue_manager import Entry
    from bgsim.running.run import Run
    from bgsim.running.scheduler import Scheduler

_SMALL_BYTES = 2**16
"""Columns up to this size are made under the lock, rather than by a worker that has to take it once more."""


class Dispatch:
    """Gives workers their tasks: chunks and preparations of a scheduler's runs, plain calls, errands.

    The public methods that workers call take the engine's lock themselves; all others are called under it.

    Attributes
    ----------
    workers : list of Worker
    calls : Calls
        Plain callables that wait for a worker.
    stopped : bool
        No worker takes anything any more.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        config = scheduler.config
        self._scheduler = scheduler
        self._lock = scheduler.lock
        self._config = config
        self._work = threading.Condition(scheduler.lock.raw)  # workers wait for a task
        self._errands: deque[Task] = deque()  # for any worker, before anything else
        self._turns = itertools.count()
        self._asleep = 0  # workers that wait for a task
        self.stopped = False
        self.calls = Calls(config, scheduler.clock)
        self.workers = [Worker(self, number) for number in range(1 if config.immediate else config.workers)]

    # ---- the workers' side ---------------------------------------------------------------------------

    def next_task(self, worker: Worker, *, wait: bool) -> Task | None:
        """Return what the worker is to do next.

        None means that there is nothing to do, or, with `wait`, that the engine has stopped.
        """
        with self._lock:
            while True:
                task = self._next(worker)
                if task is not None or not wait or self.stopped:
                    return task
                self._asleep += 1
                self._work.wait()
                self._asleep -= 1

    def prepare(self, run: Run) -> tuple[Any, ...]:
        """Load what is stored of a run, make room for its target, and compile it; by one worker, without the lock."""
        target = run.target
        stored = None
        if any(job.recovered for job in list(run.jobs.values())):
            # That it runs has to be known before it does: a crash that comes at once would blame nobody, for ever.
            self._scheduler.settlement.try_store(run, self._scheduler.journal.flush)
        if not run.loaded:
            if run.cache == "use" and not self._scheduler.runs.is_still_missed(run):
                stored = self._scheduler.settlement.try_store(run, lambda: self._scheduler.store.load(run.key, target))
            elif run.cache == "refresh":
                self._scheduler.settlement.try_store(run, lambda: self._scheduler.store.delete(run.key.hash))
        held = len(next(iter(stored.values()))) if stored else 0
        versions = versions_of(stored, held) if stored else ()
        columns = run.allocate(target, stored)
        runner = run.runner
        if runner is None and max(held, run.length) < target:
            runner = run.simulation.prepare(run.parameters, run.revision)
        return columns, held, versions, runner

    def prepared(
        self, worker: Worker, run: Run, columns: Any, held: int, versions: Versions, runner: Any
    ) -> Task | None:
        """Take what `prepare` returned; return the worker's next task, most often the first chunk of the run."""
        with self._lock:
            run.adopt(columns, held, versions)
            run.runner = runner
            run.phase = "running"
            del run.workers[worker]
            return None if self._scheduler.runs.came_back(run) else self._best_task(worker)

    def give_back(self, worker: Worker, run: Run, done: int, error: BaseException | None) -> Task | None:
        """Take back what a worker was given: so many replicates done, and why no more.

        Returns
        -------
        Task or None
            What the worker is to do next, if there is nothing that keeps it: storing the run, or done-callbacks.
        """
        with self._lock:
            failed_at = done
            chunk = run.workers.get(worker)
            if chunk is None:
                del run.workers[worker]
            else:
                failed_at += chunk.first
                run.give_back(worker, done)
                if done < chunk.count:
                    self.wake_all()
            self._scheduler.runs.came_back(run, error, failed_at)
            return None if self._lock.owes or self._config.immediate else self._next(worker)

    # ---- the scheduler's side ------------------------------------------------------------------------

    def wake(self) -> None:
        """Have one worker look for a task."""
        self._work.notify()

    def wake_all(self) -> None:
        """Have all look."""
        self._work.notify_all()

    def call_for(self, run: Run) -> None:
        """Have one more worker look for a task: one that sleeps, or one that is on something less urgent."""
        if self._asleep:
            self._work.notify()
            return
        level = run.entry.level  # type: ignore[union-attr]
        less_urgent = [
            (other.entry.level, number, worker)  # type: ignore[union-attr]
            for number, other in enumerate(self._scheduler.runs.running)
            if other.entry.level < level  # type: ignore[union-attr]
            for worker, chunk in other.workers.items()
            if chunk is not None and not worker.is_ordered()
        ]
        if less_urgent:
            min(less_urgent, key=lambda item: item[:2])[2].order(YIELD)

    def add_errand(self, errand: Callable[[], None]) -> None:
        """Have a worker do something before anything else, without the lock."""
        self._errands.append(errand)
        self._work.notify()

    def add_call(self, task: Callable[[], None], priority: Priority, group: str | None) -> Callable[[], bool]:
        """Have a worker call something in its turn; return what takes it out again, without the lock."""
        take_out = self.calls.put(task, priority, group)
        self._work.notify()

        def withdraw() -> bool:
            taken = take_out()
            with self._lock:
                self._scheduler.runs.tell_if_idle()
            return taken

        return withdraw

    def offer_calls(self) -> None:
        """Have a worker look at the calls, if one that waited for its rate is ready."""
        if self._config.rate_limits and self.calls.need() is not None:
            self._work.notify()

    def stop(self) -> deque[Task]:
        """Let the workers end; return the errands that none has done."""
        self.stopped = True
        errands, self._errands = self._errands, deque()
        self._work.notify_all()
        return errands

    def busy_s(self) -> float:
        """Return the seconds that all workers together have spent in kernels."""
        return sum(worker.busy_s for worker in self.workers)

    # ---- which task ----------------------------------------------------------------------------------

    def _next(self, worker: Worker) -> Task | None:
        if self._errands:
            return self._errands.popleft()
        return None if self.stopped else self._best_task(worker)

    def _best_task(self, worker: Worker) -> Task | None:
        """Return a piece of the most urgent run, or a call; among equals who has the fewest workers, in turn.

        What has aged in the queue is as urgent as that has made it: it would starve among those it has caught up with.
        """
        if self._scheduler.runs.paused:
            return None
        found: list[tuple[tuple[int, int, int], Run | None]] = [
            ((-run.entry.level, len(run.workers), run.turn), run)  # type: ignore[union-attr]
            for run in self._scheduler.runs.running
            if not (run.stopping or run.follows is not None)
        ]
        need = self.calls.need()
        if need is not None:
            found.append((need, None))
        elif self._config.rate_limits:
            self._scheduler.timekeeper.look_again()
        if len(found) > 1:
            found.sort(key=lambda item: item[0])
        for _, run in found:
            task = self.calls.take(next(self._turns), self._call_done) if run is None else self._offer(run, worker)
            if task is not None:
                return task
        return None

    def _offer(self, run: Run, worker: Worker) -> Task | None:
        if run.needs_preparing:
            if run.workers:
                return None  # somebody prepares it, or chunks of the shorter columns have to come back first
            if not self._prepare_at_once(run):
                run.workers[worker] = None
                if run.runner is None:
                    run.phase = "compiling"
                return lambda: worker.prepare(run)
        return self._take_chunk(run, worker)

    def _prepare_at_once(self, run: Run) -> bool:
        """Prepare a new run here, if that takes microseconds: it is small and compiled, and nothing of it is stored."""
        if run.loaded or not run.revision.compiles or run.cache == "refresh":
            return False
        if any(job.recovered for job in run.jobs.values()):
            return False
        if run.cache == "use" and not self._scheduler.runs.is_still_missed(run):
            return False
        if run.simulation.replicate_bytes(run.parameters) * run.target > _SMALL_BYTES:
            return False
        try:
            runner = run.simulation.prepared(run.parameters, run.revision)
            if runner is None:
                return False
            columns = run.allocate(run.target, None)
        except Exception:
            return False  # whoever prepares it without the lock finds the same, and fails the run
        run.adopt(columns, 0)
        run.runner = runner
        run.phase = "running"
        return True

    def _take_chunk(self, run: Run, worker: Worker) -> Task | None:
        if not run.has_pending:
            return None
        worker.reset()
        run.turn = next(self._turns)
        chunk = run.take(worker, len(self.workers), self._config.chunk_target_ms / 1000)
        if run.has_pending:
            self.call_for(run)
        return lambda: worker.run_chunk(run, chunk)

    def _call_done(self, entry: Entry) -> None:
        with self._lock:
            self.calls.done(entry)
            self._scheduler.runs.tell_if_idle()
