"""Histograms of values of which only the buckets are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bgsim.analysis.bounded import SummaryHistogram, edges_between

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.summaries.quantiles import Buckets


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


def even_edges(buckets: Buckets, bins: int, *, whole: bool) -> NDArray[np.float64]:
    """Return the edges of at most so many bins, as wide as a power of two, which cut no bucket; none of no value.

    A bucket of negative values has its upper end, so a value on an edge may be one bin lower.
    """
    is_finite = np.isfinite(buckets.low) & np.isfinite(buckets.high)
    if not is_finite.any():
        return np.zeros(0)
    return edges_between(float(buckets.low[is_finite][0]), float(buckets.high[is_finite][-1]), bins, whole=whole)
