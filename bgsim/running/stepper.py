"""The work of an engine without threads: one step at a time, in whatever thread asks for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from bgsim.threads.locks import Condition, Lock
from bgsim.threads.signals import HOLD, interruptibly

if TYPE_CHECKING:
    from bgsim.progress import ProgressBus
    from bgsim.running.state import State
    from bgsim.running.storing import Storing
    from bgsim.running.timers import Timers
    from bgsim.running.workers import Workers


class Stepper:
    """Steps an immediate engine; in one with threads there is nothing to do. Any thread may call any method.

    Attributes
    ----------
    drives : bool
        False in an engine that only its caller steps.
    """

    def __init__(self, state: State, storing: Storing, workers: Workers, timers: Timers, bus: ProgressBus) -> None:
        self.drives = True
        self._state = state
        self._storing = storing
        self._workers = workers
        self._timers = timers
        self._bus = bus
        self._lock = Lock()  # guards the next; nothing is called under it
        self._turn_over = Condition(self._lock.raw)
        self._thread: int | None = None  # the one that steps

    @property
    def is_here(self) -> bool:
        """Whether this thread is within a step, which has called what calls this."""
        return self._thread == threading.get_ident()

    def step(self) -> bool:
        """Do one unit of work in this thread; return False when nothing is due.

        One thread steps at a time; another waits for it. Callbacks come after the step.
        """
        if self.is_here or not self._state.config.immediate:
            return False
        try:
            with HOLD:
                return self._take_turn()
        finally:
            self._bus.deliver()

    def _take_turn(self) -> bool:
        try:
            with self._lock:
                self._turn_over.wait_for(lambda: self._thread is None)
                self._thread = threading.get_ident()
            return interruptibly(self._step)
        finally:
            with self._lock:
                if self.is_here:  # else a signal's handler has ended the wait for its turn
                    self._thread = None
                    self._turn_over.notify_all()

    def _step(self) -> bool:
        self._timers.act()
        self._timers.run_periodic()
        if self._workers.all[0].step():
            return True
        state = self._state
        left = len(state.storing) + state.leaving
        if left:
            self._storing.flush()
        return len(state.storing) + state.leaving < left

    def drive(self) -> None:
        """Do all that is due in this thread."""
        while self.drives and self.step():
            pass
