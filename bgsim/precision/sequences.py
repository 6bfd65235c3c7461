"""Confidence sequences: intervals that hold at every look at once, whenever one stops.

Each rests on a martingale that starts at 1, so that by Ville's inequality (1939) it reaches ``1 / alpha`` with
probability `alpha` at most, at any time. Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric,
nonasymptotic confidence sequences" (2021), have both. They are functions of the moments at the look alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from bgsim.precision.moments import Moments

_HALVINGS = 100
_EULER = 0.5772156649015329
_PRIOR = 20.0
"""Of the gamma-exponential mixture: it is narrowest where the sum of squares is about 150 times the range squared, and
within a quarter of the narrowest from 8 to 60,000 times."""


def proportion(successes: int, count: int, alpha: float, planned: float) -> tuple[float, float]:
    """Return the bounds of a proportion: a mixture of likelihood ratios over a beta distribution.

    The proportion p is in the sequence while the mean of ``q**successes * (1 - q)**failures`` over q, divided by the
    same of p, is below ``1 / alpha`` (Robbins 1970; the two-sided beta-binomial mixture of Howard et al. 2021). The
    beta distribution has the mean p, and counts for as many values as make the sequence narrow near `planned`.

    Parameters
    ----------
    successes, count : int
    alpha : float
        Probability that the sequence ever misses.
    planned : float
        The count at which it is to be nearly as narrow as it can be.
    """
    if not count:
        return 0.0, 1.0
    log = 2 * math.log(1 / alpha)
    prior = planned / (log + math.log1p(log))  # theirs for a normal mixture
    low = _lowest(successes, count, alpha, prior)
    return low, 1.0 - _lowest(count - successes, count, alpha, prior)


def bounded_mean(moments: Moments, bounds: tuple[float, float], alpha: float) -> tuple[float, float]:
    """Return the bounds of a mean of values that lie between bounds: an empirical Bernstein sequence.

    Theorem 4 of Howard et al. (2021) with the gamma-exponential mixture (their proposition 9). The theorem's process of
    variance is the sum of the squared differences between each value and the mean of those before it. That depends on
    the order of the values, so `_most_variance`, which no order exceeds, takes its place.

    Parameters
    ----------
    moments : Moments
    bounds : (float, float)
        Within which all values are.
    alpha : float
        Probability that the sequence ever misses.
    """
    (least, most), n = bounds, moments.valid
    if not n:
        return least, most
    span = most - least
    distance = span * _radius(_most_variance(_squares(moments, span)), alpha / 2) / n
    return max(least, moments.mean - distance), min(most, moments.mean + distance)


def _squares(moments: Moments, span: float) -> float:
    """Return the sum of squares of values in a range of 1; the most that it can be where it left a double's range."""
    if moments.minimum == moments.maximum:
        return 0.0
    return moments.squares / span / span if 1e-290 < moments.squares < math.inf else moments.valid / 4


def _lowest(successes: int, count: int, alpha: float, prior: float) -> float:
    """Return the lower bound of a proportion."""
    if not successes:
        return 0.0
    failures, limit = count - successes, -math.log(alpha)
    total = math.lgamma(prior) - math.lgamma(prior + count)

    def is_outside(p: float) -> bool:
        a, b = p * prior, (1 - p) * prior
        mixture = math.lgamma(a + successes) - math.lgamma(a) + math.lgamma(b + failures) - math.lgamma(b) + total
        return mixture - successes * math.log(p) - failures * math.log1p(-p) >= limit

    mean = successes / count
    return _edge(is_outside, 0.0, mean if failures else math.nextafter(1.0, 0.0))


def _edge(is_outside: Callable[[float], bool], outside: float, inside: float) -> float:
    """Return where a condition ends to hold, on the side where it holds."""
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2
        if not min(outside, inside) < middle < max(outside, inside):
            break
        outside, inside = (middle, inside) if is_outside(middle) else (outside, middle)
    return outside


def _most_variance(squares: float) -> float:
    """Return the most that the squared differences from the means of the values before can add up to.

    Let e(i) be that of value i, of values in a range of 1, the first one compared with the middle of the range. Then
    ``(i - 1) / i * e(i)``, from 2 on, add up to the sum of squares about the mean of all (Welford 1962). So the e(i)
    add up to most if the first of them are 1, as many as that sum allows: k with ``k - H(k) >= squares``, H the
    harmonic numbers. They exceed the sum of squares by ``H(k) - 1``, and the first value adds a quarter.
    """
    k = squares + 2
    for _ in range(8):
        k = max(2.0, squares + _harmonic(k))
    return squares + _harmonic(k + 1) - 0.75


def _harmonic(k: float) -> float:
    """Return a little more than the sum of 1/i for i from 1 to k."""
    return math.log(k) + _EULER + 1 / (2 * k)


def _radius(variance: float, alpha: float) -> float:
    """Return the least distance at which the mixture reaches ``1 / alpha``."""
    limit, far = -math.log(alpha), 1.0
    while _log_mixture(far, variance) < limit:
        far *= 2
    return _edge(lambda distance: _log_mixture(distance, variance) >= limit, far, 0.0)


def _log_mixture(distance: float, variance: float) -> float:
    """Return a lower bound of the logarithm of the gamma-exponential mixture, of values in a range of 1.

    The incomplete gamma function of the numerator is 1 less a tail, which Chernoff's bound exceeds; it is 1/2 at
    least, since the median of a gamma distribution lies below its mean.
    """
    shape = variance + _PRIOR
    x = distance + shape
    tail = math.exp(shape * math.log(x / shape) - distance)
    return _log_norm() + math.lgamma(shape) + math.log(max(0.5, 1 - tail)) - shape * math.log(x) + distance + variance


@functools.cache
def _log_norm() -> float:
    """Return what makes the mixture 1 at the start; the incomplete gamma function by its series."""
    term = total = 1.0
    k = 0
    while term > total * 1e-17:
        k += 1
        term *= _PRIOR / (_PRIOR + k)
        total += term
    return _PRIOR + math.log(_PRIOR) - math.log(total)
