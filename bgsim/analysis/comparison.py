"""The comparison of two results: which parameters differ, and by how much the outputs do.

Two results of one simulation with one seed share their random numbers, replicate by replicate. Their differences are
then taken pairwise: the variance of a difference is ``var(a) + var(b) - 2 cov(a, b)``, often a small part of that of
independent runs (common random numbers; Law, Simulation Modeling and Analysis, 2015, section 11.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bgsim.analysis import statistics
from bgsim.analysis.intervals import check_confidence, half_width
from bgsim.analysis.statistics import Count, Statistic
from bgsim.analysis.summary import plain, span
from bgsim.checks import refused
from bgsim.errors import InvalidInputError, brief
from bgsim.parameters.alike import are_equal
from bgsim.tables import Table, Tabular, escaped, in_short

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


class Comparable:
    """What results of rows and of summaries share: how they are shown, and compared with others."""

    parameters: Any
    summary: Any

    def compare(self, other: Comparable, *, confidence: float = 0.95) -> Comparison:
        """Return the differences of the outputs' means, this result's less the other's, with their intervals.

        Two results of one simulation with one seed share their random numbers, replicate by replicate. Where both keep
        rows, differences are then taken in pairs, as far as both have replicates (common random numbers). Else the
        interval is Welch's. It is how `bgsim.storage.base.Store.compare` compares the slots of a workspace.

        Parameters
        ----------
        other : SimulationResult or SummaryResult
        confidence : float
            Between 0 and 1.

        Returns
        -------
        Comparison
            With the parameters that differ, and a difference for each real output that both have.

        Raises
        ------
        InvalidInputError
            If the confidence is not between 0 and 1, or `other` is no result; if one of the two keeps a summary, and
            they share random numbers.
        """
        if not isinstance(other, Comparable):
            raise refused("other", other, "a SimulationResult or a SummaryResult")
        check_confidence(confidence)
        return compared((self, self._kept()), (other, other._kept()), confidence=confidence)

    def _kept(self) -> Mapping[str, Any]:
        """Return what is kept of each output; see `compared`."""
        raise NotImplementedError

    def _title(self) -> str:
        """Return what it is, in a line."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{self._title()}\n{self.summary()!r}"

    def _repr_html_(self) -> str:
        title, parameters = escaped(self._title()), escaped(repr(self.parameters))
        return f"<p><b>{title}</b><br>{parameters}</p>{self.summary()._repr_html_()}"


def compared(
    primary: tuple[Any, Mapping[str, Any]], secondary: tuple[Any, Mapping[str, Any]], *, confidence: float
) -> Comparison:
    """Compare two results with what they keep of each output: an array of rows, or a `bgsim.summaries.tally.Tally`.

    Raises
    ------
    InvalidInputError
        If one keeps tallies, and both are of one simulation and seed: how much of the variance their common random
        numbers take away is known from the rows alone.
    """
    (a, left), (b, right) = primary, secondary
    shared = _name(a) == _name(b) and not _seeds(a).isdisjoint(_seeds(b))
    if shared and not all(isinstance(kept, np.ndarray) for kept in (*left.values(), *right.values())):
        raise InvalidInputError(
            "both results have a seed in common, so their replicates share random numbers, and a summary does not tell "
            "how much of the difference that takes away: compare them with engine.compare(simulation, a, b, "
            'replicates=...), keep the rows of both with keep="columns", or submit one of them with another seed',
            field="other",
        )
    outputs = {
        name: difference(kept, right[name], paired=shared, confidence=confidence)
        for name, kept in left.items()
        if name in right and _comparable(kept, right[name])
    }
    return Comparison(a, b, parameter_differences(a.parameters, b.parameters), outputs, confidence)


def _name(result: Any) -> str:
    name: str = getattr(result.simulation, "name", result.simulation)
    return name


def _seeds(result: Any) -> set[int]:
    return {*getattr(result, "seeds", [result.seed])}


def parameter_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the parameters that differ, with both values."""
    return {
        name: (a.get(name, MISSING), b.get(name, MISSING))
        for name in sorted(a.keys() | b.keys())
        if name not in a or name not in b or not _equal(a[name], b[name])
    }


def difference(a: Any, b: Any, *, paired: bool, confidence: float) -> Difference:
    """Return the difference of two outputs' means with its confidence interval.

    Parameters
    ----------
    a, b : ndarray or Tally
        Of real numbers. Rows have the replicates first; paired ones are cut to the shorter.
    paired : bool
        Of rows alone.
    confidence : float
    """
    if not paired:
        return independent(a, b, confidence=confidence)
    count = min(len(a), len(b))
    left, right = statistics.numbers(a), statistics.numbers(b)
    with statistics.quiet():
        d = left[:count] - right[:count]
        mean, error, valid = statistics.mean(d), statistics.standard_error(d), statistics.valid(d)
    return around(mean, error, valid - 1, replicates=count, paired=True, valid=valid, confidence=confidence)


def independent(a: Any, b: Any, *, confidence: float) -> Difference:
    """Return the difference of the means of independent replicates, with Welch's interval (1947)."""
    (mean_a, ea, na, count_a), (mean_b, eb, nb, count_b) = map(_known, (a, b))
    with statistics.quiet():
        error = np.hypot(ea, eb)
        welch = error**4 / np.add(
            np.power(ea, 4) / np.maximum(1, np.subtract(na, 1)), np.power(eb, 4) / np.maximum(1, np.subtract(nb, 1))
        )
        degrees = np.floor(np.nan_to_num(welch, nan=1.0, posinf=1.0))
        valid, mean = np.minimum(na, nb), np.subtract(mean_a, mean_b)
    replicates = min(count_a, count_b)
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


def _known(kept: Any) -> tuple[Any, Any, Any, int]:
    """Return the mean of rows or of a tally, its standard error, and how many replicates are valid and there are."""
    if not isinstance(kept, np.ndarray):
        return kept.mean, kept.standard_error, kept.valid, kept.count
    values = statistics.numbers(kept)
    with statistics.quiet():
        return statistics.mean(values), statistics.standard_error(values), statistics.valid(values), len(values)


def _comparable(a: Any, b: Any) -> bool:
    shapes = [kept.shape[1:] if isinstance(kept, np.ndarray) else kept.shape for kept in (a, b)]
    return shapes[0] == shapes[1] and a.dtype.kind in "biuf" and b.dtype.kind in "biuf"


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        may_be_nan = all(np.asarray(value).dtype.kind in "fc" for value in (a, b))
        return np.shape(a) == np.shape(b) and np.array_equal(a, b, equal_nan=may_be_nan)
    return are_equal(a, b)
