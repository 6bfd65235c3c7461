"""What one caller asks the queue for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from bgsim.checks import check_integer, check_name, check_seconds, refused
from bgsim.errors import InvalidInputError
from bgsim.priority import Priority, PriorityName


@dataclass(slots=True, eq=False)
class SimulationRequest:
    """What one caller asked for. Read-only once it has been put.

    Attributes
    ----------
    id : str
        Unique among all requests.
    key : str or None
        Requests with one key are one run; None keeps this one apart.
    replicates : int
        1 or more. The largest among the members of an entry counts.
    priority : Priority
        Or its name. The highest among the members counts.
    payload : object
        The caller's; that of an entry's first request stays with the entry.
    group : str or None
        Counts against the queue's limits of that name.
    supersede : str or None
        The newest request with this word replaces the older ones.
    delay_s : float
        Seconds from `put` to the earliest start; infinity waits for `release`. The earliest among the members counts.
    queue_timeout_s : float or None
        Seconds from `put` to the latest start; after that the request has expired.
    debounce_s, max_wait_s : float or None
        With `supersede`: start when no newer request has come for `debounce_s`, but hold a burst of requests back for
        at most `max_wait_s`.
    due_at, expires_at : float
        The earliest and the latest start, by the queue's clock; `SimulationQueue.put` sets them.

    Raises
    ------
    InvalidInputError
        Naming the attribute, what was given and what is allowed.
    """

    id: str
    key: str | None = None
    replicates: int = 1
    priority: Priority | PriorityName = Priority.NORMAL
    payload: Any = None
    group: str | None = None
    supersede: str | None = None
    delay_s: float = 0.0
    queue_timeout_s: float | None = None
    debounce_s: float | None = None
    max_wait_s: float | None = None
    due_at: float = field(default=-math.inf, init=False)
    expires_at: float = field(default=math.inf, init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str):
            raise refused("id", self.id, "a string")
        for name in ("group", "supersede"):
            if getattr(self, name) is not None:
                setattr(self, name, check_name(name, getattr(self, name)))
        # Most requests have no times and need no more than these comparisons.
        if type(self.priority) is not Priority:
            self.priority = Priority.of(self.priority)
        if type(self.replicates) is not int or self.replicates < 1:
            self.replicates = check_integer("replicates", self.replicates)
        if self.delay_s != 0.0 or self.queue_timeout_s is not None:
            self._check_times()
        if self.debounce_s is not None or self.max_wait_s is not None:
            check_debounce(self)

    def _check_times(self) -> None:
        if self.delay_s != math.inf:
            check_seconds("delay_s", self.delay_s)
        if self.queue_timeout_s is not None:
            check_seconds("queue_timeout_s", self.queue_timeout_s)


def check_debounce(request: Any) -> None:
    """Refuse a `debounce_s` or `max_wait_s` that is no time, or that stands without what it needs.

    Raises
    ------
    InvalidInputError
    """
    for name, needed in (("debounce_s", "supersede"), ("max_wait_s", "debounce_s")):
        value = getattr(request, name)
        if value is None:
            continue
        check_seconds(name, value)
        if getattr(request, needed) is None:
            raise InvalidInputError(f"{name} needs {needed}; got {name}={value!r} alone", field=name, value=value)
