"""Plain callables that wait for a worker: runs without columns, which `Engine.executor` puts beside the simulations."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from bgsim.queue.entry import Entry, EntryState

if TYPE_CHECKING:
    from bgsim.priority import Priority
    from bgsim.running.state import State

_numbers = itertools.count()


class Call(Entry):
    """One callable; it is the entry of the queue and its only member.

    Attributes
    ----------
    task : callable or None
        None once a worker has taken it, so that nothing keeps it after the call.
    """

    __slots__ = ("expires_at", "id", "task")

    supersede = debounce_s = max_wait_s = None

    def __init__(self, task: Callable[[], None], priority: Priority, group: str | None) -> None:
        super().__init__(None, group)
        self.id = str(next(_numbers))
        self.task: Callable[[], None] | None = task
        self.priority = priority
        self.replicates = 1
        self.expires_at = float("inf")


class Calls:
    """The calls of a state; under the engine's lock."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._queue = state.calls

    def put(self, call: Call) -> None:
        """Add a call, and have a worker look for it."""
        self._queue.put(call, call, self._state.now())
        self._state.sleepers.wake_one()

    def withdraw(self, call: Call) -> bool:
        """Take a call out; return False if a worker has taken it."""
        if call.id not in self._queue.by_id or call.state is EntryState.PROCESSING:
            return False
        self._queue.remove(call.id, self._state.now())
        return True

    def urgency(self, now: float) -> tuple[int, int, int] | None:
        """Return the next call's place among the runs; None if none is ready."""
        if not self._queue.order.waiting:
            return None
        head = self._queue.order.first(now)
        return None if head is None else (-head.priority, self._state.calls_running, self._state.call_turn)

    def take(self, now: float) -> Call | None:
        """Take the next call; `done` is to follow."""
        call = self._queue.take(now)
        if call is None:
            return None
        assert isinstance(call, Call)
        self._state.calls_running += 1
        self._state.call_turn = next(self._state.turns)
        return call

    def done(self, call: Call) -> None:
        """Note that a call has ended."""
        self._state.calls_running -= 1
        self._queue.finish(call, self._state.now())
        call.members.clear()  # it is its own member
