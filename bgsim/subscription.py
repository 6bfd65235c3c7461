"""One subscriber's view of the bus: a filter, a bounded buffer, and an iterator or a callback."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bgsim.progress import ProgressBus, ProgressUpdate, UpdateType


class Subscription:
    """What `ProgressBus.subscribe` returns: an iterator over updates, or the handle of a callback.

    Iterate over it with ``for`` or ``async for``. A subscription to jobs ends after the last one's terminal
    update, any other when it or the bus is closed. Leaving a ``with`` block unsubscribes.

    Guarantees
    ----------
    - The buffer holds at most `maxlen` updates and, beyond that, only STARTED and terminal ones. When it is
      full, the newest progress of a job takes the place of an older one.
    - After `unsubscribe` returns, no further call of the callback begins.

    Attributes
    ----------
    delivered, conflated, failed : int
        Updates handed over, updates that a newer one replaced, and calls that raised.
    """

    def __init__(
        self,
        bus: ProgressBus,
        callback: Callable[[ProgressUpdate], Any] | None,
        jobs: frozenset[str] | None,
        min_type: UpdateType,
        where: Callable[[ProgressUpdate], Any] | None,
        maxlen: int,
    ) -> None:
        self._bus = bus
        self.callback = callback
        self.jobs = jobs
        self.min_type = min_type
        self.where = where
        self.maxlen = maxlen
        self.delivered = self.conflated = self.failed = 0
        # Guards all below. Nothing is called under it but `call_soon_threadsafe`.
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._buffer: deque[ProgressUpdate] = deque()
        self._open_jobs = set(jobs) if jobs is not None else None
        self._ended = False  # no update will be added
        self._unsubscribed = False
        self._scheduled = False  # the callback thread will look at the buffer
        self._sleepers: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    # ---- consuming -----------------------------------------------------------------------------------

    def get(self, *, timeout_s: float | None = None) -> ProgressUpdate | None:
        """Return the next update, waiting for it; None when no more will come.

        Raises
        ------
        TimeoutError
            If none came in time.
        """
        with self._lock:
            if not self._arrived.wait_for(lambda: self._buffer or self._ended, timeout_s):
                raise TimeoutError(f"no update within {timeout_s} s")
            if not self._buffer:
                return None
            self.delivered += 1
            return self._buffer.popleft()

    def __iter__(self) -> Iterator[ProgressUpdate]:
        return self

    def __next__(self) -> ProgressUpdate:
        update = self.get()
        if update is None:
            raise StopIteration
        return update

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> ProgressUpdate:
        loop = asyncio.get_running_loop()
        while True:
            with self._lock:
                if self._buffer:
                    self.delivered += 1
                    return self._buffer.popleft()
                if self._ended:
                    raise StopAsyncIteration
                arrival = loop.create_future()
                self._sleepers.append((loop, arrival))
            await arrival

    def unsubscribe(self) -> None:
        """End the subscription; may be called from its own callback, and more than once."""
        with self._lock:
            self._unsubscribed = self._ended = True
            self._buffer.clear()
            self._wake()
        self._bus._remove(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exception: object) -> None:
        self.unsubscribe()

    def __repr__(self) -> str:
        what = "callback" if self.callback else "iterator"
        state = "ended" if self._ended else "open"
        counts = f"{self.delivered} delivered, {self.conflated} conflated, {self.failed} failed"
        return f"<{what} subscription, {state}: {counts}>"

    # ---- called by the bus ---------------------------------------------------------------------------

    def _offer(self, update: ProgressUpdate) -> bool:
        """Buffer an update; return whether the callback thread has to be told."""
        with self._lock:
            if self._ended:
                return False
            if len(self._buffer) >= self.maxlen and not self._make_room(update):
                return False
            self._buffer.append(update)
            self._wake()
            tell = self.callback is not None and not self._scheduled
            self._scheduled = self._scheduled or tell
            return tell

    def _job_ended(self, simulation_id: str) -> bool:
        """Take note that a job's terminal update has passed; return whether it was the last job."""
        with self._lock:
            if self._open_jobs is None:
                return False
            self._open_jobs.discard(simulation_id)
            if not self._open_jobs:
                self._ended = True
                self._wake()
            return self._ended

    def _make_room(self, update: ProgressUpdate) -> bool:
        """Conflate; return whether the update still has to be appended."""
        from bgsim.progress import UpdateType  # noqa: PLC0415 - it imports this module

        if update.update_type is UpdateType.PROGRESS:
            for i in range(len(self._buffer) - 1, -1, -1):
                held = self._buffer[i]
                if held.update_type is UpdateType.PROGRESS and held.simulation_id == update.simulation_id:
                    self._buffer[i] = update
                    self.conflated += 1
                    return False
        for i, held in enumerate(self._buffer):
            if held.update_type is UpdateType.PROGRESS:
                del self._buffer[i]
                self.conflated += 1
                break
        return True

    def _next_for_callback(self) -> ProgressUpdate | None:
        with self._lock:
            if self._unsubscribed or not self._buffer:
                self._scheduled = False
                return None
            self.delivered += 1
            return self._buffer.popleft()

    def _end(self) -> None:
        """Let the consumer drain what is here, and then stop."""
        with self._lock:
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        self._arrived.notify_all()
        for loop, arrival in self._sleepers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_set, arrival)
        self._sleepers.clear()


def _set(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)
