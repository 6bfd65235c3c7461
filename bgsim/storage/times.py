"""Times as a store writes them: ISO-8601, UTC, microseconds, so that they sort as text."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def time_text(seconds: float) -> str:
    """Return a time since the epoch as text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def now_text() -> str:
    """Return the present time as text."""
    return time_text(time.time())


def seconds_of(text: str) -> float:
    """Return the time since the epoch that a text names.

    Raises
    ------
    ValueError
        If it names none.
    """
    return datetime.fromisoformat(text).timestamp()
