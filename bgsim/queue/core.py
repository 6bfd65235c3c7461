"""Who is here: requests by id, entries by key, and what happens to one when another comes or goes.

No threads and no clock: whoever calls says what time it is, and holds the queue's lock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count

from bgsim.errors import EngineClosedError, InvalidInputError, RequestNotFoundError
from bgsim.queue.entry import Entry, EntryState
from bgsim.queue.order import ServiceLine
from bgsim.queue.request import Priority, SimulationRequest
from bgsim.queue.supersede import Newest

CLOSED = "the queue is closed; make a new engine to go on"

_PROCESSING = EntryState.PROCESSING


@dataclass(slots=True, eq=False)
class Placement:
    """What `put` did.

    Attributes
    ----------
    entry : Entry
        The entry that serves the request.
    joined : bool
        Whether it was there before.
    dropped : tuple of SimulationRequest
        Superseded requests that have left the queue: they waited, or the newer one goes on with the same run.
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
        Entries; those not yet due are delayed, and those found to wait for their group parked: both are waiting.
    joined : int
        Requests that share an entry with an earlier one.
    by_priority, by_group : dict of str to int
        Waiting entries.
    processing_by_group : dict of str to int
        Entries being processed.
    oldest_wait_s : float
        Of the entry that is due and has waited longest; 0 when none waits.
    capacity : int
    """

    waiting: int
    delayed: int
    parked: int
    processing: int
    joined: int
    by_priority: dict[str, int]
    by_group: dict[str, int]
    processing_by_group: dict[str, int]
    oldest_wait_s: float
    capacity: int


class Roster:
    """The requests that wait or are being processed, each in one entry; entries wait in a `ServiceLine`.

    Parameters
    ----------
    line : ServiceLine
        Where entries wait.
    capacity : int
        How many entries may wait.

    Attributes
    ----------
    closed : bool
        Whether no more may come.
    by_id : dict of str to Entry
        Of every request that is here.
    by_key : dict of str to Entry
        Those that another request may join.
    joined : int
        Requests that share an entry with an earlier one.
    newest : Newest
        Of the requests that are here.
    expired : list of SimulationRequest
        Those whose time ran out, until somebody takes them.
    """

    def __init__(self, line: ServiceLine, capacity: int) -> None:
        self.line = line
        self.capacity = capacity
        self.closed = False
        self.by_id: dict[str, Entry] = {}
        self.by_key: dict[str, Entry] = {}
        self.joined = 0
        self.expired: list[SimulationRequest] = []
        self.newest = Newest()
        self._sequence = count()

    # ---- coming --------------------------------------------------------------------------------------

    def place(self, request: SimulationRequest, now: float) -> Placement | None:
        """Insert a request or let it join; return None, and change nothing, where there is no room.

        Raises
        ------
        EngineClosedError
            If it is closed.
        InvalidInputError
            If the id is here already.
        """
        if self.closed:
            raise EngineClosedError(CLOSED)
        if request.id in self.by_id:
            raise InvalidInputError(f"request {request.id!r} is in the queue already", field="id", value=request.id)
        entry = self.by_key.get(request.key) if request.key is not None else None
        older = self.newest.id_of(request.supersede) if request.supersede is not None else None
        if entry is None and self.line.waiting >= self.capacity and not self._has_room_instead_of(older):
            return None
        request.due_at = now + request.delay_s if request.at is None else request.at
        if request.debounce_s is not None:
            request.due_at = max(request.due_at, self.newest.quiet_at(request, now))
        if entry is None:
            entry = self.by_id[request.id] = Entry(request, next(self._sequence))
            if request.key is not None:
                self.by_key[request.key] = entry
            self.line.enter(entry, now)
            placement = Placement(entry, False)
        else:
            self._join(entry, request, now)
            placement = Placement(entry, True)
        if request.queue_timeout_s is not None and placement.entry.state is not _PROCESSING:
            self.line.expire_at(request, now + request.queue_timeout_s)
        if request.supersede is not None:
            self.newest.add(request, now)
            if older is not None:
                self._supersede(older, placement, now)
        return placement

    def may_fit(self, key: str | None) -> bool:
        """Tell whether it is worth while to put a request with this key, or the queue is closed."""
        return self.closed or self.line.waiting < self.capacity or key in self.by_key

    def _join(self, entry: Entry, request: SimulationRequest, now: float) -> None:
        before = entry.priority
        self.by_id[request.id] = entry
        self.joined += 1
        entry.join(request)
        self.line.update(entry, before, now)

    def _has_room_instead_of(self, older: str | None) -> bool:
        """Tell whether there is room if this request goes, and with it a waiting entry."""
        if older is None or self.line.waiting > self.capacity:
            return False
        entry = self.by_id[older]
        return entry.state is not _PROCESSING and len(entry.members) == 1

    def _supersede(self, older: str, placement: Placement, now: float) -> None:
        """Drop the older request, or ask for its cancellation if it is being processed without the newer one."""
        entry = self.by_id[older]
        request = entry.members[older]
        if entry.state is _PROCESSING and entry is not placement.entry:
            placement.to_cancel = (request,)
        else:
            self.leave(older, now)
            placement.dropped = (request,)

    # ---- being served --------------------------------------------------------------------------------

    def take(self, now: float) -> Entry | None:
        """Take the entry that is served next; its members expire no longer."""
        entry = self.line.take(now)
        if entry is not None:
            for request in entry.requests:
                if request.queue_timeout_s is not None:
                    self.line.keep(request)
                if request.supersede is not None:
                    self.newest.started(request)
        return entry

    def put_back(self, entry: Entry, now: float, until: float) -> None:
        """Let an entry that is being processed wait again, at least until a time, unless it has no members left."""
        self.line.release(entry, now)
        entry.held_until = until
        if entry.members:
            self.line.enter(entry, now)

    def hold(self, entry: Entry, now: float, until: float) -> None:
        """Keep an entry that waits, or is being processed, from being served until a time."""
        if entry.state is _PROCESSING:
            self.put_back(entry, now, until)
        elif entry.members:
            entry.held_until = until
            self.line.update(entry, entry.priority, now)

    def release(self, entry: Entry, now: float, until: float) -> None:
        """Let an entry that waits be served from a time on, though it was held or is not due."""
        if entry.members and entry.state is not _PROCESSING:
            entry.due_at, entry.held_until = -math.inf, until
            self.line.update(entry, entry.priority, now)

    # ---- going ---------------------------------------------------------------------------------------

    def finish(self, entry: Entry, now: float) -> None:
        """Let an entry go with all its members."""
        if entry.state is _PROCESSING:
            self.line.release(entry, now)
        else:
            self.line.leave(entry, now)
        members = entry.requests
        for request in members:
            del self.by_id[request.id]
            self._forget(request)
        if len(members) > 1:
            self.joined -= len(members) - 1
        self._free_key(entry)

    def leave(self, request_id: str, now: float) -> Entry:
        """Take a request out of its entry; the last one takes the entry along, or its key if it is running.

        Raises
        ------
        RequestNotFoundError
        """
        entry = self.entry_of(request_id)
        before = entry.priority
        request = entry.members[request_id]
        del self.by_id[request_id]
        entry.leave(request)
        self._forget(request)
        if entry.members:
            self.joined -= 1
            self.line.update(entry, before, now)
        else:
            self._free_key(entry)
            if entry.state is not _PROCESSING:
                self.line.leave(entry, now)
        return entry

    def expire(self, request: SimulationRequest, when: float) -> None:
        """Let a request go whose time has come."""
        self.leave(request.id, when)
        self.expired.append(request)

    def clear(self, now: float) -> list[SimulationRequest]:
        """Let all waiting requests go, and return them."""
        requests = [request for entry in self.line.entries() for request in entry.requests]
        for request in requests:
            self.leave(request.id, now)
        return requests

    def _forget(self, request: SimulationRequest) -> None:
        if request.queue_timeout_s is not None:
            self.line.keep(request)
        if request.supersede is not None:
            self.newest.forget(request)

    def _free_key(self, entry: Entry) -> None:
        if entry.key is not None and self.by_key.get(entry.key) is entry:
            del self.by_key[entry.key]

    # ---- changing and finding ------------------------------------------------------------------------

    def set_priority(self, request_id: str, priority: Priority, now: float) -> None:
        """Change a request's priority, and with it, perhaps, its entry's place.

        Raises
        ------
        RequestNotFoundError
        """
        entry = self.entry_of(request_id)
        before = entry.priority
        entry.set_priority(entry.members[request_id], priority)
        self.line.update(entry, before, now)

    def entry_of(self, request_id: str) -> Entry:
        """Return the entry that a request is in.

        Raises
        ------
        RequestNotFoundError
            If the request is not here: unknown, or finished.
        """
        try:
            return self.by_id[request_id]
        except KeyError:
            raise RequestNotFoundError(
                f"no request {request_id!r} is queued or running; it is unknown or has finished"
            ) from None

    def stats(self, now: float) -> QueueStats:
        """Return the counts."""
        return QueueStats(**self.line.counts(now), joined=self.joined, capacity=self.capacity)
