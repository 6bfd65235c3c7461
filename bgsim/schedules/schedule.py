"""Recurring jobs: which runs are due, and when to look again. No threads, and no clock but the one that is passed in.

A `Schedule` is a value: it says what is due at a time, and `Schedule.ran` gives the schedule that follows. `Schedules`
holds them by name, and is what an engine's timer asks::

       ┌──> due(now) ──> submit each run, keep its schedule ──> wait_s(now), at most 60 s ──┐
       └────────────────────────────────────────────────────────────────────────────────────┘

Guarantees
----------
- A run is due when the wall clock has passed it and it is later than the last one that was handed out. So a clock that
  is set back runs nothing twice. One that is set forward has missed runs, like a computer that slept or was off, and
  `misfire` says what becomes of them.
- A clock that is behind the last run by more than two days was wrong then or is wrong now. The schedule goes on from
  where the clock is, rather than stand still until that time comes again; the last run itself is not repeated.
- What is due is worked out from the wall clock alone, each time, and never from how long a wait took. So whatever is
  done to the clock during a wait is noticed within `MAX_WAIT_S`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bgsim.checks import check_number, check_text, check_word, is_number, normal_name, refused
from bgsim.errors import InvalidInputError, RequestNotFoundError, nearest, printable
from bgsim.schedules.cron import Cron
from bgsim.tables import Table, Tabular, in_short
from bgsim.threads.locks import Lock

MISFIRES = ("once", "skip", "all")

MAX_WAIT_S = 60.0
"""How long an engine may wait before it asks again: a clock may be set in the meantime."""

MAX_CATCH_UP = 100
"""How many missed runs are made up for at a time; of more, the newest."""

_LOST_CLOCK_S = 2 * 86_400.0
"""A clock so far behind the last run has been set: the schedule goes on by the new time."""

_cron = functools.lru_cache(maxsize=256)(Cron)
"""Each expression is read once, however many schedules are made from it by `Schedule.ran`."""


@dataclass(frozen=True, slots=True, repr=False)
class Schedule(Tabular):
    """A recurring job: its name, when it runs, and which runs it has had. Immutable.

    A time `now` may be seconds since the epoch or a datetime with a time zone. Times are kept and returned as datetimes
    in UTC, which compare rightly also in the hour that a zone has twice; ``t.astimezone(schedule.zone)`` is for people.

    Attributes
    ----------
    name : str
        Unique in an engine.
    cron : str
        As for `bgsim.schedules.cron.Cron`.
    since : datetime
        Runs later than this count: when the schedule was made or resumed, or its last run.
    timezone : str
        Whose clocks the expression means. UTC unless given, and not the machine's own zone: the standard library
        cannot name that everywhere, and a schedule in a store that is moved to another machine must stay the same.
    misfire : {"once", "skip", "all"}
        What becomes of runs that were missed: the last of them runs, for all; those that are late by `grace_s` or
        more are dropped; or each of them runs, at most `MAX_CATCH_UP`.
    grace_s : float
        For ``skip``. By default twice `MAX_WAIT_S`, so that an engine which looks a wait late drops nothing.
    paused : bool
        Nothing is due.
    last_run_at : datetime or None
        The nominal time of the last run that was handed out.
    payload : object
        The caller's: what to run.

    Raises
    ------
    InvalidInputError
        Naming the field, what was given and what is allowed.
    MissingExtraError
        If cronsim is not installed.
    """

    name: str
    cron: str
    since: dt.datetime
    timezone: str = "UTC"
    misfire: str = "once"
    grace_s: float = 2 * MAX_WAIT_S
    paused: bool = False
    last_run_at: dt.datetime | None = None
    payload: Any = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for field in ("name", "cron", "timezone"):
            check_text(field, getattr(self, field), empty=False)
        object.__setattr__(self, "name", normal_name(self.name))
        check_word("misfire", self.misfire, MISFIRES)
        grace_s = check_number("grace_s", self.grace_s, "a number of seconds above 0", zero=False, finite=False)
        object.__setattr__(self, "grace_s", grace_s)
        object.__setattr__(self, "since", _utc(_seconds(self.since, "since")))
        if self.last_run_at is not None:
            object.__setattr__(self, "last_run_at", _utc(_seconds(self.last_run_at, "last_run_at")))
        self._times()

    @property
    def zone(self) -> dt.tzinfo:
        """The time zone."""
        return self._times().zone

    def due(self, now: dt.datetime | float) -> list[dt.datetime]:
        """Return the nominal times of the runs that are due, the earliest first.

        At most one with ``once``, and never more than `MAX_CATCH_UP`.
        """
        if self.paused:
            return []
        end, start = _seconds(now, "now"), self.since.timestamp()
        if self.misfire == "skip":
            start = max(start, end - self.grace_s)
        last = None if self.last_run_at is None else self.last_run_at.timestamp()
        runs = (t for t in self._times().between(start, end) if t != last)
        found = itertools.islice(runs, 1 if self.misfire == "once" else MAX_CATCH_UP)
        return [_utc(t) for t in found][::-1]

    def next_at(self, now: dt.datetime | float) -> dt.datetime | None:
        """Return when the next run is due, `now` or before if one is due already; None while it is paused."""
        if self.paused:
            return None
        if runs := self.due(now):
            return runs[0]
        start = max(_seconds(now, "now"), self.since.timestamp())
        found = self._times().after(start)
        return None if found is None else _utc(found)

    def upcoming(self, now: dt.datetime | float, count: int) -> list[dt.datetime]:
        """Return the next runs, `count` at most, the earliest first; none while it is paused."""
        found: list[dt.datetime] = []
        following = self.next_at(now)
        while following is not None and len(found) < count:
            found.append(following)
            after = self._times().after(following.timestamp())
            following = None if after is None else _utc(after)
        return found

    @property
    def words(self) -> str:
        """When it runs, in English: ``"At 02:30 every day"``."""
        return self._times().words

    def ran(self, nominal: dt.datetime) -> Schedule:
        """Return the schedule after a run was handed out."""
        return dataclasses.replace(self, since=nominal, last_run_at=nominal)

    def resynchronised(self, now: dt.datetime | float) -> Schedule:
        """Return the schedule, going on from `now` if the clock has been set back by more than two days."""
        if self.since.timestamp() - _seconds(now, "now") > _LOST_CLOCK_S:
            return dataclasses.replace(self, since=_utc(_seconds(now, "now")))
        return self

    def resumed(self, now: dt.datetime | float) -> Schedule:
        """Return the schedule, no longer paused; what it did not run while it was paused is not made up for."""
        if not self.paused:
            return self
        return dataclasses.replace(self, paused=False, since=_utc(max(_seconds(now, "now"), self.since.timestamp())))

    def __str__(self) -> str:
        last = "never" if self.last_run_at is None else f"{self.last_run_at.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"
        return printable(
            f"{self.name}: {self.cron} {self.timezone}, last run {last}{', paused' if self.paused else ''}"
        )

    def __repr__(self) -> str:
        return in_short("Schedule", str(self))

    def _table(self) -> Table:
        return schedules_table([self])

    def _times(self) -> Cron:
        return _cron(self.cron, self.timezone)


def schedules_table(schedules: Iterable[Schedule]) -> Table:
    """Return a table of schedules."""
    rows = []
    for schedule in schedules:
        last = schedule.last_run_at
        last_run = "never" if last is None else f"{last.astimezone(schedule.zone):%Y-%m-%d %H:%M}"
        rows.append((schedule.name, schedule.cron, schedule.timezone, last_run, "paused" if schedule.paused else ""))
    return Table(("schedule", "cron", "time zone", "last run", ""), rows).trimmed()


class Schedules:
    """The schedules of an engine, by name.

    Any thread may call any method. A lock of its own guards the dict of immutable schedules; nothing is called back
    under it, and no other lock is taken, so it may be used under any. There are tens of schedules rather than
    thousands, so the next one is found by looking at all.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_name: dict[str, Schedule] = {}

    def add(self, schedule: Schedule, *, replace: bool = False) -> None:
        """Add a schedule.

        Raises
        ------
        InvalidInputError
            If there is one of that name, and it is not to be replaced.
        """
        with self._lock:
            if not replace and schedule.name in self._by_name:
                raise InvalidInputError(
                    f"name must be new, and there is a schedule {schedule.name!r}; remove it, or say replace=True",
                    field="name",
                    value=schedule.name,
                )
            self._by_name[schedule.name] = schedule

    def get(self, name: str) -> Schedule:
        """Return a schedule.

        Raises
        ------
        RequestNotFoundError
            If there is none of that name; so for all that take a name.
        """
        with self._lock:
            return self._get(name)

    def remove(self, name: str) -> Schedule:
        """Take a schedule out, and return it."""
        with self._lock:
            schedule = self._get(name)
            del self._by_name[name]
            return schedule

    def pause(self, name: str) -> Schedule:
        """Let nothing of a schedule be due until it is resumed; return the schedule."""
        with self._lock:
            return self._put(dataclasses.replace(self._get(name), paused=True))

    def resume(self, name: str, now: dt.datetime | float) -> Schedule:
        """Let a paused schedule go on with the next run after `now`; return the schedule."""
        with self._lock:
            return self._put(self._get(name).resumed(now))

    def due(self, now: dt.datetime | float) -> list[tuple[Schedule, dt.datetime]]:
        """Hand out the runs that are due, each once.

        Returns
        -------
        list of (Schedule, datetime)
            The earliest first: the schedule as it is after that run, which is what to keep, and the nominal time.
        """
        found: list[tuple[Schedule, dt.datetime]] = []
        with self._lock:
            for schedule in list(self._by_name.values()):
                following = schedule.resynchronised(now)
                for nominal in following.due(now):
                    following = following.ran(nominal)
                    found.append((following, nominal))
                self._put(following)
        return sorted(found, key=lambda run: run[1])

    def next_at(self, now: dt.datetime | float) -> dt.datetime | None:
        """Return when the next run of all is due, or None if nothing will be."""
        times = (schedule.next_at(now) for schedule in self)
        return min((t for t in times if t is not None), default=None)

    def wait_s(self, now: dt.datetime | float) -> float | None:
        """Return how long to wait before asking again: 0 if a run is due, `MAX_WAIT_S` at most, None for ever.

        The time is by the wall clock, which may be set in the meantime: wait this long by a monotonic clock, or until
        schedules are added or resumed, and then ask `due`, whatever the wall clock says.
        """
        following = self.next_at(now)
        if following is None:
            return None
        return min(max(0.0, following.timestamp() - _seconds(now, "now")), MAX_WAIT_S)

    def __iter__(self) -> Iterator[Schedule]:
        with self._lock:
            return iter(list(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def _get(self, name: str) -> Schedule:
        try:
            return self._by_name[name]
        except KeyError:
            hint = nearest(str(name), self._by_name)
            raise RequestNotFoundError(f"there is no schedule {name!r}{hint}") from None

    def _put(self, schedule: Schedule) -> Schedule:
        self._by_name[schedule.name] = schedule
        return schedule


def _utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _seconds(time: Any, field: str) -> float:
    """Return a time as seconds since the epoch."""
    if isinstance(time, dt.datetime) and time.tzinfo is not None:
        return time.timestamp()
    if is_number(time) and math.isfinite(time):
        return float(time)
    raise refused(field, time, "seconds since the epoch or a datetime with a time zone")
