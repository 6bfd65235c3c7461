"""What a figure asks of an output's values, whether they are rows or a summary."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bgsim.analysis import statistics
from bgsim.analysis.intervals import interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BINS = 60

INNER = (0.25, 0.75)


class Distribution(Protocol):
    """The values of an output.

    Attributes
    ----------
    kind : str
        Of the dtype.
    lengths : tuple of int
        The shape of one replicate's value.
    shape : tuple of int
        The same without lengths of 1; what the methods return has it.
    """

    kind: str
    lengths: tuple[int, ...]
    shape: tuple[int, ...]

    def statistic(self, name: str) -> Any:
        """Return one of `bgsim.analysis.statistics.STATISTICS`, of the shape `lengths`."""

    def mean(self) -> Any:
        """Return the mean of each element."""

    def center(self) -> tuple[float, float]:
        """Return the mean of a scalar output's values, and its standard error."""

    def interval(self, confidence: float) -> tuple[Any, Any]:
        """Return the bounds of the interval of the mean of each element."""

    def quantiles(self, wanted: tuple[float, ...]) -> Any:
        """Return quantiles of each element, along a new first axis."""

    def bars(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return edges of bins and counts of a scalar output, of no value none."""


class Rows:
    """The distribution of a column of rows; see `Distribution`."""

    def __init__(self, column: NDArray[Any]) -> None:
        self.lengths: tuple[int, ...] = column.shape[1:]
        self.shape = tuple(length for length in self.lengths if length != 1)
        self.kind: str = column.dtype.kind
        self._column = column.reshape(len(column), *self.shape)

    def statistic(self, name: str) -> Any:
        """Return a statistic by its name."""
        with statistics.quiet():
            found = statistics.STATISTICS[name](statistics.numbers(self._column))
        return np.reshape(found, self.lengths)

    def mean(self) -> Any:
        """Return the mean of each element."""
        with statistics.quiet():
            return statistics.mean(statistics.numbers(self._column))

    def center(self) -> tuple[float, float]:
        """Return the mean and its standard error."""
        values = self._finite()
        with statistics.quiet():
            return float(values.mean()), float(statistics.standard_error(values))

    def interval(self, confidence: float) -> tuple[Any, Any]:
        """Return the bounds of the interval of the mean."""
        return interval(self._column, confidence)

    def quantiles(self, wanted: tuple[float, ...]) -> Any:
        """Return quantiles of each element."""
        with statistics.quiet():
            return statistics.quantiles(statistics.numbers(self._column), wanted)

    def bars(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return edges of bins and counts."""
        values = self._finite()
        if not len(values):
            return np.zeros(0), np.zeros(0, np.int64)
        with statistics.quiet():
            edges = bins_of(values, whole=self.kind in "iu")
        return edges, np.histogram(values, edges)[0]

    def _finite(self) -> NDArray[np.float64]:
        values = statistics.numbers(self._column)
        found: NDArray[np.float64] = values[np.isfinite(values)]
        return found


def bins_of(values: NDArray[np.float64], *, whole: bool) -> NDArray[np.float64]:
    """Return the edges of bins: by the rule of Freedman and Diaconis (1981), but at most 60; of integers whole ones."""
    low, high = values.min(), values.max()
    if whole:
        width = max(1, math.ceil((high - low + 1) / MOST_BINS))
        return np.arange(low, high + width + 1, width) - 0.5
    quarter, three = np.quantile(values, INNER)
    width = 2 * (three - quarter) / len(values) ** (1 / 3)
    count = math.ceil(np.clip((high - low) / width, 1, MOST_BINS)) if width > 0 else MOST_BINS // 6
    return np.linspace(low, high, count + 1) if high > low else np.array([low - 0.5, low + 0.5])
