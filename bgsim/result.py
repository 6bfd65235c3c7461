"""The result of a simulation: its columns, their summary, and the replay of any replicate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bgsim.analysis import statistics
from bgsim.analysis.bounded import check_bins, check_quantile, histogram_of_rows, quantile_of_rows
from bgsim.analysis.comparison import Comparable
from bgsim.analysis.dataset import outputs_of
from bgsim.analysis.distribution import Rows
from bgsim.analysis.extras import load
from bgsim.analysis.statistics import is_numeric
from bgsim.analysis.summary import FAN, QUANTILES, Summary, check_quantiles
from bgsim.checks import check_integer, normal_name, one_of, refused
from bgsim.environment import mixture, versions_of
from bgsim.errors import SimulationChangedError, nearest, printable
from bgsim.kernels.outputs import flat_columns

if TYPE_CHECKING:
    import pandas
    import xarray
    from numpy.typing import NDArray

    from bgsim.analysis.bounded import Quantile, SummaryHistogram
    from bgsim.analysis.dataset import Variable
    from bgsim.analysis.distribution import Distribution
    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.precision import Stopping
    from bgsim.simulation import Simulation


class SimulationResult(Comparable, Mapping[str, "NDArray[Any]"]):
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
    stopping : Stopping or None
        Where a `bgsim.Precision` has ended the run, and why there.
    """

    stopping: Stopping | None = None

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

    def summary(self, quantiles: Sequence[float] = QUANTILES, *, confidence: float | None = None) -> Summary:
        """Return count, mean, standard deviation, standard error and quantiles of each output. NaN is left out.

        Parameters
        ----------
        quantiles : sequence of float
            From 0 to 1.
        confidence : float, optional
            Such as 0.95: also return the interval that holds the mean with this probability. Of numbers it is Student's
            by the count of valid values (1908), of booleans Wilson's (1927); see `bgsim.analysis.intervals`.

        Raises
        ------
        InvalidInputError
            If a quantile is not from 0 to 1, or the confidence not between them.
        """
        return Summary(self._columns, check_quantiles(quantiles), mixture(self.versions), confidence=confidence)

    def quantile(self, output: str, q: float) -> Quantile:
        """Return a quantile of an output, as `SummaryResult.quantile`; NaN is left out.

        Parameters
        ----------
        output : str
        q : float
            From 0 to 1.

        Returns
        -------
        Quantile
            Value and bounds are the same: that of `numpy.quantile`.

        Raises
        ------
        InvalidInputError
            If there is no such output, it is no real number, or `q` is not from 0 to 1.
        """
        return quantile_of_rows(self._numbers(output), check_quantile(q))

    def histogram(self, output: str, bins: int = 64, *, edges: Sequence[float] | None = None) -> SummaryHistogram:
        """Return how many replicates have a value in each bin, as `SummaryResult.histogram`, with exact counts.

        Parameters
        ----------
        output : str
            One with a number a replicate.
        bins : int
            How many at most, 2 to 512. They are equally wide, by a power of two.
        edges : sequence of float, optional
            Two or more, which rise.

        Raises
        ------
        InvalidInputError
            If there is no such output, it is an array or no real number, or the bins or edges are not of these.
        """
        column = self._numbers(output)
        return histogram_of_rows(column, check_bins(output, column.shape[1:], bins), edges)

    def fan(self, output: str, quantiles: Sequence[float] = FAN) -> dict[float, NDArray[Any]]:
        """Return quantiles of one output over the replicates, for each element of an array: a fan along its first axis.

        Parameters
        ----------
        output : str
        quantiles : sequence of float
            From 0 to 1.

        Returns
        -------
        dict of float to ndarray
            By quantile; each has the shape of one replicate's value. NaN is left out.

        Raises
        ------
        InvalidInputError
            If a quantile is not from 0 to 1, or the output is no number.
        KeyError
            If there is no such output.
        """
        column = self[output]
        if not is_numeric(column.dtype):
            raise refused("output", output, "the name of an output of numbers")
        wanted = check_quantiles(quantiles)
        with statistics.quiet():
            return dict(zip(wanted, statistics.quantiles(statistics.numbers(column), wanted), strict=True))

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

    def plot(self, output: str | None = None, *, ax: Any = None, confidence: float = 0.95) -> Any:
        """Draw what the replicates have come to, by matplotlib.

        A number is a histogram, an integer by whole bins; a boolean two proportions with Wilson's interval; a row of
        numbers a fan of quantiles over its elements; a plane the mean of each element.

        Parameters
        ----------
        output : str, optional
            By default all that are real numbers, each in axes of its own. A field of a structure is ``output.field``.
        ax : matplotlib.axes.Axes, or array of them, optional
            Where to draw; by default a new figure.
        confidence : float
            Of the intervals, between 0 and 1.

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
        from bgsim.analysis.plots import plot_outputs  # noqa: PLC0415 - an extra

        return plot_outputs(outputs_of(self), self.distribution, output, ax, confidence)

    def distribution(self, variable: Variable) -> Distribution:
        """Return what figures and datasets ask of an output, or of a field of one."""
        return Rows(variable.column(self))

    def to_pandas(self) -> pandas.DataFrame:
        """Return a DataFrame with a row a replicate; elements of arrays and fields of structures have columns.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        module = load("pandas", "to_pandas()")
        index = module.RangeIndex(self.replicates, name="replicate")
        found: pandas.DataFrame = module.DataFrame(flat_columns(self._columns), index=index)
        return found

    def to_xarray(self) -> xarray.Dataset:
        """Return a dataset of every replicate, along the dimension ``replicate``, without a copy.

        An array's dimension has the name of the parameter that gives its length, else ``output_0``; a structure has a
        variable a field. The attributes say what computed it; see `bgsim.jobs.tabulated.Tabulated.to_xarray`.

        Raises
        ------
        MissingExtraError
            If xarray is not installed.
        """
        from bgsim.analysis.dataset import dataset_of_result  # noqa: PLC0415 - an extra

        return dataset_of_result(self)

    def _numbers(self, output: str) -> NDArray[Any]:
        name = normal_name(output) if isinstance(output, str) else ""
        real = [known for known, column in self._columns.items() if column.dtype.kind in "biuf"]
        if name not in real:
            raise refused("output", output, f"an output of real numbers, {one_of(real, name)}")
        return self._columns[name]

    def _kept(self) -> Mapping[str, Any]:
        return self

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            return self._columns[name]
        except KeyError:
            if isinstance(name, str) and normal_name(name) in self._columns:
                return self._columns[normal_name(name)]
            raise KeyError(f"no output {name!r}{nearest(name, self._columns)} (it has {', '.join(self)})") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def _title(self) -> str:
        name = printable(self.simulation.name)
        stopping = "" if self.stopping is None else f", {self.stopping.outcome}"
        return f"SimulationResult of {name}: {self.replicates:,} replicates, seed {self.seed}{stopping}"
