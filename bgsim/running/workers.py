"""What a worker does next, and what it brings back: each in one hold of the engine's lock.

A worker asks for a *task*, and gives back what came of it; with that it gets its next task. There are six kinds: a
batch of chunks, a run to prepare, runs to store, a checkpoint, a plain call, and nothing. A batch is one chunk of the
most urgent run, or the chunks of several runs that take less together than a switch of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from bgsim.running.calls import Call, Calls
from bgsim.running.chunk import Chunk
from bgsim.running.records import debug
from bgsim.running.run import Run, Stage
from bgsim.running.wake import wake_worker
from bgsim.running.worker import Done, Worker
from bgsim.storage import MemoryStore

if TYPE_CHECKING:
    from bgsim.running.checkpoints import Checkpoint, Checkpoints
    from bgsim.running.finish import Finish
    from bgsim.running.lifecycle import Lifecycle
    from bgsim.running.state import State
    from bgsim.running.storing import Prepared, Storing

Task: TypeAlias = tuple[Callable[..., Any], Any]
"""A method of `Worker`, and what it is to be called with."""

_SMALL_BYTES = 2**16
"""The lock's holder makes columns up to this size, rather than a worker that has to take the lock once more."""

_BATCH_S = 1e-3
"""What the runs of a batch may take together; the last one may be cancelled so much later."""

_BATCH = 16
"""How many runs a batch has at most."""


