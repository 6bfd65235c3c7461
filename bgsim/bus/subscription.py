"""One subscriber: a filter, a bounded buffer, and an iterator or a callback."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from bgsim.bus.buffer import Buffer
from bgsim.checks import NotPicklable
from bgsim.threads.locks import Condition, Lock
from bgsim.threads.signals import HOLD, interruptibly, is_interrupt

if TYPE_CHECKING:
    from bgsim.bus.filters import Filter
    from bgsim.bus.post import Post
    from bgsim.bus.updates import ProgressUpdate

logger = logging.getLogger("bgsim.progress")


class Bus(Protocol):
    """A `bgsim.progress.ProgressBus`, as subscriptions and batches use it."""

    def subscribe(self, *args: Any, **kwargs: Any) -> Subscription:
        """Subscribe to updates."""

    def current(self, simulation_id: str) -> ProgressUpdate | None:
        """Return a job's newest update."""

    def deliver(self) -> None:
        """Deliver what was published, on a bus without threads."""


class Registry(Protocol):
    """The bus's list of subscriptions."""

    def add_job(self, subscription: Subscription, job: str) -> None:
        """Add a subscription to one more job."""

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription."""

    def count_failure(self, what: str) -> None:
        """Count a callback or predicate that raised."""


class Subscription(NotPicklable):
    """The iterator over updates, or the handle of a callback, that `ProgressBus.subscribe` returns.

    Iterate over it with ``for`` or ``async for``. A subscription to jobs ends after the last one's terminal
    update, any other when it or the bus is closed. Leaving a ``with`` block unsubscribes; so does dropping the last
    reference to an iterator.

    Guarantees
    ----------
    - The buffer holds at most `maxlen` updates, and beyond that of each job its STARTED, its newest progress and its
      terminal update; see `bgsim.bus.buffer.Buffer`.
    - Calls do not overlap and keep the order of the updates, wherever they are made.
    - After `unsubscribe` returns, no further call of the callback begins; it does not wait for a call in progress.
    - The first exception of a callback or predicate is logged, every one is counted, and the subscription goes on.
    - The predicate runs just before the callback, or in the thread or task that iterates.

    Attributes
    ----------
    bus : ProgressBus
    delivered, conflated, pending, failed : int
        Updates handed over, updates that a newer one replaced, updates in the buffer, and calls of callback or
        predicate that raised.
    ended : bool
        Whether nothing more is put into the buffer.
    """

    instead = "pickle the updates, or subscribe in the process that computes"

    def __init__(
        self,
        bus: Bus,
        registry: Registry,
        callback: Callable[[ProgressUpdate], Any] | None,
        wanted: Filter,
        maxlen: int = 256,
        later: int = 0,
        post: Post | None = None,
        awaits: bool = False,
    ) -> None:
        self.bus = bus
        self.callback = callback
        self.jobs = list(wanted.jobs) if wanted.jobs is not None else None
        """All jobs that were named, if any."""
        self.failed = 0
        self.reference = weakref.ref(self)
        """By which the bus holds an iterator."""
        self._registry = registry
        self._wanted = wanted
        self._post = post
        self._awaits = awaits  # `post` awaits what it calls
        # Guards everything below. A leaf: nothing outside this class is called under it.
        self._lock = Lock()
        self._arrived = Condition(self._lock.raw)
        self._buffer = Buffer(maxlen)
        self._open_jobs = set(self.jobs) if self.jobs is not None else None
        self._later = later  # jobs still to be added
        self.ended = self._open_jobs is not None and not self._open_jobs and not later
        self._scheduled = False  # a thread or task empties the buffer, or will
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

    @property
    def pending(self) -> int:
        """Updates in the buffer."""
        return len(self._buffer)

    # ---- iterating -----------------------------------------------------------------------------------

    def get(self, *, timeout_s: float | None = None) -> ProgressUpdate | None:
        """Wait for the next update and return it; None when no more will come.

        Raises
        ------
        TimeoutError
            If none came in time.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self.bus.deliver()
            with self._lock:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not self._wait(left):
                    raise TimeoutError(f"no update within {timeout_s} s")
                update = self._buffer.get()
            if update is None or self._matches(update):
                return update

    def take_all(self) -> list[ProgressUpdate]:
        """Return all buffered updates without waiting."""
        self.bus.deliver()
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
            self.bus.deliver()
            with self._lock:
                update = self._buffer.get()
                if update is None:
                    if self.ended:
                        raise StopAsyncIteration
                    arrival = asyncio.get_running_loop().create_future()
                    self._sleepers.append(arrival)
            if update is None:
                await arrival
            elif self._matches(update):
                return update

    # ---- jobs and the end ----------------------------------------------------------------------------

    def add_job(self, simulation_id: str) -> None:
        """Subscribe to one of the jobs that were announced with ``later``; its current state comes first."""
        with self._lock:
            if self._open_jobs is None or self.jobs is None or self.ended:
                return
            self._later = max(0, self._later - 1)
            self._open_jobs.add(simulation_id)
            self.jobs.append(simulation_id)
        self._registry.add_job(self, simulation_id)

    def add_no_more(self) -> None:
        """Expect no more jobs: end with the last of those that were named."""
        with self._lock:
            self._later = 0
            over = not self._open_jobs
        if over:
            self.end()
            self._registry.remove(self)

    def job_ended(self, simulation_id: str) -> None:
        """Expect no more of a job; end if it was the last."""
        with self._lock:
            if self._open_jobs is None:
                return
            self._open_jobs.discard(simulation_id)
            if self._open_jobs or self._later:
                return
        self.end()
        self._registry.remove(self)

    def end(self) -> None:
        """Accept no more updates; the subscriber still gets those in the buffer."""
        with self._lock:
            self.ended = True
            sleepers = self._wake()
        _rouse(sleepers)

    def unsubscribe(self) -> None:
        """End the subscription; a callback may end its own, and a second call does nothing."""
        with self._lock:
            self.ended = True
            self._buffer.clear()
            sleepers = self._wake()
        _rouse(sleepers)
        self._registry.remove(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exception: object) -> None:
        self.unsubscribe()

    def __repr__(self) -> str:
        what = "callback" if self.callback else "iterator"
        state = "ended" if self.ended else "open"
        counts = f"{self.delivered} delivered, {self.conflated} conflated, {self.failed} failed"
        return f"<{what} subscription, {state}: {counts}>"

    # ---- called by the bus ---------------------------------------------------------------------------

    def offer(self, update: ProgressUpdate) -> bool:
        """Buffer an update if it is wanted; return whether the dispatcher has to take a turn."""
        if not self._wanted.passes(update):
            return False
        with self._lock:
            if self.ended:
                return False
            self._buffer.put(update)
            if self.callback is not None:
                scheduled, self._scheduled = self._scheduled, True
                return not scheduled
            sleepers = self._wake()
        _rouse(sleepers)
        return False

    def take_turn(self, survived: type[BaseException]) -> bool:
        """Call the callback once, or post it; return whether another turn is due.

        Parameters
        ----------
        survived : type
            What the callback may raise without ending the thread; it is counted.
        """
        if self._post is not None:
            if self.pending:  # none once unsubscribed
                self._hand_on(self._post, survived)
            return False
        update = self._next()
        if update is None:
            return False
        self._call(update, survived)
        return True

    # ---- calling the callback ------------------------------------------------------------------------

    def _hand_on(self, post: Post, survived: type[BaseException]) -> None:
        try:
            call = post(self._run_in_loop if self._awaits else self._run)
            if isinstance(call, Future):
                call.add_done_callback(self._call_ended)
        except BaseException as error:  # the executor or loop has been shut down
            self._give_up(error)
            if not isinstance(error, survived):
                raise

    def _next(self) -> ProgressUpdate | None:
        """Return the next update for the callback; without one, the next `offer` schedules a turn again."""
        with self._lock:
            update = self._buffer.get()
            self._scheduled = update is not None
            return update

    def _call(self, update: ProgressUpdate, survived: type[BaseException] = Exception) -> Any:
        """Call the callback if the predicate is true."""
        assert self.callback is not None
        try:
            wanted = self._wanted.where is None or self._matches(update)
            return interruptibly(self.callback, update) if wanted else None
        except survived as error:
            if is_interrupt(error):
                raise
            return self._note_failure("callback", update, error)

    def _run(self) -> None:
        """Call the callback until the buffer is empty."""
        while (update := self._next()) is not None:
            self._call(update)

    async def _run_in_loop(self) -> None:
        """Call or await the callback until the buffer is empty, and let other tasks run in between."""
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

    def _call_ended(self, call: Future[Any]) -> None:
        """Unsubscribe if the executor cancelled the call or could not make it."""
        error = asyncio.CancelledError() if call.cancelled() else call.exception()
        if error is not None:
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        """Unsubscribe a callback that can no longer be called."""
        logger.warning("its executor, loop or post takes no more calls (%r); unsubscribed: %r", error, self)
        self.unsubscribe()

    def _matches(self, update: ProgressUpdate) -> bool:
        """Ask the predicate."""
        if self._wanted.where is None:
            return True
        with HOLD:
            try:
                matches = bool(interruptibly(self._wanted.where, update))
            except Exception as error:
                if is_interrupt(error):
                    raise
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
        self._registry.count_failure(what)
        if first:
            logger.error("the %s of %r raised on %s; others are only counted", what, self, update, exc_info=error)

    # ---- under the lock ------------------------------------------------------------------------------

    def _wait(self, timeout_s: float | None) -> bool:
        """Wait for an update or the end."""
        self._waiting += 1
        try:
            return bool(self._arrived.wait_for(lambda: len(self._buffer) or self.ended, timeout_s))
        finally:
            self._waiting -= 1

    def _wake(self) -> list[asyncio.Future[None]]:
        """Wake waiting threads; return the waiting tasks, which `_rouse` wakes without the lock."""
        if self._waiting:
            self._arrived.notify_all()
        if not self._sleepers:
            return []
        sleepers, self._sleepers = self._sleepers, []
        return sleepers


def _rouse(sleepers: list[asyncio.Future[None]]) -> None:
    for arrival in sleepers:
        with contextlib.suppress(RuntimeError):  # the loop has been closed, and its tasks with it
            arrival.get_loop().call_soon_threadsafe(_set, arrival)


def _set(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)
