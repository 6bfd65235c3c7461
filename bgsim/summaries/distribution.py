"""What a figure asks of a tally; see `bgsim.analysis.distribution.Distribution`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis.distribution import MOST_BINS
from bgsim.summaries.histogram import even_edges, histogram
from bgsim.summaries.statistics import interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.summaries.tally import Tally


class OfTally:
    """The distribution of a tally."""

    def __init__(self, tally: Tally) -> None:
        self.lengths = tally.shape
        self.shape = tuple(length for length in tally.shape if length != 1)
        self.kind: str = tally.dtype.kind
        self._tally = tally

    def statistic(self, name: str) -> Any:
        """Return a statistic by its name."""
        return getattr(self._tally, name)

    def mean(self) -> Any:
        """Return the mean of each element."""
        return np.reshape(self._tally.mean, self.shape)

    def center(self) -> tuple[float, float]:
        """Return the mean and its standard error."""
        return float(np.ravel(self._tally.mean)[0]), float(np.ravel(self._tally.standard_error)[0])

    def interval(self, confidence: float) -> tuple[Any, Any]:
        """Return the bounds of the interval of the mean."""
        low, high = interval(self._tally, confidence)
        return np.reshape(low, self.shape), np.reshape(high, self.shape)

    def quantiles(self, wanted: tuple[float, ...]) -> Any:
        """Return quantiles of each element."""
        return np.stack([np.reshape(found.value, self.shape) for found in self._tally.quantiles(wanted)])

    def bars(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return edges of bins and counts."""
        buckets, whole = self._tally.buckets(), self.kind in "iu"
        found = histogram(buckets, even_edges(buckets, MOST_BINS, whole=whole), self._tally.count)
        return found.edges - 0.5 if whole else found.edges, found.counts
