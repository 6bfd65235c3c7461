"""The comparison of two results: which parameters differ, and by how much the outputs do.

Two results of one simulation with one seed share their random numbers, replicate by replicate. Their differences are
then taken pairwise: the variance of a difference is ``var(a) + var(b) - 2 cov(a, b)``, often a small part of that of
independent runs (common random numbers; Law, Simulation Modeling and Analysis, 2015, section 11.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis import statistics
from bgsim.analysis.intervals import half_width
from bgsim.analysis.statistics import Count, Statistic
from bgsim.analysis.summary import plain, span
from bgsim.errors import brief
from bgsim.parameters.alike import are_equal
from bgsim.tables import Table, Tabular, in_short

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_CHANGES = 3
"""Changed parameters that a new figure names in its title."""

MISSING: Any = None
"""Stands for the value of a parameter that one of the two results does not have."""


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
    valid : int or ndarray
        Of the replicates, those that have a difference: with a NaN there is none, and they are left out. Of unpaired
        ones, those of the result that has fewer.
    """

    mean: Statistic
    standard_error: Statistic
    low: Statistic
    high: Statistic
    replicates: int
    paired: bool
    valid: Count

    def __repr__(self) -> str:
        how = "paired" if self.paired else "independent"
        return in_short("Difference", f"{span(self.mean)}, {self._interval()}, {self.replicates:,} replicates, {how}")

    def _interval(self) -> str:
        return "an interval each" if np.ndim(self.mean) else f"{span(self.low)} to {span(self.high)}"

    def row(self, name: str) -> tuple[object, ...]:
        """Return its cells in the table of a comparison."""
        mean = span(self.mean) if np.ndim(self.mean) else self.mean
        return name, mean, self._interval(), self.replicates, "paired" if self.paired else "independent"

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

    def plot(self, output: str | None = None, *, ax: Any = None) -> Any:
        """Draw the differences of means with their intervals, beside the line of no difference.

        Parameters
        ----------
        output : str, optional
            By default all that are a number, or a row of them, which is drawn over its elements.
        ax : matplotlib.axes.Axes, or array of them, optional
            Where to draw; by default a new figure.

        Returns
        -------
        matplotlib.axes.Axes, or array of them

        Raises
        ------
        InvalidInputError
            If the output cannot be drawn, or `ax` has another number of places.
        MissingExtraError
            If matplotlib is not installed.
        """
        from bgsim.analysis import drawing  # noqa: PLC0415 - an extra

        found = {name: d for name, d in self.outputs.items() if np.ndim(d.mean) <= 1}
        names = drawing.chosen(list(found), output, "a real number, or a row of them, in both results")
        axes = drawing.panels(len(names), ax)
        for panel, name in zip(axes, names, strict=True):
            d = found[name]
            label = f"{100 * self.confidence:g} % interval, {'paired' if d.paired else 'independent'}"
            drawing.difference(panel, name, d.mean, d.low, d.high, label)
        changes = self._changes()
        if ax is None and 0 < len(changes) <= _MOST_CHANGES:
            axes[0].figure.suptitle("\n".join(changes), fontsize="medium")
        return drawing.as_given(axes)

    def _changes(self) -> list[str]:
        return [f"{name} {brief(a, 30)} instead of {brief(b, 30)}" for name, (a, b) in self.parameters.items()]

    def _table(self) -> Table:
        headings = "output", "difference", f"{100 * self.confidence:g} % interval", "replicates", ""
        rows = [d.row(name) for name, d in self.outputs.items()]
        return Table(headings, rows, title=", ".join(self._changes()))


def compared(
    primary: tuple[Any, Mapping[str, NDArray[Any]]],
    secondary: tuple[Any, Mapping[str, NDArray[Any]]],
    *,
    confidence: float,
) -> Comparison:
    """Compare two results with their columns."""
    (a, left), (b, right) = primary, secondary
    names = [getattr(result.simulation, "name", result.simulation) for result in (a, b)]
    shared = a.seed == b.seed and names[0] == names[1]
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
    count = min(len(a), len(b))
    left, right = statistics.numbers(a), statistics.numbers(b)
    with statistics.quiet():
        if paired:
            d = left[:count] - right[:count]
            mean, error, valid = statistics.mean(d), statistics.standard_error(d), statistics.valid(d)
            degrees = valid - 1
        else:
            known = ((statistics.mean(v), statistics.standard_error(v), statistics.valid(v)) for v in (left, right))
            return independent(*known, replicates=count, confidence=confidence)
        return around(mean, error, degrees, replicates=count, paired=True, valid=valid, confidence=confidence)


def independent(a: tuple[Any, Any, Any], b: tuple[Any, Any, Any], *, replicates: int, confidence: float) -> Difference:
    """Return the difference of the means of independent replicates, with Welch's interval (1947).

    Parameters
    ----------
    a, b : tuple
        Mean, its standard error, and the number of valid replicates.
    replicates : int
    confidence : float
    """
    (mean_a, ea, na), (mean_b, eb, nb) = a, b
    with statistics.quiet():
        error = np.hypot(ea, eb)
        welch = error**4 / np.add(
            np.power(ea, 4) / np.maximum(1, np.subtract(na, 1)), np.power(eb, 4) / np.maximum(1, np.subtract(nb, 1))
        )
        degrees = np.floor(np.nan_to_num(welch, nan=1.0, posinf=1.0))
        valid, mean = np.minimum(na, nb), np.subtract(mean_a, mean_b)
    return around(mean, error, degrees, replicates=replicates, paired=False, valid=valid, confidence=confidence)


def around(
    mean: Any, error: Any, degrees: Any, *, replicates: int, paired: bool, valid: Any, confidence: float
) -> Difference:
    """Return a difference with Student's interval around it."""
    with statistics.quiet():
        half = half_width(error, degrees, confidence)
        low, high = np.subtract(mean, half), np.add(mean, half)
    return Difference(
        plain(np.asarray(mean)),
        plain(np.asarray(error)),
        plain(low),
        plain(high),
        replicates,
        paired,
        plain(np.asarray(valid)),
    )


def _comparable(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape[1:] == b.shape[1:] and a.dtype.kind in "biuf" and b.dtype.kind in "biuf"


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        may_be_nan = all(np.asarray(value).dtype.kind in "fc" for value in (a, b))
        return np.shape(a) == np.shape(b) and np.array_equal(a, b, equal_nan=may_be_nan)
    return are_equal(a, b)
