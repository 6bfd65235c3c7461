"""Where an engine's time comes from: the system, or a clock that a test sets."""

from __future__ import annotations

import threading
import time


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
        self._lock = threading.Lock()  # guards the two below
        self._monotonic = 0.0
        self._offset = time

    def monotonic(self) -> float:
        """Return the seconds that it was advanced by."""
        return self._monotonic

    def time(self) -> float:
        """Return the wall clock's seconds since the epoch."""
        with self._lock:
            return self._offset + self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        if not seconds >= 0:
            raise ValueError(f"time passes forwards; got {seconds!r} seconds")
        with self._lock:
            self._monotonic += seconds

    def set_time(self, time: float) -> None:
        """Set the wall clock, as an administrator or a time server does; the monotonic clock stays as it is."""
        with self._lock:
            self._offset = time - self._monotonic
