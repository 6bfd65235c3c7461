"""Workers that sleep, since they have found nothing to do."""

from __future__ import annotations

from _thread import allocate_lock
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from _thread import LockType

    from bgsim.running.run import Run


class Sleeper(Protocol):
    """A worker, as far as its sleep is concerned.

    Attributes
    ----------
    is_spare : bool
        Whether a chunk that it is given waits for the end of another one.
    """

    @property
    def is_spare(self) -> bool:
        """Whether a chunk that it is given waits."""

    def computes(self, run: Run) -> bool:
        """Tell whether it computes chunks of a run."""

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
        self._alarms: dict[Sleeper, LockType] = {}  # a release ends the sleep

    def __len__(self) -> int:
        return len(self._alarms)

    def sleep(self, worker: Sleeper) -> None:
        """Wait until something wakes this worker, in its own thread; a condition would take twice as long."""
        alarm = allocate_lock()
        alarm.acquire()
        self._alarms[worker] = alarm
        self._lock.release()
        alarm.acquire()
        self._lock.acquire()

    def wake_one(self) -> None:
        """Have a worker look for work, if one sleeps."""
        if self._alarms:
            self._alarms.popitem()[1].release()

    def wake_one_for(self, run: Run) -> bool:
        """Have a worker that can work on a run look for work, a spare one last; return whether there is one."""
        found = None
        for worker in reversed(self._alarms):
            if worker.can_work_on(run):
                found = worker
                if not worker.is_spare:
                    break
        if found is not None:
            self._alarms.pop(found).release()
        return found is not None

    def would_compute(self, run: Run) -> bool:
        """Tell whether one of them would compute a chunk of a run at once."""
        return any(worker.computes(run) and not worker.is_spare for worker in self._alarms)

    def wake_all(self) -> None:
        """Have every worker look for work."""
        while self._alarms:
            self.wake_one()
