"""When a cron expression is due in a time zone: every instant, across daylight-saving changes.

cronsim reads the expression; what its fields mean is Debian's cron, and which instants they are is worked out here,
a day at a time. A clock that is set forward or back makes two kinds of expression:

- One that names its minutes and hours (``30 2 * * *``) runs exactly once. A time that does not exist runs at the moment
  at which the clock is set forward; a time that exists twice runs the first time.
- One with a ``*`` for minute or hour (``*/15 * * * *``, ``0 */6 * * *``), or with seconds, follows the clock on the
  wall: what does not exist does not run, what exists twice runs twice.

cronsim's own iteration does the same where clocks are set by whole hours and not at midnight. Elsewhere (Lord Howe
Island's half hour, Santiago's midnight) cronsim 2.8 misses or moves runs of the second kind, so it is not used.
"""

from __future__ import annotations

import datetime as dt
import functools
import zoneinfo
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bgsim.errors import InvalidInputError, MissingExtraError, brief, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HORIZON_DAYS = 50 * 366
"""How far ahead a run is looked for; February 29 on a Monday comes every 28 or 40 years."""

_WEST_S, _EAST_S = 13 * 3600, 15 * 3600
"""No zone is so far behind UTC, or ahead of it."""

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""What crontab(5) has names for."""

MAX_LENGTH = 1000
"""Characters of an expression."""

_EPOCH = dt.date(1970, 1, 1)
_ONE_DAY = dt.timedelta(days=1)


class Cron:
    """A cron expression in a time zone; immutable, so any thread may use it.

    Instants are whole seconds since the epoch, UTC.

    Parameters
    ----------
    expression : str
        Five fields, minute, hour, day of month, month and day of week, or six with seconds before them. Names, lists,
        ranges and steps; ``L`` for the last day of a month, ``LW`` for its last weekday, ``5L`` for its last Friday,
        ``MON#2`` for its second Monday. Or one of `NICKNAMES`.
    timezone : str
        A name of the IANA database.

    Raises
    ------
    InvalidInputError
        If the expression cannot be read or is never due, or there is no such zone.
    MissingExtraError
        If cronsim, or the system's time zones, are not installed.
    """

    def __init__(self, expression: str, timezone: str) -> None:
        self.zone = _find_zone(timezone)
        try:
            import cronsim  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise MissingExtraError("schedules need cronsim: pip install cronsim") from error
        written = _written_out(expression)
        try:
            self._fields = cronsim.CronSim(written, dt.datetime(2000, 1, 1))
        except cronsim.CronSimError as error:
            raise _refused(expression, str(error).lower()) from None
        parts = written.split()
        self._once_a_day = len(parts) == 5 and "*" not in (parts[0][0], parts[1][0])
        times = (self._fields.hours, self._fields.minutes, self._fields.seconds)
        hours, minutes, seconds = (np.array(sorted(values), np.int64) for values in times)
        self._seconds_of_day = (hours[:, None, None] * 3600 + minutes[:, None] * 60 + seconds).ravel()
        self._on = functools.lru_cache(maxsize=4)(self._instants_on)
        if self.after(0) is None:
            raise _refused(expression, "no day matches it")

    @property
    def words(self) -> str:
        """The expression in English: ``"At 02:30 every day"``."""
        return str(self._fields.explain())

    def after(self, instant: float) -> int | None:
        """Return the first instant later than this one, or None if the next 50 years have none."""
        day = _local_date(instant, self.zone)
        for _ in range(_HORIZON_DAYS):
            if self._matches(day):
                instants = self._on(day)
                at = int(np.searchsorted(instants, instant, side="right"))
                if at < len(instants):
                    return int(instants[at])
            day += _ONE_DAY
        return None

    def between(self, start: float, end: float) -> Iterator[int]:
        """Yield the instants later than `start` and not later than `end`, the last one first."""
        day, first = _local_date(end, self.zone), _local_date(start, self.zone)
        while day >= first:
            if self._matches(day):
                instants = self._on(day)
                low, high = np.searchsorted(instants, (start, end), side="right")
                yield from map(int, instants[low:high][::-1])
            day -= _ONE_DAY

    def _matches(self, day: dt.date) -> bool:
        return day.month in self._fields.months and bool(self._fields.match_day(day))

    def _instants_on(self, day: dt.date) -> NDArray[np.int64]:
        """Return the instants of a date on the wall, in order.

        With a change from the offset `before` to the offset `later` at the instant `change`, a time on the wall is
        the instant ``time - before`` if that is ahead of the change, and ``time - later`` if that is not; both hold
        for a time that exists twice, neither for one that does not exist.
        """
        times = (day - _EPOCH).days * 86_400 + self._seconds_of_day
        low, high = int(times[0]) - _EAST_S, int(times[-1]) + _WEST_S
        before, later = _offset_s(low, self.zone), _offset_s(high, self.zone)
        if before == later:
            return times - before
        while high - low > 1:  # `change` is in (low, high]
            middle = (low + high) // 2
            if _offset_s(middle, self.zone) == before:
                low = middle
            else:
                high = middle
        change, early, late = high, times - before, times - later
        if self._once_a_day:
            return np.unique(np.where(early < change, early, np.maximum(late, change)))
        return np.concatenate([early[early < change], late[late >= change]])


def _written_out(expression: object) -> str:
    """Return an expression with fields, also for a nickname."""
    if not isinstance(expression, str):
        raise _refused(expression, "it must be a text")
    if len(expression) > MAX_LENGTH:
        raise _refused(expression, f"it must have at most {MAX_LENGTH:,} characters")
    name = expression.strip().lower()
    if name.startswith("@") and name not in NICKNAMES:
        raise _refused(expression, f"the names are {', '.join(NICKNAMES)}{nearest(name, NICKNAMES)}")
    return NICKNAMES.get(name, expression)


def _refused(expression: object, why: str) -> InvalidInputError:
    return InvalidInputError(
        "cron must have five fields, minute hour day-of-month month day-of-week, such as '30 2 * * *', or six with "
        f"seconds before them, or be a name such as '@daily'; {why}; got {brief(expression)}",
        field="cron",
        value=expression,
    )


def _find_zone(name: str) -> dt.tzinfo:
    if name == "UTC":
        return dt.UTC  # also where the system has no time zones
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, TypeError, ValueError, OSError):
        known = zoneinfo.available_timezones()
    if not known:
        raise MissingExtraError("this system has no time zones: pip install tzdata brings them")
    hint = nearest(name, known) if isinstance(name, str) else ""
    raise InvalidInputError(
        f"timezone must be a name of the IANA database, such as 'Europe/Berlin'{hint}; got {brief(name)}",
        field="timezone",
        value=name,
    )


def _local_date(instant: float, zone: dt.tzinfo) -> dt.date:
    return dt.datetime.fromtimestamp(instant, zone).date()


def _offset_s(instant: int, zone: dt.tzinfo) -> int:
    """Return how far the zone's clocks are ahead of UTC at an instant."""
    offset = dt.datetime.fromtimestamp(instant, zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds())
