"""Statistics from exact sums, each rounded once.

The sums are integers of any length, so nothing is lost before the one division or root that gives the double.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of some values, and of their squares.

    Attributes
    ----------
    count : int
        How many values, NaN left out.
    total, squares : int
        The sum of the finite ones is ``total * 2**exponent``, that of their squares ``squares * 2**(2 * exponent)``.
    exponent : int
    above, below : int
        How many are plus and minus infinity.
    """

    count: int
    total: int
    squares: int
    exponent: int
    above: int = 0
    below: int = 0


def joined(words: Sequence[int]) -> int:
    """Return the integer of 64-bit words, the lowest first."""
    return sum([word << 64 * i for i, word in enumerate(words)])


def mean(sums: Sums) -> float:
    """Return the mean; NaN of no value, and of infinities of both signs."""
    if not sums.count or (sums.above and sums.below):
        return math.nan
    if sums.above or sums.below:
        return math.inf if sums.above else -math.inf
    return divided(sums.total, sums.count, sums.exponent)


def variance(sums: Sums) -> float:
    """Return the variance with one less than the count in the denominator; NaN of one value, and of infinities."""
    found = _spread(sums)
    return math.nan if found is None else divided(*found, 2 * sums.exponent)


def sd(sums: Sums) -> float:
    """Return the standard deviation, likewise: the root of the exact variance."""
    found = _spread(sums)
    return math.nan if found is None else root(*found, sums.exponent)


def standard_error(sums: Sums) -> float:
    """Return the standard error of the mean, likewise."""
    found = _spread(sums)
    return math.nan if found is None else root(found[0], found[1] * sums.count, sums.exponent)


def _spread(sums: Sums) -> tuple[int, int] | None:
    """Return numerator and denominator of the variance, in units of ``2**(2 * exponent)``; None if there is none."""
    n = sums.count
    if n < 2 or sums.above or sums.below:
        return None
    return max(0, n * sums.squares - sums.total**2), n * (n - 1)  # less than 0 only where a file is damaged


def divided(numerator: int, denominator: int, exponent: int) -> float:
    """Return ``numerator / denominator * 2**exponent``, rounded once; infinity beyond the largest double."""
    if exponent >= 0:
        numerator <<= exponent
    else:
        denominator <<= -exponent
    try:
        return numerator / denominator  # Python rounds the quotient of integers correctly
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


def root(numerator: int, denominator: int, exponent: int) -> float:
    """Return ``sqrt(numerator / denominator) * 2**exponent``, rounded once.

    The integer root of the quotient has 64 bits or more, and its last bit says whether anything is left, which decides
    a tie.
    """
    shift = max(0, 130 + denominator.bit_length() - numerator.bit_length())
    shift += shift & 1
    quotient, rest = divmod(numerator << shift, denominator)
    whole = math.isqrt(quotient)
    inexact = rest > 0 or whole * whole != quotient
    return divided(2 * whole + inexact, 1, exponent - shift // 2 - 1)
