"""The intervals of the default rule: Student's, and Wilson's for booleans, wide enough for a choice of two looks.

A rule that stops when the interval is narrow stops too early where the variance happens to look small, and then the
interval misses more often than it says (Chow and Robbins 1965; Glynn and Whitt 1992). With looks at doubled numbers of
replicates the rule chooses between two looks, for the next one halves the variance of the mean. So both intervals are
to hold at once: their critical value is that of Pocock (1977) for two looks, 2.178 instead of 1.960 at 95 %.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np

from bgsim.analysis.intervals import t_quantile, wilson
from bgsim.precision.moments import Moments


def interval(moments: Moments, confidence: float, *, several_looks: bool) -> tuple[float, float]:
    """Return the bounds of the interval of the mean at a look.

    Parameters
    ----------
    moments : Moments
    confidence : float
        That the interval at the look where the rule stops has the mean.
    several_looks : bool
        Whether the rule may stop at another look.
    """
    level = of_two_looks(confidence) if several_looks else confidence
    if moments.is_boolean:
        low, high = wilson(moments.successes, moments.valid, level)
        return float(low), float(high)
    half = moments.standard_error
    if moments.valid > 1:
        half *= t_quantile(0.5 + level / 2, moments.valid - 1)
    return moments.mean - half, moments.mean + half


@functools.lru_cache(maxsize=64)
def of_two_looks(confidence: float) -> float:
    """Return the confidence of each of two intervals that hold together with the given one.

    The second is from twice as many replicates as the first, the mean is nearly normal (Pocock 1977).
    """
    low, high = NormalDist().inv_cdf(0.5 + confidence / 2), 40.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _both_within(middle) < confidence else (low, middle)
    return math.erf(high / math.sqrt(2))


def _both_within(critical: float) -> float:
    """Return the probability that ``|x|`` and ``|x + y| / sqrt(2)`` are at most `critical`, x and y standard normal."""
    nodes, weights = np.polynomial.legendre.leggauss(48)
    total, edge = 0.0, math.sqrt(2) * critical
    for node, weight in zip((nodes + 1) / 2 * critical, weights * critical, strict=True):  # of x > 0, twice
        inner = math.erf((edge - node) / math.sqrt(2)) + math.erf((edge + node) / math.sqrt(2))
        total += weight * math.exp(-node * node / 2) / math.sqrt(2 * math.pi) * inner / 2
    return total
