"""The queue's state: members by id, entries by key, and what happens to one when another comes or goes.

It has neither lock nor clock: the caller holds a lock and says what time it is. `bgsim.queue_manager` puts a lock and a
clock around it for those who want the queue alone; the engine calls it under its own lock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import count
from typing import Any

from bgsim.errors import EngineClosedError, InvalidInputError, RequestNotFoundError
from bgsim.priority import Priority
from bgsim.queue.entry import Entry, EntryState, Member
from bgsim.queue.order import ServiceOrder
from bgsim.queue.supersede import Newest
from bgsim.queue.timetable import Event
from bgsim.tables import Table, Tabular, in_short

CLOSED = "the queue is closed; make a new engine to go on"

_PROCESSING, _GONE = EntryState.PROCESSING, EntryState.GONE


@dataclass(frozen=True, slots=True, repr=False)
class QueueStats(Tabular):
    """Counts at one moment; waiting means not yet taken.

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

    def __str__(self) -> str:
        waiting = _counts(self.by_priority).lower()
        return (
            f"{self.processing} processing, {self.waiting} waiting{f' ({waiting})' if waiting else ''}, room for "
            f"{max(0, self.capacity - self.waiting):,} more"
        )

    def __repr__(self) -> str:
        return in_short("QueueStats", str(self))

    def _table(self) -> Table:
        values = [(f.name.replace("_", " "), getattr(self, f.name)) for f in fields(self)]
        return Table((), [(name, _counts(value) if isinstance(value, dict) else value) for name, value in values])


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


