"""The distribution of an output, from the rows that are finished.

Bins are as wide as a power of two, and begin at multiples of their width. Where a value lies outside of `MOST_BINS`
bins, neighbours are joined until it does not. So the counts of the first n rows are the same whenever, and however
often, one has asked before; and no range has to be known beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.live.estimates import BLOCK
from bgsim.tables import in_short

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BINS = 512
"""That many are kept; what is shown has fewer."""

_DIGITS = 40
"""Bins are no narrower than the largest value times 2 to the minus this."""

_SMALLEST = -1074
"""The exponent of the smallest double."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many finished replicates have a value in each bin.

    Attributes
    ----------
    edges : ndarray of float64
        One more than there are bins, evenly spaced. A bin has its left edge, not its right one.
    counts : ndarray of int64
    count : int
        Replicates that were read. Those that are NaN or infinite are in no bin.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    count: int

    def __repr__(self) -> str:
        bins = (
            f"{len(self.counts)} bins from {self.edges[0]:g} to {self.edges[-1]:g}" if len(self.counts) else "no bins"
        )
        return in_short("Histogram", f"{bins}, {self.count:,} replicates")


@dataclass(frozen=True, slots=True)
class Bins:
    """Counts over the first rows of a column.

    Attributes
    ----------
    rows : int
    low, high : float
        The least and the largest finite value; ``low > high`` if there is none.
    exponent : int
        A bin is ``2**exponent`` wide.
    first : int
        The number of the first bin: it begins at ``first * 2**exponent``.
    counts : ndarray of int64
        The first and the last are not 0. Empty if no row is finite.
    """

    rows: int = 0
    low: float = math.inf
    high: float = -math.inf
    exponent: int = 0
    first: int = 0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def wider(self, exponent: int) -> Bins:
        """Return the same with bins that are at least as wide."""
        shift = exponent - self.exponent
        if not shift:
            return self
        numbers = np.arange(self.first, self.first + len(self.counts)) >> shift
        first = self.first >> shift
        return replace(self, exponent=exponent, first=first, counts=_counted(numbers - first, self.counts))

    def plus(self, values: NDArray[Any]) -> Bins:
        """Return the counts with more rows."""
        rows = self.rows + len(values)
        doubles = values.astype(np.float64, copy=False)
        least, largest = float(doubles.min()), float(doubles.max())
        if not (math.isfinite(least) and math.isfinite(largest)):
            doubles = doubles[np.isfinite(doubles)]
            if not len(doubles):
                return replace(self, rows=rows)
            least, largest = float(doubles.min()), float(doubles.max())
        low, high = min(self.low, least), max(self.high, largest)
        exponent = _exponent(low, high, whole=values.dtype.kind in "biu")
        first = _number(low, exponent)
        counts = _counted(_numbers(doubles, exponent, has_negative=least < 0) - first)
        if not len(self.counts):
            return Bins(rows, low, high, exponent, first, counts)
        known = self.wider(exponent)
        start = known.first - first
        both = np.zeros(max(len(counts), start + len(known.counts)), np.int64)
        both[: len(counts)] = counts
        both[start : start + len(known.counts)] += known.counts
        return Bins(rows, low, high, exponent, first, both)

    def histogram(self, bins: int) -> Histogram:
        """Return the counts in at most so many bins, 2 or more."""
        exponent, last = self.exponent, self.first + len(self.counts) - 1
        while (last >> exponent - self.exponent) - (self.first >> exponent - self.exponent) >= bins:
            exponent += 1
        found = self.wider(exponent)
        edges = np.arange(found.first, found.first + len(found.counts) + 1, dtype=np.float64)
        with np.errstate(over="ignore"):  # behind the largest double the edge is infinity
            return Histogram(np.ldexp(edges, found.exponent), found.counts, self.rows)


def _counted(numbers: NDArray[np.int64], weights: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    return np.bincount(numbers, weights).astype(np.int64)  # weights are counted as doubles, exactly below 2**53


def _numbers(values: NDArray[np.float64], exponent: int, *, has_negative: bool) -> NDArray[np.int64]:
    """Return the numbers of the bins in which values are."""
    # A power of two as a factor is as exact as ldexp, and ten times as fast; it has to be a double of full precision.
    scaled = values * math.ldexp(1.0, -exponent) if abs(exponent) < 1022 else np.ldexp(values, -exponent)
    numbers = np.floor(scaled).astype(np.int64)
    if has_negative:
        numbers[(scaled == 0) & (values < 0)] = -1  # too near to zero for a double
    return numbers


def _number(value: float, exponent: int) -> int:
    number = math.floor(math.ldexp(value, -exponent))
    return -1 if value < 0 and not number else number


def _exponent(low: float, high: float, *, whole: bool) -> int:
    """Return the smallest exponent with which a range is in `MOST_BINS` bins; 0 or more for whole numbers."""
    largest, half_span = max(abs(low), abs(high)), high / 2 - low / 2  # the whole may be beyond every double
    exponent = 0 if whole else _SMALLEST
    if largest:
        exponent = max(exponent, math.frexp(largest)[1] - _DIGITS)
    if half_span:
        exponent = max(exponent, math.frexp(half_span / MOST_BINS)[1])
    while _number(high, exponent) - _number(low, exponent) >= MOST_BINS:
        exponent += 1
    return exponent


def advanced(known: Bins | None, column: NDArray[Any], further: int | None) -> tuple[Bins, Bins]:
    """Return the counts over the whole blocks of a column, and over all its rows; see `estimates.advanced`."""
    found = Bins() if known is None or known.rows > len(column) else known
    stop = len(column) if further is None else min(len(column), found.rows + max(BLOCK, further))
    while found.rows + BLOCK <= stop:
        found = found.plus(column[found.rows : found.rows + BLOCK])
    rest = column[found.rows : stop]
    return found, found.plus(rest) if len(rest) else found
