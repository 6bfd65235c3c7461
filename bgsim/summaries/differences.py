"""What `Engine.compare` returns: the differences of two parameter sets, shown with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgsim.analysis.comparison import Comparison, Difference, parameter_differences
from bgsim.analysis.intervals import check_confidence
from bgsim.errors import printable
from bgsim.result import SimulationResult
from bgsim.summaries.result import SummaryResult
from bgsim.tables import escaped

if TYPE_CHECKING:
    from bgsim.precision import Stopping


class _Compared:
    """A result of a `bgsim.differences.DifferenceSimulation`: it is shown as the comparison that it is."""

    simulation: Any
    parameters: Any
    summary: Any
    replicates: int
    seed: Any
    stopping: Stopping | None

    def comparison(self, *, confidence: float = 0.95) -> Comparison:
        """Return the differences of the outputs' means, with their intervals, and the parameters that differ.

        The replicates share their random numbers, so the differences are taken in pairs; see
        `SimulationResult.compare`. Where a `bgsim.Precision` of this confidence has ended the run, the intervals of its
        outputs are those of the stop, a little wider, since the run chose its end; see `Stopping.interval`.

        Parameters
        ----------
        confidence : float
            Between 0 and 1.

        Raises
        ------
        InvalidInputError
            If it is not.
        """
        check_confidence(confidence)
        a, b = self.simulation.both(self.parameters)
        stopping = self.stopping
        rule = None if stopping is None or stopping.rule.confidence != confidence else stopping.rule
        outputs = {}
        for name, s in self.summary(confidence=confidence).items():
            low, high = stopping.interval(name) if stopping and rule and name in rule.outputs else (s.low, s.high)
            outputs[name] = Difference(s.mean, s.standard_error, low, high, s.count, paired=True, valid=s.valid)
        return Comparison(a, b, parameter_differences(a, b), outputs, confidence)

    def _title(self) -> str:
        name = printable(self.simulation.base.name)
        stopping = "" if self.stopping is None else f", {self.stopping.outcome}"
        return f"Differences of {name}: {self.replicates:,} replicates, seed {self.seed}{stopping}"

    def __repr__(self) -> str:
        return f"{self._title()}\n{self.comparison()!r}"

    def _repr_html_(self) -> str:
        return f"<p><b>{escaped(self._title())}</b></p>{self.comparison()._repr_html_()}"


class DifferenceSummary(_Compared, SummaryResult):
    """A summary of the differences of two parameter sets, the first less the second."""


class DifferenceResult(_Compared, SimulationResult):
    """The differences of two parameter sets, replicate by replicate."""
