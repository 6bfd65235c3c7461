"""Histograms of values of which only the buckets are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.checks import refused
from bgsim.tables import in_short

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.summaries.quantiles import Buckets

MOST_BINS = 512

_BUCKETS = 8
"""A bin is no narrower than the largest value times 2 to the minus this: so wide are its buckets at least."""


@dataclass(frozen=True, slots=True)
class SummaryHistogram:
    """How many replicates have a value in each bin, as far as the buckets tell.

    Attributes
    ----------
    edges : ndarray of float64
        One more than there are bins. A bin has its left edge, and the last one its right edge, too.
    counts : ndarray of int64
        Where an edge cuts a bucket, its values are taken as evenly spread.
    low, high : ndarray of int64
        The count lies between these two, both included; they are equal where no edge cuts a bucket.
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


def histogram(buckets: Buckets, edges: NDArray[np.float64], count: int) -> SummaryHistogram:
    """Return the histogram with these edges, none or two and more."""
    if not len(edges):
        none = np.zeros(0, np.int64)
        return SummaryHistogram(edges, none, none, none, count)
    whole, begun = (_places(ends, edges) for ends in (buckets.high, buckets.low))
    least = np.concatenate([[0], np.cumsum(buckets.counts)])[whole]  # values that are below an edge for certain
    is_cut = begun > whole
    cut = whole[is_cut]
    inside, about = np.zeros(len(edges), np.int64), least.copy()
    inside[is_cut] = buckets.counts[cut]
    share = (edges[is_cut] - buckets.low[cut]) / (buckets.high[cut] - buckets.low[cut])
    about[is_cut] += np.round(buckets.counts[cut] * share).astype(np.int64)
    most = least + inside
    low = np.maximum(0, least[1:] - most[:-1])
    return SummaryHistogram(edges, np.diff(about), low, most[1:] - least[:-1], count)


def _places(ends: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many ends are below each edge, or on the last one."""
    found = np.searchsorted(ends, edges)
    found[-1] = np.searchsorted(ends, edges[-1], side="right")
    return found


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


def even_edges(buckets: Buckets, bins: int, *, whole: bool) -> NDArray[np.float64]:
    """Return the edges of at most so many bins, as wide as a power of two, which cut no bucket; none of no value.

    Bins begin at multiples of their width. Those of whole numbers are one wide or more. A bucket of negative values has
    its upper end, so a value on an edge may be one bin lower.
    """
    is_finite = np.isfinite(buckets.low) & np.isfinite(buckets.high)
    if not is_finite.any():
        return np.zeros(0)
    low, high = float(buckets.low[is_finite][0]), float(buckets.high[is_finite][-1])
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
