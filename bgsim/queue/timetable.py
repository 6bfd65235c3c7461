"""What happens with time: which request expires, which entry becomes due or ages, which group's rate has room again."""

from __future__ import annotations

import enum
import math
from typing import Any, TypeAlias

from bgsim.queue.lazy_heap import LazyHeap


class Event(enum.IntEnum):
    """What happens; of what happens at one time, the lower comes first."""

    EXPIRE = 0
    DUE = 1
    AGE = 2
    REOPEN = 3


Appointment: TypeAlias = tuple[float, Event, Any]
"""``(when, event, tie)``; ties of one kind of event are all numbers or all strings, and no two are equal."""


class Timetable:
    """Events in the order of time. Not for several threads at once.

    Attributes
    ----------
    look_at : float
        Nothing happens before.
    """

    __slots__ = ("_events", "look_at")

    def __init__(self) -> None:
        self._events: LazyHeap[Appointment, Any] = LazyHeap()
        self.look_at = math.inf

    def add(self, appointment: Appointment, value: object) -> None:
        """Have something happen to a value."""
        self._events.push(appointment, value)
        self.look_at = min(self.look_at, appointment[0])

    def discard(self, appointment: Appointment) -> None:
        """Have it not happen, if it has not."""
        self._events.discard(appointment)

    def next_at(self) -> float:
        """Return when something happens next, infinity when nothing will."""
        first = self._events.first_key()
        return math.inf if first is None else first[0]

    def take(self, now: float) -> tuple[Appointment, Any] | None:
        """Take out the next of what happens until now; None when that is all."""
        first = self._events.first_key()
        if first is None or first[0] > now:
            self.look_at = math.inf if first is None else first[0]
            return None
        value = self._events.first()
        self._events.drop_first()
        return first, value

    def copy(self) -> dict[Appointment, Any]:
        """Return the values by appointment; the sorted appointments are in order."""
        return self._events.copy()

    def check(self) -> None:
        """Assert what holds between two calls."""
        self._events.check()
        assert self.look_at <= self.next_at()
