"""The simulations that the service serves: no request chooses what is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgsim.errors import SimulationNotFoundError, nearest
from bgsim.registry import BUILT_IN, find_known, find_simulation

if TYPE_CHECKING:
    from bgsim.service.settings import ServiceSettings
    from bgsim.simulation import Simulation


class Simulations:
    """Built-in simulations, imported when they are asked for, and those that the service was started with.

    Parameters
    ----------
    settings : ServiceSettings

    Raises
    ------
    SimulationNotFoundError
        If one that the settings name is not there.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._targets = dict(BUILT_IN) if settings.built_in else {}
        self._by_name: dict[str, Simulation] = {}
        for target in settings.simulations:
            self.add(find_simulation(target))

    def add(self, simulation: Simulation) -> None:
        """Serve another one, by its name and its short name."""
        self._targets.pop(simulation.short_name, None)
        self._by_name[simulation.short_name] = self._by_name[simulation.name] = simulation

    def names(self) -> list[str]:
        """Return the short names, sorted."""
        return sorted({*self._targets, *(simulation.short_name for simulation in list(self._by_name.values()))})

    def find(self, name: str) -> Simulation:
        """Return a simulation by its short or its full name.

        Raises
        ------
        SimulationNotFoundError
            Naming those that there are. A ``module:attribute`` is refused: importing it would run its code.
        """
        found = self._by_name.get(name)
        if found is not None:
            return found
        short = name if name in self._targets else name.rpartition(".")[2]
        target = self._targets.get(short)
        if target is not None and name in (short, target.replace(":", ".")):
            self._by_name[name] = simulation = find_simulation(target)
            return simulation
        known = self.names()
        why = "; a request cannot name a module, for importing it runs its code" if ":" in name else ""
        raise SimulationNotFoundError(
            f"no simulation {name!r} is served here{why}{nearest(name, known)} (there are {', '.join(known)})"
        )

    def known(self, name: str) -> Simulation | None:
        """Return the simulation of a name that the store has; None if this process does not have it."""
        try:
            return self.find(name)
        except SimulationNotFoundError:
            return find_known(name)
