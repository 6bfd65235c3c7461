"""The result of a simulation: its columns, their summary, and the replay of any replicate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.checks import check_integer, normal_name
from bgsim.environment import mixture, versions_of
from bgsim.errors import MissingExtraError, SimulationChangedError, brief, nearest, printable
from bgsim.kernels.outputs import flat_columns
from bgsim.tables import Table, Tabular, escaped

if TYPE_CHECKING:
    import pandas
    from numpy.typing import NDArray

    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.simulation import Simulation

QUANTILES = (0.05, 0.5, 0.95)
"""The quantiles of a summary by default."""


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """Statistics of one output over the replicates; each has the shape of one replicate's value.

    Those of a complex output that need an order are NaN. An output that is no number, such as a text, a date or a
    structure, has a `count` alone; all else is None, and `quantiles` is empty.

    Attributes
    ----------
    count : int
        Replicates.
    mean : float or ndarray
        Of a boolean output the proportion.
    sd : float or ndarray
        Standard deviation with ``count - 1`` in the denominator; NaN for one replicate.
    standard_error : float or ndarray
        ``sd / sqrt(count)``.
    minimum, maximum : float or ndarray
    quantiles : dict of float to float or ndarray
        Linear interpolation (Hyndman and Fan 1996, type 7).
    """

    count: int
    mean: Any
    sd: Any
    standard_error: Any
    minimum: Any
    maximum: Any
    quantiles: dict[float, Any]


def summarize(column: NDArray[Any], quantiles: tuple[float, ...] = QUANTILES) -> ColumnSummary:
    """Return the statistics of a column over its first axis."""
    count = len(column)
    if column.dtype.kind not in "biufc":
        return ColumnSummary(count, None, None, None, None, None, {})
    values = column.astype(np.result_type(column, np.float64), copy=False)
    unknown = np.full(values.shape[1:], math.nan)
    real = values if values.dtype.kind == "f" and count else np.full((1, *values.shape[1:]), math.nan)
    with np.errstate(all="ignore"):  # infinities
        sd = values.std(axis=0, ddof=1) if count > 1 else unknown
        return ColumnSummary(
            count=count,
            mean=_plain(values.mean(axis=0) if count else unknown),
            sd=_plain(sd),
            standard_error=_plain(sd / math.sqrt(count or 1)),
            minimum=_plain(real.min(axis=0)),
            maximum=_plain(real.max(axis=0)),
            quantiles={q: _plain(cut) for q, cut in zip(quantiles, _quantiles(real, quantiles), strict=True)},
        )


def _quantiles(values: NDArray[Any], quantiles: tuple[float, ...]) -> NDArray[Any]:
    """Return quantiles; NumPy finds none beside an infinity, for it interpolates by the difference."""
    cuts: NDArray[Any] = np.quantile(values, quantiles, axis=0)
    if np.isinf(values).any():
        low, high = (np.quantile(values, quantiles, axis=0, method=method) for method in ("lower", "higher"))
        cuts = np.where(np.isnan(cuts), np.where(low == high, low, low + high), cuts)
    return cuts


def example(column: NDArray[Any]) -> str:
    """Return what stands in a column that has no statistics, in a few words."""
    kind = str(column.dtype) if column.dtype.names is None else f"structure of {', '.join(column.dtype.names)}"
    kind = printable(brief(kind, 40))[1:-1]
    if column.ndim > 1:
        return f"{kind}, an array of {column.shape[1:]} each"
    return printable(f"{kind}, such as {brief(column[0].item(), 24)}") if len(column) else kind


class Summary(Tabular, Mapping[str, ColumnSummary]):
    """The `ColumnSummary` of each output, by name; prints as a table of the scalar ones.

    Attributes
    ----------
    remark : str
        If several versions of NumPy or numba computed the rows: which versions computed which, in a sentence. It is
        printed below the table. Otherwise empty.
    """

    def __init__(
        self, columns: Mapping[str, NDArray[Any]], quantiles: tuple[float, ...] = QUANTILES, remark: str = ""
    ) -> None:
        self.remark = remark
        self._quantiles = quantiles
        self._summaries = {name: summarize(column, quantiles) for name, column in columns.items()}
        self._examples = {name: example(column) for name, column in columns.items() if column.dtype.kind not in "biufc"}

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return headings and rows of text; an array output has a row for its mean over its elements."""
        headings = ["output", "mean", "standard error", "sd", *(f"{100 * q:g} %" for q in self._quantiles)]
        rows = []
        for name, s in self._summaries.items():
            if s.mean is None:
                rows.append([name, self._examples[name], *[""] * (len(headings) - 2)])
            elif np.ndim(s.mean):
                rows.append([f"{name} {np.shape(s.mean)}", "an array each", *[""] * (len(headings) - 2)])
            else:
                values = (s.mean, s.standard_error, s.sd, *s.quantiles.values())
                rows.append([name, *(f"{value:.6g}" for value in values)])
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


