"""How urgent a job is."""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

from bgsim.checks import one_of, refused

PriorityName: TypeAlias = Literal["low", "normal", "high", "critical"]
"""What a checker of types takes for a name; `Priority.of` takes it in any case."""


class Priority(enum.IntEnum):
    """How urgent a request is; higher is served first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3

    @classmethod
    def of(cls, value: Priority | str | int) -> Priority:
        """Return the priority that a member, its name in any case, or its number stands for.

        Raises
        ------
        InvalidInputError
            Naming the four.
        """
        try:
            return cls[value.upper()] if isinstance(value, str) else cls(value)
        except Exception:  # a value of the caller's may raise anything
            names = [p.name.lower() for p in reversed(cls)]
            given = value.lower() if isinstance(value, str) else ""
            raise refused("priority", value, one_of(names, given)) from None
