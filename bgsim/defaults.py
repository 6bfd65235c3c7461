"""What a simulation declares for its jobs."""

from __future__ import annotations

from dataclasses import dataclass

from bgsim.checks import check_name, check_seconds, refused
from bgsim.priority import Priority
from bgsim.retry import Retry


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """Options of a simulation's jobs, unless `Engine.submit` gives others; see there.

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
        if self.timeout_s is not None:
            object.__setattr__(self, "timeout_s", check_seconds("timeout_s", self.timeout_s, zero=False))
        if self.group is not None:
            object.__setattr__(self, "group", check_name("group", self.group))
        check_retry(self.retry)


def check_retry(retry: object) -> None:
    """Refuse what is neither None nor a `Retry`."""
    if retry is not None and not isinstance(retry, Retry):
        raise refused("retry", retry, "a bgsim.Retry, such as Retry(retries=3)")
