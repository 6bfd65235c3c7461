"""Workers that sleep, since they have found nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bgsim.threads.locks import Condition

if TYPE_CHECKING:
    from _thread import LockType

    from bgsim.running.run import Run


class Sleeper(Protocol):
    """A worker, as far as its sleep is concerned."""

    def can_work_on(self, run: Run) -> bool:
        """Tell whether there is something that it can do of a run."""


class Sleepers:
    """The workers that have found nothing to do. The engine's lock guards it.

    One that is woken is none of them any more, though its thread may not run yet. The one that fell asleep last is
    woken first: its data are still in the processor's cache.

    Parameters
    ----------
    lock : lock
        The engine's; a sleep releases it.
    """

    def __init__(self, lock: LockType) -> None:
        self._lock = lock
        self._conditions: dict[Sleeper, Condition] = {}

    def __len__(self) -> int:
        return len(self._conditions)

    def sleep(self, worker: Sleeper) -> None:
        """Wait until something wakes this worker."""
        condition = self._conditions[worker] = Condition(self._lock)
        condition.wait()

    def wake_one(self) -> None:
        """Have a worker look for work, if one sleeps."""
        if self._conditions:
            self._conditions.popitem()[1].notify()

    def wake_one_for(self, run: Run) -> bool:
        """Have a worker that can work on a run look for work; return whether there is one."""
        for worker in reversed(self._conditions):
            if worker.can_work_on(run):
                self._conditions.pop(worker).notify()
                return True
        return False

    def wake_all(self) -> None:
        """Have every worker look for work."""
        while self._conditions:
            self.wake_one()
