"""The tallies of a run's chunks, put together as they come, in any order.

A summary of the first n replicates can be given only where the pieces of which it is made end at n. So pieces are
merged with their neighbours, except at the *cuts*: powers of two (`bgsim.summaries.cuts`), the looks
of a `bgsim.Precision`, and where what was stored ended. There are a few dozen pieces, however many
replicates.
"""

from __future__ import annotations

import bisect
import functools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bgsim.summaries.column import Segment, TallyColumn
from bgsim.summaries.cuts import is_power_cut, next_power_cut, power_step
from bgsim.summaries.tallies import elements_of, new_tallies
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.simulation import Simulation

_SMOOTHING = 0.3

_MOST_ODD = 4
"""If a stored summary was extended from more numbers than these that are no cuts, their pieces are merged."""


class Gathering:
    """Pieces of a summary. Any thread may call any method.

    Attributes
    ----------
    chunk_s : float
        About how long a chunk takes apart from its replicates, however long it is: twice the time of a merge. The merge
        alone is measured; its worker's making of the tallies, which also touches all of them, is taken to last as long.

    Parameters
    ----------
    simulation : Simulation
    parameters : ParameterSet
    cuts : sequence of int
        Numbers of replicates, rising, for which a summary will be asked for.
    """

    def __init__(self, simulation: Simulation, parameters: ParameterSet, cuts: Sequence[int] = ()) -> None:
        self._cuts = list(cuts)
        self._simulation = simulation
        self._parameters = parameters
        self._step = power_step(elements_of(simulation, parameters))
        self.chunk_s = 0.0
        self._lock = Lock()  # guards the next; a merge takes some 10 us
        self._pieces: list[_Piece] = []  # in their order, and apart

    @functools.cached_property
    def _empty(self) -> dict[str, Any]:
        """What columns without a piece are like."""
        return dict(new_tallies(self._simulation, self._parameters))

    def next_cut(self, first: int) -> int:
        """Return the first cut after a number of replicates."""
        power = next_power_cut(first, self._step)
        index = bisect.bisect_right(self._cuts, first)
        return min(power, self._cuts[index]) if index < len(self._cuts) else power

    def begin(self, columns: Sequence[TallyColumn]) -> None:
        """Begin with what was stored, if anything was."""
        if not columns:
            return
        ends = columns[0].ends
        odd = [end for end in ends if not self._is_cut(end)]
        if len(odd) <= _MOST_ODD:
            self._cuts = sorted({*self._cuts, *odd})
        for segments in zip(*[column.segments for column in columns], strict=True):
            first, count = segments[0].first, segments[0].count
            piece = _Piece(first, first + count, tuple([segment.tally for segment in segments]))
            if first and not self._is_cut(first):
                self._pieces[-1].take(piece)
            else:  # one that will take in others is not to be the store's
                self._pieces.append(piece if self._is_cut(piece.end) else piece.copy())

    def add(self, first: int, count: int, tallies: tuple[Any, ...]) -> None:
        """Add the tallies of some replicates, which are given up to this."""
        if not count:
            return
        piece = _Piece(first, first + count, tallies)
        began = time.perf_counter()
        with self._lock:
            index = bisect.bisect(self._pieces, first, key=_first)
            if index < len(self._pieces) and self._pieces[index].first == piece.end and not self._is_cut(piece.end):
                piece.take(self._pieces.pop(index))
            if index and self._pieces[index - 1].end == first and not self._is_cut(first):
                self._pieces[index - 1].take(piece)
            else:
                self._pieces.insert(index, piece)
        self.chunk_s += _SMOOTHING * (2 * (time.perf_counter() - began) - self.chunk_s)

    def columns(self, replicates: int) -> dict[str, Any]:
        """Return the column of each output and of each pair: as much of the first replicates as there are pieces of.

        The pieces follow each other without a gap from replicate 0 on, and none goes beyond `replicates`.
        """
        with self._lock:
            chosen: list[_Piece] = []
            end = 0
            for piece in self._pieces:
                if piece.first != end or piece.end > replicates:
                    break
                end = piece.end
                chosen.append(piece)
            if chosen and not self._is_cut(end):  # it may still grow
                chosen[-1] = chosen[-1].copy()
        found: dict[str, Any] = {}
        for number, (name, empty) in enumerate(self._empty.items()):
            segments = [Segment(piece.first, piece.end - piece.first, piece.tallies[number]) for piece in chosen]
            found[name] = TallyColumn(segments, empty)
        return found

    def clear(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._pieces.clear()

    def _is_cut(self, replicates: int) -> bool:
        if is_power_cut(replicates, self._step):
            return True
        index = bisect.bisect_left(self._cuts, replicates)
        return index < len(self._cuts) and self._cuts[index] == replicates


class _Piece:
    """The tallies of the replicates from `first` to before `end`."""

    __slots__ = ("end", "first", "tallies")

    def __init__(self, first: int, end: int, tallies: tuple[Any, ...]) -> None:
        self.first = first
        self.end = end
        self.tallies = tallies

    def take(self, following: _Piece) -> None:
        """Take in the piece that follows this one."""
        self.end = following.end
        for mine, other in zip(self.tallies, following.tallies, strict=True):
            mine.merge(other)

    def copy(self) -> _Piece:
        """Return one that does not change with this one."""
        return _Piece(self.first, self.end, tuple([tally.copy() for tally in self.tallies]))


def _first(piece: _Piece) -> int:
    return piece.first
