"""A chunk: what a worker computes at a time, and what another machine would need to compute the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.simulation import Simulation


@dataclass(slots=True, eq=False)
class Chunk:
    """Consecutive replicates of one computation, and a place for their rows: what a worker computes.

    Replicate i is a function of the first four attributes and i, so a chunk may be computed anywhere.

    Attributes
    ----------
    simulation : Simulation
    fingerprint : str
        The identity of the simulation's code.
    parameters : ParameterSet
    seed : int
    first, count : int
    columns : tuple of ndarray
        An array for each output, its first axis the `count` replicates.
    """

    simulation: Simulation
    fingerprint: str
    parameters: ParameterSet
    seed: int
    first: int
    count: int
    columns: tuple[NDArray[Any], ...]
