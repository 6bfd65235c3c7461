"""A column that is kept as tallies instead of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.summaries.pairs import PairTally
from bgsim.summaries.tally import Tally

if TYPE_CHECKING:
    from typing import TypeAlias

    AnyTally: TypeAlias = Tally | PairTally


@dataclass(frozen=True, slots=True)
class Segment:
    """The replicates `first` to ``first + count``, and their tally, which nobody changes."""

    first: int
    count: int
    tally: AnyTally


class TallyColumn:
    """Consecutive tallies of one output, from replicate 0 on; any thread may read it.

    Parameters
    ----------
    segments : iterable of Segment
        The first begins at 0, each other one where that before it ends.
    like : Tally or PairTally, optional
        Any of the same kind; needed if there is no segment.

    Attributes
    ----------
    segments : tuple of Segment
    ends : tuple of int
        The numbers of replicates at which a segment ends.
    dtype : dtype
    shape : tuple of int
        As an array of the rows has it: the replicates first.
    """

    def __init__(self, segments: Iterable[Segment], like: AnyTally | None = None) -> None:
        self.segments = tuple(segments)
        found = self.segments[0].tally if self.segments else like
        if found is None:
            raise ValueError("a column without a segment needs a tally that it is like")
        self._like = found
        self.ends = tuple(segment.first + segment.count for segment in self.segments)
        kind = (type(found), found.dtype, found.shape)
        for segment, begin in zip(self.segments, (0, *self.ends), strict=False):
            tally = segment.tally
            if segment.first != begin or not 0 < segment.count == tally.count:
                raise ValueError(f"a segment of {segment.count} replicates at {segment.first} does not follow {begin}")
            if (type(tally), tally.dtype, tally.shape) != kind:
                raise ValueError("the segments of a column are of one dtype and shape")
        self.dtype: np.dtype[Any] = found.dtype
        self.shape = (len(self), *found.shape)
        self._merged: dict[int, AnyTally] = {}

    @property
    def ndim(self) -> int:
        """The number of dimensions of an array of the rows."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Memory of the segments' tallies, in bytes."""
        return sum([segment.tally.nbytes for segment in self.segments])

    def whole(self, n: int) -> TallyColumn:
        """Return the longest run of whole segments, from the first on, of at most so many replicates."""
        return TallyColumn([s for s, end in zip(self.segments, self.ends, strict=True) if end <= n], self._like)

    def tally(self, n: int | None = None) -> AnyTally:
        """Return the tally of the first replicates, which the caller must not change.

        Parameters
        ----------
        n : int, optional
            One of `ends`, or 0; all by default.
        """
        wanted = len(self) if n is None else n
        found = self._merged.get(wanted)
        if found is None:
            found = self._merged[wanted] = self._joined(wanted)
        return found

    def _joined(self, n: int) -> AnyTally:
        if n and n not in self.ends:
            raise ValueError(f"a column has a tally of {', '.join(map(str, self.ends))} replicates; got {n}")
        if self.ends and n == self.ends[0]:
            return self.segments[0].tally
        known = max([end for end in self._merged if 0 < end < n], default=0)
        found = self._merged[known].copy() if known else self._empty()
        for segment in self.segments:
            if known <= segment.first < n:
                found.merge(segment.tally)  # type: ignore[arg-type]
        return found

    def _empty(self) -> AnyTally:
        return PairTally() if isinstance(self._like, PairTally) else Tally(self._like.dtype, self._like.shape)

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TallyColumn):
            return NotImplemented
        return self._empty() == other._empty() and self.segments == other.segments

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<TallyColumn: {len(self):,} replicates in {len(self.segments)} segments of {self.dtype}>"


def joined_column(*tallies: AnyTally) -> TallyColumn:
    """Return a column with a segment for each of some tallies that has replicates, in their order."""
    segments, first = [], 0
    for tally in tallies:
        if tally.count:
            segments.append(Segment(first, tally.count, tally))
            first += tally.count
    return TallyColumn(segments, tallies[0])


def is_summary(columns: Mapping[str, Any]) -> bool:
    """Tell whether the columns of a result are tallies."""
    return isinstance(next(iter(columns.values()), None), TallyColumn)
