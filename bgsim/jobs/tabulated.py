"""What a batch of jobs has come to, for the tools that a scientist has: xarray, pandas and matplotlib."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import pandas
    import xarray

    from bgsim.analysis.points import Points


Shown: TypeAlias = Literal["mean", "sd", "standard_error", "minimum", "maximum", "valid", "replicates"]
"""What a dataset has of each output."""


class Tabulated(ABC):
    """A batch as a dataset or a DataFrame. Any thread may call any method."""

    __slots__ = ()

    @abstractmethod
    def _points(self, *, wait: bool) -> Points:
        """Return what each job has come to, after waiting for all if that is asked for."""

    def plot(self, output: str | None = None, *, ax: Any = None, confidence: float = 0.95, wait: bool = True) -> Any:
        """Draw the means of outputs over the parameters that vary, by matplotlib.

        Over one parameter it is a line with the interval of each mean, and of a row of numbers a curve for each value;
        over two a heat map, or, where the points are no grid, coloured points. Over more, of points that are no grid,
        one output has a panel for each parameter. Axes are labelled with the units of the parameters. Points without a
        result are marked, or hatched. A boolean output is drawn as a proportion.

        Parameters
        ----------
        output : str, optional
            By default all that are a real number, each in axes of its own.
        ax : matplotlib.axes.Axes, or array of them, optional
            Where to draw; by default a new figure.
        confidence : float
            Of the intervals, between 0 and 1.
        wait : bool
            Whether to wait until all jobs have ended. If not, the figure has what is there now, as for `to_xarray`.

        Returns
        -------
        matplotlib.axes.Axes, or array of them

        Raises
        ------
        InvalidInputError
            If the output cannot be drawn, no parameter varies or more than two of a grid, or `ax` has another number
            of places.
        MissingExtraError
            If matplotlib is not installed.
        """
        from bgsim.analysis.plots import plot_points  # noqa: PLC0415 - an extra

        return plot_points(self._points(wait=wait), output, ax, confidence)

    def to_xarray(self, statistic: Shown = "mean", *, wait: bool = True) -> xarray.Dataset:
        """Return a dataset over the points: of a sweep one dimension for each parameter, else the dimension ``point``.

        Parameters are coordinates, with their units; of a list of parameter sets those in which points differ. With a
        `bgsim.Precision` there is the coordinate ``replicates``, since each point has its own number. The
        coordinates ``state`` and ``error`` say what became of each job. Where there is no result, because the job
        failed, was cancelled, or has not ended, values are NaN: integers and booleans are floats then, dates NaT, texts
        empty. An output's dimension has the name of the parameter that gives its length, else ``output_0``; shapes that
        differ between points are filled up likewise. The attributes say what computed it: simulation, fingerprint,
        version, the other parameters as JSON, seed, replicates, versions of packages, and how many points are missing.
        A name that is taken, as a parameter's by an output, gets an underscore at its end.

        Parameters
        ----------
        statistic : str
            ``mean``, ``sd``, ``standard_error``, ``minimum``, ``maximum``, or ``valid``, the number of values that are
            not NaN: of each output over its replicates. An output that is no number is left out. Or ``replicates``:
            every one of them, along the dimension ``replicate``.
        wait : bool
            Whether to wait until all jobs have ended. If not, the dataset has what is there now: also the finished
            replicates of a job that runs. ``valid`` says how many they are.

        Raises
        ------
        InvalidInputError
            If there is no such statistic, or the batch has no jobs.
        NoRowsError
            If every replicate is asked for, and the jobs keep a summary.
        MissingExtraError
            If xarray is not installed.
        """
        from bgsim.analysis.dataset import dataset_of_points  # noqa: PLC0415 - an extra

        return dataset_of_points(self._points(wait=wait), statistic)

    def to_pandas(self, rows: Literal["point", "replicate"] = "point", *, wait: bool = True) -> pandas.DataFrame:
        """Return a DataFrame with a row for each point, or for each replicate of each point.

        The index ``point`` counts the jobs; where a column has that name, it is ``point_``. First come the parameters
        in which points differ, last ``state`` and ``error``; with a `bgsim.Precision` also ``replicates``, since each
        point has its own number. A point without a result, because its job failed, was cancelled, or has not ended, is
        one row with NaN.

        Parameters
        ----------
        rows : {"point", "replicate"}
            A row a point has ``output_mean``, ``output_standard_error`` and ``output_valid``, the number of values that
            are not NaN, of each output of numbers. A row a replicate has the column ``replicate``, and each output.
            Elements of arrays and fields of structures have columns, as in `SimulationResult.to_pandas`.
        wait : bool
            Whether to wait until all jobs have ended. If not, the frame has what is there now, as for `to_xarray`.

        Raises
        ------
        InvalidInputError
            If there are no such rows, or the batch has no jobs.
        NoRowsError
            If a row a replicate is asked for, and the jobs keep a summary.
        MissingExtraError
            If pandas is not installed.
        """
        from bgsim.analysis.frame import frame_of_points  # noqa: PLC0415 - an extra

        return frame_of_points(self._points(wait=wait), rows)
