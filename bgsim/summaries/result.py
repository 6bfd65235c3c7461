"""The result of a simulation of which only a summary is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

from bgsim.analysis.bounded import Quantile, SummaryHistogram, check_bins, check_edges, check_quantile
from bgsim.analysis.comparison import Comparable, parameter_differences
from bgsim.analysis.summary import FAN, QUANTILES, Summary, check_quantiles
from bgsim.checks import check_integer, normal_name, one_of, refused
from bgsim.environment import joined, mixture, versions_of
from bgsim.errors import InvalidInputError, NoRowsError, SimulationChangedError, brief, nearest, printable
from bgsim.kernels.outputs import Output
from bgsim.summaries.column import TallyColumn, joined_column
from bgsim.summaries.distribution import OfTally
from bgsim.summaries.histogram import even_edges, histogram
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.statistics import column_summary
from bgsim.summaries.tally import Tally

if TYPE_CHECKING:
    from bgsim.analysis.dataset import Variable
    from bgsim.analysis.distribution import Distribution
    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.precision import Stopping
    from bgsim.simulation import Simulation

_MOST_SEEDS = 5
"""That are named in a title."""


class SummaryResult(Comparable):
    """What a job returns that keeps a summary: exact statistics of each output, and no rows.

    It has the names of the outputs as a mapping has its keys. Count, mean, standard deviation, minimum and maximum are
    exact, each rounded once; quantiles and histograms come from buckets that are 1/128 of a value wide, or less. All of
    it is a function of the set of replicates: the same for any workers, chunks and order. Any thread may use it.

    Attributes
    ----------
    simulation : Simulation
    parameters : ParameterSet
    seed : int or None
        None of a merged result.
    seeds : dict of int to int
        Seed to the number of replicates that have it.
    fingerprint : str
        Of the code that computed it.
    replicates : int
    versions : tuple of (int, int, str)
        As `SimulationResult.versions`.
    pairs : tuple of (str, str)
        The outputs whose products are kept, which have a covariance.
    stopping : Stopping or None
        Where a `bgsim.Precision` has ended the run, and why there.
    """

    stopping: Stopping | None = None

    def __init__(
        self,
        simulation: Simulation,
        parameters: ParameterSet,
        seed: int,
        columns: Mapping[str, TallyColumn],
        fingerprint: str,
        *,
        seeds: Mapping[int, int] | None = None,
    ) -> None:
        self.simulation = simulation
        self.parameters = parameters
        self.fingerprint = fingerprint
        self.replicates = len(next(iter(columns.values())))
        self.versions = versions_of(columns, self.replicates)
        self.seeds = {seed: self.replicates} if seeds is None else dict(seeds)
        self.seed = seed if len(self.seeds) == 1 else None
        self._tallies = {name: column.tally() for name, column in columns.items()}
        self.pairs = tuple(tuple(name.split("*")) for name in self._tallies if "*" in name)

    def summary(self, quantiles: Sequence[float] = QUANTILES, *, confidence: float | None = None) -> Summary:
        """Return count, mean, standard deviation, standard error and quantiles of each output; NaN is left out.

        All but the quantiles are exact, rounded once; `quantile` says how far those are known.

        Parameters
        ----------
        quantiles : sequence of float
            From 0 to 1.
        confidence : float, optional
            As for `SimulationResult.summary`.

        Raises
        ------
        InvalidInputError
            If a quantile is not from 0 to 1, or the confidence not between them.
        """
        wanted = check_quantiles(quantiles)
        return Summary(self._kept(), wanted, mixture(self.versions), confidence=confidence, of=column_summary)

    def quantile(self, output: str, q: float) -> Quantile:
        """Return a quantile of an output, and two bounds between which `numpy.quantile` of the rows lies.

        The bounds are at most 1/128 of the value apart if it lies among many; they are equal for small integers.

        Parameters
        ----------
        output : str
        q : float
            From 0 to 1.

        Raises
        ------
        InvalidInputError
            If there is no such output, or `q` is not from 0 to 1.
        """
        return self.tally(output).quantile(check_quantile(q))

    def fan(self, output: str, quantiles: Sequence[float] = FAN) -> dict[float, Any]:
        """Return quantiles of one output over the replicates, as `SimulationResult.fan`, from buckets.

        Raises
        ------
        InvalidInputError
            If there is no such output, or a quantile is not from 0 to 1.
        """
        wanted = check_quantiles(quantiles)
        found = self.tally(output).quantiles(wanted)
        return {q: quantile.value for q, quantile in zip(wanted, found, strict=True)}

    def histogram(self, output: str, bins: int = 64, *, edges: Sequence[float] | None = None) -> SummaryHistogram:
        """Return how many replicates have a value in each bin.

        Parameters
        ----------
        output : str
            One with a number a replicate.
        bins : int
            How many at most, 2 to 512. They are equally wide, by a power of two, and cut no bucket; where values lie
            close together in comparison with their size, there are fewer.
        edges : sequence of float, optional
            Two or more, which rise. Where one cuts a bucket, the result says between which bounds the count lies.

        Raises
        ------
        InvalidInputError
            If there is no such output, it is an array, or the bins or edges are not of these.
        """
        tally = self.tally(output)
        bins = check_bins(output, tally.shape, bins)
        buckets, whole = tally.buckets(), tally.dtype.kind in "biu"
        found = even_edges(buckets, bins, whole=whole) if edges is None else check_edges(edges)
        return histogram(buckets, found, tally.count)

    def covariance(self, x: str, y: str) -> float:
        """Return the covariance of a declared pair of outputs, exact and rounded once.

        Raises
        ------
        InvalidInputError
            If the pair was not declared.
        """
        return self._pair(x, y).covariance

    def correlation(self, x: str, y: str) -> float:
        """Return the correlation of a declared pair of outputs, exact and rounded once.

        Raises
        ------
        InvalidInputError
            If the pair was not declared.
        """
        return self._pair(x, y).correlation

    def merge(self, other: SummaryResult) -> SummaryResult:
        """Return the summary of the replicates of both.

        Parameters
        ----------
        other : SummaryResult
            Of the same code and parameters, and of other seeds: replicates of one seed are the same ones.

        Raises
        ------
        InvalidInputError
            If it is of other code or parameters, or of a seed that this one has, too.
        """
        self._check_merge(other)
        columns = _Joined({name: joined_column(self._tallies[name], other._tallies[name]) for name in self._tallies})
        columns.versions = joined([run[1:] for run in (*self.versions, *other.versions)])
        seeds = {**self.seeds, **other.seeds}
        first = next(iter(seeds))
        return type(self)(self.simulation, self.parameters, first, columns, self.fingerprint, seeds=seeds)

    def _check_merge(self, other: SummaryResult) -> None:
        if not isinstance(other, SummaryResult):
            raise refused("other", type(other), "a SummaryResult")
        same = (self.simulation.name, self.fingerprint) == (other.simulation.name, other.fingerprint)
        differ = parameter_differences(self.parameters, other.parameters)
        if not same or differ or list(self._tallies) != list(other._tallies):
            what = f"the parameters {', '.join(differ)}" if differ else "its code or outputs"
            raise InvalidInputError(
                f"other must be of the same simulation and parameters, to be merged; it differs in {what}. "
                "compare(other) shows both side by side",
                field="other",
                value=other,
            )
        both = sorted(self.seeds.keys() & other.seeds.keys())
        if both:
            raise InvalidInputError(
                f"other must have other seeds: both have replicates of seed {', '.join(map(str, both))}, and those are "
                "the same ones. Submit more replicates of that seed, which goes on from what is stored, or use "
                "another seed",
                field="other",
                value=other,
            )

    def replay(self, index: int, *, seed: int | None = None) -> Any:
        """Run replicate `index` again with its own stream, as `SimulationResult.replay` does.

        Parameters
        ----------
        index : int
        seed : int, optional
            Which of the seeds of a merged result.

        Raises
        ------
        InvalidInputError
            If there is no such replicate or seed, or a merged result was given no seed.
        SimulationChangedError
            If the simulation has changed since.
        """
        chosen = self.seed if seed is None else seed
        if chosen not in self.seeds:
            raise refused("seed", seed, f"one of the seeds of this result: {', '.join(map(str, self.seeds))}")
        index = check_integer("index", index, least=0, most=self.seeds[chosen] - 1)
        if self.simulation.fingerprint != self.fingerprint:
            raise SimulationChangedError(
                f"{self.simulation.name} is no longer what computed this result, so a replay would be of other code; "
                "submit it again"
            )
        return self.simulation.replay(self.parameters, chosen, index)

    def plot(self, output: str | None = None, *, ax: Any = None, confidence: float = 0.95) -> Any:
        """Draw what the replicates have come to, by matplotlib, as `SimulationResult.plot` does, from buckets.

        Raises
        ------
        InvalidInputError
            If the output cannot be drawn, or `ax` has another number of places.
        MissingExtraError
            If matplotlib is not installed.
        """
        from bgsim.analysis.plots import plot_outputs  # noqa: PLC0415 - an extra

        declared = {o.name: o.shape for o in self.simulation.outputs}
        outputs = []
        for name in self:
            tally, known = self.tally(name), declared.get(name, ())
            outputs.append(Output(name, tally.dtype, known if len(known) == len(tally.shape) else tally.shape))
        return plot_outputs(outputs, self.distribution, output, ax, confidence)

    def distribution(self, variable: Variable) -> Distribution:
        """Return what figures and datasets ask of an output."""
        return OfTally(self.tally(variable.label))

    def tally(self, output: str) -> Tally:
        """Return the exact state of an output, which the caller must not change.

        Raises
        ------
        InvalidInputError
            If there is no such output.
        """
        name = normal_name(output) if isinstance(output, str) else ""
        if name not in self:
            raise refused("output", output, one_of(tuple(self), name))
        return cast("Tally", self._tallies[name])

    def _kept(self) -> Mapping[str, Tally]:
        return {name: self.tally(name) for name in self}

    def _pair(self, x: str, y: str) -> PairTally:
        found = self._tallies.get(f"{x}*{y}", self._tallies.get(f"{y}*{x}"))
        if isinstance(found, PairTally):
            return found
        there = ", ".join([" and ".join(pair) for pair in self.pairs]) or "none"
        raise InvalidInputError(
            f"no products of {x!r} and {y!r} were kept (pairs: {there}). Declare the pair, as in "
            f"@bgsim.simulation(outputs=..., pairs=[({x!r}, {y!r})]), and submit again",
            field="pairs",
            value=(x, y),
        )

    def to_pandas(self) -> NoReturn:
        """Refuse: a DataFrame has a row a replicate.

        Raises
        ------
        NoRowsError
        """
        raise _no_rows("rows for a DataFrame", "summary() and quantile(...)")

    def to_xarray(self) -> NoReturn:
        """Refuse: a dataset has every replicate.

        Raises
        ------
        NoRowsError
        """
        raise _no_rows("rows for a dataset", "summary() and quantile(...)")

    def get(self, output: str, default: object = None) -> NoReturn:  # noqa: ARG002 - as of a mapping
        """Refuse: there are no rows.

        Raises
        ------
        NoRowsError
        """
        raise _no_rows(f"rows of {brief(output)}", "summary() and quantile(...)")

    def items(self) -> NoReturn:
        """Refuse: there are no rows.

        Raises
        ------
        NoRowsError
        """
        raise _no_rows("rows", "summary().items(), which has the statistics of each output")

    def values(self) -> NoReturn:
        """Refuse: there are no rows.

        Raises
        ------
        NoRowsError
        """
        raise _no_rows("rows", "summary().values(), which has the statistics of each output")

    def __getitem__(self, name: str) -> NoReturn:
        if name not in self:
            raise KeyError(f"no output {name!r}{nearest(name, self)} (it has {', '.join(self)})")
        raise _no_rows(f"rows of {name!r}", f"summary()[{name!r}], quantile({name!r}, 0.95) or histogram({name!r})")

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in self._tallies if "*" not in name])

    def __contains__(self, name: object) -> bool:
        return name in self._tallies and "*" not in str(name)

    def __len__(self) -> int:
        return len(self._tallies) - len(self.pairs)

    def keys(self) -> list[str]:
        """Return the names of the outputs."""
        return list(self)

    def _title(self) -> str:
        name = printable(self.simulation.name)
        seeds = f"seed{'s' if len(self.seeds) > 1 else ''} {', '.join(map(str, self.seeds))}"
        if len(self.seeds) > _MOST_SEEDS:
            seeds = f"{len(self.seeds)} seeds"
        stopping = "" if self.stopping is None else f", {self.stopping.outcome}"
        return f"SummaryResult of {name}: {self.replicates:,} replicates, {seeds}{stopping}"


class _Joined(dict[str, TallyColumn]):
    """Columns with their versions, as `bgsim.environment.versions_of` reads them."""

    versions: Any


def _no_rows(what: str, instead: str) -> NoRowsError:
    return NoRowsError(
        f'this result keeps a summary, and has no {what}. Ask it for {instead}, or submit with keep="columns"'
    )
