"""Confidence intervals of means and of proportions."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis import statistics
from bgsim.checks import is_number, refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXACT_DEGREES = 200


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is not between 0 and 1.

    Raises
    ------
    InvalidInputError
    """
    if not (is_number(confidence) and 0 < confidence < 1):
        raise refused("confidence", confidence, "a number between 0 and 1")


def interval(column: NDArray[Any], confidence: float) -> tuple[Any, Any]:
    """Return the bounds of the confidence interval of a column's mean over its replicates.

    Of numbers it is Student's interval by the number of valid values, exact if they are normal, and close for a mean of
    many (Student 1908). Of booleans it is Wilson's score interval (1927), which holds near 0 and 1, too, where that by
    the standard error has no width. Complex numbers have no order, so both bounds are NaN.
    """
    values = statistics.numbers(column)
    if column.dtype.kind == "c":
        return (np.full(values.shape[1:], math.nan),) * 2
    if column.dtype.kind == "b":
        return wilson(values.sum(axis=0), len(values), confidence)
    half = half_width(statistics.standard_error(values), statistics.valid(values) - 1, confidence)
    center = statistics.mean(values)
    return center - half, center + half


def half_width(standard_error: Any, degrees: Any, confidence: float) -> Any:
    """Return half the width of Student's interval, for each element by its own degrees of freedom."""
    sizes, which = np.unique(np.maximum(degrees, 1), return_inverse=True)
    quantiles = np.array([t_quantile(0.5 + confidence / 2, int(n)) for n in sizes])
    return standard_error * quantiles[which].reshape(np.shape(degrees))


def wilson(successes: Any, count: int, confidence: float) -> tuple[Any, Any]:
    """Return the bounds of Wilson's interval of a proportion (1927); NaN of no trial."""
    if not count:
        return (np.full(np.shape(successes), math.nan),) * 2
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, extra = successes / count, z * z / count
    center, half = p + extra / 2, z * np.sqrt(p * (1 - p) / count + extra / (4 * count))
    low, high = (center - half) / (1 + extra), (center + half) / (1 + extra)
    return np.where(p == 0, 0.0, low), np.where(p == 1, 1.0, high)  # without a rounding error


@functools.lru_cache(maxsize=1024)
def t_quantile(p: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution, for p from 0.5 to 1.

    Up to 200 degrees of freedom by bisection of the distribution's finite series (Abramowitz and Stegun 1964, 26.7.3
    and 26.7.4), beyond that by its expansion around the normal quantile (26.7.5), which is then right to 9 digits.
    """
    if degrees > _EXACT_DEGREES:
        z = NormalDist().inv_cdf(p)
        first = (z**3 + z) / 4
        second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
        third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
        return z + first / degrees + second / degrees**2 + third / degrees**3
    low, high = 0.0, math.pi / 2  # of the angle atan(t / sqrt(degrees))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _central_probability(middle, degrees) < 2 * p - 1 else (low, middle)
    return math.tan(low) * math.sqrt(degrees)


def _central_probability(angle: float, degrees: int) -> float:
    """Return the probability of ``|t| < tan(angle) * sqrt(degrees)``."""
    cos, odd = math.cos(angle), degrees % 2
    term = total = cos if odd else 1.0
    for k in range(2 + odd, degrees - 1, 2):
        term *= (k - 1 + 0.0) / k * cos * cos
        total += term
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + (math.sin(angle) * total if degrees > 1 else 0.0))
