"""The queue of requests: priorities, deduplication, delays, limits and removal, for any number of threads.

A *request* is what one caller asked for. Requests with one key share an *entry*, which is what is served: the
larger number of replicates and the highest priority among its members count, and the earliest time it may start.
Service order is highest priority first (CRITICAL > HIGH > NORMAL > LOW), first in first out within one.

`bgsim.queue` has the parts, which know neither threads nor a clock, except for `waiters`; here is the lock.

Guarantees
----------
- The check for a duplicate, the check for room and the insertion are one step under one lock.
- A key is free as soon as its entry is done, or its last member has left.
- Payloads are never compared, and nothing is called back: `take_expired` returns what has expired.
- Removal and change are O(log n), and memory follows the number of requests.
- A put wakes at most one waiting thread, and no wake-up is lost.
"""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable, Mapping

from bgsim.checks import NotPicklable, check_integer
from bgsim.errors import EngineClosedError, QueueFullError, RequestNotFoundError
from bgsim.priority import Priority
from bgsim.queue.core import CLOSED, QueueCore, QueueStats
from bgsim.queue.entry import Entry, EntryState
from bgsim.queue.invariants import check
from bgsim.queue.placement import Placement
from bgsim.queue.request import SimulationRequest
from bgsim.queue.timetable import Event
from bgsim.queue.waiters import Waiters
from bgsim.threads.locks import Lock

__all__ = ["Entry", "EntryState", "Placement", "Priority", "QueueStats", "SimulationQueue", "SimulationRequest"]

_PROCESSING, _GONE = EntryState.PROCESSING, EntryState.GONE


