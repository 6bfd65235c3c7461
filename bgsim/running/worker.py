"""A worker: one thread, and one task at a time, outside of the engine's lock."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from bgsim import control as block
from bgsim.backends.base import ChunkFailedError, ChunkLostError, ShutOutError
from bgsim.errors import BackendError, OutputError, ReplicateError, SimulationChangedError, start_thread, text_of
from bgsim.threads.locks import Thread
from bgsim.threads.signals import HOLD, interruptibly, is_interrupt

if TYPE_CHECKING:
    from bgsim.backends.base import Chunk, Lane
    from bgsim.config import Nice
    from bgsim.running.calls import Call
    from bgsim.running.checkpoints import Checkpoint
    from bgsim.running.looks import Judgement
    from bgsim.running.run import Run
    from bgsim.running.storing import Prepared

logger = logging.getLogger("bgsim.engine")

Done: TypeAlias = "tuple[Run, int, float, BaseException | None]"
"""A run, how many replicates of its chunk are done, the seconds that it took, and why it went no further."""


WORKERS: dict[int, Worker] = {}
"""The workers that do tasks, by the ident of their threads; each thread changes its own item alone."""


class Tasks(Protocol):
    """Where a worker gets its tasks, and gives them back; see `bgsim.running.workers.Workers`."""

    def next_task(self, worker: Worker, *, wait: bool) -> Any:
        """Return a task."""

    def prepare(self, run: Run) -> Prepared:
        """Prepare a run."""

    def prepared(self, worker: Worker, run: Run, prepared: Prepared) -> Any:
        """Take a run that is prepared."""

    def not_prepared(self, worker: Worker, run: Run, error: BaseException | None) -> Any:
        """Take a run back."""

    def computed(self, worker: Worker, batch: Sequence[Done]) -> Any:
        """Take chunks back."""

    def refused(self, worker: Worker, run: Run) -> Any:
        """Fail a run."""

    def store(self, run: Run) -> bool | None:
        """Hand a run to the store."""

    def stored(self, worker: Worker, runs: Sequence[tuple[Run, bool]]) -> Any:
        """Take runs that the store has."""

    def checkpoint(self, worker: Worker, checkpoint: Checkpoint) -> Any:
        """Store what is finished of a run."""

    def judged(self, worker: Worker, run: Run, found: Judgement | BaseException) -> Any:
        """Take what a look at a run has found, or why there is none."""

    def called(self, call: Call) -> None:
        """Note the end of a call."""


class Worker:
    """Does tasks. `step` does one in the calling thread; `start` does them in a thread of its own.

    In the main thread, where an immediate engine works, signal handlers interrupt what users wrote and nothing else: a
    task that was taken and not given back would be lost.

    Attributes
    ----------
    lane : Lane or None
        What computes its chunks; None computes none. The lock's holder writes an order to its control block, while the
        worker has a chunk.
    writes_in_place : bool
        The lane's; True without one.
    seats : Seats or None
        The lane's.
    declined : str
        The identity of a request that it leaves to other workers as long as its chunk would wait; empty for none.
    leaves : bool
        Whether its lane is gone: it does no further task.
    busy_s : float
        Seconds in kernels.
    task : (callable, object) or None
        What it does now: a method, and what that was called with.
    chunk : Chunk or None
        The one that it computes now, or has just computed.
    batch : list of (Run, Chunk)
        What it was given to compute.
    reached, limit : int
        The number of the chunk in the batch that it has come to, and of the first that it must not begin.
    is_on_small_batch : bool
        Whether it will be back in less than a switch of threads takes. The engine's lock guards it.
    """

    def __init__(self, tasks: Tasks, number: int, lane: Lane | None) -> None:
        self.lane = lane
        self.leaves = False
        self.control = block.new_control_block() if lane is None else lane.control
        self.writes_in_place = lane is None or lane.writes_in_place
        self.seats = None if lane is None else lane.seats
        self.declined = ""
        self.busy_s = 0.0
        self.task: Any = None
        self.chunk: Chunk | None = None
        self.is_on_small_batch = False
        self.batch: list[tuple[Run, Chunk]] = []
        self.reached = self.limit = 0
        self._in_main = True  # until a thread of its own runs it
        self._tasks = tasks
        self._nice: Nice = 0
        self._thread = Thread(self._run, name=f"bgsim-worker-{number}")

    @property
    def sees_orders(self) -> bool:
        """Whether an order reaches its kernel at once."""
        return self.lane is None or self.lane.sees_orders

    @property
    def is_spare(self) -> bool:
        """Whether a chunk that it is given waits for the end of another one."""
        return self.seats is not None and self.seats.are_taken

    # ---- the thread ----------------------------------------------------------------------------------

    def start(self, nice: Nice = 0) -> None:
        """Start the thread; the system prefers others to it by so much, on Linux, where threads have priorities."""
        self._nice = nice
        start_thread(self._thread)

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the thread to end; return whether it has."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def step(self) -> bool:
        """Do one task, and those that follow it; return False when there is none."""
        with HOLD:
            return self._step()

    def _step(self) -> bool:
        ident = threading.get_ident()
        outer, WORKERS[ident] = WORKERS.get(ident), self  # another engine's worker may be at work further up the stack
        try:
            task = self._tasks.next_task(self, wait=False)
            if task is not None:
                self._do(task)
            return task is not None
        finally:
            if outer is None:
                del WORKERS[ident]
            else:
                WORKERS[ident] = outer

    def _do(self, task: Any) -> None:
        try:
            while task is not None:
                self.task = task
                do, subject = task
                task = do(subject)
        finally:
            self.task = None  # it would keep a result alive

    def _run(self) -> None:
        self._in_main = False
        WORKERS[threading.get_ident()] = self
        if self._nice and sys.platform == "linux":
            number = threading.get_native_id()
            with suppress(OSError):
                if self._nice == "idle":
                    os.sched_setscheduler(number, os.SCHED_IDLE, os.sched_param(0))
                else:
                    own = os.getpriority(os.PRIO_PROCESS, number)
                    os.setpriority(os.PRIO_PROCESS, number, min(19, own + self._nice))
        try:
            self._work()
        finally:
            del WORKERS[threading.get_ident()]

    def _work(self) -> None:
        while True:
            try:
                task = self._tasks.next_task(self, wait=True)
                if task is None:
                    return
                self._do(task)
                del task  # or it would keep a result alive until there is another one
            except BaseException:  # futures catch what their callbacks raise, except for SystemExit and its like
                logger.exception("a callback left a worker by an exception; the worker goes on")

    # ---- orders to the kernel, under the engine's lock -----------------------------------------------

    def order(self, order: int) -> None:
        """Tell the kernel to yield or to stop; a yield does not take a stop back."""
        self.control[block.ORDER] = max(order, self.control[block.ORDER])
        if self.lane is not None:
            self.lane.ordered()

    def computes(self, run: Run) -> bool:
        """Tell whether its lane computes chunks of a run."""
        if self.lane is None or self.lane.place in run.shut_out:
            return False
        return not (self.declined and self.declined == run.request.key.identity and self.is_spare)

    def can_work_on(self, run: Run) -> bool:
        """Tell whether it can prepare a run, or compute it."""
        return run.needs_preparing or self.computes(run)

    def is_ordered(self) -> bool:
        """Tell whether the kernel was told to yield or to stop."""
        return bool(self.control[block.ORDER])

    def progress(self) -> tuple[int, float]:
        """Return the replicates done in this chunk, and the fraction of the one in hand."""
        done = 0 if self.control[block.PROBING] else int(self.control[block.DONE])
        return done, float(self.control[block.FRACTION]) / block.FRACTION_UNIT

    def reset(self) -> None:
        """Clear the control block for a new batch, before any order."""
        self.control.fill(0)

    def take_back(self) -> int:
        """Let the batch end with the chunk in hand; return how many of its chunks are kept.

        1. The lock's holder sets the limit to the chunk after the one that the worker has reached.
        2. The worker reaches that chunk, and then looks at the limit; or it has looked just before.
        3. The lock's holder sees that it has been reached, and lets the worker keep it. A worker that has not computed
           it after all gives it back with the rest.
        """
        self.limit = self.reached + 1
        return max(self.limit, self.reached + 1)

    # ---- tasks: each returns the next one ------------------------------------------------------------

    def prepare(self, run: Run) -> Any:
        """Load, allocate and compile."""
        try:
            prepared = interruptibly(self._tasks.prepare, run)
        except BaseException as error:  # whatever it is, the job's caller gets it
            if is_interrupt(error):
                self._tasks.not_prepared(self, run, None)
                raise
            return self._tasks.not_prepared(self, run, error)
        return self._tasks.prepared(self, run, prepared)

    def compute(self, batch: list[tuple[Run, Chunk]]) -> Any:
        """Run the kernel over each chunk of a batch, up to those that were taken back meanwhile.

        An order stays for the whole batch: the chunks after it give all their replicates back.
        """
        done: list[Done] = []
        try:
            for number, (run, chunk) in enumerate(batch):
                self.reached = number  # before it looks at the limit: see `take_back`
                if number >= self.limit:
                    break
                if number:
                    self.control[block.DONE] = self.control[block.FRACTION] = self.control[block.PROBING] = 0
                self._compute_one(run, chunk, done)
        except BaseException:
            self._tasks.computed(self, _with_the_rest(batch, done))
            raise
        return self._tasks.computed(self, _with_the_rest(batch, done))

    def _compute_one(self, run: Run, chunk: Chunk, done: list[Done]) -> None:
        """Add what came of a chunk to `done`; raise only what interrupts the main thread."""
        self.chunk = chunk
        assert self.lane is not None
        compute = self.lane.compute
        began = time.perf_counter()
        error: BaseException | None = None
        try:
            if self._in_main or not chunk.computation.compiles:
                count, elapsed_s = interruptibly(compute, chunk)
            else:
                count, elapsed_s = compute(chunk)
        except ChunkFailedError as failed:
            count, elapsed_s = failed.done, time.perf_counter() - began
            error = _explain(run, chunk.first + count, failed.cause)
        except BaseException as raised:  # whatever it is, the job's caller gets it
            elapsed_s = time.perf_counter() - began
            changed = isinstance(raised, SimulationChangedError | ChunkLostError | ShutOutError | BackendError)
            count = 0 if changed else int(self.control[block.DONE])
            if is_interrupt(raised):
                run.kept.add(chunk.first, count, chunk.columns)
                done.append((run, count, elapsed_s, None))
                raise
            error = raised if changed else _explain(run, chunk.first + count, raised)
        self.busy_s += elapsed_s
        run.kept.add(chunk.first, count, chunk.columns)
        done.append((run, count, elapsed_s, error))

    def refuse(self, run: Run) -> Any:
        """Fail a run that nothing computes any more."""
        return self._tasks.refused(self, run)

    def store(self, runs: list[Run]) -> Any:
        """Hand runs to the store; settle those that it has at once."""
        stored = [(run, left) for run in runs if (left := self._tasks.store(run)) is not None]
        return self._tasks.stored(self, stored)

    def checkpoint(self, checkpoint: Checkpoint) -> Any:
        """Hand what is finished of a run to the store."""
        return self._tasks.checkpoint(self, checkpoint)

    def judge(self, run: Run) -> Any:
        """See whether a run has enough replicates."""
        assert run.looks is not None
        found: Judgement | BaseException
        try:
            found = run.looks.judge(run.kept.first(run.looks.next_end))
        except Exception as error:  # such as a value beyond the declared bounds
            found = error
        return self._tasks.judged(self, run, found)

    def call(self, call: Call) -> None:
        """Call a plain callable, which never raises but when a signal's handler has interrupted it."""
        task, call.task = call.task, None
        assert task is not None
        try:
            task()
        finally:
            del task
            self._tasks.called(call)


def _with_the_rest(batch: list[tuple[Run, Chunk]], done: list[Done]) -> list[Done]:
    """Return what came of a batch, with no replicate of the chunks that were not computed."""
    return [*done, *((run, 0, 0.0, None) for run, _ in batch[len(done) :])] if len(done) < len(batch) else done


def _explain(run: Run, replicate: int, cause: BaseException) -> BaseException:
    """Return the error that a job's caller gets: which replicate raised, with what, and how to replay it."""
    request = run.request
    if isinstance(cause, OutputError):
        try:
            request.simulation.check_replicate(request.parameters, request.seed, replicate)
        except OutputError as precise:
            return precise
        except BaseException:  # what else it does is no answer to what its outputs are
            return cause
        return cause
    text = text_of(cause)
    name = request.simulation.reference
    error = ReplicateError(
        f"replicate {replicate} of {request.simulation.name} raised {type(cause).__name__}: {text}\n"
        f"  parameters: {request.parameters!r}\n"
        f"  to replay it: {name}.replay(parameters, seed={request.seed}, index={replicate})",
        replicate=replicate,
        parameters=request.parameters,
    )
    error.__cause__ = cause
    return error
