"""Quantiles of values of which only the buckets are known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bgsim.analysis.bounded import Quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MARGIN = 4 * np.finfo(np.float64).eps


class Buckets(NamedTuple):
    """The values of one element, from the least to the greatest, without NaN.

    Attributes
    ----------
    low, high : ndarray of float64
        The values in a bucket are between these two, both included, and within minimum and maximum.
    counts : ndarray of int64
        How many; none is 0.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    counts: NDArray[np.int64]


def of_buckets(buckets: Buckets, wanted: Sequence[float]) -> list[Quantile]:
    """Return quantiles of one element; NaN of no value (linear interpolation; Hyndman and Fan 1996, type 7)."""
    if not len(buckets.counts):
        return [Quantile(math.nan, math.nan, math.nan)] * len(wanted)
    ends = np.cumsum(buckets.counts)
    return [_of_one(buckets, ends, q) for q in wanted]


def _of_one(buckets: Buckets, ends: NDArray[np.int64], q: float) -> Quantile:
    count = int(ends[-1])
    place = (count - 1) * q
    rank = min(math.floor(place), count - 1)
    part = place - rank
    below, above = (_of_rank(buckets, ends, r) for r in (rank, min(rank + 1, count - 1)))
    value, low, high = (_between(a, b, part) for a, b in zip(below, above, strict=True))
    if below.low != below.high or above.low != above.high:
        margin = _MARGIN * max(map(abs, (below.low, below.high, above.low, above.high)))
        margin = margin if math.isfinite(margin) else 0.0
        low, high = max(below.low, low - margin), min(above.high, high + margin)
    return Quantile(min(max(value, low), high), low, high)


def _of_rank(buckets: Buckets, ends: NDArray[np.int64], rank: int) -> Quantile:
    """Return the value that so many are below, and the bounds of its bucket."""
    bucket = int(np.searchsorted(ends, rank, side="right"))
    count = int(buckets.counts[bucket])
    low, high = float(buckets.low[bucket]), float(buckets.high[bucket])
    if rank == 0 or low == high:  # so are both of an infinity
        return Quantile(low, low, low)
    if rank == ends[-1] - 1:
        return Quantile(high, high, high)
    inner = rank - (int(ends[bucket]) - count)
    return Quantile(low + (high - low) * ((inner + 0.5) / count), low, high)


def _between(a: float, b: float, part: float) -> float:
    """Return what lies at this part of the way from one number to the next; as NumPy rounds it."""
    if a == b or part == 0:
        return a
    if math.isinf(a) or math.isinf(b):
        return a + b  # between an infinity and a number it is the infinity
    difference = b - a
    if math.isinf(difference):
        return a * (1 - part) + b * part
    return a + difference * part if part < 0.5 else b - difference * (1 - part)