class SimulationQueue(NotPicklable):
    """A bounded priority queue of simulation requests.

    Any thread may call any method. One lock guards everything; nothing is called while it is held, except
    the clock.

    Parameters
    ----------
    max_queue_size : int
        How many entries may wait; joining one needs no room.
    limits : mapping of str to int, optional
        How many entries of a group may be processed at once.
    rate_limits : mapping of str to (int, float), optional
        How many entries of a group may be got, and within how many seconds.
    age_after_s : float, optional
        Each time an entry that is due has waited this long it moves up one level.
    clock : callable
        Returns seconds; settable for tests. Timeouts of waiting threads are by `time.monotonic`.

    Raises
    ------
    InvalidInputError
        Naming the argument, what was given and what is allowed.

    Examples
    --------
    >>> queue = SimulationQueue(max_queue_size=10)
    >>> first = queue.put(SimulationRequest("a", key="x", replicates=100))
    >>> second = queue.put(SimulationRequest("b", key="x", replicates=500, priority="high"))
    >>> second.joined
    True
    >>> entry = queue.get()
    >>> list(entry.members), entry.replicates, entry.priority.name
    (['a', 'b'], 500, 'HIGH')
    >>> queue.done(entry)
    """

    instead = "make one in each process"

    def __init__(
        self,
        max_queue_size: int = 1000,
        *,
        limits: Mapping[str, int] | None = None,
        rate_limits: Mapping[str, tuple[int, float]] | None = None,
        age_after_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        max_queue_size = check_integer("max_queue_size", max_queue_size)
        self._clock = clock
        self._lock = Lock()
        self._core = QueueCore(max_queue_size, limits=limits, rate_limits=rate_limits, age_after_s=age_after_s)
        self._waiters = Waiters(self._lock, self._core)

    @property
    def max_queue_size(self) -> int:
        """How many entries may wait; may be changed at any time, what is there stays."""
        return self._core.capacity

    @max_queue_size.setter
    def max_queue_size(self, size: int) -> None:
        size = check_integer("max_queue_size", size)
        with self._lock:
            self._core.capacity = size
            self._waiters.wake_all()

    # ---- putting -------------------------------------------------------------------------------------

    def put(self, request: SimulationRequest, *, block: bool = False, timeout_s: float | None = None) -> Placement:
        """Add a request, or let it join the entry with its key.

        Parameters
        ----------
        request : SimulationRequest
        block : bool
            Wait for room instead of raising.
        timeout_s : float, optional
            How long to wait at most.

        Raises
        ------
        QueueFullError
            If there is no room, or none came in time.
        EngineClosedError
            If the queue is closed, also while it waits.
        InvalidInputError
            If the id is in the queue already.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            now = self._advance()
            try:
                while (placed := self._place(request, now)) is None:
                    left = deadline - time.monotonic() if block else 0.0
                    if left <= 0:
                        raise QueueFullError(self._core.full_text())
                    self._waiters.wait_for_room(request.key, left, now)
                    now = self._advance()
                return placed
            finally:
                self._waiters.wake(now, request.key)

    def _place(self, request: SimulationRequest, now: float) -> Placement | None:
        request.due_at = now + request.delay_s
        request.expires_at = math.inf if request.queue_timeout_s is None else now + request.queue_timeout_s
        candidate = Entry(request.key, request.group, request.payload)
        placed = self._core.put(request, candidate, now)  # type: ignore[arg-type] # its priority is a `Priority` by now
        if placed is None:
            return None
        entry, superseded = placed
        dropped = superseded is not None and superseded.id not in self._core.by_id
        return Placement(
            entry,
            entry is not candidate,
            dropped=(superseded,) if dropped else (),
            to_cancel=() if dropped or superseded is None else (superseded,),
        )

    def wait_for_room(self, key: str | None = None, *, timeout_s: float | None = None) -> bool:
        """Wait until a request with this key may fit, or the queue is closed; return False if neither came in time.

        Somebody else may take the room, so put, and wait again if there is none.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            now = self._advance()
            while not self._core.may_fit(key):
                left = deadline - time.monotonic()
                if left <= 0:
                    self._waiters.wake(now)
                    return False
                self._waiters.wait_for_room(key, left, now)
                now = self._advance()
            return True  # and who puts then wakes the next

    def requeue(self, entry: Entry, *, delay_s: float = 0.0) -> None:
        """Put an entry that is being processed back in its old place: it was suspended, and no longer expires.

        It needs no room. An entry without members is gone instead.

        Parameters
        ----------
        entry : Entry
        delay_s : float
            The queue does not serve it before, whatever joins.

        Raises
        ------
        RequestNotFoundError
            If it is not being processed.
        """
        with self._lock:
            now = self._advance()
            if entry.state is not _PROCESSING:
                raise RequestNotFoundError(f"only what is being processed can be requeued; this is {entry!r}")
            self._core.requeue(entry, now, now + delay_s)
            self._waiters.wake(now)

    def hold(self, entry: Entry) -> None:
        """Keep an entry, waiting or being processed, from being served until `release`; one that is gone stays so."""
        with self._lock:
            now = self._advance()
            self._core.hold(entry, now)
            self._waiters.wake(now)

    def release(self, entry: Entry, *, delay_s: float = 0.0) -> None:
        """Let a waiting entry be served in its old place, now or after a while, though it is held or not yet due."""
        with self._lock:
            now = self._advance()
            self._core.release(entry, now, now + delay_s)
            self._waiters.wake(now)

    # ---- serving -------------------------------------------------------------------------------------

    def get(self, *, timeout_s: float | None = None) -> Entry:
        """Take the next entry, waiting for one.

        Raises
        ------
        queue.Empty
            If none came within `timeout_s`.
        EngineClosedError
            If the queue is closed and nothing is ready.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        return self._handed_over(deadline)  # type: ignore[return-value] # with a deadline there is one

    def get_nowait(self) -> Entry | None:
        """Take the next entry, or return None when nothing is ready."""
        return self._handed_over(None)

    def _handed_over(self, deadline: float | None) -> Entry | None:
        """Take an entry, and put it back if the caller does not get it: a signal's handler has raised."""
        entry: Entry | None = None
        try:
            with self._lock:
                entry = self._take(deadline)
            return entry
        except BaseException:
            if entry is not None:
                self.requeue(entry)
            raise

    def _take(self, deadline: float | None) -> Entry | None:
        now = self._advance()
        try:
            while (entry := self._core.take(now)) is None and deadline is not None:
                if self._core.closed:
                    raise EngineClosedError(CLOSED)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise queue.Empty
                self._waiters.wait_for_work(left, now)
                now = self._advance()
            return entry
        finally:
            self._waiters.wake(now)

    def peek(self) -> Entry | None:
        """Return the entry that `get` would take, without taking it."""
        with self._lock:
            return self._core.order.first(self._advance())

    def done(self, entry: Entry) -> None:
        """Say that an entry is finished: its key, its place in its group and its ids are free.

        Raises
        ------
        RequestNotFoundError
            If it is neither waiting nor being processed.
        """
        with self._lock:
            now = self._advance()
            if entry.state is _GONE:
                raise RequestNotFoundError("this entry is finished already")
            self._core.finish(entry, now)
            self._waiters.wake(now)

    # ---- changing ------------------------------------------------------------------------------------

    def cancel(self, request_id: str) -> tuple[Entry, bool]:
        """Take a request out.

        Returns
        -------
        entry : Entry
            The entry that it was in.
        last : bool
            Whether no other request wants it: a waiting entry is then gone, and one that is being processed has given
            its key up and should be stopped.

        Raises
        ------
        RequestNotFoundError
            If the request is not here: unknown, or finished.
        """
        with self._lock:
            now = self._advance()
            entry = self._core.remove(request_id, now)
            self._waiters.wake(now)
            return entry, not entry.members

    def set_priority(self, request_id: str, priority: Priority | str | int) -> None:
        """Change a request's priority; the entry keeps its sequence.

        Raises
        ------
        RequestNotFoundError, InvalidInputError
        """
        priority = Priority.of(priority)
        with self._lock:
            now = self._advance()
            self._core.set_priority(request_id, priority, now)
            self._waiters.wake(now)

    def clear(self) -> list[SimulationRequest]:
        """Take out every waiting request and return them; what is being processed goes on."""
        with self._lock:
            now = self._advance()
            requests = self._core.clear(now)
            self._waiters.wake(now)
            return requests

    def take_expired(self) -> list[SimulationRequest]:
        """Return the requests that have waited longer than their ``queue_timeout_s`` since the last call."""
        if self._core.order.timetable.look_at == math.inf and not self._core.expired:
            return []  # as mostly, and one look needs no lock
        with self._lock:
            self._advance()
            return self._core.take_expired()

    def next_event_at(self) -> float | None:
        """Return when, by the clock, something becomes due, expires or ages; None when nothing will."""
        if self._core.order.timetable.look_at == math.inf:
            return None  # as mostly, and one look needs no lock
        with self._lock:
            when = self._core.order.timetable.next_at()
            return None if when == math.inf else when

    def close(self) -> None:
        """Refuse further puts and wake every waiting thread; the entries can still be got."""
        with self._lock:
            self._core.closed = True
            self._waiters.wake_all()

    # ---- reading -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return how many entries wait."""
        return self._core.order.waiting

    def entry(self, request_id: str) -> Entry:
        """Return the entry that serves a request.

        Raises
        ------
        RequestNotFoundError
        """
        with self._lock:
            return self._core.entry_of(request_id)

    def position(self, request_id: str) -> int | None:
        """Return how many entries are served before this request's, None unless it waits and is due.

        Raises
        ------
        RequestNotFoundError
        """
        with self._lock:
            self._advance()
            return self._core.position(request_id)

    def pending(self) -> list[Entry]:
        """Return the waiting entries in service order, those that are not yet due last."""
        with self._lock:
            self._advance()
            places, appointments = self._core.order.places(), self._core.order.timetable.copy()
        delayed = sorted(appointment for appointment in appointments if appointment[1] is Event.DUE)
        return [*map(places.__getitem__, sorted(places)), *map(appointments.__getitem__, delayed)]

    def stats(self) -> QueueStats:
        """Return the counts, which are kept up to date, so this takes microseconds."""
        with self._lock:
            now = self._advance()
            return self._core.stats(now)

    # ---- under the lock ------------------------------------------------------------------------------

    def _advance(self) -> float:
        """Bring the queue up to the clock, and return what time it is."""
        now = self._clock()
        if self._core.advance(now):
            self._waiters.wake(now)
        return now

    def check_invariants(self) -> None:
        """Assert what holds between two calls; for tests."""
        with self._lock:
            check(self._core, self._advance())
