"""The queue of requests: priorities, deduplication, delays, limits and removal, for any number of threads.

A *request* is what one caller asked for. Requests with one key share an *entry*, which is what is served: the
larger number of replicates and the highest priority among its members count. An entry goes one way::

    put ──> DELAYED ──due──> READY ──get──> PROCESSING ──done──> GONE
                              │  ^               │
                     group full  group has room  requeue (suspended): READY again, in its old place
                              v  │
                             PARKED              the last member cancelled or expired: GONE

Service order is highest priority first (CRITICAL > HIGH > NORMAL > LOW), first in first out within one.

Guarantees
----------
- The check for a duplicate, the check for room and the insertion are one step under one lock.
- A key is free as soon as its entry is done, or its last member has left.
- Heap items are ``(-level, sequence, stamp, entry)`` with a unique stamp, so payloads are never compared.
- Removal and change are O(log n): an item that is not its entry's current one is stale and skipped; a heap
  is rebuilt when its stale items outnumber the live ones, so memory follows the live.
- Nothing is called back: what has expired is handed out by `take_expired`.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import math
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from bgsim.errors import EngineClosedError, InvalidInputError, QueueFullError, RequestNotFoundError, nearest


class Priority(enum.IntEnum):
    """How urgent a request is; higher is served first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3

    @classmethod
    def of(cls, value: Priority | str | int) -> Priority:
        """Return the priority that a member, its name in any case, or its number stands for.

        Raises
        ------
        InvalidInputError
            Naming the four.
        """
        try:
            return cls[value.upper()] if isinstance(value, str) else cls(value)
        except (KeyError, ValueError):
            names = [p.name.lower() for p in reversed(cls)]
            hint = nearest(value.lower(), names) if isinstance(value, str) else ""
            raise InvalidInputError(
                f"priority must be one of {', '.join(names)}{hint}; got {value!r}", field="priority", value=value
            ) from None


class EntryState(enum.Enum):
    """Where an entry is."""

    DELAYED = "delayed"
    READY = "ready"
    PARKED = "parked"
    PROCESSING = "processing"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class SimulationRequest:
    """What one caller asked for.

    Attributes
    ----------
    id : str
        Unique among all requests.
    key : str or None
        Requests with one key are one run; None keeps this one apart.
    replicates : int
        The largest among the members of an entry counts.
    priority : Priority
        The highest among the members counts.
    payload : object
        The caller's; that of an entry's first request stays with the entry.
    group : str or None
        Counts against `SimulationQueue`'s limits of that name.
    supersede : str or None
        The newest request with this word replaces the older ones.
    delay_s, queue_timeout_s : float or None
        Earliest start and latest start, seconds from `put`.
    debounce_s, max_wait_s : float or None
        With `supersede`: start only when nothing newer came for so long, but wait at most so long.
    """

    id: str
    key: str | None = None
    replicates: int = 1
    priority: Priority = Priority.NORMAL
    payload: Any = None
    group: str | None = None
    supersede: str | None = None
    delay_s: float = 0.0
    queue_timeout_s: float | None = None
    debounce_s: float | None = None
    max_wait_s: float | None = None
    expires_at: float = math.inf  # by the queue's clock; set when it is put

    def __post_init__(self) -> None:
        self.priority = Priority.of(self.priority)
        for name in ("delay_s", "queue_timeout_s", "debounce_s", "max_wait_s"):
            value = getattr(self, name)
            least_upper = math.inf if name != "delay_s" else math.nan
            if value is not None and not (0 <= value < least_upper or (name == "delay_s" and value >= 0)):
                raise InvalidInputError(
                    f"{name} must be a number of seconds, 0 or more; got {value!r}", field=name, value=value
                )


