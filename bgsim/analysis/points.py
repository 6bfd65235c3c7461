"""What the jobs of a batch have come to, parameter set by parameter set."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bgsim.parameters.alike import are_equal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.analysis.distribution import Distribution
    from bgsim.environment import Versions
    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.simulation import Simulation


class Result(Protocol):
    """A `SimulationResult`, or a `SummaryResult`, which raises a `NoRowsError` where it is asked for a column."""

    simulation: Simulation
    parameters: ParameterSet
    fingerprint: str
    replicates: int
    versions: Versions

    def __getitem__(self, name: str, /) -> NDArray[Any]: ...

    def __iter__(self) -> Iterator[str]: ...

    def distribution(self, variable: Any) -> Distribution:
        """Return what there is to know of a `bgsim.analysis.dataset.Variable`."""


class RowsResult(Result, Protocol):
    """A `SimulationResult`."""

    seed: int

    def items(self) -> ItemsView[str, NDArray[Any]]:
        """Return names and columns."""


@dataclass(frozen=True, slots=True)
class Point:
    """One parameter set, and what became of its job.

    Attributes
    ----------
    parameters : ParameterSet
    state : str
        A value of `JobState`, or "not submitted".
    error : str
        Why there is no result, if the job failed or was refused; else empty.
    result : SimulationResult or None
        The replicates that are finished, of a job that has not ended; None if none is, or the job failed or was
        cancelled.
    """

    parameters: ParameterSet
    state: str
    error: str
    result: Result | None


@dataclass(frozen=True, slots=True)
class Points:
    """All of them, in the order of submission.

    Attributes
    ----------
    simulation : Simulation
    fingerprint : str
    seed : int
    replicates : int
        Of each point; with a precision the most that one of them has.
    points : sequence of Point
    grid : mapping of str to sequence
        Of a sweep over a grid the values of each parameter, the last one varying fastest; else empty.
    given : mapping of str to sequence
        Of any sweep the value of each varied parameter at each point; else empty.
    has_counts : bool
        Whether each point has its own number of replicates, as with a precision.
    """

    simulation: Simulation
    fingerprint: str
    seed: int
    replicates: int
    points: Sequence[Point]
    grid: Mapping[str, Sequence[Any]]
    given: Mapping[str, Sequence[Any]]
    has_counts: bool = False

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    @property
    def results(self) -> list[Result]:
        """Those that are there."""
        return [point.result for point in self.points if point.result is not None]

    @property
    def counts(self) -> dict[str, list[int]]:
        """The replicates of each point, by the name that a column of them has; empty if all have the same."""
        found = [0 if point.result is None else point.result.replicates for point in self.points]
        return {"replicates": found} if self.has_counts else {}

    def check_rows(self) -> None:
        """Refuse results that keep no rows.

        Raises
        ------
        NoRowsError
        """
        for result in self.results[:1]:
            result[next(iter(result))]

    def fixed(self) -> dict[str, Any]:
        """Return the parameters that all points have in common."""
        first, *others = [point.parameters.plain for point in self.points]
        return {
            name: value
            for name, value in first.items()
            if all(name in other and are_equal(value, other[name]) for other in others)
        }

    def varied(self) -> dict[str, Sequence[Any]]:
        """Return the parameters of the sweep, else those in which points differ, with the value at each point.

        The value is None where a point lacks the parameter.
        """
        if self.given:
            return dict(self.given)
        names = dict.fromkeys(name for point in self.points for name in point.parameters)
        fixed = self.fixed()
        return {name: [p.parameters.plain.get(name) for p in self.points] for name in names if name not in fixed}
