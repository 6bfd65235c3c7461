"""A heap from which anything can be removed, not only the first.

The heap holds keys alone; a dictionary says which of them are live, and for what they stand. A key that is not in the
dictionary is stale: it is skipped when it comes to the top, and the heap is rebuilt when the stale outnumber the live.
So a removal costs no search, a change of place is a removal and a push, and memory follows the live.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Any)
V = TypeVar("V")

_KEPT_STALE = 64
"""A heap with no more stale keys than this is left alone."""


class LazyHeap(Generic[K, V]):
    """Values by key, the lowest key first. Not for several threads at once.

    Each operation is O(log n) on average. Keys are numbers, or tuples of them, of which no two are equal: so there
    is one order, and values are never compared.
    """

    __slots__ = ("_heap", "_live")

    def __init__(self) -> None:
        self._heap: list[K] = []  # every live key, and stale ones
        self._live: dict[K, V] = {}

    def push(self, key: K, value: V) -> None:
        """Add a value by a key that is not here."""
        self._live[key] = value
        heappush(self._heap, key)

    def remove(self, key: K) -> None:
        """Take out a key that is here, and its value."""
        del self._live[key]
        if len(self._heap) > 2 * len(self._live) + _KEPT_STALE:
            self._rebuild()

    def discard(self, key: K) -> None:
        """Take out a key and its value if it is here."""
        if key in self._live:
            self.remove(key)

    def first(self) -> V | None:
        """Return the value of the lowest key, None when there is none."""
        heap, live = self._heap, self._live
        while heap:
            value = live.get(heap[0])
            if value is not None:
                return value
            heappop(heap)
        return None

    def first_key(self) -> K | None:
        """Return the lowest key, None when there is none."""
        return None if self.first() is None else self._heap[0]

    def drop_first(self) -> None:
        """Take out what `first` has just returned."""
        del self._live[heappop(self._heap)]
        if len(self._heap) > 2 * len(self._live) + _KEPT_STALE:
            self._rebuild()

    def oldest(self) -> V | None:
        """Return the value that has been here longest, None when there is none."""
        return next(iter(self._live.values()), None)

    def copy(self) -> dict[K, V]:
        """Return the values by key; the sorted keys are in order."""
        return self._live.copy()

    def check(self) -> None:
        """Assert what holds between two calls."""
        heap = self._heap
        assert set(self._live) <= set(heap)
        assert len(heap) <= 2 * len(self._live) + _KEPT_STALE
        assert all(heap[(child - 1) // 2] <= heap[child] for child in range(1, len(heap)))

    def __len__(self) -> int:
        return len(self._live)

    def _rebuild(self) -> None:
        self._heap = list(self._live)
        heapify(self._heap)
