"""Which worker looks for work next, when a run may have some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgsim.control import YIELD

if TYPE_CHECKING:
    from bgsim.running.run import Run
    from bgsim.running.state import State

_SMALL_S = 200e-6
"""A run that takes less is not worth the waking of a second worker."""


def wake_worker(state: State, run: Run) -> None:
    """Have one more worker look for work: one that sleeps, or one that is on something less urgent.

    1. A run of less than `_SMALL_S` comes while a worker is on a batch of such runs.
    2. No other worker is woken for it: that would take longer than the batch.
    3. The worker gives its batch back in a hold of the lock, and finds the run.
    """
    if state.sleepers:
        if state.small_batches and state.seconds_of(run) < _SMALL_S:
            return
        if state.sleepers.wake_one_for(run):
            return
    less_urgent = [
        (other.level, number, worker)
        for number, other in enumerate(state.running)
        if other.level < run.level
        for worker, chunk in other.workers.items()
        if chunk is not None and not worker.is_ordered() and worker.can_work_on(run)
    ]
    if less_urgent:
        min(less_urgent, key=lambda item: item[:2])[2].order(YIELD)
