"""The rows of a run that no worker has, and which of them were lost before with what computed them.

A chunk that is lost is computed again. One that was lost three times is *suspect*: it is computed with nothing beside
it, so that it alone can be blamed, and cut into pieces each time that it is lost, until one replicate is left.
"""

from __future__ import annotations

import bisect
import math
from typing import NamedTuple

BEFORE_SUSPECT = 3
"""A chunk that was lost this many times is suspect."""

_PIECES = 16
"""Into so many a suspect chunk is cut. Each time that it is lost a process begins anew, which takes seconds."""


class _Lost(NamedTuple):
    first: int
    stop: int
    times: int


class Pending:
    """Rows, the lowest first. The engine's lock guards it.

    Attributes
    ----------
    ranges : list of (int, int)
        First row and the one after the last; sorted, and apart.
    lost : list
        Those that were lost, and not computed since; apart, and few.
    """

    __slots__ = ("lost", "ranges")

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.lost: list[_Lost] = []

    def count(self, target: int) -> int:
        """Return how many of the first `target` rows there are."""
        return sum([min(stop, target) - first for first, stop in self.ranges if first < target])

    def add(self, first: int, stop: int) -> None:
        """Put a range in, joined with the one that follows it."""
        index = bisect.bisect(self.ranges, (first, stop))
        if index < len(self.ranges) and self.ranges[index][0] == stop:
            stop = self.ranges.pop(index)[1]
        self.ranges.insert(index, (first, stop))

    def take(self, most: int) -> tuple[int, int, bool]:
        """Take rows off the lowest range, `most` at most; what was lost before comes back in one piece.

        Returns
        -------
        (int, int, bool)
            The first row, the one after the last, and whether the chunk is suspect.
        """
        first, stop = self.ranges[0]
        end, is_suspect = min(first + most, stop), False
        for lost in self.lost:
            if lost.first <= first < lost.stop:
                end, is_suspect = min(lost.stop, stop), lost.times >= BEFORE_SUSPECT
                break
            if first < lost.first < end:
                end = lost.first
        if end == stop:
            self.ranges.pop(0)
        else:
            self.ranges[0] = (end, stop)
        return first, end, is_suspect

    def lose(self, first: int, stop: int, *, was_alone: bool, at: int | None = None) -> bool:
        """Note that a chunk, which was put in again, was lost; return whether its one row is to blame for that.

        If it is known that row `at` of the chunk was in hand, those before it have ended nothing, and it alone is lost.
        """
        if at is not None and first + at < stop:
            self.computed(first, first + at)
            was_alone = was_alone and stop - first == 1
            first += at
            stop = first + 1
        times = 1 + max((lost.times for lost in self.lost if lost.first <= first < lost.stop), default=0)
        self.computed(first, stop)
        if times <= BEFORE_SUSPECT and not was_alone:
            self.lost.append(_Lost(first, stop, times))
        elif stop - first > 1:
            size = math.ceil((stop - first) / _PIECES)
            cuts = range(first, stop, size)
            self.lost += [_Lost(cut, min(cut + size, stop), BEFORE_SUSPECT) for cut in cuts]
        elif not was_alone:
            self.lost.append(_Lost(first, stop, times))
        return was_alone and stop - first == 1

    def computed(self, first: int, stop: int) -> None:
        """Note that rows are computed: they have ended nothing."""
        before = [lost._replace(stop=min(lost.stop, first)) for lost in self.lost if lost.first < first]
        after = [lost._replace(first=max(lost.first, stop)) for lost in self.lost if lost.stop > stop]
        self.lost = [*before, *after]
