"""The lanes of this process: a kernel runs in the worker's own thread."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from bgsim import control as block
from bgsim.summaries.tallies import RowCounter

if TYPE_CHECKING:
    from bgsim.backends.base import Chunk, Computation, Host
    from bgsim.control import Control
    from bgsim.kernels.stream import WorkerStream


class ThreadBackend:
    """The threads of this process, each a lane.

    Parameters
    ----------
    workers : int
    chunk_s : float
        How long a chunk should take.
    """

    name = "threads"
    is_here = True
    chunk_bytes = sys.maxsize

    def __init__(self, workers: int, chunk_s: float) -> None:
        self.cores = workers
        self.chunk_s = chunk_s

    def open(self, host: Host) -> None:
        """Add the lanes."""
        for _ in range(self.cores):
            host.add(ThreadLane())

    def close(self) -> None:
        """Do nothing: the lanes are the workers' own threads."""

    def alerts(self) -> list[str]:
        """Return nothing."""
        return []


class ThreadLane:
    """Computes in the thread that calls it, in this process.

    Attributes
    ----------
    control : Control
        The kernel reads it with atomic loads.
    """

    place = ""
    writes_in_place = sees_orders = True
    seats = None

    def __init__(self) -> None:
        self.control = block.new_control_block()
        self._stream: WorkerStream | None = None

    def compute(self, chunk: Chunk) -> tuple[int, float]:
        """Run the kernel over a chunk; see `bgsim.backends.base.Lane`."""
        computation = chunk.computation
        if self._stream is None and computation.compiles:
            from bgsim.kernels.stream import WorkerStream  # noqa: PLC0415 - imports numba

            self._stream = WorkerStream()
        run = partial(_run, chunk, self._stream, self.control)
        began = time.perf_counter()
        if computation.compiles:
            count = run()
        else:
            assert computation.context is not None
            count = computation.context.copy().run(_run_logged, computation, run)
        return count, time.perf_counter() - began

    def ordered(self) -> None:
        """Do nothing: the kernel reads the control block itself."""


def _run(chunk: Chunk, stream: WorkerStream | None, control: Control) -> int:
    """Compute the rows of a chunk, or count them in its tallies."""
    computation = chunk.computation
    assert computation.runner is not None
    if computation.keeps_rows:
        return computation.runner(stream, computation.stream_key, chunk.first, chunk.columns, control)
    counter = RowCounter(computation.runner, computation.simulation, computation.parameters)
    chunk.columns = counter.tallies
    return counter(stream, computation.stream_key, chunk.first, chunk.count, control)


def _run_logged(computation: Computation, run: Callable[[], int]) -> int:
    """Run a chunk of plain Python in the context of the job's submission, with its log records kept."""
    assert computation.log is not None
    computation.log.enter()
    return run()
