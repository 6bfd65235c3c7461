"""The order of service: which entry is next, which are not due yet, which wait for their group, and which age.

It has neither lock nor clock: the caller holds a lock and says what time it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from bgsim.checks import check_seconds
from bgsim.priority import Priority
from bgsim.queue.entry import Entry, EntryState
from bgsim.queue.groups import Group, Groups
from bgsim.queue.lazy_heap import LazyHeap
from bgsim.queue.timetable import Event, Timetable

# Looking a member of an enumeration up by its class takes longer than the rest of most lines here.
_DELAYED, _READY, _PARKED = EntryState.DELAYED, EntryState.READY, EntryState.PARKED
_PROCESSING, _GONE = EntryState.PROCESSING, EntryState.GONE
_EXPIRE, _DUE, _AGE = Event.EXPIRE, Event.DUE, Event.AGE
_TOP = int(Priority.CRITICAL)

_LEVEL = 2**48
"""What one level counts in a place: more than there will be sequence numbers."""


class ServiceOrder:
    """The waiting entries, and the places of their groups.

    Highest level first, first in first out within one; a level is a priority with what ageing adds.

    Guarantees
    ----------
    - An entry that waits is on the timetable until it is due, then in `ready` or among its group's parked.
    - As many entries of a group as it has room for are ready, and they are its best. One that comes to the top
      when there is no room is parked, and the next one is looked at; so a full group holds up no other.
    - What happens with time happens in the order of time, however rarely `advance` is called.

    Parameters
    ----------
    limits, rate_limits, age_after_s
        As for `SimulationQueue`.

    Attributes
    ----------
    timetable : Timetable
        What becomes due, expires, ages, or finds room again.
    groups : Groups
    ready : LazyHeap of Entry
        Those that are due and not parked, by place.
    moved : LazyHeap of Entry
        Those that are due and have changed places since, by since when they wait. All others are in `ready`, whose
        dictionary has them in the order in which they became due.
    waiting, delayed, processing : int
        Entries; the delayed are among those that wait.
    by_priority : list of int
        How many of each priority wait.
    """

    def __init__(
        self, limits: Mapping[str, int], rate_limits: Mapping[str, tuple[int, float]], age_after_s: float | None
    ) -> None:
        if age_after_s is not None:
            check_seconds("age_after_s", age_after_s, zero=False)
        self._age_after_s = age_after_s
        self.timetable = Timetable()
        self.groups = Groups(limits, rate_limits, self.timetable)
        self.ready: LazyHeap[int, Entry] = LazyHeap()
        self.moved: LazyHeap[tuple[float, int], Entry] = LazyHeap()
        self.by_priority = [0] * len(Priority)
        self.waiting = self.delayed = self.processing = 0

    # ---- entries -------------------------------------------------------------------------------------

    def enter(self, entry: Entry, now: float) -> None:
        """Let an entry begin to wait."""
        self.waiting += 1
        self.by_priority[entry.priority] += 1
        if entry.group is not None:
            self.groups.enter(entry.group)
        if entry.starts_at > now:
            self._delay(entry)
        else:
            self._become_due(entry, now, now)

    def start(self, entry: Entry) -> None:
        """Let an entry of no group be processed without having waited."""
        self.processing += 1
        entry.due_at = -math.inf
        entry.state = _PROCESSING

    def update(self, entry: Entry, before: Priority, now: float) -> None:
        """Move an entry to where it belongs after its members have changed; `before` is what its priority was."""
        level = min(entry.priority + entry.aged, _TOP)
        if entry.state is _PROCESSING:
            entry.level = level
            return
        self.by_priority[before] -= 1
        self.by_priority[entry.priority] += 1
        if entry.state is _DELAYED:
            entry.level = level
            if entry.place[0] != entry.starts_at:
                self._undelay(entry)
                if entry.starts_at > now:
                    self._delay(entry)
                else:
                    self._become_due(entry, now, now)
        elif entry.starts_at > now:
            self._leave_due(entry, now)
            self._delay(entry)
        elif entry.level != level:
            self._withdraw(entry, now)
            entry.level = level
            self._line_up(entry, now)
            self._note_moved(entry)

    def remove(self, entry: Entry, now: float) -> None:
        """Take out a waiting entry."""
        if entry.state is _DELAYED:
            self._undelay(entry)
        else:
            self._leave_due(entry, now)
        entry.state = _GONE
        self.waiting -= 1
        self.by_priority[entry.priority] -= 1
        if entry.group is not None:
            group = self.groups[entry.group]
            group.waiting -= 1
            self.groups.forget_if_empty(group)

    def first(self, now: float) -> Entry | None:
        """Return the entry that is served next; those at the top whose group has no room are parked."""
        while True:
            entry = self.ready.first()
            if entry is None or entry.group is None:
                return entry
            group = self.groups[entry.group]
            if group.room(now) > 0:
                return entry
            self.ready.drop_first()
            self.groups.park(entry, group)
            self._note_moved(entry)

    def take(self, now: float) -> Entry | None:
        """Take the entry that is served next: it is being processed, in a place of its group."""
        entry = self.ready.first()
        if entry is not None and entry.group is not None:
            entry = self.first(now)
        if entry is None:
            return None
        self.ready.drop_first()
        if entry.moved or self._age_after_s is not None:
            self._forget_wait(entry)
        self.by_priority[entry.priority] -= 1
        self.waiting -= 1
        self.processing += 1
        if entry.group is not None:
            group = self.groups[entry.group]
            group.start(now)
            self.groups.watch(group)
        entry.due_at = entry.held_until = -math.inf  # from now on it is due, whatever joins or leaves
        entry.state = _PROCESSING
        return entry

    def vacate(self, entry: Entry, now: float) -> None:
        """Take back the place of an entry that is being processed."""
        self.processing -= 1
        entry.state = _GONE
        entry.aged = 0
        entry.level = entry.priority
        if entry.group is not None:
            group = self.groups[entry.group]
            group.processing -= 1
            self._unpark(group, now, 1)
            self.groups.forget_if_empty(group)

    # ---- time ----------------------------------------------------------------------------------------

    def advance(self, now: float, expire: Callable[[Any, float], None]) -> None:
        """Do what was due until now, in the order of time.

        Parameters
        ----------
        expire : callable
            Called with each member that has waited for too long, and when that was; removes it from its entry.
        """
        while (happens := self.timetable.take(now)) is not None:
            (when, event, _), value = happens
            if event is _EXPIRE:
                expire(value, when)
            elif event is _DUE:
                self.delayed -= 1
                self._become_due(value, when, when)
            elif event is _AGE:
                self._age(value, when)
            else:
                value.watched_for = math.inf
                self._unpark(value, when, len(value.parked))

    # ---- reading -------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Return the entries that wait, in the order in which they were put."""
        entries = list(self.places().values())
        entries += [value for (_, event, _), value in self.timetable.copy().items() if event is _DUE]
        return sorted(entries, key=lambda entry: entry.sequence)

    def places(self) -> dict[int, Entry]:
        """Return all entries that are due by their place; the lowest is served first."""
        places = self.ready.copy()
        for group in self.groups:
            places |= group.parked.copy()
        return places

    def counts(self, now: float) -> dict[str, Any]:
        """Return those fields of `QueueStats` that are known here."""
        longest = [entry.since for entry in (self.ready.oldest(), self.moved.first()) if entry is not None]
        return {
            "waiting": self.waiting,
            "delayed": self.delayed,
            "parked": sum(len(group.parked) for group in self.groups),
            "processing": self.processing,
            "by_priority": {priority.name: self.by_priority[priority] for priority in reversed(Priority)},
            "by_group": {group.name: group.waiting for group in self.groups},
            "processing_by_group": {group.name: group.processing for group in self.groups},
            "oldest_wait_s": now - min(longest) if longest else 0.0,
        }

    # ---- steps of the above --------------------------------------------------------------------------

    def _delay(self, entry: Entry) -> None:
        entry.state = _DELAYED
        entry.place = (entry.starts_at, _DUE, entry.sequence)
        self.delayed += 1
        self.timetable.add(entry.place, entry)

    def _undelay(self, entry: Entry) -> None:
        self.delayed -= 1
        self.timetable.discard(entry.place)

    def _become_due(self, entry: Entry, since: float, now: float) -> None:
        entry.since = since
        entry.moved = False
        if self._age_after_s is not None:
            self._age_at(entry, since + self._age_after_s)
        if entry.group is None:  # as most are; what `_line_up` would do, without the call
            entry.state = _READY
            entry.place = place = entry.sequence - entry.level * _LEVEL
            self.ready.push(place, entry)
        else:
            self._line_up(entry, now)

    def _leave_due(self, entry: Entry, now: float) -> None:
        self._withdraw(entry, now)
        self._forget_wait(entry)
        entry.aged = 0
        entry.level = entry.priority

    def _line_up(self, entry: Entry, now: float) -> None:
        """Put an entry that is due where it belongs by its level."""
        entry.place = place = entry.sequence - entry.level * _LEVEL
        group = self.groups[entry.group] if entry.group is not None else None
        if group is None or group.room(now) > 0:
            entry.state = _READY
            self.ready.push(place, entry)
        else:
            self.groups.park(entry, group)
            self._note_moved(entry)

    def _withdraw(self, entry: Entry, now: float) -> None:
        """Take an entry that is due out of its heap; if it was ready, its group's best parked one may have to be."""
        if entry.state is _READY:
            self.ready.remove(entry.place)
            if entry.group is not None:
                self._unpark(self.groups[entry.group], now, 1)
        elif entry.group is not None:
            group = self.groups[entry.group]
            group.parked.remove(entry.place)
            self.groups.watch(group)

    def _unpark(self, group: Group, now: float, most: int) -> None:
        for entry in self.groups.unpark(group, now, most):
            entry.state = _READY
            self.ready.push(entry.place, entry)

    def _note_moved(self, entry: Entry) -> None:
        """Take note that an entry is not where its becoming due has put it."""
        if not entry.moved:
            entry.moved = True
            self.moved.push((entry.since, entry.sequence), entry)

    def _forget_wait(self, entry: Entry) -> None:
        if entry.moved:
            self.moved.remove((entry.since, entry.sequence))
        if self._age_after_s is not None:
            self.timetable.discard((entry.ages_at, _AGE, entry.sequence))

    def _age_at(self, entry: Entry, when: float) -> None:
        entry.ages_at = when
        self.timetable.add((when, _AGE, entry.sequence), entry)

    def _age(self, entry: Entry, when: float) -> None:
        assert self._age_after_s is not None
        entry.aged += 1
        if entry.aged < _TOP:
            self._age_at(entry, when + self._age_after_s)
        self.update(entry, entry.priority, when)
