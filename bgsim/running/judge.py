"""Who looks at runs that a `bgsim.Precision` ends, and what becomes of those that have enough replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgsim.control import YIELD
from bgsim.queue.entry import EntryState
from bgsim.running.stages import Stage

if TYPE_CHECKING:
    from bgsim.running.looks import Judgement
    from bgsim.running.run import Run
    from bgsim.running.state import State


class Judge:
    """Has workers look at runs, and ends those that have enough; under the engine's lock."""

    def __init__(self, state: State) -> None:
        self._state = state

    def request_look(self, run: Run) -> None:
        """Have a worker look at a run that has come to its next look."""
        looks = run.looks
        is_running = run.stage is Stage.ADMITTED and run.state is EntryState.PROCESSING
        if looks is not None and is_running and looks.is_due(run.given_back):
            looks.is_judging = True
            self._state.to_judge.append(run)
            self._state.sleepers.wake_one()

    def accept(self, run: Run, judgement: Judgement | None) -> None:
        """Take note of what a look has found, if it could be taken.

        Of a run that has enough, let its jobs and workers go no further.
        """
        looks = run.looks
        assert looks is not None
        looks.is_judging = False
        if judgement is not None:
            looks.note(judgement)
        if looks.stopping is not None:
            self.joined(run)
            for worker in run.workers:
                worker.order(YIELD)

    def joined(self, run: Run) -> None:
        """Let all jobs of a run that has enough want no more, also one that has just joined."""
        stopping = run.looks and run.looks.stopping
        if stopping:
            for job in run.members.values():
                job.replicates, job.stopping = stopping.replicates, stopping
            run.want(stopping.replicates)
