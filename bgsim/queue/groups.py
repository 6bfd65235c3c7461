"""Groups: how many of their entries are processed at once or start within some seconds, and which wait for that."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterator, Mapping

from bgsim.checks import check_integer, check_seconds, refused
from bgsim.queue.entry import Entry, EntryState
from bgsim.queue.lazy_heap import LazyHeap
from bgsim.queue.timetable import Event, Timetable

_PARKED = EntryState.PARKED


class Group:
    """One group.

    Attributes
    ----------
    limit : int or None
        How many may be processed at once.
    rate : (int, float) or None
        How many may start, and within how many seconds.
    waiting, processing : int
        Entries.
    parked : LazyHeap of Entry
        Those of the waiting that are due and were found to have no room.
    watched_for : float
        When the timetable says to look whether the rate has more room; infinity when no entry waits for that.
    """

    __slots__ = ("_starts", "limit", "name", "parked", "processing", "rate", "waiting", "watched_for")

    def __init__(self, name: str, limit: int | None = None, rate: tuple[int, float] | None = None) -> None:
        self.name = name
        self.limit = limit
        self.rate = rate
        self.waiting = 0
        self.processing = 0
        self.parked: LazyHeap[int, Entry] = LazyHeap()
        self.watched_for = math.inf
        self._starts: deque[float] = deque()  # of the last rate[1] seconds; at most rate[0]

    def room(self, now: float) -> int:
        """Return how many may start now."""
        room = sys.maxsize if self.limit is None else self.limit - self.processing
        if self.rate is not None:
            number, seconds = self.rate
            while self._starts and self._starts[0] + seconds <= now:
                self._starts.popleft()
            room = min(room, number - len(self._starts))
        return room

    def reopens_at(self) -> float:
        """Return when the rate has room for one more than now; infinity when time will bring none."""
        return math.inf if self.rate is None or not self._starts else self._starts[0] + self.rate[1]

    def start(self, now: float) -> None:
        """Take note that one of its waiting entries has started."""
        self.waiting -= 1
        self.processing += 1
        if self.rate is not None:
            self._starts.append(now)


class Groups:
    """The groups by name: those that have limits, and others while they have entries.

    Parameters
    ----------
    limits, rate_limits
        As for `SimulationQueue`.
    timetable : Timetable
        Where it is written when a rate has room again.

    Raises
    ------
    InvalidInputError
        If a limit is less than 1, or a rate is not a pair of such a number and seconds.
    """

    def __init__(
        self, limits: Mapping[str, int], rate_limits: Mapping[str, tuple[int, float]], timetable: Timetable
    ) -> None:
        most = {name: check_integer(f"limits[{name!r}]", limit) for name, limit in limits.items()}
        rates = {name: _checked_rate(f"rate_limits[{name!r}]", rate) for name, rate in rate_limits.items()}
        self._timetable = timetable
        self._by_name = {name: Group(name, most.get(name), rates.get(name)) for name in (*limits, *rate_limits)}

    def __getitem__(self, name: str) -> Group:
        return self._by_name[name]

    def __iter__(self) -> Iterator[Group]:
        return iter(self._by_name.values())

    def enter(self, name: str) -> None:
        """Take note that one of its entries begins to wait."""
        if name not in self._by_name:
            self._by_name[name] = Group(name)
        self._by_name[name].waiting += 1

    def forget_if_empty(self, group: Group) -> None:
        """Forget a group without limits and entries."""
        if group.limit is None and group.rate is None and not group.waiting and not group.processing:
            del self._by_name[group.name]

    def park(self, entry: Entry, group: Group) -> None:
        """Let an entry wait until its group has room."""
        entry.state = _PARKED
        group.parked.push(entry.place, entry)
        self.watch(group)

    def unpark(self, group: Group, now: float, most: int) -> Iterator[Entry]:
        """Yield up to `most` parked entries, the best first, as far as the group has room for them."""
        for _ in range(min(group.room(now), most, len(group.parked))):
            entry = group.parked.first()
            assert entry is not None
            group.parked.drop_first()
            yield entry
        self.watch(group)

    def watch(self, group: Group) -> None:
        """Look again when the rate has more room, while an entry waits for that."""
        when = group.reopens_at() if group.parked else math.inf
        if when != group.watched_for:
            self._timetable.discard((group.watched_for, Event.REOPEN, group.name))
            group.watched_for = when
            if when != math.inf:
                self._timetable.add((when, Event.REOPEN, group.name), group)


def _checked_rate(field: str, rate: object) -> tuple[int, float]:
    if not isinstance(rate, tuple | list) or len(rate) != 2:
        raise refused(field, rate, "a pair (how many starts, within how many seconds)")
    return check_integer(field, rate[0]), check_seconds(field, rate[1], zero=False)
