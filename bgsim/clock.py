"""Where an engine's time comes from: the system, or a clock that a test sets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from weakref import WeakMethod

from bgsim.checks import is_number, refused
from bgsim.threads.locks import Lock


class Clock:
    """The system's clocks. Any thread may call any method."""

    def monotonic(self) -> float:
        """Return seconds that only ever grow; delays, time-outs and rates are measured with it."""
        return time.monotonic()

    def time(self) -> float:
        """Return seconds since the epoch, as the wall clock has them; schedules go by it."""
        return time.time()


class ManualClock(Clock):
    """A clock that moves when it is told to; for `Engine(immediate=True)` and for tests.

    When it has moved, each engine that has it does what has become due: an immediate engine before `advance` returns,
    one with threads in its own. A `SteppedEngine` does so when it is stepped. Any thread may call any method, also
    within what an engine does.

    Parameters
    ----------
    time : float
        Seconds since the epoch to begin with.

    Examples
    --------
    >>> clock = ManualClock()
    >>> clock.advance(90.0)
    >>> clock.monotonic()
    90.0
    """

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        self._lock = Lock()  # guards all below; nothing is called under it
        self._monotonic = 0.0
        self._offset = time
        self._listeners: list[WeakMethod[Callable[[], None]]] = []

    def monotonic(self) -> float:
        """Return the seconds that it was advanced by."""
        return self._monotonic

    def time(self) -> float:
        """Return the wall clock's seconds since the epoch."""
        with self._lock:
            return self._offset + self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks.

        Raises
        ------
        InvalidInputError
            If `seconds` is negative or not finite.
        """
        if not (is_number(seconds) and 0 <= seconds < math.inf):
            raise refused("seconds", seconds, "a finite number of 0 or more, since time passes forwards")
        with self._lock:
            self._monotonic += seconds
        self._tell()

    def set_time(self, time: float) -> None:
        """Set the wall clock, as an administrator or a time server does; the monotonic clock stays as it is."""
        if not (is_number(time) and math.isfinite(time)):
            raise refused("time", time, "finite seconds since the epoch")
        with self._lock:
            self._offset = time - self._monotonic
        self._tell()

    def on_move(self, listener: Callable[[], None]) -> None:
        """Have a method called after each move, in the thread that moves the clock, while its object lives."""
        with self._lock:
            self._listeners = [*filter(_is_alive, self._listeners), WeakMethod(listener)]

    def _tell(self) -> None:
        for reference in self._listeners:
            listener = reference()
            if listener is not None:
                listener()


def _is_alive(reference: WeakMethod[Callable[[], None]]) -> bool:
    return reference() is not None
