"""A stored result as the engine returns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from bgsim.checks import refused
from bgsim.errors import ParameterError, SimulationNotFoundError, StoreError
from bgsim.kernels.outputs import Output
from bgsim.parameters.parameter_set import ParameterSet
from bgsim.registry import find_known
from bgsim.simulation import Simulation
from bgsim.storage.codec.columns import PAIRS, form_of
from bgsim.summaries.of_columns import result_of

if TYPE_CHECKING:
    from bgsim.result import SimulationResult
    from bgsim.storage.codec.columns import Columns
    from bgsim.storage.records import StoredResult


class UnknownSimulation:
    """Stands for a simulation that this process does not have; it knows its name, and what its outputs look like.

    Attributes
    ----------
    name, short_name : str
    version : str
        Says that it is not known.
    outputs : tuple of Output
        Their lengths are numbers, whatever parameters give them.
    pairs : tuple of (str, str)
        Outputs of which a summary keeps the covariance.
    parameters_class : None
    """

    version = "not known here"
    parameters_class = None

    def __init__(self, name: str, columns: Columns) -> None:
        self.name = name
        self.short_name = name.rpartition(".")[2]
        outputs = {name: column for name, column in columns.items() if form_of(column) != PAIRS}
        self.outputs = tuple([Output(name, c.dtype, c.shape[1:]) for name, c in outputs.items()])
        self.pairs = tuple([tuple(name.split("*")) for name in columns if name not in outputs])

    @property
    def fingerprint(self) -> str:
        """Raise: its code is not known."""
        self._refuse()

    def replay(self, *_: object) -> Any:
        """Raise: its code is not known."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise SimulationNotFoundError(
            f"{self.name} is not known in this process, and a store does not choose what is imported: import the "
            "module that defines it, then load the result again; or give it: store.load_result(found, simulation)"
        )

    def __repr__(self) -> str:
        return f"<simulation {self.name}, not known here>"


def loaded_result(found: StoredResult, columns: Columns, simulation: Simulation | None) -> SimulationResult:
    """Return a stored result with its simulation: the given one, or the one that this process has.

    Of a summary it is a `bgsim.summaries.result.SummaryResult`.

    Raises
    ------
    InvalidInputError
        If the given one has another name.
    StoreError
        If its parameters are no longer allowed, and it cannot be told what they were.
    """
    if simulation is not None and (not isinstance(simulation, Simulation) or simulation.name != found.simulation):
        raise refused("simulation", simulation, f"the simulation {found.simulation}")
    known = simulation or find_known(found.simulation)
    parameters = _parameters_of(found, known)
    standing: Any = known or UnknownSimulation(found.simulation, columns)
    result: SimulationResult = result_of(standing, parameters, found.seed, columns, found.record.fingerprint)
    return result


def _parameters_of(found: StoredResult, simulation: Simulation | None) -> ParameterSet:
    """Return the parameters in their class, unless that has changed since."""
    if simulation is not None and simulation.parameters_class is not None:
        try:
            bound = ParameterSet.restore(found.parameters, simulation.parameters_class)
        except ParameterError:
            bound = None
        if bound is not None and bound.to_json() == found.record.parameters:
            return bound
    try:
        return ParameterSet.restore(found.parameters, None)
    except ParameterError as error:
        raise StoreError(
            f"the parameters of result {found.hash[:12]} cannot be read without its simulation {found.simulation}: "
            f"{error}. Import it, or give it: store.load_result(found, simulation)"
        ) from error