@dataclass(slots=True, eq=False)
class Entry:
    """The requests with one key, served together. Read-only outside of the queue.

    Attributes
    ----------
    members : dict of str to SimulationRequest
        The requests that share it, by id.
    state : EntryState
    sequence : int
        Its place among entries of one priority; kept for life.
    priority : Priority
        The highest of the members'.
    replicates : int
        The largest of the members'.
    payload : object
        The first request's.
    """

    key: str | None
    payload: Any
    group: str | None
    sequence: int
    put_at: float
    members: dict[str, SimulationRequest] = field(default_factory=dict)
    state: EntryState = EntryState.READY
    priority: Priority = Priority.LOW
    replicates: int = 0
    aged: int = 0
    item: tuple[int, int, int, Entry] | None = None  # its live item in a heap; anything else there is stale
    timers: int = 0  # its live items in the heap of timers
    epoch: int = 0  # timers of an earlier epoch are stale

    @property
    def level(self) -> int:
        """Priority with what ageing adds."""
        return min(self.priority + self.aged, Priority.CRITICAL)

    def add(self, request: SimulationRequest) -> None:
        """Let a request join."""
        self.members[request.id] = request
        self.priority = max(self.priority, request.priority)
        self.replicates = max(self.replicates, request.replicates)

    def remove(self, request_id: str) -> SimulationRequest:
        """Let a request leave; what counted because of it counts no longer."""
        request = self.members.pop(request_id)
        if self.members:
            if request.priority == self.priority:
                self.priority = max(m.priority for m in self.members.values())
            if request.replicates == self.replicates:
                self.replicates = max(m.replicates for m in self.members.values())
        return request


