"""What a rule knows of one output over the first replicates: pure numbers, so that chunks and workers do not matter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

MOST_OF_ONE = 0.1
"""The share of the sum of squares that one replicate may have, where an interval by the normal law is to hold."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and variance of one real output over the first replicates, each rounded once.

    Attributes
    ----------
    count : int
        Replicates.
    valid : int
        Of those, the ones whose value is not NaN; all else is over these.
    mean : float
    variance : float
        With ``valid - 1`` in the denominator; NaN for fewer than two.
    minimum, maximum : float
        NaN if they are not known, as those of a live estimate: a rule then does not ask whether one replicate counts
        for much.
    is_boolean : bool
        Whether the output is one, so that the mean is a proportion.
    """

    count: int
    valid: int
    mean: float
    variance: float
    minimum: float
    maximum: float
    is_boolean: bool = False

    @classmethod
    def of(cls, tally: Any) -> Moments:
        """Return the moments of what has them as attributes, and a `dtype`, as the tally of a scalar output does."""
        return cls(
            int(tally.count),
            int(tally.valid),
            float(tally.mean),
            float(tally.variance),
            float(tally.minimum),
            float(tally.maximum),
            tally.dtype.kind == "b",
        )

    @property
    def successes(self) -> int:
        """How many values of a boolean output are true."""
        return round(self.mean * self.valid) if self.valid else 0

    @property
    def squares(self) -> float:
        """Sum of the squared differences from the mean."""
        return self.variance * (self.valid - 1)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; NaN for fewer than two values.

        Of a boolean output it is that of Agresti and Coull's estimate, which adds two successes and two failures
        (1998): it is not 0 where no success, or nothing else, was seen.
        """
        if self.is_boolean:
            n = self.valid + 4
            p = (self.successes + 2) / n
            return math.sqrt(p * (1 - p) / n) if self.valid > 1 else math.nan
        return math.sqrt(self.variance / self.valid) if self.valid > 1 else math.nan

    @property
    def doubt(self) -> str:
        """Why the standard error says little, in words; empty if it does.

        The mean of many is nearly normal if no single value has much of the sum of squares (Lindeberg 1922). Where all
        values are the same, a rare other one may not have come yet. A boolean output needs none of this.
        """
        if self.is_boolean:
            return ""
        if self.valid < 2:
            return "fewer than two values"
        if not (math.isfinite(self.mean) and math.isfinite(self.squares)):
            return "values that are infinite, or too large"
        if not self.squares:
            return "all values are the same"
        farthest = max(self.maximum - self.mean, self.mean - self.minimum)
        share = farthest * farthest / self.squares
        return f"one replicate has {share:.0%} of the variance" if share > MOST_OF_ONE else ""
