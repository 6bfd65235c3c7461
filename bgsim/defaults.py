"""What a simulation declares for its jobs, and the checks that it shares with a submission."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bgsim.errors import InvalidInputError, nearest
from bgsim.queue_manager import Priority
from bgsim.retry import Retry


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """What a simulation's jobs have unless `Engine.submit` is told otherwise; see there.

    Raises
    ------
    InvalidInputError
        Naming what is not allowed.
    """

    priority: Priority = Priority.NORMAL
    timeout_s: float | None = None
    group: str | None = None
    retry: Retry | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "priority", Priority.of(self.priority))
        check_seconds(self, above_zero=("timeout_s",))
        check_retry(self.retry)


def check_seconds(holder: Any, *, above_zero: tuple[str, ...], from_zero: tuple[str, ...] = ()) -> None:
    """Refuse attributes that are neither None nor a number of seconds in range."""
    for name in (*above_zero, *from_zero):
        value = getattr(holder, name)
        if value is None:
            continue
        least, words = (0.0, "0 seconds or more") if name in from_zero else (math.ulp(0.0), "more than 0 seconds")
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
            raise InvalidInputError(f"{name} must be {words}; got {value!r}", field=name, value=value)


def check_word(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse what is not one of the allowed words, naming the nearest."""
    if value not in allowed:
        raise InvalidInputError(
            f"{name} must be one of {', '.join(allowed)}{nearest(str(value), allowed)}; got {value!r}",
            field=name,
            value=value,
        )


def check_retry(retry: object) -> None:
    """Refuse what is neither None nor a `Retry`."""
    if retry is not None and not isinstance(retry, Retry):
        raise InvalidInputError(
            f"retry must be a bgsim.Retry, such as Retry(attempts=3); got {retry!r}", field="retry", value=retry
        )
