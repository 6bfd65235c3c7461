"""What is served: an entry, the requests with one key.

An entry goes one way::

    put ──> DELAYED ──due──> READY ──get──> PROCESSING ──done──> GONE
                              │  ^               │
                     group full  group has room  requeue (suspended): READY again, in its old place
                              v  │
                             PARKED              the last member cancelled or expired: GONE
"""

from __future__ import annotations

import enum
import math
from typing import Any

from bgsim.lazy_heap import LazyHeap
from bgsim.requests import Priority, SimulationRequest


class EntryState(enum.Enum):
    """Where an entry is."""

    DELAYED = "delayed"
    READY = "ready"
    PARKED = "parked"
    PROCESSING = "processing"
    GONE = "gone"


_PRIORITIES = tuple(Priority)
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
        The earliest of the members', by the queue's clock; minus infinity once it has been got.
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
        self.level: int = request.priority
        self.aged = 0  # levels
        self.moved = False
        self.since = self.ages_at = 0.0
        self.place: Any = None
        self.state = _GONE  # until it waits
        self._shared: _Shared | None = None  # from the second member on

    @property
    def members(self) -> dict[str, SimulationRequest]:
        """The requests that share it, by id."""
        if self._shared is not None:
            return self._shared.members
        return {} if self._first is None else {self._first.id: self._first}

    def join(self, request: SimulationRequest) -> None:
        """Let another request share this entry."""
        if self._shared is None:
            self._shared = _Shared()
            if self._first is not None:
                self._shared.add(self._first)
                self._first = None
        self._shared.add(request)
        self._count(self._shared)

    def leave(self, request: SimulationRequest) -> None:
        """Let a request go; what counted because of it counts no longer."""
        if self._shared is None:
            self._first = None
        else:
            self._shared.remove(request)
            if self._shared.members:
                self._count(self._shared)

    def set_priority(self, request: SimulationRequest, priority: Priority) -> None:
        """Change one member's priority."""
        if self._shared is None:
            request.priority = self.priority = priority
        else:
            self._shared.by_priority[request.priority] -= 1
            self._shared.by_priority[priority] += 1
            request.priority = priority
            self._count(self._shared)

    def __repr__(self) -> str:
        return f"<Entry {self.sequence}, {self.state.value}, {self.priority.name}: {', '.join(map(str, self.members))}>"

    def _count(self, shared: _Shared) -> None:
        self.priority = shared.highest()
        self.replicates = shared.largest()
        if self.due_at != -math.inf:
            self.due_at = shared.earliest()


class _Shared:
    """What counts among several members, so kept that any of them may leave at the cost of O(log n)."""

    __slots__ = ("by_due", "by_priority", "by_replicates", "members")

    def __init__(self) -> None:
        self.members: dict[str, SimulationRequest] = {}
        self.by_priority = [0] * len(_PRIORITIES)
        self.by_replicates: LazyHeap[tuple[int, str], SimulationRequest] = LazyHeap()  # the largest first
        self.by_due: LazyHeap[tuple[float, str], SimulationRequest] = LazyHeap()  # the earliest first

    def add(self, request: SimulationRequest) -> None:
        self.members[request.id] = request
        self.by_priority[request.priority] += 1
        self.by_replicates.push((-request.replicates, request.id), request)
        self.by_due.push((request.due_at, request.id), request)

    def remove(self, request: SimulationRequest) -> None:
        del self.members[request.id]
        self.by_priority[request.priority] -= 1
        self.by_replicates.remove((-request.replicates, request.id))
        self.by_due.remove((request.due_at, request.id))

    def highest(self) -> Priority:
        return next(p for p in reversed(_PRIORITIES) if self.by_priority[p])

    def largest(self) -> int:
        first = self.by_replicates.first()
        assert first is not None
        return first.replicates

    def earliest(self) -> float:
        first = self.by_due.first()
        assert first is not None
        return first.due_at
