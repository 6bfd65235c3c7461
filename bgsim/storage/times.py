"""Times as a store writes them: ISO-8601, UTC, microseconds, so that they sort as text."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from functools import lru_cache

from bgsim.errors import brief

_MONTH_S = 30 * 86_400.0


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
