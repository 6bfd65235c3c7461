"""Statistics of a column over its replicates. NaN is no value: it is left out, and `valid` counts the rest.

Each takes values as `numbers` returns them, of shape (replicates, ...), and returns one for each element of a
replicate's value. A column without NaN costs one pass, since a statistic of it that is no NaN shows that there is none.
NumPy warns of infinities, unless it is called within `quiet`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Statistic: TypeAlias = float | np.ndarray[Any, np.dtype[Any]] | Any
"""A number, or an array where a replicate has one. `Any` stands for what is rare: a complex number, and None."""

Count: TypeAlias = int | np.ndarray[Any, np.dtype[np.int64]] | Any
"""How many values, likewise."""


def quiet() -> np.errstate:
    """Return a context in which NumPy does not warn of what infinities and empty columns have come to."""
    return np.errstate(all="ignore")


def is_numeric(dtype: np.dtype[Any]) -> bool:
    """Tell whether values of a dtype have a mean: booleans and numbers do, texts, dates and structures do not."""
    return dtype.kind in "biufc"


def numbers(column: NDArray[Any]) -> NDArray[Any]:
    """Return a numeric column in floating point, at least in double precision."""
    return column if column.dtype == np.float64 else column.astype(np.result_type(column, np.float64), copy=False)


def valid(values: NDArray[Any]) -> Any:
    """Return how many values are not NaN."""
    return _count(values, _missing(values, values.sum(axis=0)))


def mean(values: NDArray[Any]) -> Any:
    """Return the mean; NaN of no value."""
    found = values.mean(axis=0) if len(values) else _unknown(values)
    missing = _missing(values, found)
    return found if missing is None else np.where(missing, 0, values).sum(axis=0) / _count(values, missing)


def sd(values: NDArray[Any]) -> Any:
    """Return the standard deviation with one less than the number of values in the denominator; NaN of one value."""
    if len(values) < 2:
        return _unknown(values)
    found = values.std(axis=0, ddof=1)
    missing = _missing(values, found)
    if missing is None:
        return found
    count = _count(values, missing)
    squares = np.abs(np.where(missing, 0, values - mean(values))) ** 2
    return np.where(count > 1, np.sqrt(squares.sum(axis=0) / np.maximum(count - 1, 1)), math.nan)


def standard_error(values: NDArray[Any]) -> Any:
    """Return the standard error of the mean."""
    return of_mean(sd(values), valid(values))


def of_mean(found_sd: Any, count: Any) -> Any:
    """Return the standard error of a mean from the standard deviation and the number of valid values."""
    return found_sd / np.sqrt(np.maximum(count, 1))


def minimum(values: NDArray[Any]) -> Any:
    """Return the least value; NaN of none, and of complex ones."""
    return _extreme(values, np.min, math.inf)


def maximum(values: NDArray[Any]) -> Any:
    """Return the greatest value; NaN of none, and of complex ones."""
    return _extreme(values, np.max, -math.inf)


def quantiles(values: NDArray[Any], wanted: tuple[float, ...]) -> NDArray[Any]:
    """Return quantiles along a new first axis, by linear interpolation (Hyndman and Fan 1996, type 7).

    Those of no value, and of complex ones, are NaN. NumPy finds none beside an infinity, since it interpolates by the
    difference; between an infinity and a number it is here the infinity.
    """
    if values.dtype.kind != "f" or not len(values):
        return np.full((len(wanted), *values.shape[1:]), math.nan)
    missing = np.isnan(values)
    if missing.any():
        return _quantiles_of_valid(values, missing, wanted)
    cuts: NDArray[Any] = np.quantile(values, wanted, axis=0)
    if np.isinf(values).any():
        low, high = (np.quantile(values, wanted, axis=0, method=method) for method in ("lower", "higher"))
        cuts = np.where(np.isnan(cuts), _beside_infinity(low, high), cuts)
    return cuts


STATISTICS: Mapping[str, Callable[[NDArray[Any]], Any]] = {
    "mean": mean,
    "sd": sd,
    "standard_error": standard_error,
    "minimum": minimum,
    "maximum": maximum,
    "valid": valid,
}
"""By the name under which a caller asks for them."""


def _quantiles_of_valid(values: NDArray[Any], missing: NDArray[np.bool_], wanted: tuple[float, ...]) -> NDArray[Any]:
    """Return quantiles of each element's values but NaN; sorting puts NaN last."""
    ordered, count = np.sort(values, axis=0), np.asarray(_count(values, missing))
    cuts = []
    for q in wanted:
        place = q * np.maximum(count - 1, 0)
        below = np.floor(place).astype(np.int64)
        low, high = (
            np.take_along_axis(ordered, row[np.newaxis], axis=0)[0] for row in (below, np.ceil(place).astype(np.int64))
        )
        cut = low + (high - low) * (place - below)
        cuts.append(np.where(np.isnan(cut), _beside_infinity(low, high), cut))
    return np.stack(cuts)


def _beside_infinity(low: NDArray[Any], high: NDArray[Any]) -> NDArray[Any]:
    return np.where(low == high, low, low + high)


def _extreme(values: NDArray[Any], of: Callable[..., Any], neutral: float) -> Any:
    if values.dtype.kind != "f" or not len(values):
        return _unknown(values)
    found = of(values, axis=0)
    missing = _missing(values, found)
    if missing is None:
        return found
    return np.where(missing.all(axis=0), math.nan, of(np.where(missing, neutral, values), axis=0))


def _missing(values: NDArray[Any], found: Any) -> NDArray[np.bool_] | None:
    """Say which values are NaN; None if none is, as `found` shows if it is no NaN where there is one in the column."""
    unknown = found != found  # noqa: PLR0124 - NaN alone is; asking so is the quickest
    if not (unknown.any() if unknown.ndim else unknown):
        return None
    missing: NDArray[np.bool_] = np.isnan(values)
    return missing if missing.any() else None


def _count(values: NDArray[Any], missing: NDArray[np.bool_] | None) -> Any:
    if missing is None:
        return np.full(values.shape[1:], len(values))
    return len(values) - missing.sum(axis=0)


def _unknown(values: NDArray[Any]) -> NDArray[Any]:
    return np.full(values.shape[1:], math.nan)