class QueueCore:
    """Members that wait or are being processed, each in one entry. Not for several threads at once.

    Before any other call, the caller lets `advance` do what was due by then.

    Parameters
    ----------
    capacity : int
        How many entries may wait.
    limits, rate_limits, age_after_s
        As for `SimulationQueue`.

    Attributes
    ----------
    closed : bool
        Whether `put` refuses.
    by_id : dict of str to Entry
        The entry of every member.
    by_key : dict of str to Entry
        Those that another member may join.
    joined : int
        Members that share an entry with an earlier one.
    newest : Newest
        The newest member of each word.
    expired : list of Member
        Those that have waited for too long, until `take_expired`.
    order : ServiceOrder
        The waiting entries.
    """

    def __init__(
        self,
        capacity: int,
        *,
        limits: Mapping[str, int] | None = None,
        rate_limits: Mapping[str, tuple[int, float]] | None = None,
        age_after_s: float | None = None,
    ) -> None:
        self.capacity = capacity
        self.closed = False
        self.by_id: dict[str, Entry] = {}
        self.by_key: dict[str, Entry] = {}
        self.joined = 0
        self.expired: list[Any] = []
        self.newest = Newest()
        self.order = ServiceOrder(limits or {}, rate_limits or {}, age_after_s)
        self._sequence = count()

    # ---- coming --------------------------------------------------------------------------------------

    def put(self, member: Member, entry: Entry, now: float, *, at_once: bool = False) -> tuple[Entry, Any] | None:
        """Insert a member with an entry of its own, or let it join the entry with that key.

        Parameters
        ----------
        member : Member
        entry : Entry
            Without members; the queue takes it if there is none with its key.
        now : float
        at_once : bool
            Whether the caller would `take` the entry next if it came first: then, if it does, it need not wait.

        Returns
        -------
        entry : Entry
            The one that serves the member.
        superseded : Member or None
            The older member that this one replaces. It has left the queue, unless it is being processed in another
            entry: then it is still in `by_id`, and the caller should stop it.
        None
            Instead, where there is no room; nothing has changed.

        Raises
        ------
        EngineClosedError
            If the queue is closed.
        InvalidInputError
            If a member has this id already.
        """
        if self.closed:
            raise EngineClosedError(CLOSED)
        if member.id in self.by_id:
            raise InvalidInputError(f"request {member.id!r} is in the queue already", field="id", value=member.id)
        word = member.supersede
        there = self.by_key.get(entry.key) if entry.key is not None else None
        older = None if word is None else self.newest.id_of(word)
        if there is None and self.order.waiting >= self.capacity and not self._has_room_instead_of(older):
            return None
        if word is not None and member.debounce_s is not None:
            member.due_at = max(member.due_at, self.newest.quiet_at(member, now))
        if there is None:
            there = entry
            self._insert(member, entry, now, at_once)
        else:
            self._join(there, member, now)
        if member.expires_at != math.inf:
            self._expire_at(member, there)
        if word is None:
            return there, None
        self.newest.add(member, now)
        if there is entry and there.state is _PROCESSING:
            self.newest.started(member)
        return there, None if older is None else self._supersede(older, there, now)

    def may_fit(self, key: str | None) -> bool:
        """Tell whether `put` of an entry with this key may find room, or the queue is closed."""
        return self.closed or self.order.waiting < self.capacity or key in self.by_key

    def full_text(self) -> str:
        """Return what to say when there is no room."""
        return (
            f"the queue holds {self.order.waiting} requests, as many as max_queue_size={self.capacity} allows; "
            "wait with block=True, cancel some, or make it larger"
        )

    def _insert(self, member: Member, entry: Entry, now: float, at_once: bool) -> None:
        self.by_id[member.id] = entry
        entry.begin(member, next(self._sequence))
        if entry.key is not None:
            self.by_key[entry.key] = entry
        if at_once and not self.order.waiting and entry.group is None and entry.due_at <= now:
            self.order.start(entry)
        else:
            self.order.enter(entry, now)

    def _join(self, entry: Entry, member: Member, now: float) -> None:
        before = entry.priority
        self.by_id[member.id] = entry
        self.joined += 1
        entry.join(member)
        self.order.update(entry, before, now)

    def _has_room_instead_of(self, older: str | None) -> bool:
        """Tell whether there is room if this member goes, and with it a waiting entry."""
        if older is None or self.order.waiting > self.capacity:
            return False
        entry = self.by_id[older]
        return entry.state is not _PROCESSING and len(entry.members) == 1

    def _supersede(self, older: str, there: Entry, now: float) -> Any:
        """Return the older member; remove it unless it is being processed in another entry."""
        entry = self.by_id[older]
        member = entry.members[older]
        if entry.state is not _PROCESSING or entry is there:
            self.remove(older, now)
        return member

    # ---- being served --------------------------------------------------------------------------------

    def take(self, now: float) -> Entry | None:
        """Take the entry that is next; its members expire no longer."""
        entry = self.order.take(now)
        if entry is not None:
            for member in entry.members.values():
                if member.expires_at != math.inf:
                    self._expire_no_more(member)
                if member.supersede is not None:
                    self.newest.started(member)
        return entry

    def requeue(self, entry: Entry, now: float, until: float = -math.inf) -> None:
        """Put an entry that is being processed back in its old place, held until a time.

        It needs no room, and its members no longer expire. An entry without members is gone instead.
        """
        self.order.vacate(entry, now)
        entry.held_until = until
        if entry.members:
            self.order.enter(entry, now)

    def hold(self, entry: Entry, now: float) -> None:
        """Keep an entry, waiting or being processed, from being served until `release`; one that is gone stays so."""
        if entry.state is _PROCESSING:
            self.requeue(entry, now, math.inf)
        elif entry.members and entry.state is not _GONE:
            entry.held_until = math.inf
            self.order.update(entry, entry.priority, now)

    def release(self, entry: Entry, now: float, until: float = -math.inf) -> None:
        """Serve a waiting entry in its old place from a time on, though it is held or not due."""
        if entry.members and entry.state is not _PROCESSING and entry.state is not _GONE:
            entry.due_at, entry.held_until = -math.inf, until
            self.order.update(entry, entry.priority, now)

    # ---- going ---------------------------------------------------------------------------------------

    def finish(self, entry: Entry, now: float) -> None:
        """Free the key, the place in the group and the ids of an entry, which keeps its members."""
        if entry.state is _PROCESSING:
            self.order.vacate(entry, now)
        else:
            self.order.remove(entry, now)
        members = entry.members
        for member in members.values():
            del self.by_id[member.id]
            if member.expires_at != math.inf:
                self._expire_no_more(member)
            if member.supersede is not None:
                self.newest.forget(member)
        if len(members) > 1:
            self.joined -= len(members) - 1
        if entry.key is not None and self.by_key.get(entry.key) is entry:
            del self.by_key[entry.key]

    def remove(self, member_id: str, now: float) -> Entry:
        """Take a member out of its entry; the last one takes the entry along, or its key if it is being processed.

        Raises
        ------
        RequestNotFoundError
        """
        entry = self.entry_of(member_id)
        before = entry.priority
        member = entry.members[member_id]
        del self.by_id[member_id]
        entry.remove(member)
        if member.expires_at != math.inf:
            self._expire_no_more(member)
        if member.supersede is not None:
            self.newest.forget(member)
        if entry.members:
            self.joined -= 1
            self.order.update(entry, before, now)
            return entry
        if entry.key is not None and self.by_key.get(entry.key) is entry:
            del self.by_key[entry.key]
        if entry.state is not _PROCESSING:
            self.order.remove(entry, now)
        return entry

    def clear(self, now: float) -> list[Any]:
        """Remove all members of waiting entries, and return them."""
        members = [member for entry in self.order.entries() for member in entry.members.values()]
        for member in members:
            self.remove(member.id, now)
        return members

    def _expire_at(self, member: Member, entry: Entry) -> None:
        """Let a member expire, unless its entry is being processed already."""
        if entry.state is _PROCESSING:
            member.expires_at = math.inf
        else:
            self.order.timetable.add((member.expires_at, Event.EXPIRE, member.id), member)

    def _expire_no_more(self, member: Member) -> None:
        self.order.timetable.discard((member.expires_at, Event.EXPIRE, member.id))
        member.expires_at = math.inf

    # ---- time ----------------------------------------------------------------------------------------

    def advance(self, now: float) -> bool:
        """Do what was due until now; tell whether there was anything."""
        if now < self.order.timetable.look_at:
            return False
        self.order.advance(now, self._expire)
        return True

    def _expire(self, member: Member, when: float) -> None:
        self.remove(member.id, when)
        self.expired.append(member)

    def take_expired(self) -> list[Any]:
        """Return the members that have expired since the last call."""
        expired, self.expired = self.expired, []
        return expired

    # ---- changing and finding ------------------------------------------------------------------------

    def set_priority(self, member_id: str, priority: Priority, now: float) -> None:
        """Change a member's priority, and with it, perhaps, its entry's place.

        Raises
        ------
        RequestNotFoundError
        """
        entry = self.entry_of(member_id)
        before = entry.priority
        entry.set_priority(entry.members[member_id], priority)
        self.order.update(entry, before, now)

    def entry_of(self, member_id: str) -> Entry:
        """Return the entry that serves a member.

        Raises
        ------
        RequestNotFoundError
            If the queue does not hold the member: it is unknown, or finished.
        """
        try:
            return self.by_id[member_id]
        except KeyError:
            raise RequestNotFoundError(
                f"no request {member_id!r} is queued or running; it is unknown or has finished"
            ) from None

    def position(self, member_id: str) -> int | None:
        """Return how many entries are served before this member's; None unless it waits and is due.

        Raises
        ------
        RequestNotFoundError
        """
        entry = self.entry_of(member_id)
        if entry.state not in (EntryState.READY, EntryState.PARKED):
            return None
        mine: int = entry.place
        return sum(map(mine.__gt__, self.order.places()))

    def stats(self, now: float) -> QueueStats:
        """Return the counts, which are kept up to date."""
        return QueueStats(**self.order.counts(now), joined=self.joined, capacity=self.capacity)
