"""A worker: one thread's control block and stream, and one unit of work at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from bgsim import control as block
from bgsim.ctrl_c import hold_ctrl_c, in_main_thread, interruptibly, let_ctrl_c_through
from bgsim.errors import OutputError, ReplicateError, SimulationChangedError

if TYPE_CHECKING:
    from bgsim.kernels.stream import WorkerStream
    from bgsim.running.run import Chunk, Run
    from bgsim.running.workers import Dispatch

logger = logging.getLogger("bgsim.engine")

Task: TypeAlias = Callable[[], "Task | None"]
"""A unit of work for a worker; returns what to do next, if that is decided already."""


class Worker:
    """Takes chunks and preparations from the dispatch, and runs them outside of the engine's lock.

    `step` does one unit of work; `start` runs steps in a thread.

    Attributes
    ----------
    control : ndarray of int64, shape (8,)
        Read by the kernel with atomic loads. The scheduler writes the order, under the lock, while the worker has a
        chunk.
    busy_s : float
        Seconds in kernels.
    """

    def __init__(self, dispatch: Dispatch, number: int) -> None:
        self.control = block.new_control_block()
        self.busy_s = 0.0
        self._dispatch = dispatch
        self._stream: WorkerStream | None = None
        self._thread = threading.Thread(target=self._run, name=f"bgsim-worker-{number}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the thread to end; return whether it has."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def order(self, order: int) -> None:
        """Tell the kernel to yield or to stop; a stop is not taken back by a yield."""
        self.control[block.ORDER] = max(order, self.control[block.ORDER])

    def is_ordered(self) -> bool:
        """Tell whether the kernel was told to yield or to stop."""
        return bool(self.control[block.ORDER])

    def progress(self) -> tuple[int, float]:
        """Return the replicates done in this chunk, and the fraction of the one in hand."""
        return int(self.control[block.DONE]), float(self.control[block.FRACTION]) / block.FRACTION_UNIT

    def reset(self) -> None:
        """Clear the control block for a new chunk; under the engine's lock, before anyone may order."""
        self.control.fill(0)

    def step(self, *, wait: bool = False) -> bool:
        """Do one unit of work; return False when there is none, or, with `wait`, when the engine has stopped.

        In the main thread, where an immediate engine works, Ctrl-C interrupts what others wrote and no more: what has
        been taken from the dispatch would be lost.
        """
        hold_ctrl_c()
        try:
            task = self._dispatch.next_task(self, wait=wait)
            if task is None:
                return False
            while task is not None:
                task = task()
            return True
        finally:
            let_ctrl_c_through()

    def prepare(self, run: Run) -> Task | None:
        """Load, allocate and compile; return what to do next."""
        try:
            prepared = interruptibly(self._dispatch.prepare, run)
        except BaseException as error:  # whatever it is, the job's caller gets it
            if _is_ctrl_c(error):
                self._dispatch.give_back(self, run, 0, None)
                raise
            return self._dispatch.give_back(self, run, 0, error)
        return self._dispatch.prepared(self, run, *prepared)

    def run_chunk(self, run: Run, chunk: Chunk) -> Task | None:
        """Run the kernel over a chunk; return what to do next."""
        assert run.runner is not None
        if self._stream is None and run.revision.compiles:
            from bgsim.kernels.stream import WorkerStream  # noqa: PLC0415 - imports numba

            self._stream = WorkerStream()
        arguments = (self._stream, run.stream_key, chunk.first, chunk.columns, self.control)
        error: BaseException | None = None
        began = time.perf_counter()
        try:
            if run.revision.compiles:
                done = interruptibly(run.runner, *arguments)
            else:
                assert run.context is not None
                done = interruptibly(run.context.copy().run, _run_logged, run, arguments)
        except BaseException as raised:  # whatever it is, the job's caller gets it
            changed = isinstance(raised, SimulationChangedError)
            done = 0 if changed else int(self.control[block.DONE])
            if _is_ctrl_c(raised):
                self._dispatch.give_back(self, run, done, None)
                raise
            error = raised if changed else _explain(run, chunk.first + done, raised)
        self.busy_s += time.perf_counter() - began
        return self._dispatch.give_back(self, run, done, error)

    def _run(self) -> None:
        while True:
            try:
                if not self.step(wait=True):
                    return
            except BaseException:  # futures catch what their callbacks raise, but for SystemExit and its like
                logger.exception("a callback left a worker by an exception; the worker goes on")


def _is_ctrl_c(error: BaseException) -> bool:
    """Tell whether somebody interrupted the main thread, in which an immediate engine works."""
    return isinstance(error, KeyboardInterrupt) and in_main_thread()


def _run_logged(run: Run, arguments: tuple[Any, ...]) -> int:
    """Run a chunk of plain Python in the context of the job's submission, with its log records kept."""
    assert run.runner is not None
    assert run.log is not None
    run.log.enter()
    return run.runner(*arguments)


def _explain(run: Run, replicate: int, cause: BaseException) -> BaseException:
    """Return the error that a job's caller gets: which replicate raised, with what, and how to replay it."""
    if isinstance(cause, OutputError):
        try:
            run.simulation.check_replicate(run.parameters, run.seed, replicate)
        except OutputError as precise:
            return precise
        except BaseException:  # what else it does is no answer to what its outputs are
            return cause
        return cause
    try:
        text = str(cause)
    except BaseException as unreadable:  # the simulation's own exception type
        text = f"a text that cannot be made ({type(unreadable).__name__})"
    error = ReplicateError(
        f"replicate {replicate} of {run.simulation.name} raised {type(cause).__name__}: {text}\n"
        f"  parameters: {run.parameters!r}\n"
        f"  to replay it: {run.simulation.function.__name__}.replay(parameters, seed={run.seed}, index={replicate})",
        replicate=replicate,
        parameters=run.parameters,
    )
    error.__cause__ = cause
    return error
