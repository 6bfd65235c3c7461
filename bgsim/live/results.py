"""What is known of a job's result before it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from bgsim.checks import check_integer, normal_name, one_of, refused
from bgsim.live import estimates, histograms
from bgsim.live.estimates import Estimate
from bgsim.live.histograms import Histogram
from bgsim.result import SimulationResult
from bgsim.storage import Columns
from bgsim.summaries.column import TallyColumn
from bgsim.summaries.of_columns import AnyResult, result_of
from bgsim.summaries.result import SummaryResult
from bgsim.summaries.tallies import new_tallies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.request import Request


class Reader:
    """Reads each finished row of a job once; any thread may call any method.

    It holds what was read of each output. Of two threads that read at once, one may put less there: then rows are read
    once more, and no number changes.
    """

    def __init__(self) -> None:
        self._moments: dict[str, estimates.Moments] = {}
        self._bins: dict[str, histograms.Bins] = {}

    def estimate(self, finished: AnyResult, output: str, further: int | None = None) -> Estimate:
        """Return the mean of an output of some first rows; see `LiveResults.estimate`."""
        if isinstance(finished, SummaryResult):
            tally = finished.tally(output)
            return Estimate(tally.mean, tally.standard_error, tally.count, tally.valid)
        name, column = _numbers(finished, output, "biufc")
        self._moments[name], estimate = estimates.advanced(self._moments.get(name), column, _checked(further))
        return estimate

    def histogram(self, finished: AnyResult, output: str, bins: int = 64, further: int | None = None) -> Histogram:
        """Return the distribution of an output over some first rows; see `LiveResults.histogram`."""
        check_integer("bins", bins, least=2, most=histograms.MOST_BINS)
        if isinstance(finished, SummaryResult):
            counted = finished.histogram(output, bins)
            return Histogram(counted.edges, counted.counts, counted.count)
        name, column = _numbers(finished, output, "biuf")
        if column.ndim > 1:
            raise refused("output", output, "one with a number a replicate, for a histogram; this one has an array")
        self._bins[name], found = histograms.advanced(self._bins.get(name), column, _checked(further))
        return found.histogram(bins)


class Finished(Protocol):
    """What `LiveResults` asks of an engine."""

    def finished(self, job: Any) -> Columns | None:
        """Return the replicates of a job that are finished."""


class LiveResults:
    """What `bgsim.Job` tells of its finished replicates, in any state; any thread may call any method."""

    request: Request
    reader: Reader
    _engine: Finished

    def partial(self) -> SimulationResult:
        """Return the replicates that are finished, from the first on without a gap, in any state of the job.

        A running job may have finished more: those behind one that a worker has not finished yet are left out. A job
        that was cancelled, or has failed, keeps what it had finished; one that waits has nothing.

        Returns
        -------
        SimulationResult or SummaryResult
            Read-only views of the rows, which nothing writes to any more; no copies. It may have no row. Of a job that
            keeps a summary, that of whole segments.
        """
        request = self.request
        columns = self._engine.finished(self)
        if columns is None:
            columns = _nothing(request)
        key = request.key
        found: SimulationResult = result_of(
            request.simulation, request.parameters, request.seed, columns, key.fingerprint
        )
        return found

    def estimate(self, output: str, *, further: int | None = None) -> Estimate:
        """Return the mean of an output over the replicates that are finished, with its standard error.

        Each replicate is read once, however often this is called, and in whatever thread: 30 calls a second are cheap.
        The first n replicates always give the same number.

        Parameters
        ----------
        output : str
        further : int, optional
            Read at most about so many replicates more than the calls before, and estimate from those: for a caller that
            has to be back soon.

        Raises
        ------
        InvalidInputError
            If there is no such output, or it is no number.
        """
        return self.reader.estimate(self.partial(), output, further)

    def histogram(self, output: str, bins: int = 64, *, further: int | None = None) -> Histogram:
        """Return how many of the finished replicates have a value in each of some bins; as cheap as `estimate`.

        Parameters
        ----------
        output : str
            One with a real number a replicate.
        bins : int
            How many at most, 2 to 512. They are equally wide, by a power of two; whole numbers have one each if there
            is room.
        further : int, optional
            As for `estimate`.

        Raises
        ------
        InvalidInputError
            If there is no such output, or it is no real number, or an array.
        """
        return self.reader.histogram(self.partial(), output, bins, further)


def _nothing(request: Request) -> Columns:
    """Return the columns of no replicate."""
    if request.keep == "summary":
        empty: dict[str, Any] = new_tallies(request.simulation, request.parameters)
        return Columns({name: TallyColumn([], tally) for name, tally in empty.items()})
    names = [output.name for output in request.simulation.outputs]
    return Columns(zip(names, request.simulation.new_columns(request.parameters, 0), strict=True))


def _numbers(finished: SimulationResult, output: object, kinds: str) -> tuple[str, NDArray[Any]]:
    """Return an output's name and its rows, or refuse it."""
    name = normal_name(output) if isinstance(output, str) else ""
    if name not in finished:
        raise refused("output", output, one_of(tuple(finished), name))
    column = finished[name]
    if column.dtype.kind not in kinds:
        allowed = "an output of real numbers" if kinds == "biuf" else "an output of numbers"
        raise refused("output", output, f"{allowed}, which {column.dtype} is not")
    return name, column


def _checked(further: int | None) -> int | None:
    return None if further is None else check_integer("further", further)
