"""The class of a result: what its columns are, and of which simulation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from bgsim.differences import DifferenceSimulation
from bgsim.result import SimulationResult
from bgsim.summaries.column import is_summary
from bgsim.summaries.differences import DifferenceResult, DifferenceSummary
from bgsim.summaries.result import SummaryResult

if TYPE_CHECKING:
    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.precision import Stopping
    from bgsim.simulation import Simulation

AnyResult: TypeAlias = SimulationResult | SummaryResult

_CLASSES: Mapping[tuple[bool, bool], type[Any]] = {
    (False, False): SimulationResult,
    (True, False): SummaryResult,
    (False, True): DifferenceResult,
    (True, True): DifferenceSummary,
}


def result_of(
    simulation: Simulation,
    parameters: ParameterSet,
    seed: int,
    columns: Mapping[str, Any],
    fingerprint: str,
    stopping: Stopping | None = None,
) -> Any:
    """Return the result that columns are, one of summaries or of rows, and of differences or not."""
    kind = _CLASSES[is_summary(columns), isinstance(simulation, DifferenceSimulation)]
    found = kind(simulation, parameters, seed, columns, fingerprint)
    found.stopping = stopping
    return found
