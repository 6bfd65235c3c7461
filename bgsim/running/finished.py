"""The rows of a run that are finished, while it goes on. Under the engine's lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgsim.errors import SimulationChangedError

if TYPE_CHECKING:
    from bgsim.backends.base import Chunk
    from bgsim.running.run import ChunkWorker, Run
    from bgsim.storage import Columns


def finished_rows(run: Run) -> int:
    """Return how many rows are finished without a gap from 0 on, also by kernels that run on.

    Those of a chunk of plain Python count only if its code turns out to be unchanged.
    """
    finished = run.prefix
    for worker, chunk in run.workers.items():
        if chunk is not None and chunk.first < finished:
            done = _done(worker, chunk)
            if done < chunk.count:
                finished = chunk.first + done
    return finished


def _done(worker: ChunkWorker, chunk: Chunk) -> int:
    """Return how many replicates of a chunk are done for certain.

    What is computed elsewhere comes with the whole chunk. In this process:

    1. The worker has the chunk in hand. 2. It goes on to the next one of its batch, and counts from 0. 3. This thread
    reads that count. 4. It finds the other chunk in hand, and knows nothing of this one.
    """
    if worker.chunk is not chunk or not worker.writes_in_place:
        return 0
    done, _ = worker.progress()
    return done if worker.chunk is chunk else 0


def finished_columns(run: Run, replicates: int) -> Columns | None:
    """Return the first replicates that are finished, to be read only: nothing writes to these rows any more.

    Nothing is finished before a worker has asked the store, nor where the code may be other than the key says. Of plain
    Python the chunks in hand are left out: what they computed with is looked at when they come back.
    """
    if not run.length or isinstance(run.error, SimulationChangedError):
        return None
    return run.finished(finished_rows(run) if run.request.revision.compiles else run.given_back, replicates)
