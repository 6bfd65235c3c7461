"""What a worker does next: the most urgent of what there is, and how much of it.

There are eight kinds of tasks: a batch of chunks, a run to prepare, one to judge, runs to store, a checkpoint, a plain
call, a run to refuse, and nothing. A batch is one chunk of the most urgent run, or the chunks of several runs that take
less together than a switch of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from bgsim.running.run import Run
from bgsim.running.stages import Stage
from bgsim.running.wake import wake_worker
from bgsim.storage import MemoryStore

if TYPE_CHECKING:
    from bgsim.backends.base import Backend, Chunk
    from bgsim.running.calls import Calls
    from bgsim.running.checkpoints import Checkpoints
    from bgsim.running.finish import Finish
    from bgsim.running.state import State
    from bgsim.running.worker import Worker

Task: TypeAlias = tuple[Callable[..., Any], Any]
"""A method of `Worker`, and what it is to be called with."""

_SMALL_BYTES = 2**16
"""The lock's holder makes columns up to this size, rather than a worker that has to take the lock once more."""

_BATCH_S = 1e-3
"""What the runs of a batch may take together; the last one may be cancelled so much later."""

_LEAST_SENT = 1 / 8
"""Part of a chunk's time: less is not worth being sent elsewhere, also at the end of a run that all workers share."""

_BATCH = 16
"""How many runs a batch has at most."""


class TaskChooser:
    """Chooses tasks for workers; under the engine's lock."""

    def __init__(self, state: State, finish: Finish, checkpoints: Checkpoints, calls: Calls, backend: Backend) -> None:
        self._state = state
        self._finish = finish
        self._checkpoints = checkpoints
        self._calls = calls
        self._backend = backend
        self._stores_quickly = type(state.store) is MemoryStore  # a store that inherits from it may take long

    def next(self, worker: Worker, now: float) -> Task | None:
        """Return what a worker does next; None for nothing."""
        state = self._state
        if worker.leaves:
            state.sleepers.wake_all()  # for what its last task has brought
            return None
        if state.to_store:
            return self._to_store(worker)
        if state.to_judge:
            return worker.judge, state.to_judge.popleft()
        if state.to_checkpoint and (checkpoint := self._checkpoints.take(now)) is not None:
            return worker.checkpoint, checkpoint
        if state.stopped or state.paused:
            return None
        return self._most_urgent(worker, now)

    def wake_another(self) -> None:
        """Have workers that sleep look for what was left to another one; see `wake_worker`."""
        state = self._state
        if state.to_store or state.to_judge:
            state.sleepers.wake_one()
        for run in state.running:
            if not state.sleepers:
                return
            state.sleepers.wake_one_for(run)

    def _to_store(self, worker: Worker) -> Task:
        state = self._state
        runs = list(state.to_store)
        state.to_store.clear()
        if not self._stores_quickly:
            self.wake_another()
        return worker.store, runs

    def _most_urgent(self, worker: Worker, now: float) -> Task | None:
        found = self._by_urgency(now)
        for number, (_, run) in enumerate(found):
            if run is None:
                call = self._calls.take(now)
                if call is not None:
                    return worker.call, call
            elif run.needs_preparing and (run.workers or not self._prepare_at_once(run, now)):
                if not run.workers:  # else one prepares it, or chunks of the shorter columns have to come back first
                    run.workers[worker], run.prepares_since = None, now
                    return worker.prepare, run
            elif run.has_pending and worker.computes(run):
                return worker.compute, self._batch(worker, run, [other for _, other in found[number + 1 :]], now)
            elif run.has_pending and self._leave(worker, run):
                return worker.refuse, run
        return None

    def _leave(self, worker: Worker, run: Run) -> bool:
        """Leave a run to a worker that computes it, or tell that none will: the backend computes nothing more."""
        if self._state.backend_error is not None and not run.workers:
            run.workers[worker] = None
            return True
        wake_worker(self._state, run)  # this one may have been woken for it, and has prepared it
        return False

    def _by_urgency(self, now: float) -> list[tuple[tuple[int, int, int], Run | None]]:
        """Return the runs, and None for the next call, the most urgent first.

        Among equals that with the fewest workers comes first, and then each in turn. A run that has aged in the queue
        is as urgent as that has made it: it would starve among those it has caught up with.
        """
        running = self._state.running
        if not running and not self._state.calls.order.waiting:
            return []
        found: list[tuple[tuple[int, int, int], Run | None]] = [
            ((-run.level, len(run.workers), run.turn), run)
            for run in running
            if run.stage is not Stage.STOPPING and run.follows is None
        ]
        if self._state.calls.order.waiting and (place := self._calls.urgency(now)) is not None:
            found.append((place, None))
        if len(found) > 1:
            found.sort(key=_place)
        return found

    def _batch(self, worker: Worker, run: Run, others: list[Run | None], now: float) -> list[tuple[Run, Chunk]]:
        """Return a chunk of a run and, where both take no time, chunks of the runs that are next."""
        worker.reset()
        batch = [(run, self._take(worker, run))]
        left_s = 0.0 if run.has_pending else _BATCH_S - self._state.seconds_of(run)
        for other in others:
            if left_s <= 0 or other is None or other.workers or not worker.computes(other) or len(batch) == _BATCH:
                break
            left_s -= self._state.seconds_of(other)
            if left_s <= 0 or (other.needs_preparing and not self._prepare_at_once(other, now)):
                break
            if other.has_pending:
                batch.append((other, self._take(worker, other)))
        if left_s > 0:
            worker.is_on_small_batch = True
            self._state.small_batches += 1
        worker.batch, worker.limit, worker.reached = batch, len(batch), 0
        if worker.seats is not None:
            worker.seats.take(worker, now)
        for taken, _ in batch:
            if taken.has_pending:
                wake_worker(self._state, taken)
        return batch

    def _take(self, worker: Worker, run: Run) -> Chunk:
        run.turn = next(self._state.turns)
        backend = self._backend
        least_s = 0.0 if backend.is_here else backend.chunk_s * _LEAST_SENT
        return run.take(worker, max(1, backend.cores), backend.chunk_s, least_s, backend.chunk_bytes)

    def _prepare_at_once(self, run: Run, now: float) -> bool:
        """Prepare a new run here, if that takes microseconds: it is small and compiled, and nothing of it is stored."""
        request = run.request
        if run.length or not request.revision.compiles or request.cache == "refresh":
            return False
        if request.size_bytes > _SMALL_BYTES or run.replicates > request.replicates:
            return False
        if request.cache == "use" and not self._finish.is_still_missed(run, now):
            return False
        if any(map(_is_recovered, run.members.values())):
            return False
        try:
            runner = request.simulation.prepared(request.parameters, request.revision)
            if runner is None:
                return False
            room = run.kept.room(run.replicates, None, ())
        except Exception:
            return False  # the worker that prepares it without the lock finds the same, and fails the run
        run.adopt(room)
        run.computation.runner = runner
        self.expect_pace(run)
        return True

    def expect_pace(self, run: Run) -> None:
        """Size the first chunk of a run by how fast runs like it were."""
        rate = self._state.pace.get(run.pace_key)
        if rate and not run.chunk_rate:
            run.expect(rate, self._backend.chunk_s)


_is_recovered = attrgetter("recovered")


def _place(item: tuple[tuple[int, int, int], Run | None]) -> tuple[int, int, int]:
    return item[0]
