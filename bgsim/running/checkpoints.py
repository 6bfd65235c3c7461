"""The finished replicates of a running job go to the store now and then, so that a crash costs little.

A run is due after `FIRST_S`, and then at intervals that grow up to ``checkpoint_interval_s``: so a crash costs at most
about a third of a run's time, and never more than an interval. The timers say so, and the next worker that looks for
work hands the finished rows to the store, without the lock, while the kernels of other workers run on. The next
checkpoint waits for 49 times as long as that took, so that all of them take 2 % of the time at most.

A crash after a checkpoint is a new one: the journal's count of crashes begins again, since the run gets further each
time.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bgsim.errors import SimulationChangedError
from bgsim.queue.entry import EntryState
from bgsim.running.finished import finished_rows
from bgsim.running.run import Run
from bgsim.running.stages import Stage
from bgsim.storage import MemoryStore

if TYPE_CHECKING:
    from bgsim.running.events import Events
    from bgsim.running.state import State
    from bgsim.storage import Columns

logger = logging.getLogger("bgsim.engine")

FIRST_S = 1.0
"""After this time a run has its first checkpoint, unless the interval is shorter."""

GROWTH = 1.5
"""An interval is at most this many times the one before."""

_LEAST_PAUSE = 49
"""A checkpoint is followed by a pause of this many times what it takes a worker."""


@dataclass(slots=True)
class Checkpoint:
    """The finished rows of a run, to be stored.

    Attributes
    ----------
    run : Run
    columns : Columns
    held : int
        How many of them the store is believed to have.
    began : float
        When a worker took it, by the monotonic clock.
    took_s : float or None
        How long the worker was busy with it; None until it is done.
    is_told : bool
        Whether the store has said what became of it.
    error : Exception or None
        Why it is not stored.
    """

    run: Run
    columns: Columns
    held: int
    began: float
    took_s: float | None = None
    is_told: bool = False
    error: Exception | None = None

    @property
    def replicates(self) -> int:
        """How many rows it has."""
        return len(next(iter(self.columns.values())))


class Checkpoints:
    """Says which runs are due, and stores what is finished of them.

    Attributes
    ----------
    interval_s : float or None
        None if nothing is stored before the end of a run: that is not wanted, or the store ends with the process.
    """

    def __init__(self, state: State, events: Events) -> None:
        self._state = state
        self._events = events
        config = state.config
        is_of_use = config.auto_store_completed and not isinstance(state.store, MemoryStore)
        self.interval_s = config.checkpoint_interval_s if is_of_use else None

    # ---- under the lock ------------------------------------------------------------------------------

    def watch(self, run: Run, now: float) -> None:
        """Note when the next checkpoint of a run that has just started is due."""
        if self.interval_s is not None and run.checkpoint_at == math.inf and run.request.cache != "off":
            run.checkpoint_wait_s = min(self.interval_s, run.checkpoint_wait_s or FIRST_S)
            self._wait(run, now + run.checkpoint_wait_s)

    def collect(self, now: float) -> None:
        """Have workers store what is finished of the runs that are due."""
        state = self._state
        if now < state.alarms.checkpoint_at:
            return
        state.alarms.checkpoint_at = math.inf
        for run in dict.fromkeys(job.run for job in state.jobs.values()):
            if run is None or run.stage is not Stage.ADMITTED:
                continue
            if run.checkpoint_at > now:
                state.alarms.checkpoint_from(run.checkpoint_at)
            else:
                run.checkpoint_at = math.inf
                state.to_checkpoint.append(run)
                state.sleepers.wake_one()

    def take(self, now: float) -> Checkpoint | None:
        """Return the next checkpoint to be stored; None if nothing new is finished of any run that is due."""
        while self._state.to_checkpoint:
            run = self._state.to_checkpoint.popleft()
            if run.stage is not Stage.ADMITTED:
                continue
            if run.length:
                checkpoint = Checkpoint(run, run.finished(finished_rows(run), run.length), run.held, now)
                if checkpoint.replicates > run.held:
                    return checkpoint
            if run.state is EntryState.PROCESSING:
                self.watch(run, now)
        return None

    def _wait(self, run: Run, until: float) -> None:
        run.checkpoint_at = until
        self._state.alarms.checkpoint_from(until)

    # ---- without the lock ----------------------------------------------------------------------------

    def store(self, checkpoint: Checkpoint) -> None:
        """Hand a checkpoint to the store; if that fails, the run goes on, and the next one is tried in its time."""
        run = checkpoint.run

        def on_stored(error: Exception | None) -> None:
            with self._state.lock:
                if not checkpoint.is_told:  # or a store that breaks its contract has said so twice
                    checkpoint.is_told, checkpoint.error = True, error
                    self._settle(checkpoint)

        try:
            if not run.request.revision.compiles:
                run.request.revision.check_unchanged()  # as after a chunk: else its rows are not what was asked for
            self._state.store.store(run.request.key, checkpoint.columns, held=checkpoint.held, on_stored=on_stored)
        except SimulationChangedError:
            return  # the chunk in hand will fail the run
        except Exception as error:  # a store that breaks its contract
            on_stored(error)
        with self._state.lock:
            checkpoint.took_s = self._state.now() - checkpoint.began
            self._settle(checkpoint)

    def _settle(self, checkpoint: Checkpoint) -> None:
        """Once the worker is done with a checkpoint and the store has it, note that, and when the next one is due."""
        run, state, error, took_s = checkpoint.run, self._state, checkpoint.error, checkpoint.took_s
        if took_s is None or not checkpoint.is_told:
            return
        assert self.interval_s is not None
        if error is None:
            run.held = max(run.held, checkpoint.replicates)
        elif state.store_error is None:
            logger.warning("what is finished of %s is not stored yet: %s", run.request.simulation.name, error)
        state.store_error = None if error is None else str(error)
        if run.stage is not Stage.ADMITTED:
            return
        if error is None:
            for job in run.members.values():
                job.crashes, job.stored = 0, run.held
                self._events.entered(job, started=job.started_at is not None)
        run.checkpoint_wait_s = min(self.interval_s, GROWTH * run.checkpoint_wait_s)
        self._wait(run, state.now() + max(run.checkpoint_wait_s, _LEAST_PAUSE * took_s))
