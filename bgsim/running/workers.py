"""The workers, and what they bring back.

A worker asks for a *task*, and gives back what came of it; in the same hold of the engine's lock it gets its next task.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bgsim.backends.base import ChunkLostError, ShutOutError
from bgsim.control import YIELD
from bgsim.errors import NoThreadError, ReplicateError, WorkerMismatchError
from bgsim.running.calls import Call, Calls
from bgsim.running.records import debug, warn
from bgsim.running.run import Run
from bgsim.running.stages import Stage
from bgsim.running.task_chooser import Task, TaskChooser
from bgsim.running.wake import wake_worker
from bgsim.running.worker import Done, Worker

if TYPE_CHECKING:
    from bgsim.backends.base import Backend, Chunk, Lane
    from bgsim.errors import BackendError
    from bgsim.running.checkpoints import Checkpoint, Checkpoints
    from bgsim.running.finish import Finish
    from bgsim.running.lifecycle import Lifecycle
    from bgsim.running.looks import Judgement
    from bgsim.running.state import State
    from bgsim.running.storing import Prepared, Storing

_LONG_WAIT = 2
"""A chunk that has waited for so many times what one should take waits for a long replicate."""


class Workers:
    """Gives the workers their tasks. The public methods that workers call take the engine's lock themselves.

    Attributes
    ----------
    all : list of Worker
    calls : Calls
    chooser : TaskChooser
        Under the engine's lock.
    """

    def __init__(
        self,
        state: State,
        lifecycle: Lifecycle,
        finish: Finish,
        storing: Storing,
        checkpoints: Checkpoints,
        backend: Backend,
    ) -> None:
        self._state = state
        self._lock = state.lock
        self._config = state.config
        self._lifecycle = lifecycle
        self._finish = finish
        self._storing = storing
        self._checkpoints = checkpoints
        self.calls = Calls(state)
        self.chooser = TaskChooser(state, finish, checkpoints, self.calls, backend)
        self.backend = backend
        self.all: list[Worker] = []
        self._last_lost = ""
        self._numbers = itertools.count()

    def open(self) -> None:
        """Open the backend, which adds its lanes."""
        if not self.backend.is_here:
            self.add(None)  # it prepares and stores while lanes compute, or none is there
        self.backend.open(self)

    # ---- the backend's side --------------------------------------------------------------------------

    def add(self, lane: Lane | None) -> None:
        """Add a worker, whose thread starts, for a lane; or for none, and then it computes nothing.

        Raises
        ------
        NoThreadError
        """
        with self._lock:
            if self._state.stopped:
                return
            worker = Worker(self, next(self._numbers), lane)
            self.all.append(worker)
            try:
                if not self._config.immediate:
                    worker.start(self._config.worker_nice)
            except NoThreadError:
                self.all.remove(worker)
                raise
            self._state.lanes += lane is not None

    def remove(self, lane: Lane) -> None:
        """End the worker of a lane, once what it computes has come back or is lost."""
        with self._lock:
            for worker in [worker for worker in self.all if worker.lane is lane]:
                worker.leaves = True
                self.all.remove(worker)
                self._state.lanes -= 1
            if all(worker.lane is None or worker.lane.place != lane.place for worker in self.all):
                self._state.shut_out.pop(lane.place, None)
            self._state.sleepers.wake_all()

    def fail(self, error: BackendError) -> None:
        """Note that the backend computes nothing more: every run that it has to compute fails with that."""
        with self._lock:
            self._state.backend_error = error
            self._state.sleepers.wake_all()

    # ---- the workers' side ---------------------------------------------------------------------------

    def next_task(self, worker: Worker, *, wait: bool) -> Task | None:
        """Return what the worker is to do next.

        None means that there is nothing to do, or, with `wait`, that the engine has stopped.
        """
        with self._lock:
            now = self._state.now()
            return self._wait(worker, now) if wait else self.chooser.next(worker, now)

    def prepare(self, run: Run) -> Prepared:
        """Load what is stored of a run, make room, and compile it; without the lock."""
        return self._storing.prepare(run)

    def prepared(self, worker: Worker, run: Run, prepared: Prepared) -> Task | None:
        """Take what `prepare` returned; return the worker's next task, most often the first chunk of the run."""
        with self._lock:
            now = self._state.now()
            run.adopt(prepared.room)
            if prepared.room.stored:
                debug(
                    self._state, "%s: %d replicates from the store", run.request.simulation.name, prepared.room.stored
                )
            run.computation.runner = prepared.runner
            self.chooser.expect_pace(run)
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
            if worker.seats is not None:
                worker.seats.leave(worker)
            if worker.is_on_small_batch:
                worker.is_on_small_batch = False
                state.small_batches -= 1
            for run, done, elapsed_s, error in batch:
                if worker not in run.workers:
                    continue  # it was taken back
                chunk = run.give_back(worker, done, elapsed_s)
                assert chunk is not None
                if done < chunk.count:
                    state.sleepers.wake_all()
                blamed = error
                if isinstance(error, ChunkLostError | ShutOutError):
                    blamed = self._blamed(run, chunk, worker, error)
                self._lifecycle.came_back(run, now, blamed, chunk.first + done)
            return self._after(worker, now)

    def refused(self, worker: Worker, run: Run) -> Task | None:
        """Fail a run that the backend computes no more."""
        return self.not_prepared(worker, run, self._state.backend_error)

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

    def judged(self, worker: Worker, run: Run, found: Judgement | BaseException) -> Task | None:
        """Take what a look at a run has found, or why there is none; return the worker's next task."""
        with self._lock:
            now = self._state.now()
            if run.stage < Stage.STOPPING:  # else it has been stopped meanwhile
                error = found if isinstance(found, BaseException) else None
                self._lifecycle.judge.accept(run, None if isinstance(found, BaseException) else found)
                self._lifecycle.came_back(run, now, error)
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
        state.sleepers.wake_all()
        return left

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

    def recall_waiting(self, now: float) -> None:
        """Have a chunk given back that waits for the end of a long one, if a worker sleeps that would compute it."""
        for seats in {worker.seats for worker in self.all if worker.seats is not None}:
            for worker in seats.held_up(now - _LONG_WAIT * self.backend.chunk_s):
                run, has_begun = worker.batch[0][0], worker.progress() != (0, 0.0)
                if not has_begun and not worker.is_ordered() and self._state.sleepers.would_compute(run):
                    worker.declined = run.request.key.identity  # or it would take the same again, when it has come back
                    worker.order(YIELD)

    def _after(self, worker: Worker, now: float, *, ends_step: bool = True) -> Task | None:
        """Return the task that follows another one; none where callbacks come first, or the caller decides by steps.

        What has been computed goes to the store in the same step, and what has been prepared has its first chunk in it.
        """
        if self._lock.has_deferred:  # a callback may wait for what this worker was to do next, or end this step
            self.chooser.wake_another()
            return None
        if self._config.immediate and ends_step and not (self._state.to_store or self._state.to_judge):
            return None
        return self.chooser.next(worker, now)  # it waits in `next_task`, where no frame of it keeps a result alive

    def _wait(self, worker: Worker, now: float) -> Task | None:
        """Return what the worker is to do next, as soon as there is something; None once the engine has stopped."""
        state = self._state
        while True:
            task = self.chooser.next(worker, now)
            if task is not None or state.stopped or worker.leaves:
                return task
            state.wake()  # the sleep releases the lock
            state.sleepers.sleep(worker)
            now = state.now()

    def _blamed(self, run: Run, chunk: Chunk, worker: Worker, error: BaseException) -> BaseException | None:
        """Return what a run fails with whose chunk was not computed; None if it goes on."""
        simulation = run.request.simulation.name
        if isinstance(error, ChunkLostError):
            tell = debug if error.source == self._last_lost else warn  # chunks that were lost together: one tells
            self._last_lost = error.source
            what = "1 replicate is" if chunk.count == 1 else f"{chunk.count:,} replicates are"
            tell(self._state, "%s: %s computed again: %s", simulation, what, error)
            if not error.blames or not run.lose(chunk, error.at):
                return None
            return ReplicateError(
                f"replicate {chunk.first} of {simulation} ended the process that computed it: {error}\n"
                "  It crashes there, or takes more memory than there is.",
                replicate=chunk.first,
                parameters=run.request.parameters,
            )
        assert worker.lane is not None
        run.shut_out[worker.lane.place] = self._state.shut_out[worker.lane.place] = str(error)
        warn(self._state, "%s: %s computes nothing of it: %s", simulation, worker.lane.place, error)
        if all(other.lane is None or other.lane.place in run.shut_out for other in self.all):
            return WorkerMismatchError(f"no worker can compute {simulation}; of {worker.lane.place}: {error}")
        return None
