"""What is served: an entry, the requests with one key.

An entry goes one way::

    put ──> DELAYED ──due──> READY ──get──> PROCESSING ──done──> GONE
                              │  ^               │
                     group full  group has room  requeue: READY again, in its old place, or DELAYED for a while
                              v  │
                             PARKED              hold: DELAYED until release
                                                 the last member cancelled or expired: GONE
"""

from __future__ import annotations

import enum
import math
from typing import Any

from bgsim.queue.lazy_heap import LazyHeap
from bgsim.queue.request import Priority, SimulationRequest


class EntryState(enum.Enum):
    """Where an entry is."""

    DELAYED = "delayed"
    READY = "ready"
    PARKED = "parked"
    PROCESSING = "processing"
    GONE = "gone"


_GONE = EntryState.GONE


class Entry:
    """The requests with one key, served together. Read-only outside of the queue.

    Attributes
    ----------
    members : dict of str to SimulationRequest
        The requests that share it, by id.
    state : EntryState
    key, group : str or None
        The first request's.
    payload : object
        The first request's.
    sequence : int
        Its place among entries of one priority; kept for life.
    priority : Priority
        The highest of the members'.
    replicates : int
        The largest of the members'.
    due_at : float
        The earliest of the members', by the queue's clock; minus infinity once it has been got or released.
    held_until : float
        It is not served before, whatever its members say.
    level : int
        Priority with what ageing adds; a higher one is served first.
    since : float
        From when on it has waited, being due.
    place : int or tuple
        Its place in line, the lowest first; its appointment as long as it is delayed.
    moved : bool
        Whether its place has changed since it became due.
    ages_at : float
        When it moves up one level.
    """

    __slots__ = (
        "_first",
        "_shared",
        "aged",
        "ages_at",
        "due_at",
        "group",
        "held_until",
        "key",
        "level",
        "moved",
        "payload",
        "place",
        "priority",
        "replicates",
        "sequence",
        "since",
        "state",
    )

    def __init__(self, request: SimulationRequest, sequence: int) -> None:
        self._first: SimulationRequest | None = request  # as long as it has never been shared
        self.key = request.key
        self.group = request.group
        self.payload: Any = request.payload
        self.sequence = sequence
        self.priority = request.priority
        self.replicates = request.replicates
        self.due_at = request.due_at
        self.held_until = -math.inf
        self.level: int = request.priority
        self.aged = 0  # levels
        self.since = self.ages_at = 0.0
        self.moved = False
        self.place: Any = None
        self.state = _GONE  # until it waits
        self._shared: _Shared | None = None  # from the second member on

    @property
    def starts_at(self) -> float:
        """When it may be served, by the queue's clock."""
        return self.due_at if self.due_at > self.held_until else self.held_until

    @property
    def members(self) -> dict[str, SimulationRequest]:
        """The requests that share it, by id."""
        if self._shared is not None:
            return self._shared.members
        return {} if self._first is None else {self._first.id: self._first}

    @property
    def requests(self) -> tuple[SimulationRequest, ...]:
        """The same without their ids, at less cost."""
        if self._shared is not None:
            return tuple(self._shared.members.values())
        return () if self._first is None else (self._first,)

    def join(self, request: SimulationRequest) -> None:
        """Let another request share this entry."""
        if self._shared is None:
            shared = _Shared()
            for member in self.requests:
                shared.add(member)
            self._shared, self._first = shared, None
        self._shared.add(request)
        self.priority = max(self.priority, request.priority)
        self.replicates = max(self.replicates, request.replicates)
        self.due_at = min(self.due_at, request.due_at)

    def leave(self, request: SimulationRequest) -> None:
        """Let a request go; what counted because of it counts no longer."""
        shared = self._shared
        if shared is None:
            self._first = None
            return
        shared.remove(request)
        if shared.members:
            if request.priority is self.priority:
                self.priority = shared.priority()
            if request.replicates == self.replicates:
                self.replicates = shared.replicates()
            if request.due_at == self.due_at:
                self.due_at = shared.due_at()

    def set_priority(self, request: SimulationRequest, priority: Priority) -> None:
        """Change one member's priority."""
        shared = self._shared
        if shared is None:
            request.priority = self.priority = priority
        else:
            shared.set_priority(request, priority)
            self.priority = shared.priority()

    def __repr__(self) -> str:
        return f"<Entry {self.sequence}, {self.state.value}, {self.priority.name}: {', '.join(map(str, self.members))}>"


class _Shared:
    """Several members and what counts among them, so kept that any of them may leave at the cost of O(log n)."""

    __slots__ = ("_due_at", "_minus_priority", "_minus_replicates", "members")

    def __init__(self) -> None:
        self.members: dict[str, SimulationRequest] = {}
        self._minus_priority, self._minus_replicates, self._due_at = _Lowest(), _Lowest(), _Lowest()

    def add(self, request: SimulationRequest) -> None:
        self.members[request.id] = request
        self._minus_priority.add(-request.priority)
        self._minus_replicates.add(-request.replicates)
        self._due_at.add(request.due_at)

    def remove(self, request: SimulationRequest) -> None:
        del self.members[request.id]
        self._minus_priority.remove(-request.priority)
        self._minus_replicates.remove(-request.replicates)
        self._due_at.remove(request.due_at)

    def set_priority(self, request: SimulationRequest, priority: Priority) -> None:
        self._minus_priority.remove(-request.priority)
        request.priority = priority
        self._minus_priority.add(-priority)

    def priority(self) -> Priority:
        return Priority(int(-self._minus_priority.lowest()))

    def replicates(self) -> int:
        return int(-self._minus_replicates.lowest())

    def due_at(self) -> float:
        return self._due_at.lowest()


class _Lowest:
    """The lowest of some numbers, any of which may be taken away."""

    __slots__ = ("_counts", "_distinct")

    def __init__(self) -> None:
        self._counts: dict[float, int] = {}
        self._distinct: LazyHeap[float, bool] = LazyHeap()

    def add(self, number: float) -> None:
        count = self._counts.get(number, 0)
        self._counts[number] = count + 1
        if not count:
            self._distinct.push(number, True)

    def remove(self, number: float) -> None:
        self._counts[number] -= 1
        if not self._counts[number]:
            del self._counts[number]
            self._distinct.remove(number)

    def lowest(self) -> float:
        lowest: float | None = self._distinct.first_key()
        assert lowest is not None
        return lowest
