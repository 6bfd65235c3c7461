"""When the engine tries a failed job again."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bgsim.checks import check_integer, check_number, check_seconds, check_word, refused
from bgsim.errors import CompileError, InvalidInputError, JobTimeoutError

logger = logging.getLogger("bgsim.engine")

BACKOFFS = ("exponential", "fixed")

NEVER: tuple[type[BaseException], ...] = (InvalidInputError, CompileError, JobTimeoutError)
"""What would fail again in the same way, or has used up its time."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after how long, the engine tries a failed job again.

    Only the chunk that failed is computed again. A job that waits for its retry holds no worker and no running place.

    Attributes
    ----------
    retries : int
        How many more tries follow the first; 0 for none.
    backoff : {"exponential", "fixed"}
        Whether each wait is twice as long as the one before.
    delay_s, max_delay_s : float
        The first wait, and the longest: 2, 4 and 8 seconds by default.
    jitter : float
        From 0 to 1: by which part of itself a wait is longer or shorter, at random.
    retry_on : tuple of exception types
        Errors, or causes of errors, that may pass by themselves. Bad input is never tried again.
    """

    retries: int = 3
    backoff: str = "exponential"
    delay_s: float = 2.0
    max_delay_s: float = 300.0
    jitter: float = 0.0
    retry_on: tuple[type[BaseException], ...] = (OSError, MemoryError, TimeoutError)

    def __post_init__(self) -> None:
        object.__setattr__(self, "retries", check_integer("retries", self.retries, least=0))
        check_word("backoff", self.backoff, BACKOFFS)
        for name in ("delay_s", "max_delay_s"):
            check_seconds(name, getattr(self, name))
        check_number("jitter", self.jitter, "a number from 0 to 1", most=1)
        kinds = self.retry_on if isinstance(self.retry_on, tuple) else (self.retry_on,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise refused("retry_on", self.retry_on, "exception types")
        object.__setattr__(self, "retry_on", kinds)

    def covers(self, error: BaseException) -> bool:
        """Tell whether an error, or what caused it, may pass by itself.

        Types are compared as an ``except`` clause does, which asks no method of theirs: the engine's lock is held.
        """
        kinds = [type(e) for e in _causes(error)]
        return not any(_is_one_of(kind, NEVER) for kind in kinds) and any(
            _is_one_of(kind, self.retry_on) for kind in kinds
        )

    def wait_s(self, retry: int) -> float:
        """Return how long to wait before a retry, counted from 1."""
        growth = 2.0 ** min(retry - 1, 1000) if self.backoff == "exponential" else 1.0
        wait = min(self.delay_s * growth, self.max_delay_s)
        return wait * (1 + self.jitter * random.uniform(-1, 1)) if self.jitter else wait

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it; exception types by name."""
        names = [f"{kind.__module__}:{kind.__qualname__}" for kind in self.retry_on]
        return {key: getattr(self, name) for key, name in _PLAIN.items()} | {"retry_on": names}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Retry:
        """Return what `to_json` wrote; an exception type of a module that is not imported is left out."""
        kinds = tuple(kind for name in values["retry_on"] if (kind := _exception_type(name)) is not None)
        return cls(**{name: values[key] for key, name in _PLAIN.items()}, retry_on=kinds)


def wait_before(retry: Retry, number: int, error: BaseException) -> float | None:
    """Return how long to wait before a retry; None if the error is not tried again.

    A class derived from `Retry` may answer otherwise, or fail: then the job fails with its own error.
    """
    try:
        return check_seconds("wait_s", retry.wait_s(number)) if retry.covers(error) else None
    except BaseException:
        logger.exception("%r cannot say when to try again, so the job is not tried again", retry)
        return None


_PLAIN = {"attempts": "retries"} | {name: name for name in ("backoff", "delay_s", "max_delay_s", "jitter")}
"""By the word of the journal, which is kept for ever, the attribute."""


def _is_one_of(kind: type, kinds: tuple[type, ...]) -> bool:
    return any(type.__subclasscheck__(other, kind) for other in kinds)


_cause_of = vars(BaseException)["__cause__"].__get__
"""Returns an exception's cause, whatever its class makes of the name."""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = set()
    while error is not None and id(error) not in seen:  # a user may have made a circle
        seen.add(id(error))
        yield error
        error = _cause_of(error)


def _exception_type(name: str) -> type[BaseException] | None:
    module, _, attribute = name.partition(":")
    found = getattr(sys.modules.get(module), attribute, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None
