"""What a run is doing, and its tries that failed."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Stage(enum.IntEnum):
    """What a run is doing; the order is that of its life."""

    WAITING = 0
    """It has never had a running place."""
    ADMITTED = 1
    """It has or had a running place: it runs, or it waits for its next."""
    STOPPING = 2
    """Workers take nothing more from it: it failed, or its last job has left. Their kernels are told to stop."""
    STOPPED = 3
    """It stopped, and its finished prefix is being stored."""
    COMPLETE = 4
    """All that is wanted is done, and being stored."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a run that failed.

    Attributes
    ----------
    at : float
        Seconds since the epoch.
    error : BaseException
    """

    at: float
    error: BaseException
