"""A subscriber's pending updates: few, however slow the subscriber is."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bgsim.bus.updates import UpdateType

if TYPE_CHECKING:
    from bgsim.bus.updates import ProgressUpdate

_PROGRESS = UpdateType.PROGRESS


class Buffer:
    """A queue of updates that conflates progress when it is full. Not thread-safe.

    A full buffer (`maxlen` updates) replaces a job's pending progress with the job's next update. It never drops starts
    and ends, so beyond `maxlen` it holds at most a job's STARTED, its newest progress and its terminal update.
    Every operation is O(1).

    Attributes
    ----------
    conflated, taken : int
        Updates that a newer one replaced, and those that `get` returned.
    """

    __slots__ = ("_cells", "_newest", "conflated", "maxlen", "taken")

    def __init__(self, maxlen: int) -> None:
        self.maxlen = maxlen
        self.conflated = self.taken = 0
        self._cells: deque[list[ProgressUpdate]] = deque()  # one update each, replaced in place
        self._newest: dict[str, list[ProgressUpdate]] = {}  # a job's last cell, if that holds progress

    def put(self, update: ProgressUpdate) -> None:
        """Append an update, or replace older progress of its job with it."""
        job = update.simulation_id
        cell = self._newest.get(job)
        if cell is not None and len(self._cells) >= self.maxlen:
            cell[0] = update
            self.conflated += 1
        else:
            cell = [update]
            self._cells.append(cell)
        if update.update_type is _PROGRESS:
            self._newest[job] = cell
        else:
            self._newest.pop(job, None)

    def get(self) -> ProgressUpdate | None:
        """Return the first update, None when there is none."""
        if not self._cells:
            return None
        self.taken += 1
        cell = self._cells.popleft()
        update = cell[0]
        if self._newest.get(update.simulation_id) is cell:
            del self._newest[update.simulation_id]
        return update

    def clear(self) -> None:
        """Drop all updates."""
        self._cells.clear()
        self._newest.clear()

    def __len__(self) -> int:
        return len(self._cells)
