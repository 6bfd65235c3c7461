"""The comparison of two results: which parameters differ, and by how much the outputs do.

Two results of one simulation with one seed share their random numbers, replicate by replicate. Their differences are
then taken pairwise: the variance of a difference is ``var(a) + var(b) - 2 cov(a, b)``, often a small part of that of
independent runs (common random numbers; Law, Simulation Modeling and Analysis, 2015, section 11.2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.errors import InvalidInputError, brief
from bgsim.parameters.alike import are_equal
from bgsim.tables import Table, Tabular

if TYPE_CHECKING:
    from numpy.typing import NDArray

MISSING: Any = None
"""Stands for the value of a parameter that one of the two results does not have."""

_EXACT_DEGREES = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of the primary's output less that of the secondary's; each has the shape of one replicate's value.

    Attributes
    ----------
    mean, standard_error : float or ndarray
    low, high : float or ndarray
        Bounds of the confidence interval.
    replicates : int
        That both have, and that were compared.
    paired : bool
        Whether the replicates share their random numbers, so that differences are taken pairwise. If not, this is
        Welch's interval (1947).
    """

    mean: Any
    standard_error: Any
    low: Any
    high: Any
    replicates: int
    paired: bool

    @property
    def significant(self) -> Any:
        """Whether zero lies outside the interval."""
        return (self.low > 0) | (self.high < 0)


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Tabular):
    """Two results side by side.

    Attributes
    ----------
    primary, secondary : StoredResult or SimulationResult
        What was compared: the primary less the secondary.
    parameters : dict of str to (object, object)
        Those that differ: the primary's value, the secondary's; `MISSING` where one has none.
    outputs : dict of str to Difference
        Of the real outputs that both have.
    confidence : float
    """

    primary: Any
    secondary: Any
    parameters: Mapping[str, tuple[Any, Any]]
    outputs: Mapping[str, Difference]
    confidence: float

    def _table(self) -> Table:
        rows = []
        for name, d in self.outputs.items():
            interval = ("an array each", None, None) if np.ndim(d.mean) else (d.mean, d.low, d.high)
            rows.append((name, *interval, d.replicates))
        differing = [f"{name} {brief(a, 30)} instead of {brief(b, 30)}" for name, (a, b) in self.parameters.items()]
        return Table(("output", "difference", "low", "high", "replicates"), rows, title=", ".join(differing))


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is not between 0 and 1.

    Raises
    ------
    InvalidInputError
    """
    if not 0 < confidence < 1:
        raise InvalidInputError(
            f"confidence must lie between 0 and 1; got {confidence!r}", field="confidence", value=confidence
        )


def compared(
    primary: tuple[Any, Mapping[str, NDArray[Any]]],
    secondary: tuple[Any, Mapping[str, NDArray[Any]]],
    *,
    confidence: float,
) -> Comparison:
    """Compare two results with their columns."""
    (a, left), (b, right) = primary, secondary
    shared = a.seed == b.seed and a.simulation == b.simulation
    outputs = {
        name: difference(column, right[name], paired=shared, confidence=confidence)
        for name, column in left.items()
        if name in right and _comparable(column, right[name])
    }
    return Comparison(a, b, parameter_differences(a.parameters, b.parameters), outputs, confidence)


def parameter_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the parameters that differ, with both values."""
    return {
        name: (a.get(name, MISSING), b.get(name, MISSING))
        for name in sorted(a.keys() | b.keys())
        if name not in a or name not in b or not _equal(a[name], b[name])
    }


def difference(a: NDArray[Any], b: NDArray[Any], *, paired: bool, confidence: float) -> Difference:
    """Return the difference of two columns' means with its confidence interval.

    Parameters
    ----------
    a, b : ndarray
        Of real numbers, replicates first; paired ones are cut to the shorter.
    paired : bool
    confidence : float
    """
    if paired:
        count = min(len(a), len(b))
        d = a[:count].astype(np.float64) - b[:count]
        mean, error, degrees = d.mean(axis=0), _standard_error(d), np.asarray(max(1, count - 1))
    else:
        count = min(len(a), len(b))
        ea, eb = _standard_error(a.astype(np.float64)), _standard_error(b.astype(np.float64))
        mean = a.mean(axis=0) - b.mean(axis=0)
        error = np.hypot(ea, eb)
        with np.errstate(all="ignore"):
            welch = error**4 / (ea**4 / max(1, len(a) - 1) + eb**4 / max(1, len(b) - 1))
        degrees = np.floor(np.nan_to_num(welch, nan=1.0, posinf=1.0)).clip(1)
    half = error * np.vectorize(lambda n: t_quantile(0.5 + confidence / 2, int(n)), otypes=[float])(degrees)
    return Difference(_plain(mean), _plain(error), _plain(mean - half), _plain(mean + half), count, paired)


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


def _standard_error(values: NDArray[np.float64]) -> Any:
    if len(values) < 2:
        return np.full(values.shape[1:], math.nan)
    return values.std(axis=0, ddof=1) / math.sqrt(len(values))


def _comparable(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape[1:] == b.shape[1:] and a.dtype.kind in "biuf" and b.dtype.kind in "biuf"


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        may_be_nan = all(np.asarray(value).dtype.kind in "fc" for value in (a, b))
        return np.shape(a) == np.shape(b) and np.array_equal(a, b, equal_nan=may_be_nan)
    return are_equal(a, b)


def _plain(value: Any) -> Any:
    return value.item() if np.ndim(value) == 0 else value
