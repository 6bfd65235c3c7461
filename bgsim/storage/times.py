"""Times as a store writes them: ISO-8601, UTC, microseconds, so that they sort as text."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from bgsim.checks import refused
from bgsim.errors import brief

_MONTH_S = 30 * 86_400.0

_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_LAST_S = datetime(_LAST_YEAR, 12, 31, tzinfo=UTC).timestamp()
"""Of a moment that is asked for; one near an end of the calendar is in none of its years in some time zone."""


def time_text(seconds: float) -> str:
    """Return a time since the epoch as text."""
    whole = math.floor(seconds)
    microseconds = round((seconds - whole) * 1e6)
    if microseconds == 1_000_000:
        whole, microseconds = whole + 1, 0
    return f"{_whole_text(whole)}.{microseconds:06}+00:00"


@lru_cache(maxsize=64)
def _whole_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[: len("2026-01-01T00:00:00")]


def now_text() -> str:
    """Return the current time as text."""
    return time_text(time.time())


_UNITS = {
    **dict.fromkeys(("s", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("week", "weeks"), 604_800.0),
}


def duration_of(field: str, given: str) -> float:
    """Return the seconds that a text such as "90 d" or "12h" names.

    Raises
    ------
    InvalidInputError
        If it names no time longer than 0.
    """
    text = given.strip()
    digits = len(text) - len(text.lstrip("0123456789."))
    with suppress(ValueError, KeyError):
        seconds = float(text[:digits]) * _UNITS[text[digits:].strip()]
        if 0 < seconds < _LAST_S:
            return seconds
    raise refused(field, given, 'a time such as "90 d", "12 h" or "30 min"')


def moment_of(field: str, given: datetime | timedelta | str) -> float:
    """Return the time since the epoch that a caller means; a time without a zone is by the local clock.

    One before the epoch, or in the year 9999 or later, is taken for the first or the last that a store can have.

    Raises
    ------
    InvalidInputError
        If it is neither a time, nor how long ago, nor a text of either.
    """
    found: Any = given
    if isinstance(given, str):
        number, _, unit = given.strip().removesuffix("ago").strip().partition(" ")
        with suppress(ValueError, OverflowError):
            found = timedelta(seconds=float(number) * _UNITS[unit]) if unit in _UNITS else datetime.fromisoformat(given)
    try:
        if isinstance(found, timedelta):
            return min(max(0.0, time.time() - found.total_seconds()), _LAST_S)
        if isinstance(found, datetime):
            if found.year < _FIRST_YEAR:
                return 0.0
            return _LAST_S if found.year > _LAST_YEAR else max(0.0, found.timestamp())
    except ValueError:  # NaT of pandas
        pass
    raise refused(field, given, 'a datetime, a timedelta, or a text such as "2026-10-01", "3 h" or "2 days"')


def ago(text: str) -> str:
    """Return how long ago a time was, in words; of one more than a month ago, its day by the local clock."""
    try:
        then = datetime.fromisoformat(text)
        seconds = time.time() - then.timestamp()
        if seconds < _MONTH_S:
            return _age(max(0.0, seconds))
        return f"{then.astimezone():%Y-%m-%d}"
    except (ValueError, OverflowError):  # damage
        return brief(text, 20)


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now" if seconds < 10 else f"{int(seconds)} s ago"


def seconds_of(text: str) -> float:
    """Return the time since the epoch that a text names.

    Raises
    ------
    ValueError
        If it names no time.
    """
    try:
        return datetime.fromisoformat(text).timestamp()
    except OverflowError as error:  # without a time zone, at the ends of the calendar
        raise ValueError(f"{text} is out of range") from error
