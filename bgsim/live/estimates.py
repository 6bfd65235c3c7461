"""The running mean of an output, from the rows that are finished.

Rows are taken in blocks of a fixed size, and what is left at the end is taken anew each time. So the estimate of the
first n rows is the same number whenever, and however often, one has asked before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis.statistics import Count, Statistic
from bgsim.analysis.summary import mean_with_error
from bgsim.tables import in_short

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 4096
"""Values that are taken at a time: they stay in the cache, and BLAS starts no thread for them."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of an output over the replicates that are finished; each value has the shape of one replicate's.

    Attributes
    ----------
    mean : float, complex or ndarray
        Over the values that are not NaN; NaN if there are none. Of a boolean output the proportion.
    standard_error : float or ndarray
        Of the mean; NaN for fewer than two values.
    count : int
        Replicates that were read.
    valid : int or ndarray of int64
        How many of their values are not NaN.
    """

    mean: Statistic
    standard_error: Statistic
    count: int
    valid: Count

    def __repr__(self) -> str:
        return in_short("Estimate", str(self))

    def __str__(self) -> str:
        replicates = f"{self.count:,} replicate{'' if self.count == 1 else 's'}"
        if np.ndim(self.mean):
            return f"an array of {np.shape(self.mean)} each, from {replicates}"
        return f"{mean_with_error(self.mean, self.standard_error)}, from {replicates}"


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the first rows of a column, whole blocks of it.

    Attributes
    ----------
    rows : int
    valid : int or ndarray of int64
        How many values are not NaN, for each element of a row.
    mean, squares : float or ndarray
        Mean of those, and sum of the squared differences from it. Floats for rows of a real number.
    """

    rows: int
    valid: Any
    mean: Any
    squares: Any

    def plus(self, other: Moments) -> Moments:
        """Return the sums over the rows of both (Chan, Golub and LeVeque 1983)."""
        valid = self.valid + other.valid
        if isinstance(self.mean, float) and isinstance(other.mean, float):  # the same in a tenth of the time
            share, delta = other.valid / max(valid, 1), other.mean - self.mean
            if math.isfinite(delta):
                squares = self.squares + other.squares + delta * delta * share * self.valid
                return Moments(self.rows + other.rows, valid, self.mean + delta * share, squares)
            return Moments(self.rows + other.rows, valid, self.mean + other.mean, math.nan)
        share = other.valid / np.maximum(valid, 1)
        delta = other.mean - self.mean
        is_plain = np.isfinite(delta)
        mean = np.where(is_plain, self.mean + delta * share, self.mean + other.mean)  # infinities, of one sign or both
        squares = self.squares + other.squares + np.where(is_plain, np.abs(delta) ** 2 * share * self.valid, np.nan)
        return Moments(self.rows + other.rows, valid, mean, squares)

    def estimate(self) -> Estimate:
        """Return the mean and its standard error."""
        if isinstance(self.mean, float):
            n = self.valid
            deviation = math.sqrt(self.squares / (n - 1) / n) if n > 1 else math.nan
            return Estimate(self.mean if n else math.nan, deviation, self.rows, n)
        few = self.valid < 2
        variance = np.asarray(self.squares) / np.where(few, 1, self.valid - 1)
        error = np.where(few, np.nan, np.sqrt(variance / np.maximum(self.valid, 1)))
        mean: NDArray[Any] = np.where(self.valid > 0, self.mean, np.nan)
        if not np.ndim(mean):  # of complex or of long doubles
            return Estimate(mean.item(), error.item(), self.rows, int(self.valid))
        return Estimate(mean, error, self.rows, self.valid)


def moments_of(values: NDArray[Any]) -> Moments:
    """Return the sums over rows, one or more."""
    doubles = values.astype(np.result_type(values, np.float64), copy=False)
    mean = doubles.mean(axis=0)
    if doubles.dtype.kind in "fc" and np.isnan(mean).any():
        return _moments_without_nan(doubles)
    centred = doubles - mean
    if centred.ndim == 1 and centred.dtype == np.float64:
        return Moments(len(values), len(values), float(mean), float(centred @ centred))
    return Moments(len(values), np.full(np.shape(mean), len(values)), mean, _squares(centred))


def _moments_without_nan(values: NDArray[Any]) -> Moments:
    is_valid = ~np.isnan(values)
    valid = is_valid.sum(axis=0)
    mean = np.where(is_valid, values, 0).sum(axis=0) / np.maximum(valid, 1)
    squares = _squares(np.where(is_valid, values - mean, 0))
    if values.ndim == 1 and values.dtype == np.float64:
        return Moments(len(values), int(valid), float(mean), float(squares))
    return Moments(len(values), valid, mean, squares)


def _squares(centred: NDArray[Any]) -> Any:
    return (np.abs(centred) ** 2).sum(axis=0)


def nothing(column: NDArray[Any]) -> Moments:
    """Return the sums over no row of a column."""
    shape, dtype = column.shape[1:], np.result_type(column, np.float64)
    if not shape and dtype == np.float64:
        return Moments(0, 0, 0.0, 0.0)
    return Moments(0, np.zeros(shape, np.int64), np.zeros(shape, dtype), np.zeros(shape))


def block_rows(column: NDArray[Any]) -> int:
    """Return how many rows of a column are a block."""
    return max(1, BLOCK // max(1, math.prod(column.shape[1:])))


def advanced(known: Moments | None, column: NDArray[Any], further: int | None) -> tuple[Moments, Estimate]:
    """Return the sums over the whole blocks of a column, and the estimate from all its rows.

    Parameters
    ----------
    known : Moments or None
        The sums over its first rows; not used if the column has fewer.
    column : ndarray
        The finished rows; numbers.
    further : int or None
        Read at most about so many rows that are not in `known`, and estimate from those that are read.
    """
    found = nothing(column) if known is None or known.rows > len(column) else known
    size = block_rows(column)
    stop = len(column) if further is None else min(len(column), found.rows + max(size, further))
    with np.errstate(all="ignore"):  # infinities
        while found.rows + size <= stop:
            found = found.plus(moments_of(column[found.rows : found.rows + size]))
        rest = column[found.rows : stop]
        whole = found.plus(moments_of(rest)) if len(rest) else found
        return found, whole.estimate()
