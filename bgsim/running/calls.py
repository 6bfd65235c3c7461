"""Plain callables that wait for a worker: what `Engine.executor` puts beside the simulations."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from bgsim.ctrl_c import interruptibly
from bgsim.errors import RequestNotFoundError
from bgsim.priority import Priority
from bgsim.queue_manager import EntryState, SimulationQueue, SimulationRequest

if TYPE_CHECKING:
    from bgsim.clock import Clock
    from bgsim.config import EngineConfig
    from bgsim.queue_manager import Entry


class Calls:
    """A queue of callables, and how many of them run. Under the engine's lock, but for what `put` returns.

    Calls need no running place: what keeps a simulation waiting does not keep a call from a free worker.
    """

    def __init__(self, config: EngineConfig, clock: Clock) -> None:
        self._queue = SimulationQueue(
            sys.maxsize, limits=config.limits, rate_limits=config.rate_limits, clock=clock.monotonic
        )
        self._numbers = itertools.count()
        self._running = 0
        self._turn = 0  # when one was last given a worker, counted over all runs and calls

    def put(self, task: Callable[[], None], priority: Priority, group: str | None) -> Callable[[], bool]:
        """Add a call; return what takes it out again, True if it had not begun. Any thread may call that."""
        request_id = str(next(self._numbers))
        self._queue.put(SimulationRequest(request_id, priority=priority, payload=task, group=group))

        def withdraw() -> bool:
            try:
                entry, _ = self._queue.cancel(request_id)
            except RequestNotFoundError:
                return False
            return entry.state is EntryState.GONE

        return withdraw

    def need(self) -> tuple[int, int, int] | None:
        """Return how urgent the next call is, as a run's place in the order of service; None when none is ready."""
        head = self._queue.peek() if len(self._queue) else None
        return None if head is None else (-head.priority, self._running, self._turn)

    def next_event_at(self) -> float | None:
        """Return when, by the clock, a call that waits for its rate may be ready; None for never."""
        return self._queue.next_event_at()

    def take(self, turn: int, done: Callable[[Entry], None]) -> Callable[[], None] | None:
        """Return the next call, which ends with `done`."""
        entry = self._queue.get_nowait()
        if entry is None:
            return None
        self._running += 1
        self._turn = turn

        def call() -> None:
            task, entry.payload = entry.payload, None  # so that nothing keeps it once it has been called
            try:
                interruptibly(task)
            finally:
                del task
                done(entry)

        return call

    def done(self, entry: Entry) -> None:
        """Take note that a call has ended."""
        self._running -= 1
        self._queue.done(entry)

    def is_idle(self) -> bool:
        """Tell whether none waits or runs."""
        return not self._running and not len(self._queue)
