"""One subscriber's view of the bus: a filter, a bounded buffer, and an iterator or a callback."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from bgsim.bus.buffer import Buffer

if TYPE_CHECKING:
    from bgsim.bus.filters import Filter
    from bgsim.bus.updates import ProgressUpdate
    from bgsim.progress import ProgressBus

logger = logging.getLogger("bgsim.progress")


class Subscription:
    """What `ProgressBus.subscribe` returns: an iterator over updates, or the handle of a callback.

    Iterate over it with ``for`` or ``async for``. A subscription to jobs ends after the last one's terminal
    update, any other when it or the bus is closed. Leaving a ``with`` block unsubscribes; so does dropping the last
    reference to an iterator.

    Guarantees
    ----------
    - At most `maxlen` updates wait, and beyond that of each job its STARTED, its newest progress and its terminal
      update; see `bgsim.bus.buffer.Buffer`.
    - Calls follow each other, in the order of the updates, wherever they are made.
    - After `unsubscribe` returns, no further call of the callback begins; one that is being made is not waited for.
    - A callback or predicate that raises is logged the first time and counted; the subscription goes on.
    - A predicate runs where its updates go: before the callback, or in the thread or task that iterates.

    Attributes
    ----------
    bus : ProgressBus
    delivered, conflated, failed : int
        Updates handed over, updates that a newer one replaced, and calls of callback or predicate that raised.
    """

    def __init__(
        self,
        bus: ProgressBus,
        callback: Callable[[ProgressUpdate], Any] | None,
        wanted: Filter,
        maxlen: int = 256,
        executor: Executor | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        later: int = 0,
    ) -> None:
        self.bus = bus
        self.callback = callback
        self.wanted = wanted
        self.executor = executor
        self.loop = loop
        self.failed = 0
        self._reference = weakref.ref(self)  # by which the bus knows it
        # Guards all below; a leaf, under which nothing of anybody else's is called.
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._buffer = Buffer(maxlen)
        self._open_jobs = set(wanted.jobs) if wanted.jobs is not None else None
        self._later = later  # jobs that will be added
        self._ended = self._open_jobs is not None and not self._open_jobs and not later  # no update will be added
        self._unsubscribed = False
        self._scheduled = False  # somebody is at the buffer to call the callback, or will be
        self._unmatched = 0
        self._waiting = 0  # threads in `get`
        self._sleepers: list[asyncio.Future[None]] = []  # tasks in `__anext__`

    @property
    def delivered(self) -> int:
        """Updates handed over."""
        return self._buffer.taken - self._unmatched

    @property
    def conflated(self) -> int:
        """Updates that a newer one replaced."""
        return self._buffer.conflated

    # ---- iterating -----------------------------------------------------------------------------------

    def get(self, *, timeout_s: float | None = None) -> ProgressUpdate | None:
        """Return the next update, waiting for it; None when no more will come.

        Raises
        ------
        TimeoutError
            If none came in time.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self.bus._deliver_if_threadless()
            with self._lock:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not self._wait(left):
                    raise TimeoutError(f"no update within {timeout_s} s")
                update = self._buffer.get()
            if update is None or self._matches(update):
                return update

    def take_all(self) -> list[ProgressUpdate]:
        """Return the updates that are here, without waiting for more."""
        self.bus._deliver_if_threadless()
        found: list[ProgressUpdate] = []
        while True:
            with self._lock:
                update = self._buffer.get()
            if update is None:
                return found
            if self._matches(update):
                found.append(update)

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
        while True:
            self.bus._deliver_if_threadless()
            with self._lock:
                update = self._buffer.get()
                if update is None:
                    if self._ended:
                        raise StopAsyncIteration
                    arrival = asyncio.get_running_loop().create_future()
                    self._sleepers.append(arrival)
            if update is None:
                await arrival
            elif self._matches(update):
                return update

    # ---- ending --------------------------------------------------------------------------------------

    def unsubscribe(self) -> None:
        """End the subscription; may be called from its own callback, and more than once."""
        with self._lock:
            self._unsubscribed = self._ended = True
            self._buffer.clear()
            sleepers = self._wake()
        _rouse(sleepers)
        self.bus._remove(self)

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
        """Buffer an update, if it is wanted; return whether somebody has to be sent to call the callback."""
        if not self.wanted.passes(update):
            return False
        with self._lock:
            if self._ended:
                return False
            self._buffer.put(update)
            if self.callback is not None:
                send = not self._scheduled
                self._scheduled = True
                return send
            sleepers = self._wake()
        _rouse(sleepers)
        return False

    def _job_ended(self, simulation_id: str) -> bool:
        """Take note that a job's terminal update has passed; return whether it was the last job."""
        with self._lock:
            if self._open_jobs is None:
                return False
            self._open_jobs.discard(simulation_id)
            if self._open_jobs or self._later:
                return False
        self._end()
        return True

    def _add_job(self, simulation_id: str) -> None:
        """Subscribe to one of the jobs that were to be added."""
        with self._lock:
            if self._open_jobs is None or self._ended:
                return
            self._later -= 1
            self._open_jobs.add(simulation_id)
        self.bus._add_job(self, simulation_id)

    def _add_no_more(self) -> None:
        """End with the last of the jobs that are here."""
        with self._lock:
            self._later = 0
            over = not self._open_jobs
        if over:
            self._end()
            self.bus._remove(self)

    def _end(self) -> None:
        """Let the consumer drain what is here, and then stop."""
        with self._lock:
            self._ended = True
            sleepers = self._wake()
        _rouse(sleepers)

    # ---- calling the callback ------------------------------------------------------------------------

    def _next(self) -> ProgressUpdate | None:
        """Return the next update for the callback; None leaves the buffer to whoever is sent next."""
        with self._lock:
            update = self._buffer.get()
            self._scheduled = update is not None
            return update

    def _call(self, update: ProgressUpdate) -> Any:
        """Call the callback, if the predicate is true."""
        assert self.callback is not None
        try:
            return self.callback(update) if self.wanted.where is None or self._matches(update) else None
        except Exception as error:
            return self._note_failure("callback", update, error)

    def _run(self) -> None:
        """Call the callback until the buffer is empty: a task for the executor."""
        while (update := self._next()) is not None:
            self._call(update)

    def _run_ended(self, task: Future[None]) -> None:
        """Unsubscribe when the executor has dropped the task, or could not run it."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self._give_up(error)

    def _begin_in_loop(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run_in_loop())  # the loop alone would let go of it

    async def _run_in_loop(self) -> None:
        """Call or await the callback until the buffer is empty, letting others have the loop in between."""
        try:
            while (update := self._next()) is not None:
                result = self._call(update)
                try:
                    await (result if inspect.isawaitable(result) else asyncio.sleep(0))
                except Exception as error:
                    self._note_failure("callback", update, error)
        except asyncio.CancelledError:
            self.unsubscribe()
            raise

    def _give_up(self, error: BaseException) -> None:
        """Unsubscribe a callback that nobody calls any more."""
        logger.warning("%r takes no more calls (%r); unsubscribed: %r", self.executor or self.loop, error, self)
        self.unsubscribe()

    def _matches(self, update: ProgressUpdate) -> bool:
        """Ask the predicate."""
        if self.wanted.where is None:
            return True
        try:
            matches = bool(self.wanted.where(update))
        except Exception as error:
            self._note_failure("predicate", update, error)
            matches = False
        if not matches:
            with self._lock:
                self._unmatched += 1
        return matches

    def _note_failure(self, what: str, update: ProgressUpdate, error: BaseException) -> None:
        with self._lock:
            self.failed += 1
            first = self.failed == 1
        self.bus._count_failure(what)
        if first:
            logger.error("the %s of %r raised on %s; others are only counted", what, self, update, exc_info=error)

    # ---- under the lock ------------------------------------------------------------------------------

    def _wait(self, timeout_s: float | None) -> bool:
        """Wait for an update or the end."""
        self._waiting += 1
        try:
            return bool(self._arrived.wait_for(lambda: len(self._buffer) or self._ended, timeout_s))
        finally:
            self._waiting -= 1

    def _wake(self) -> list[asyncio.Future[None]]:
        """Wake the threads that wait; return the tasks, which `_rouse` is to wake without the lock."""
        if self._waiting:
            self._arrived.notify_all()
        if not self._sleepers:
            return []
        sleepers, self._sleepers = self._sleepers, []
        return sleepers


def _rouse(sleepers: list[asyncio.Future[None]]) -> None:
    for arrival in sleepers:
        # A loop that has been closed raises; nobody waits there any more.
        with contextlib.suppress(RuntimeError):
            arrival.get_loop().call_soon_threadsafe(_set, arrival)


def _set(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)
