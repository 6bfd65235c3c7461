"""Poisson numbers for compiled kernels.

A kernel's ``rng.poisson`` has the right distribution as well, and draws other numbers from the same stream. The results
of `tau_leaping` are of these, and stay what they are: below 10 by multiplying uniform numbers (Knuth 1969), from 10 on
by transformed rejection (Hörmann 1993, "The Transformed Rejection Method for Generating Poisson Random Variables",
algorithm PTRS).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from bgsim.streams import Rng

MAX_MEAN = 2.0**52
"""Above it the numbers would no longer be exact as doubles."""

_HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


@njit
def poisson_number(mean: float, rng: Rng) -> float:
    """Draw a Poisson number, as a whole double.

    Parameters
    ----------
    mean : float
        0 to `MAX_MEAN`.
    rng : numpy.random.Generator
    """
    if mean < 10.0:
        return float(_by_multiplication(mean, rng))
    return float(_by_rejection(mean, rng))


@njit
def _by_multiplication(mean: float, rng: Rng) -> float:
    """Count the events of a unit Poisson process until `mean`: the draws until their product is below exp(-mean)."""
    if mean <= 0.0:
        return 0.0
    least = math.exp(-mean)
    number, product = 0.0, rng.random()
    while product > least:
        number += 1.0
        product *= rng.random()
    return number


@njit
def _by_rejection(mean: float, rng: Rng) -> float:
    """Propose by a transformed uniform number, accept by a squeeze or by the probability itself."""
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    most = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = rng.random() - 0.5
        v = rng.random()
        side = 0.5 - abs(u)
        if side <= 0.0:
            continue
        number = float(np.floor((2.0 * a / side + b) * u + mean + 0.43))
        if side >= 0.07 and v <= most:
            return number
        if number < 0.0 or v <= 0.0 or (side < 0.013 and v > side):
            continue
        if math.log(v * inverse_alpha / (a / (side * side) + b)) <= _log_probability(number, mean):
            return number


@njit
def _log_probability(number: float, mean: float) -> float:
    """Return the logarithm of the probability of a number; exact to rounding also where both are large.

    For that, what is written is how far Stirling's formula is off, not differences of large logarithms (Loader 2000,
    "Fast and Accurate Computation of Binomial Probabilities").
    """
    if number < 10.0:
        log_factorial = 0.0
        for i in range(2, int(number) + 1):
            log_factorial += math.log(i)
        return number * math.log(mean) - mean - log_factorial
    excess = number - mean
    square = 1.0 / (number * number)
    stirling = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / number
    deviance = number * math.log1p(excess / mean) - excess
    return -deviance - stirling - 0.5 * math.log(number) - _HALF_LOG_2_PI
