"""The summary of a result: statistics of each output over the replicates, and their table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis import statistics
from bgsim.analysis.intervals import check_confidence, interval
from bgsim.analysis.statistics import Count, Statistic
from bgsim.checks import is_number, refused
from bgsim.errors import brief, printable
from bgsim.tables import Table, Tabular

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTILES = (0.05, 0.5, 0.95)
"""The quantiles of a summary by default."""

FAN = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Those of a fan."""


@dataclass(frozen=True, slots=True, repr=False)
class ColumnSummary(Tabular):
    """Statistics of one output over the replicates; each has the shape of one replicate's value.

    NaN is left out: `valid` counts the rest. Those of a complex output that need an order are NaN. An output that is no
    number, such as a text, a date or a structure, has a `count` alone; all else is None, and `quantiles` is empty.

    Attributes
    ----------
    count : int
        Replicates.
    mean : float or ndarray
        Of a boolean output the proportion.
    sd : float or ndarray
        Standard deviation with ``valid - 1`` in the denominator; NaN for one replicate.
    standard_error : float or ndarray
        ``sd / sqrt(valid)``.
    minimum, maximum : float or ndarray
    quantiles : dict of float to float or ndarray
        Linear interpolation (Hyndman and Fan 1996, type 7).
    valid : int or ndarray
        Replicates whose value is not NaN.
    low, high : float or ndarray, or None
        Bounds of the confidence interval of the mean, if one was asked for.
    """

    count: int
    mean: Statistic
    sd: Statistic
    standard_error: Statistic
    minimum: Statistic
    maximum: Statistic
    quantiles: dict[float, Statistic]
    valid: Count = None
    low: Statistic = None
    high: Statistic = None

    def _table(self) -> Table:
        names = ("count", "valid", "mean", "standard_error", "sd", "minimum", "maximum", "low", "high")
        found = [(name.replace("_", " "), getattr(self, name)) for name in names]
        found += [(f"{100 * q:g} %", cut) for q, cut in self.quantiles.items()]
        rows = [(name, span(value) if np.ndim(value) else value) for name, value in found if value is not None]
        return Table((), rows, most=None)

    @property
    def has_nan(self) -> bool:
        """Whether values were left out."""
        return self.valid is not None and bool(np.any(np.less(self.valid, self.count)))

    @property
    def valid_text(self) -> str:
        """How many are valid, such as ``valid 902 of 1,000``."""
        return f"valid {span(self.valid, ',')} of {self.count:,}"


def summarize(
    column: NDArray[Any], quantiles: tuple[float, ...] = QUANTILES, confidence: float | None = None
) -> ColumnSummary:
    """Return the statistics of a column over its first axis."""
    count = len(column)
    if not statistics.is_numeric(column.dtype):
        return ColumnSummary(count, None, None, None, None, None, {})
    values = statistics.numbers(column)
    with statistics.quiet():
        valid, sd = statistics.valid(values), statistics.sd(values)
        low, high = (None, None) if confidence is None else map(plain, interval(column, confidence))
        return ColumnSummary(
            count=count,
            mean=plain(statistics.mean(values)),
            sd=plain(sd),
            standard_error=plain(statistics.of_mean(sd, valid)),
            minimum=plain(statistics.minimum(values)),
            maximum=plain(statistics.maximum(values)),
            quantiles=dict(zip(quantiles, map(plain, statistics.quantiles(values, quantiles)), strict=True)),
            valid=plain(valid),
            low=low,
            high=high,
        )


def check_quantiles(quantiles: Sequence[float]) -> tuple[float, ...]:
    """Return quantiles as a tuple, or refuse them.

    Raises
    ------
    InvalidInputError
        If one is not from 0 to 1.
    """
    for q in quantiles:
        if not (is_number(q) and 0 <= q <= 1):
            raise refused("quantiles", q, "numbers from 0 to 1")
    return tuple(quantiles)