@dataclass(frozen=True, slots=True)
class Placement:
    """What `put` did.

    Attributes
    ----------
    entry : Entry
        The entry that serves the request.
    joined : bool
        Whether it was there before.
    dropped : tuple of SimulationRequest
        Superseded requests that were waiting; they are gone from the queue.
    to_cancel : tuple of SimulationRequest
        Superseded requests that are being processed; the caller should cancel them.
    """

    entry: Entry
    joined: bool
    dropped: tuple[SimulationRequest, ...] = ()
    to_cancel: tuple[SimulationRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Counts at one moment; waiting means not yet got.

    Attributes
    ----------
    waiting, delayed, parked, processing : int
        Entries; parked ones wait for their group, and count as waiting, as delayed ones do.
    joined : int
        Requests that share an entry with an earlier one.
    by_priority : dict of str to int
        Waiting entries.
    by_group : dict of str to int
        Entries being processed.
    oldest_wait_s : float
        Of the entry that has waited longest; 0 when none waits.
    capacity : int
    """

    waiting: int
    delayed: int
    parked: int
    processing: int
    joined: int
    by_priority: dict[str, int]
    by_group: dict[str, int]
    oldest_wait_s: float
    capacity: int


_Item: TypeAlias = tuple[int, int, int, Entry]
"""In a heap of entries: (-level, sequence, stamp, entry)."""


class _Group:
    """The limits of one group, and the items that wait for them."""

    __slots__ = ("limit", "parked", "processing", "rate", "stale", "starts", "wake_at")

    def __init__(self, limit: int | None, rate: tuple[int, float] | None) -> None:
        self.limit = limit
        self.rate = rate
        self.processing = 0
        self.starts: deque[float] = deque()  # of the last rate[1] seconds; at most rate[0]
        self.parked: list[_Item] = []
        self.stale = 0  # of the parked items
        self.wake_at = math.inf  # when a timer will look again

    def room(self, now: float) -> int:
        """Return how many may start now."""
        room = 10**9 if self.limit is None else self.limit - self.processing
        if self.rate is not None:
            while self.starts and self.starts[0] + self.rate[1] <= now:
                self.starts.popleft()
            room = min(room, self.rate[0] - len(self.starts))
        return room


class SimulationQueue:
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
        How many entries of a group may start within so many seconds.
    age_after_s : float, optional
        Each time an entry has waited this long it moves up one priority.
    clock : callable
        Returns seconds; settable for tests.
    """

    def __init__(
        self,
        max_queue_size: int = 1000,
        *,
        limits: Mapping[str, int] | None = None,
        rate_limits: Mapping[str, tuple[int, float]] | None = None,
        age_after_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_limits(max_queue_size, limits or {}, rate_limits or {}, age_after_s)
        self._max_queue_size = max_queue_size
        self.age_after_s = age_after_s
        self._clock = clock
        self._lock = threading.Lock()
        self._has_work = threading.Condition(self._lock)
        self._has_room = threading.Condition(self._lock)
        self._closed = False
        self._sequences = itertools.count()
        self._stamps = itertools.count()
        # Live items are those with ``item is entry.item``. Waiting = READY + PARKED + DELAYED entries.
        self._ready: list[_Item] = []
        self._stale_ready = 0
        # (when, stamp, kind, entry or group name, epoch); kinds are "due", "expire", "age", "rate".
        self._timers: list[tuple[float, int, str, Any, int]] = []
        self._stale_timers = 0
        self._by_id: dict[str, Entry] = {}
        self._by_key: dict[str, Entry] = {}
        self._waiting: dict[Entry, None] = {}  # in the order of put, so the first is the oldest
        self._processing: set[Entry] = set()
        self._expired: list[SimulationRequest] = []
        self._groups = {
            name: _Group((limits or {}).get(name), (rate_limits or {}).get(name))
            for name in {*(limits or {}), *(rate_limits or {})}
        }
        self._supersedes: dict[str, str] = {}  # word -> id of the newest request with it
        self._bursts: dict[str, float] = {}  # word -> when the first of a burst of debounced requests came
        self._blocked: Counter[str | None] = Counter()  # keys of the puts that wait for room
        self._counts = {"delayed": 0, "parked": 0, "joined": 0}
        self._by_priority = dict.fromkeys(reversed(Priority), 0)

    @property
    def max_queue_size(self) -> int:
        """How many entries may wait; may be changed at any time, what is there stays."""
        return self._max_queue_size

    @max_queue_size.setter
    def max_queue_size(self, size: int) -> None:
        _check_limits(size, {}, {}, None)
        with self._lock:
            self._max_queue_size = size
            self._has_room.notify_all()

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
            If the queue is closed.
        InvalidInputError
            If the id is in the queue already.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with self._lock:
                self._check_open()
                self._advance()
                placement = self._place(request)
            if placement is not None:
                return placement
            left = None if deadline is None else deadline - time.monotonic()
            if not block or not self.wait_for_room(request.key, timeout_s=left):
                raise QueueFullError(
                    f"the queue holds {len(self._waiting)} requests, as many as max_queue_size allows; wait with "
                    "block=True, cancel some, or make it larger"
                )

    def wait_for_room(self, key: str | None = None, *, timeout_s: float | None = None) -> bool:
        """Wait until a request with this key may fit, or the queue is closed; return False if neither came in time.

        Somebody else may take the room, so try again.
        """

        def may_fit() -> bool:
            return self._closed or len(self._waiting) < self._max_queue_size or key in self._by_key

        with self._lock:
            self._blocked[key] += 1
            try:
                return self._has_room.wait_for(may_fit, timeout_s)
            finally:
                self._blocked[key] -= 1
                if not self._blocked[key]:
                    del self._blocked[key]

    def requeue(self, entry: Entry, *, delay_s: float = 0.0) -> None:
        """Put an entry that is being processed back in its old place, after a while; it no longer expires."""
        with self._lock:
            self._put_back(entry)
            if delay_s > 0:
                self._delay(entry, self._clock() + delay_s)
            else:
                self._make_ready(entry)

    def hold(self, entry: Entry) -> None:
        """Keep an entry, waiting or being processed, from being served until `release`; more than once does nothing."""
        with self._lock:
            if entry.state is EntryState.PROCESSING:
                self._put_back(entry)
            elif entry.state is EntryState.DELAYED:
                self._counts["delayed"] -= 1
                self._forget_due(entry)
            elif entry.state is EntryState.GONE:
                return
            else:
                self._discard_item(entry)
                self._unpark(entry.group, 1)
            self._delay(entry, math.inf)

    def release(self, entry: Entry, *, delay_s: float = 0.0) -> None:
        """Make an entry that is held, or not yet due, ready in its old place, now or after a while."""
        with self._lock:
            if entry.state is EntryState.DELAYED:
                self._counts["delayed"] -= 1
                self._forget_due(entry)
                if delay_s > 0:
                    self._delay(entry, self._clock() + delay_s)
                else:
                    self._make_ready(entry)

    def _put_back(self, entry: Entry) -> None:
        self._release(entry)
        entry.put_at = self._clock()
        for request in entry.members.values():
            request.expires_at = math.inf
        self._start_waiting(entry)

    def _delay(self, entry: Entry, due: float) -> None:
        entry.state = EntryState.DELAYED
        self._counts["delayed"] += 1
        if due < math.inf:
            self._set_timer(due, "due", entry)

    def _forget_due(self, entry: Entry) -> None:
        """Make the time at which it was due stale, and keep those at which its requests expire."""
        self._forget_timers(entry)
        for when in {r.expires_at for r in entry.members.values() if r.expires_at < math.inf}:
            self._set_timer(when, "expire", entry)

    def _place(self, request: SimulationRequest) -> Placement | None:
        """Insert, join, or return None where there is no room."""
        if request.id in self._by_id:
            raise InvalidInputError(f"request {request.id!r} is in the queue already", field="id", value=request.id)
        now = self._clock()
        entry = self._by_key.get(request.key) if request.key is not None else None
        older = self._supersedes.get(request.supersede) if request.supersede is not None else None
        replaces = older is not None and self._waiting_alone(older)
        if entry is None and len(self._waiting) - replaces >= self.max_queue_size:
            return None
        joined = entry is not None
        if entry is None:
            entry = Entry(request.key, request.payload, request.group, next(self._sequences), now)
            if request.key is not None:
                self._by_key[request.key] = entry
            self._insert(entry, request, now)
        else:
            self._join(entry, request, now)
        self._by_id[request.id] = entry
        if request.queue_timeout_s is not None and entry.state is not EntryState.PROCESSING:
            request.expires_at = now + request.queue_timeout_s
            self._set_timer(request.expires_at, "expire", entry)
        dropped, to_cancel = self._supersede(request, older)
        return Placement(entry, joined, dropped, to_cancel)

    def _insert(self, entry: Entry, request: SimulationRequest, now: float) -> None:
        entry.add(request)
        self._start_waiting(entry)
        due = self._due(request, now)
        if due > now:
            self._delay(entry, due)
        else:
            self._make_ready(entry)
        if request.key in self._blocked:
            self._has_room.notify_all()  # those with this key can join now, which needs no room

    def _join(self, entry: Entry, request: SimulationRequest, now: float) -> None:
        before = entry.priority
        entry.add(request)
        self._counts["joined"] += 1
        if entry.state is EntryState.DELAYED:
            self._set_timer(self._due(request, now), "due", entry)
        self._reorder(entry, before)

    def _due(self, request: SimulationRequest, now: float) -> float:
        due = now + request.delay_s
        if request.debounce_s is None or request.supersede is None:
            return due
        began = self._bursts.setdefault(request.supersede, now)
        due = max(due, now + request.debounce_s)
        return due if request.max_wait_s is None else min(due, began + request.max_wait_s)

    def _supersede(
        self, request: SimulationRequest, older: str | None
    ) -> tuple[tuple[SimulationRequest, ...], tuple[SimulationRequest, ...]]:
        if request.supersede is None:
            return (), ()
        self._supersedes[request.supersede] = request.id
        if older is None or older not in self._by_id:
            return (), ()
        entry = self._by_id[older]
        if entry.state is EntryState.PROCESSING and entry is not self._by_id[request.id]:
            return (), (entry.members[older],)
        dropped = entry.members[older]
        self._leave(older)
        return (dropped,), ()

    def _waiting_alone(self, request_id: str) -> bool:
        entry = self._by_id.get(request_id)
        return entry is not None and entry.state is not EntryState.PROCESSING and len(entry.members) == 1

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
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            while True:
                self._advance()
                entry = self._take()
                if entry is not None:
                    return entry
                self._check_open()
                wait = None if deadline is None else deadline - time.monotonic()
                if wait is not None and wait <= 0:
                    raise queue.Empty
                if self._timers:
                    until = max(0.0, self._timers[0][0] - self._clock())
                    wait = until if wait is None else min(wait, until)
                self._has_work.wait(wait)

    def get_nowait(self) -> Entry | None:
        """Take the next entry, or return None when nothing is ready."""
        with self._lock:
            self._advance()
            return self._take()

    def peek(self) -> Entry | None:
        """Return the entry that `get` would take, without taking it."""
        with self._lock:
            self._advance()
            return self._first()

    def done(self, entry: Entry) -> None:
        """Say that an entry is finished: its key, its place in its group and its ids are free.

        Raises
        ------
        RequestNotFoundError
            If it is neither waiting nor being processed.
        """
        with self._lock:
            if entry.state is EntryState.GONE:
                raise RequestNotFoundError("this entry is finished already")
            for request in entry.members.values():
                del self._by_id[request.id]
                self._forget_supersede(request)
            self._counts["joined"] -= max(len(entry.members) - 1, 0)
            self._free_key(entry)
            self._drop(entry)

    def _take(self) -> Entry | None:
        entry = self._first()
        if entry is None:
            return None
        heapq.heappop(self._ready)
        self._forget_timers(entry)
        entry.item = None
        entry.state = EntryState.PROCESSING
        self._stop_waiting(entry)
        self._processing.add(entry)
        group = self._groups.get(entry.group) if entry.group is not None else None
        if group is not None:
            group.processing += 1
            if group.rate is not None:
                group.starts.append(self._clock())
        for request in entry.members.values():
            if request.supersede is not None:
                self._bursts.pop(request.supersede, None)
        return entry

    def _first(self) -> Entry | None:
        """Return the entry at the top of the heap, having set aside the stale and those whose group is full."""
        while self._ready:
            item = self._ready[0]
            entry = item[3]
            if item is not entry.item:
                heapq.heappop(self._ready)
                self._stale_ready -= 1
                continue
            group = self._groups.get(entry.group) if entry.group is not None else None
            if group is None or group.room(self._clock()) > 0:
                return entry
            heapq.heappop(self._ready)
            entry.state = EntryState.PARKED
            self._counts["parked"] += 1
            heapq.heappush(group.parked, item)
            self._watch_rate(entry.group or "", group)
        return None

    # ---- changing ------------------------------------------------------------------------------------

    def cancel(self, request_id: str) -> tuple[Entry, bool]:
        """Take a request out.

        Returns
        -------
        entry : Entry
            The entry that it was in.
        last : bool
            Whether nobody else wants it: a waiting entry is then gone, and one that is being processed has given
            its key up and should be stopped.

        Raises
        ------
        RequestNotFoundError
            If the request is not here: unknown, or finished.
        """
        with self._lock:
            self._advance()
            entry = self._entry_of(request_id)
            self._leave(request_id)
            return entry, not entry.members

    def set_priority(self, request_id: str, priority: Priority | str | int) -> None:
        """Change a request's priority; the entry keeps its sequence.

        Raises
        ------
        RequestNotFoundError, InvalidInputError
        """
        priority = Priority.of(priority)
        with self._lock:
            self._advance()
            entry = self._entry_of(request_id)
            before = entry.priority
            entry.members[request_id].priority = priority
            entry.priority = max(m.priority for m in entry.members.values())
            self._reorder(entry, before)

    def clear(self) -> list[SimulationRequest]:
        """Take out every waiting request and return them; what is being processed goes on."""
        with self._lock:
            requests = [r for entry in self._waiting for r in entry.members.values()]
            for request in requests:
                self._leave(request.id)
            return requests

    def take_expired(self) -> list[SimulationRequest]:
        """Return the requests that have waited longer than their ``queue_timeout_s`` since the last call."""
        with self._lock:
            self._advance()
            expired, self._expired = self._expired, []
            return expired

    def next_event_at(self) -> float | None:
        """Return when, by the clock, something becomes due, expires or ages; None when nothing will."""
        with self._lock:
            return self._timers[0][0] if self._timers else None

    def close(self) -> None:
        """Refuse further puts and wake all who wait; what is here can still be got."""
        with self._lock:
            self._closed = True
            self._has_work.notify_all()
            self._has_room.notify_all()

    # ---- reading -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return how many entries wait."""
        return len(self._waiting)

    def entry(self, request_id: str) -> Entry:
        """Return the entry that serves a request.

        Raises
        ------
        RequestNotFoundError
        """
        with self._lock:
            return self._entry_of(request_id)

    def position(self, request_id: str) -> int | None:
        """Return how many entries are served before this request's, None unless it waits and is due."""
        with self._lock:
            self._advance()
            entry = self._entry_of(request_id)
            mine = entry.item
            if mine is None:
                return None
            items = self._ready[:]
            items += itertools.chain.from_iterable(g.parked for g in self._groups.values())
        return sum(item is item[3].item and item < mine for item in items)

    def pending(self) -> list[Entry]:
        """Return the waiting entries in service order, those that are not yet due last."""
        with self._lock:
            self._advance()
            waiting = list(self._waiting)
            due = {timer[3]: timer[0] for timer in self._timers if timer[2] == "due" and not _is_stale(timer)}
        ready = sorted((e for e in waiting if e.item is not None), key=lambda e: (-e.level, e.sequence))
        delayed = sorted((e for e in waiting if e.item is None), key=lambda e: (due.get(e, 0.0), e.sequence))
        return ready + delayed

    def stats(self) -> QueueStats:
        """Return the counts, which are kept up to date, so this takes microseconds."""
        with self._lock:
            self._advance()
            oldest = next(iter(self._waiting), None)
            return QueueStats(
                waiting=len(self._waiting),
                delayed=self._counts["delayed"],
                parked=self._counts["parked"],
                processing=len(self._processing),
                joined=self._counts["joined"],
                by_priority={p.name: n for p, n in self._by_priority.items()},
                by_group={name: g.processing for name, g in self._groups.items()},
                oldest_wait_s=0.0 if oldest is None else self._clock() - oldest.put_at,
                capacity=self.max_queue_size,
            )

    # ---- under the lock ------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise EngineClosedError("the queue is closed; make a new engine to go on")

    def _entry_of(self, request_id: str) -> Entry:
        try:
            return self._by_id[request_id]
        except KeyError:
            raise RequestNotFoundError(
                f"no request {request_id!r} is queued or running; it is unknown or has finished"
            ) from None

    def _make_ready(self, entry: Entry) -> None:
        entry.state = EntryState.READY
        entry.item = (-entry.level, entry.sequence, next(self._stamps), entry)
        heapq.heappush(self._ready, entry.item)
        self._has_work.notify()

    def _reorder(self, entry: Entry, before: Priority) -> None:
        """Bring counts and heap in line after the entry's priority may have changed."""
        if entry in self._waiting:
            self._by_priority[before] -= 1
            self._by_priority[entry.priority] += 1
        if entry.item is not None and -entry.level != entry.item[0]:
            self._discard_item(entry)
            self._make_ready(entry)

    def _discard_item(self, entry: Entry) -> None:
        """Make the entry's item stale; a parked one's place in the group's heap as well."""
        if entry.state is EntryState.PARKED:
            self._counts["parked"] -= 1
            entry.item = None
            group = self._groups[entry.group or ""]
            group.stale = _prune(group.parked, group.stale + 1)
        else:
            entry.item = None
            self._stale_ready = _prune(self._ready, self._stale_ready + 1)

    def _leave(self, request_id: str) -> None:
        """Take a request out of its entry; the last one takes the entry along, or its key if it is running."""
        entry = self._by_id.pop(request_id)
        before = entry.priority
        request = entry.remove(request_id)
        self._forget_supersede(request)
        if entry.members:
            self._counts["joined"] -= 1
            self._reorder(entry, before)
            return
        self._free_key(entry)
        if entry.state is not EntryState.PROCESSING:
            self._drop(entry)

    def _free_key(self, entry: Entry) -> None:
        if entry.key is not None and self._by_key.get(entry.key) is entry:
            del self._by_key[entry.key]

    def _forget_supersede(self, request: SimulationRequest) -> None:
        if request.supersede is not None and self._supersedes.get(request.supersede) == request.id:
            del self._supersedes[request.supersede]
            self._bursts.pop(request.supersede, None)

    def _drop(self, entry: Entry) -> None:
        """Forget an entry without members."""
        if entry.state is EntryState.PROCESSING:
            self._release(entry)
        elif entry.state is not EntryState.GONE:
            if entry.state is EntryState.DELAYED:
                self._counts["delayed"] -= 1
            else:
                self._discard_item(entry)
                self._unpark(entry.group, 1)
            self._forget_timers(entry)
            self._stop_waiting(entry)
        entry.state = EntryState.GONE

    def _start_waiting(self, entry: Entry) -> None:
        self._waiting[entry] = None
        self._by_priority[entry.priority] += 1
        if self.age_after_s is not None:
            self._set_timer(self._clock() + self.age_after_s, "age", entry)

    def _stop_waiting(self, entry: Entry) -> None:
        del self._waiting[entry]
        self._by_priority[entry.priority] -= 1
        self._has_room.notify()

    def _release(self, entry: Entry) -> None:
        """Give back an entry's place among those being processed, and in its group."""
        self._processing.remove(entry)
        group = self._groups.get(entry.group) if entry.group is not None else None
        if group is not None:
            group.processing -= 1
            self._unpark(entry.group, 1)

    def _unpark(self, group_name: str | None, count: int) -> None:
        """Make up to so many parked entries of a group ready again.

        Called once for each place that is freed, and for each ready entry that goes, so that as many are ready
        as there is room for. One too many is parked again when it comes to the top.
        """
        group = self._groups.get(group_name) if group_name is not None else None
        while group is not None and group.parked and count > 0:
            item = heapq.heappop(group.parked)
            entry = item[3]
            if item is not entry.item:
                group.stale -= 1
                continue
            self._counts["parked"] -= 1
            entry.state = EntryState.READY
            heapq.heappush(self._ready, item)
            self._has_work.notify()
            count -= 1

    # ---- time ----------------------------------------------------------------------------------------

    def _set_timer(self, when: float, kind: str, target: Entry | str) -> None:
        epoch = 0
        if isinstance(target, Entry):
            target.timers += 1
            epoch = target.epoch
        item = (when, next(self._stamps), kind, target, epoch)
        heapq.heappush(self._timers, item)
        if self._timers[0] is item:
            self._has_work.notify()  # who waited for the next timer waits for this one now

    def _forget_timers(self, entry: Entry) -> None:
        """Make an entry's timers stale."""
        self._stale_timers += entry.timers
        entry.timers = 0
        entry.epoch += 1
        if self._stale_timers > _PRUNE_ABOVE and self._stale_timers * 2 > len(self._timers):
            self._timers = [t for t in self._timers if not _is_stale(t)]
            heapq.heapify(self._timers)
            self._stale_timers = 0

    def _watch_rate(self, name: str, group: _Group) -> None:
        """Look again when the oldest start of the group leaves the window."""
        if group.rate is not None and group.starts and group.wake_at == math.inf:
            group.wake_at = group.starts[0] + group.rate[1]
            self._set_timer(group.wake_at, "rate", name)

    def _advance(self) -> None:
        """Bring the queue up to the clock."""
        if not self._timers:
            return
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)
            when, _, kind, target, _ = timer
            if kind == "rate":
                group = self._groups[target]
                group.wake_at = math.inf
                self._unpark(target, group.room(now))
                if group.parked:
                    self._watch_rate(target, group)
            elif _is_stale(timer):
                self._stale_timers -= 1
            else:
                target.timers -= 1
                self._fire(when, kind, target)

    def _fire(self, when: float, kind: str, entry: Entry) -> None:
        if kind == "due" and entry.state is EntryState.DELAYED:
            self._counts["delayed"] -= 1
            self._make_ready(entry)
        elif kind == "age" and entry.level < Priority.CRITICAL:
            entry.aged += 1
            self._reorder(entry, entry.priority)
            self._set_timer(when + (self.age_after_s or 0.0), "age", entry)
        elif kind == "expire":
            expired = [r for r in entry.members.values() if r.expires_at <= when]
            for request in expired:
                self._leave(request.id)
            self._expired += expired


_PRUNE_ABOVE = 64
"""A heap with fewer stale items than this is left alone."""


def _prune(items: list[_Item], stale: int) -> int:
    """Rebuild a heap in place when its stale items outnumber the live ones; return how many are left."""
    if stale <= _PRUNE_ABOVE or stale * 2 <= len(items):
        return stale
    items[:] = [item for item in items if item is item[3].item]
    heapq.heapify(items)
    return 0


def _is_stale(timer: tuple[float, int, str, Any, int]) -> bool:
    return isinstance(timer[3], Entry) and timer[4] != timer[3].epoch


def _check_limits(
    max_queue_size: int,
    limits: Mapping[str, int],
    rate_limits: Mapping[str, tuple[int, float]],
    age_after_s: float | None,
) -> None:
    counts = {"max_queue_size": max_queue_size}
    counts |= {f"limits[{name!r}]": limit for name, limit in limits.items()}
    counts |= {f"rate_limits[{name!r}]": rate[0] for name, rate in rate_limits.items()}
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InvalidInputError(f"{name} must be an integer of 1 or more; got {count!r}", field=name, value=count)
    seconds = {f"rate_limits[{name!r}]": rate[1] for name, rate in rate_limits.items()}
    if age_after_s is not None:
        seconds["age_after_s"] = age_after_s
    for name, value in seconds.items():
        if not 0 < value < math.inf:
            raise InvalidInputError(f"{name} must be more than 0 seconds; got {value!r}", field=name, value=value)