class SimulationResult(Mapping[str, "NDArray[Any]"]):
    """What a job returns: a mapping from output name to values, replicates first.

    Attributes
    ----------
    simulation : Simulation
    parameters : ParameterSet
    seed : int
    fingerprint : str
        Of the code that computed it.
    replicates : int
    versions : tuple of (int, int, str)
        Which versions of NumPy and numba computed which replicates: runs of (first, count, text), such as
        ``((0, 1000, "numpy 2.4.6, numba 0.68.1"),)``. The text is empty where they are not known. A result that mixes
        versions says so where it is printed.
    """

    def __init__(
        self,
        simulation: Simulation,
        parameters: ParameterSet,
        seed: int,
        columns: Mapping[str, NDArray[Any]],
        fingerprint: str,
    ) -> None:
        self.simulation = simulation
        self.parameters = parameters
        self.seed = seed
        self.fingerprint = fingerprint
        self.replicates = len(next(iter(columns.values())))
        self.versions = versions_of(columns, self.replicates)
        self._columns = columns
        self._close_columns()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled or copied: its arrays are writable again."""
        vars(self).update(state)
        self._close_columns()

    def _close_columns(self) -> None:
        for column in self._columns.values():
            column.flags.writeable = False

    def summary(self, quantiles: tuple[float, ...] = QUANTILES) -> Summary:
        """Return count, mean, standard deviation, standard error and quantiles of each output."""
        return Summary(self._columns, quantiles, mixture(self.versions))

    def replay(self, index: int) -> Any:
        """Run replicate `index` again with its own stream: as plain Python, or as the simulation's `replay` does.

        Returns
        -------
        object
            What the simulation's function returns: what stands in the columns at `index`.

        Raises
        ------
        InvalidInputError
            If there is no such replicate.
        SimulationChangedError
            If the simulation has changed since.
        """
        index = check_integer("index", index, least=0, most=self.replicates - 1)
        if self.simulation.fingerprint != self.fingerprint:
            raise SimulationChangedError(
                f"{self.simulation.name} is no longer what computed this result, so a replay would be of other code; "
                "submit it again"
            )
        return self.simulation.replay(self.parameters, self.seed, int(index))

    def to_pandas(self) -> pandas.DataFrame:
        """Return a DataFrame with a row a replicate; elements of arrays and fields of structures have columns.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        try:
            import pandas  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError('to_pandas needs pandas: pip install "bgsim[pandas]"') from error
        index = pandas.RangeIndex(self.replicates, name="replicate")
        return pandas.DataFrame(flat_columns(self._columns), index=index)

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            return self._columns[name]
        except KeyError:
            if isinstance(name, str) and normal_name(name) in self._columns:
                return self._columns[normal_name(name)]
            raise KeyError(f"no output {name!r}{nearest(name, self._columns)}; there are {', '.join(self)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        return f"{self._title()}\n{self.summary()!r}"

    def _repr_html_(self) -> str:
        return (
            f"<p><b>{escaped(self._title())}</b><br>{escaped(repr(self.parameters))}</p>{self.summary()._repr_html_()}"
        )

    def _title(self) -> str:
        name = printable(self.simulation.name)
        return f"SimulationResult of {name}: {self.replicates:,} replicates, seed {self.seed}"


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as a Python number, an array as it is."""
    return value.item() if np.ndim(value) == 0 else value