def example(column: NDArray[Any]) -> str:
    """Return what stands in a column that has no statistics, in a few words."""
    kind = str(column.dtype) if column.dtype.names is None else f"structure of {', '.join(column.dtype.names)}"
    kind = printable(brief(kind, 40))[1:-1]
    if column.ndim > 1:
        return f"{kind}, an array of {column.shape[1:]} each"
    return printable(f"{kind}, such as {brief(column[0].item(), 24)}") if len(column) else kind


class Summary(Tabular, Mapping[str, ColumnSummary]):
    """The `ColumnSummary` of each output, by name; prints as a table.

    Attributes
    ----------
    remark : str
        If several versions of NumPy or numba computed the rows: which versions computed which, in a sentence. It is
        printed below the table. Otherwise empty.
    confidence : float or None
        Of the intervals, if they were asked for.
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        quantiles: tuple[float, ...] = QUANTILES,
        remark: str = "",
        *,
        confidence: float | None = None,
        of: Callable[[Any, tuple[float, ...], float | None], ColumnSummary] = summarize,
    ) -> None:
        if confidence is not None:
            check_confidence(confidence)
        self.remark = remark
        self.confidence = confidence
        self._quantiles = quantiles
        self._summaries = {name: of(column, quantiles, confidence) for name, column in columns.items()}
        self._examples = {
            name: example(column) for name, column in columns.items() if not statistics.is_numeric(column.dtype)
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return headings and rows of text.

        An array output has the least and the greatest of each statistic over its elements, and no interval, since each
        element has its own. Where values are NaN, a column says how many are not.
        """
        has_nan = any(s.has_nan for s in self.values())
        headings = ["output", "mean", "standard error", "sd", *(f"{100 * q:g} %" for q in self._quantiles)]
        if self.confidence is not None:
            headings.insert(2, f"{100 * self.confidence:g} % interval of the mean")
        if has_nan:
            headings.insert(1, "valid")
        rows = []
        for name, s in self._summaries.items():
            if s.mean is None:
                rows.append([name, self._examples[name], *[""] * (len(headings) - 2)])
                continue
            cells = [*map(span, (s.mean, s.standard_error, s.sd, *s.quantiles.values()))]
            if self.confidence is not None:
                cells.insert(1, "" if np.ndim(s.low) else f"{span(s.low)} to {span(s.high)}")
            if has_nan:
                cells.insert(0, s.valid_text.removeprefix("valid "))
            rows.append([f"{name} {np.shape(s.mean)}" if np.ndim(s.mean) else name, *cells])
        return headings, rows

    def __getitem__(self, name: str) -> ColumnSummary:
        return self._summaries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._summaries)

    def __len__(self) -> int:
        return len(self._summaries)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def _table(self) -> Table:
        headings, rows = self.table()
        return Table(headings, rows, remark=self.remark, most=None)


def mean_with_error(mean: Any, error: Any, *, percent: bool = False) -> str:
    """Return a mean with its standard error, to two digits of the standard error."""
    scale, unit = (100.0, " %") if percent else (1.0, "")
    mean, error = scale * mean, scale * error
    if not (math.isfinite(error) and error > 0):
        return f"{mean:.6g}{unit}"
    digits = min(12, max(0, 1 - math.floor(math.log10(error))))
    return f"{mean:.{digits}f} ± {error:.{digits}f}{unit}"


def span(values: Any, style: str = ".6g") -> str:
    """Return a number as text; of several the least and the greatest, to fewer digits."""
    if not np.ndim(values):
        return f"{values:{style}}"
    known = values[~np.isnan(values)]
    if known.dtype.kind == "c" or not known.size:
        return ""
    low, high = (f"{end:{style.replace('6', '3')}}" for end in (known.min(), known.max()))
    return low if low == high else f"{low} .. {high}"


def plain(value: Any) -> Any:
    """Return a NumPy scalar as a Python number, an array as it is."""
    return value.item() if np.ndim(value) == 0 else value
