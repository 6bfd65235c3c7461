"""Quantiles and histograms with the bounds between which those of the rows lie, which rows themselves have exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bgsim.analysis import statistics
from bgsim.analysis.summary import plain
from bgsim.checks import check_integer, is_number, refused
from bgsim.tables import in_short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_BINS = 512

_BUCKETS = 8
"""A bin is no narrower than the largest value times 2 to the minus this: so wide are a summary's buckets at least."""


class Quantile(NamedTuple):
    """A quantile as `numpy.quantile` defines it, and how far it is known; each has the shape of one replicate's value.

    Attributes
    ----------
    value : float or ndarray
        The estimate: values are taken as evenly spread in their bucket.
    low, high : float or ndarray
        ``numpy.quantile`` of the rows is between these two, both included. They are equal where the values are known
        exactly: of rows, of small integers, and at the least and the greatest value.
    """

    value: Any
    low: Any
    high: Any


@dataclass(frozen=True, slots=True)
class SummaryHistogram:
    """How many replicates have a value in each bin, as far as it is known.

    Attributes
    ----------
    edges : ndarray of float64
        One more than there are bins. A bin has its left edge, and the last one its right edge, too.
    counts : ndarray of int64
        Where an edge cuts a bucket, its values are taken as evenly spread.
    low, high : ndarray of int64
        The count lies between these two, both included; they are equal where no edge cuts a bucket, and of rows.
    count : int
        Replicates. Those that are NaN or beyond the edges are in no bin.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    count: int

    def __repr__(self) -> str:
        bins = f"{len(self.counts)} bins" + (
            f" from {self.edges[0]:g} to {self.edges[-1]:g}" if len(self.edges) else ""
        )
        return in_short("SummaryHistogram", f"{bins}, {self.count:,} replicates")


def quantile_of_rows(column: NDArray[Any], q: float) -> Quantile:
    """Return a quantile of rows of real numbers; NaN is left out."""
    with statistics.quiet():
        found = plain(statistics.quantiles(statistics.numbers(column), (q,))[0])
    return Quantile(found, found, found)


def histogram_of_rows(column: NDArray[Any], bins: int, edges: Sequence[float] | None) -> SummaryHistogram:
    """Return the histogram of rows of a real number each; its bins are those of their summary."""
    values = statistics.numbers(column)
    if edges is None:
        finite, whole = values[np.isfinite(values)], column.dtype.kind in "biu"
        ends = (float(finite.min()), float(finite.max())) if len(finite) else None
        found = np.zeros(0) if ends is None else edges_between(*ends, bins, whole=whole)
    else:
        found = check_edges(edges)
    counts = np.histogram(values, found)[0].astype(np.int64) if len(found) else np.zeros(0, np.int64)
    return SummaryHistogram(found, counts, counts, counts, len(values))


def check_quantile(q: object) -> float:
    """Return what says which quantile is wanted, or refuse it.

    Raises
    ------
    InvalidInputError
        If it is not from 0 to 1.
    """
    if not (is_number(q) and 0 <= q <= 1):
        raise refused("q", q, "a number from 0 to 1")
    return q


def check_bins(output: str, shape: tuple[int, ...], bins: object) -> int:
    """Return how many bins are wanted, or refuse them, or an output that has no histogram.

    Raises
    ------
    InvalidInputError
    """
    if shape:
        raise refused("output", output, "one with a number a replicate, for a histogram; this one has an array")
    return check_integer("bins", bins, least=2, most=MOST_BINS)


def check_edges(edges: Any) -> NDArray[np.float64]:
    """Return edges as an array, or refuse them.

    Raises
    ------
    InvalidInputError
        If they are not two numbers or more that rise.
    """
    allowed = "two numbers or more, each larger than the one before it"
    try:
        found = np.array(edges, np.float64)
    except (TypeError, ValueError) as error:
        raise refused("edges", edges, allowed) from error
    if found.ndim != 1 or len(found) < 2 or not (np.diff(found) > 0).all():
        raise refused("edges", edges, allowed)
    return found


def edges_between(low: float, high: float, bins: int, *, whole: bool) -> NDArray[np.float64]:
    """Return the edges of at most so many bins, as wide as a power of two, for finite values from one to the other.

    Bins begin at multiples of their width. Those of whole numbers are one wide or more.
    """
    exponent = 0 if whole else max(-1074, math.frexp(max(abs(low), abs(high)))[1] - _BUCKETS)
    exponent = max(exponent, math.frexp((high / 2 - low / 2) / bins)[1])
    while _number(high, exponent) - _number(low, exponent) >= bins:
        exponent += 1
    numbers = np.arange(_number(low, exponent), _number(high, exponent) + 2, dtype=np.float64)
    with np.errstate(over="ignore"):  # behind the largest double the edge is infinity
        return np.ldexp(numbers, exponent)


def _number(value: float, exponent: int) -> int:
    scaled = math.ldexp(value, -exponent)
    return -1 if value < 0 and not scaled else math.floor(scaled)
