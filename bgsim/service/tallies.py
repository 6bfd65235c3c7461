"""How many jobs the history has, of each tenant, simulation and state."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from bgsim.storage.history import History

_OLD_S = 30.0
"""Another process may have changed the history meanwhile."""


class Tallies:
    """Counts the history once, and again when it has changed: all of it is looked at. Any thread may call any method.

    Parameters
    ----------
    history : History
    clock : callable
        Seconds; monotonic.
    """

    def __init__(self, history: History, clock: Callable[[], float] = time.monotonic) -> None:
        self._history = history
        self._clock = clock
        self._lock = Lock()  # guards the next two; nothing is called under it
        self._changes = 0
        self._known: tuple[int, float, Mapping[tuple[str, str, str], int]] | None = None

    def changed(self) -> None:
        """Note that a job has come, ended or been forgotten."""
        with self._lock:
            self._changes += 1

    def counts(self) -> Mapping[tuple[str, str, str], int]:
        """Return the counts by tenant, simulation and state, which is empty of what has not ended."""
        now = self._clock()
        with self._lock:
            changes, known = self._changes, self._known
        if known is not None and known[0] == changes and now - known[1] < _OLD_S:
            return known[2]
        found = self._history.tally()
        with self._lock:
            self._known = changes, now, found
        return found
