"""What is served: an entry, the members with one key.

An entry goes one way::

    put ──> DELAYED ──due──> READY ──take──> PROCESSING ──finish──> GONE
                              │  ^               │
                     group full  group has room  requeue: READY again, in its old place, or DELAYED for a while
                              v  │
                             PARKED              hold: DELAYED until release
                                                 the last member removed or expired: GONE
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Any, Protocol

from bgsim.priority import Priority
from bgsim.queue.lazy_heap import LazyHeap


class EntryState(enum.Enum):
    """Where an entry is."""

    DELAYED = "delayed"
    READY = "ready"
    PARKED = "parked"
    PROCESSING = "processing"
    GONE = "gone"


_GONE = EntryState.GONE


class Member(Protocol):
    """One caller's share of an entry.

    Attributes
    ----------
    id : str
        Unique among all members.
    replicates : int
        1 or more. The largest among the members counts.
    priority : Priority
        The highest among the members counts. The queue changes it.
    supersede : str or None
        The newest member with this word replaces the older ones.
    debounce_s, max_wait_s : float or None
        As for `SimulationRequest`.
    due_at : float
        The earliest start, by the caller's clock, now for at once; infinity for not before `QueueCore.release`. The
        earliest among the members counts. Never minus infinity, by which an entry knows that it was released.
    expires_at : float
        The latest start; infinity for none.
    """

    id: str
    replicates: int
    priority: Priority
    due_at: float
    expires_at: float

    @property
    def supersede(self) -> str | None:
        """The word, if any."""

    @property
    def debounce_s(self) -> float | None:
        """See above."""

    @property
    def max_wait_s(self) -> float | None:
        """See above."""


class Entry:
    """The members with one key, served together. Read-only outside of the queue.

    Parameters
    ----------
    key : str or None
        Later members with this key join; None keeps the entry apart.
    group : str or None
        Counts against the limits of this name.
    payload : object
        The caller's.

    Attributes
    ----------
    members : dict of str to Member
        By id.
    state : EntryState
    sequence : int
        Its place among entries of one priority; kept for life.
    priority : Priority
        The highest of the members'.
    replicates : int
        The largest of the members'.
    due_at : float
        The earliest of the members'; minus infinity once it has been taken or released.
    held_until : float
        The queue does not serve it before, whatever its members say.
    level : int
        Priority with what ageing adds; a higher one is served first.
    since : float
        When it became due.
    place : int or tuple
        Its place in the order of service, the lowest first; its appointment while it is delayed.
    moved : bool
        Whether its place has changed since it became due.
    ages_at : float
        When it moves up one level.
    """

    __slots__ = (
        "_shared", "aged", "ages_at", "due_at", "group", "held_until", "key", "level", "members", "moved", "payload",
        "place", "priority", "replicates", "sequence", "since", "state",
    )  # fmt: skip

    def __init__(self, key: str | None, group: str | None = None, payload: Any = None) -> None:
        self.key = key
        self.group = group
        self.payload = payload
        self.members: dict[str, Any] = {}
        self.state = _GONE  # until `QueueCore.put`
        self.sequence = 0
        self.priority = Priority.LOW
        self.replicates = 0
        self.due_at = self.held_until = -math.inf
        self.level: int = 0
        self.aged = 0  # levels
        self.since = self.ages_at = 0.0
        self.moved = False
        self.place: Any = None
        self._shared: _Shared | None = None  # from the second member on

    def begin(self, member: Member, sequence: int) -> None:
        """Take the first member."""
        self.members[member.id] = member
        self.sequence = sequence
        self.priority = member.priority
        self.level = int(member.priority)
        self.replicates = member.replicates
        self.due_at = member.due_at

    @property
    def starts_at(self) -> float:
        """When it may be served."""
        return self.due_at if self.due_at > self.held_until else self.held_until

    def join(self, member: Member) -> None:
        """Let another member share this entry."""
        if self._shared is None:
            self._shared = _Shared(self.members.values())
        self._shared.add(member)
        self.members[member.id] = member
        self.priority = max(self.priority, member.priority)
        self.replicates = max(self.replicates, member.replicates)
        self.due_at = min(self.due_at, member.due_at)

    def remove(self, member: Member) -> None:
        """Let a member go; what counted because of it counts no longer."""
        del self.members[member.id]
        shared = self._shared
        if shared is None:
            return
        shared.remove(member)
        if self.members:
            if member.priority is self.priority:
                self.priority = shared.priority()
            if member.replicates == self.replicates:
                self.replicates = shared.replicates()
            if member.due_at == self.due_at:
                self.due_at = shared.due_at()

    def want(self, replicates: int) -> None:
        """Let no member want more than these, which each says by now."""
        self.replicates = replicates
        if self._shared is not None:
            self._shared = _Shared(self.members.values())

    def set_priority(self, member: Member, priority: Priority) -> None:
        """Change one member's priority."""
        if self._shared is None:
            member.priority = self.priority = priority
        else:
            self._shared.set_priority(member, priority)
            self.priority = self._shared.priority()

    def __repr__(self) -> str:
        return f"<Entry {self.sequence}, {self.state.value}, {self.priority.name}: {', '.join(self.members)}>"


class _Shared:
    """What counts among several members, so kept that any of them may leave at the cost of O(log n)."""

    __slots__ = ("_due_at", "_minus_priority", "_minus_replicates")

    def __init__(self, members: Iterable[Member]) -> None:
        self._minus_priority, self._minus_replicates, self._due_at = _Lowest(), _Lowest(), _Lowest()
        for member in members:
            self.add(member)

    def add(self, member: Member) -> None:
        self._minus_priority.add(-member.priority)
        self._minus_replicates.add(-member.replicates)
        self._due_at.add(member.due_at)

    def remove(self, member: Member) -> None:
        self._minus_priority.remove(-member.priority)
        self._minus_replicates.remove(-member.replicates)
        self._due_at.remove(member.due_at)

    def set_priority(self, member: Member, priority: Priority) -> None:
        self._minus_priority.remove(-member.priority)
        member.priority = priority
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