class Workers:
    """Gives the workers their tasks. The public methods that workers call take the engine's lock themselves.

    Attributes
    ----------
    all : list of Worker
    calls : Calls
    """

    def __init__(
        self, state: State, lifecycle: Lifecycle, finish: Finish, storing: Storing, checkpoints: Checkpoints
    ) -> None:
        self._state = state
        self._lock = state.lock
        self._config = state.config
        self._lifecycle = lifecycle
        self._finish = finish
        self._storing = storing
        self._checkpoints = checkpoints
        self.calls = Calls(state)
        self.all = [Worker(self, number) for number in range(1 if self._config.immediate else self._config.workers)]
        self._stores_quickly = type(state.store) is MemoryStore  # a store that inherits from it may take long
        self._chunk_s = self._config.chunk_target_ms / 1000

    # ---- the workers' side ---------------------------------------------------------------------------

    def next_task(self, worker: Worker, *, wait: bool) -> Task | None:
        """Return what the worker is to do next.

        None means that there is nothing to do, or, with `wait`, that the engine has stopped.
        """
        with self._lock:
            now = self._state.now()
            return self._wait(worker, now) if wait else self._next(worker, now)

    def prepare(self, run: Run) -> Prepared:
        """Load what is stored of a run, make room, and compile it; without the lock."""
        return self._storing.prepare(run)

    def prepared(self, worker: Worker, run: Run, prepared: Prepared) -> Task | None:
        """Take what `prepare` returned; return the worker's next task, most often the first chunk of the run."""
        with self._lock:
            now = self._state.now()
            run.adopt(prepared.columns, prepared.stored, prepared.versions)
            if prepared.stored:
                debug(self._state, "%s: %d replicates from the store", run.request.simulation.name, prepared.stored)
            run.runner = prepared.runner
            run.give_back(worker, 0, 0.0)
            self._lifecycle.came_back(run, now)
            return self._after(worker, now, ends_step=run.stage >= Stage.STOPPED)

    def not_prepared(self, worker: Worker, run: Run, error: BaseException | None) -> Task | None:
        """Take a run back that could not be prepared, or whose preparation was interrupted."""
        with self._lock:
            now = self._state.now()
            run.give_back(worker, 0, 0.0)
            self._lifecycle.came_back(run, now, error)
            return self._after(worker, now)

    def computed(self, worker: Worker, batch: Sequence[Done]) -> Task | None:
        """Take chunks back, with how far they came and why no further; return the worker's next task.

        There is none if done-callbacks are to be called first.
        """
        state = self._state
        with self._lock:
            now = state.now()
            worker.chunk, worker.batch = None, []
            if worker.is_on_small_batch:
                worker.is_on_small_batch = False
                state.small_batches -= 1
            for run, done, elapsed_s, error in batch:
                if worker not in run.workers:
                    continue  # it was taken back
                chunk = run.give_back(worker, done, elapsed_s)
                assert chunk is not None
                if done < chunk.count:
                    state.work.notify_all()
                self._lifecycle.came_back(run, now, error, chunk.first + done)
            return self._after(worker, now)

    def store(self, run: Run) -> bool | None:
        """Hand a run to the store; without the lock. See `Storing.store`."""
        return self._storing.store(run)

    def checkpoint(self, worker: Worker, checkpoint: Checkpoint) -> Task | None:
        """Hand what is finished of a run to the store, without the lock; return the worker's next task."""
        self._checkpoints.store(checkpoint)
        with self._lock:
            return self._after(worker, self._state.now())

    def stored(self, worker: Worker, runs: Sequence[tuple[Run, bool]]) -> Task | None:
        """Settle the runs that the store has by now, each with whether its jobs left the journal."""
        with self._lock:
            now = self._state.now()
            for run, left_journal in runs:
                if run in self._state.storing:
                    self._finish.settle(run, now, left_journal=left_journal)
            return self._after(worker, now)

    def called(self, call: Call) -> None:
        """Note that a call has ended."""
        with self._lock:
            self.calls.done(call)

    # ---- under the lock ------------------------------------------------------------------------------

    def stop(self) -> list[Run]:
        """Let the workers end; return the runs that none has handed to the store."""
        state = self._state
        state.stopped = True
        left = list(state.to_store)
        state.to_store.clear()
        state.work.notify_all()
        return left

    def wake_another(self) -> None:
        """Have a worker that sleeps look for what was left to another one; see `wake_worker`."""
        state = self._state
        if state.asleep and (state.running or state.to_store):
            state.work.notify()

    def _after(self, worker: Worker, now: float, *, ends_step: bool = True) -> Task | None:
        """Return the task that follows another one; none where callbacks come first, or the caller decides by steps.

        What has been computed goes to the store in the same step, and what has been prepared has its first chunk in it.
        """
        if self._lock.has_deferred:  # a callback may wait for what this worker was to do next, or end this step
            self.wake_another()
            return None
        if self._config.immediate and ends_step and not self._state.to_store:
            return None
        return self._next(worker, now)  # the worker waits in `next_task`, where no frame of it keeps a result alive

    def _wait(self, worker: Worker, now: float) -> Task | None:
        """Return what the worker is to do next, as soon as there is something; None once the engine has stopped."""
        state = self._state
        while True:
            task = self._next(worker, now)
            if task is not None or state.stopped:
                return task
            state.wake()  # the wait releases the lock
            state.asleep += 1
            state.work.wait()
            state.asleep -= 1
            now = state.now()

    def _next(self, worker: Worker, now: float) -> Task | None:
        state = self._state
        if state.to_store:
            return self._to_store(worker)
        if state.to_checkpoint and (checkpoint := self._checkpoints.take(now)) is not None:
            return worker.checkpoint, checkpoint
        if state.stopped or state.paused:
            return None
        return self._most_urgent(worker, now)

    def _to_store(self, worker: Worker) -> Task:
        state = self._state
        runs = list(state.to_store)
        state.to_store.clear()
        if state.asleep and state.running and not self._stores_quickly:
            state.work.notify()
        return worker.store, runs

    def _most_urgent(self, worker: Worker, now: float) -> Task | None:
        """Return work on the most urgent run, or a call; among equals the one with the fewest workers, in turn.

        A run that has aged in the queue is as urgent as that has made it: it would starve among those it has caught up
        with.
        """
        running = self._state.running
        if not running and not self._state.calls.order.waiting:
            return None
        found: list[tuple[tuple[int, int, int], Run | None]] = [
            ((-run.level, len(run.workers), run.turn), run)
            for run in running
            if run.stage is not Stage.STOPPING and run.follows is None
        ]
        if self._state.calls.order.waiting and (place := self.calls.urgency(now)) is not None:
            found.append((place, None))
        if len(found) > 1:
            found.sort(key=_place)
        for number, (_, run) in enumerate(found):
            if run is None:
                call = self.calls.take(now)
                if call is not None:
                    return worker.call, call
            elif run.needs_preparing and (run.workers or not self._prepare_at_once(run, now)):
                if not run.workers:  # else one prepares it, or chunks of the shorter columns have to come back first
                    run.workers[worker], run.prepares_since = None, now
                    return worker.prepare, run
            elif run.has_pending:
                return worker.compute, self._batch(worker, run, [other for _, other in found[number + 1 :]], now)
        return None

    def _batch(self, worker: Worker, run: Run, others: list[Run | None], now: float) -> list[tuple[Run, Chunk]]:
        """Return a chunk of a run and, where both take no time, chunks of the runs that are next."""
        worker.reset()
        batch = [(run, self._take(worker, run))]
        left_s = 0.0 if run.has_pending else _BATCH_S - self._state.seconds_of(run)
        for other in others:
            if left_s <= 0 or other is None or other.workers or len(batch) == _BATCH:
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
        for taken, _ in batch:
            if taken.has_pending:
                wake_worker(self._state, taken)
        return batch

    def take_late_chunks_back(self) -> None:
        """Let other workers have what is left of a batch whose chunk in hand takes longer than its pace said."""
        for worker in self.all:
            if len(worker.batch) < 2 or worker.chunk is None:
                continue
            kept = worker.take_back()
            for run, chunk in worker.batch[kept:]:
                if run.workers.get(worker) is chunk:
                    run.give_back(worker, 0, 0.0)
                    wake_worker(self._state, run)
            del worker.batch[kept:]

    def _take(self, worker: Worker, run: Run) -> Chunk:
        run.turn = next(self._state.turns)
        return run.take(worker, len(self.all), self._chunk_s)

    def _prepare_at_once(self, run: Run, now: float) -> bool:
        """Prepare a new run here, if that takes microseconds: it is small and compiled, and nothing of it is stored."""
        request = run.request
        if run.columns or not request.revision.compiles or request.cache == "refresh":
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
            columns = run.allocate(run.replicates, None)
        except Exception:
            return False  # the worker that prepares it without the lock finds the same, and fails the run
        run.adopt(columns, 0)
        run.runner = runner
        rate = self._state.pace.get(run.pace_key)
        if rate:
            run.expect(rate, self._chunk_s)
        return True


_is_recovered = attrgetter("recovered")


def _place(item: tuple[tuple[int, int, int], Run | None]) -> tuple[int, int, int]:
    return item[0]
