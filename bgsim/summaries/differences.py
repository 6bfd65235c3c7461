"""What `Engine.compare` returns: the differences of two parameter sets, shown with their intervals."""

from __future__ import annotations

from typing import Any

from bgsim.analysis.comparison import Comparison, Difference, parameter_differences
from bgsim.analysis.intervals import check_confidence
from bgsim.errors import printable
from bgsim.result import SimulationResult
from bgsim.summaries.result import SummaryResult
from bgsim.tables import escaped


class _Compared:
    """A result of a `bgsim.differences.DifferenceSimulation`."""

    simulation: Any
    parameters: Any
    summary: Any

    def comparison(self, *, confidence: float = 0.95) -> Comparison:
        """Return the differences of the outputs' means, with their intervals, and the parameters that differ.

        The replicates share their random numbers, so the differences are taken in pairs; see
        `SimulationResult.compare`.

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
        outputs = {}
        for name, s in self.summary(confidence=confidence).items():
            bounds = s.low, s.high
            outputs[name] = Difference(
                s.mean, s.standard_error, *bounds, replicates=s.count, paired=True, valid=s.valid
            )
        return Comparison(a, b, parameter_differences(a, b), outputs, confidence)


class DifferenceSummary(SummaryResult, _Compared):
    """A summary of the differences of two parameter sets, the first less the second."""

    def _title(self) -> str:
        simulation: Any = self.simulation
        name = printable(simulation.base.name)
        return f"Differences of {name}: {self.replicates:,} replicates, seed {self.seed}"

    def __repr__(self) -> str:
        return f"{self._title()}\n{self.comparison()!r}"

    def _repr_html_(self) -> str:
        return f"<p><b>{escaped(self._title())}</b></p>{self.comparison()._repr_html_()}"


class DifferenceResult(SimulationResult, _Compared):
    """The differences of two parameter sets, replicate by replicate."""
