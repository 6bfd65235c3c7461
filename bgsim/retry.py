"""When a job that failed is tried again."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bgsim.errors import CompileError, InvalidInputError, JobTimeoutError, nearest

BACKOFFS = ("exponential", "fixed")

NEVER: tuple[type[BaseException], ...] = (InvalidInputError, CompileError, JobTimeoutError)
"""What would fail again in the same way, or has used up its time."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after how long, a job that failed is tried again.

    Only the chunk that failed is computed again. While it waits, a job holds no worker and no running place.

    Attributes
    ----------
    attempts : int
        How often it is tried again after the first failure; 0 for never.
    backoff : {"exponential", "fixed"}
        Whether each wait is twice as long as the one before.
    delay_s, max_delay_s : float
        The first wait, and the longest: 2, 4 and 8 seconds by default.
    jitter : float
        From 0 to 1: by which part of itself a wait is longer or shorter, at random.
    retry_on : tuple of exception types
        Errors, or causes of errors, that may pass by themselves. Bad input is never tried again.
    """

    attempts: int = 3
    backoff: str = "exponential"
    delay_s: float = 2.0
    max_delay_s: float = 300.0
    jitter: float = 0.0
    retry_on: tuple[type[BaseException], ...] = (OSError, MemoryError, TimeoutError)

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 0:
            raise _refused("attempts", self.attempts, "must be an integer of 0 or more")
        if self.backoff not in BACKOFFS:
            allowed = f"must be one of {', '.join(BACKOFFS)}{nearest(str(self.backoff), BACKOFFS)}"
            raise _refused("backoff", self.backoff, allowed)
        for name in ("delay_s", "max_delay_s"):
            if not _is_number(getattr(self, name)) or not 0 <= getattr(self, name) < math.inf:
                raise _refused(name, getattr(self, name), "must be a number of seconds, 0 or more")
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise _refused("jitter", self.jitter, "must be a number from 0 to 1")
        kinds = self.retry_on if isinstance(self.retry_on, tuple) else (self.retry_on,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise _refused("retry_on", self.retry_on, "must be exception types")
        object.__setattr__(self, "retry_on", kinds)

    def covers(self, error: BaseException) -> bool:
        """Tell whether an error, or what caused it, may pass by itself."""
        chain = list(_causes(error))
        return not any(isinstance(e, NEVER) for e in chain) and any(isinstance(e, self.retry_on) for e in chain)

    def wait_s(self, attempt: int) -> float:
        """Return how long to wait before an attempt, counted from 1."""
        growth = 2.0 ** min(attempt - 1, 1000) if self.backoff == "exponential" else 1.0
        wait = min(self.delay_s * growth, self.max_delay_s)
        return wait * (1 + self.jitter * random.uniform(-1, 1)) if self.jitter else wait

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it; exception types by name."""
        names = [f"{kind.__module__}:{kind.__qualname__}" for kind in self.retry_on]
        return {name: getattr(self, name) for name in _PLAIN} | {"retry_on": names}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Retry:
        """Return what `to_json` wrote; an exception type of a module that is not imported is left out."""
        kinds = tuple(kind for name in values["retry_on"] if (kind := _exception_type(name)) is not None)
        return cls(**{name: values[name] for name in _PLAIN}, retry_on=kinds)


_PLAIN = ("attempts", "backoff", "delay_s", "max_delay_s", "jitter")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _exception_type(name: str) -> type[BaseException] | None:
    module, _, attribute = name.partition(":")
    found = getattr(sys.modules.get(module), attribute, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refused(name: str, value: object, allowed: str) -> InvalidInputError:
    return InvalidInputError(f"Retry: {name} {allowed}; got {value!r}", field=name, value=value)
