"""Finding simulations by name: built-in ones, those of installed packages, and ``module:attribute``."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from bgsim.checks import refused
from bgsim.differences import SUFFIX, difference_of
from bgsim.errors import SimulationNotFoundError, brief, frame_of_user, nearest, shown_path, text_of
from bgsim.parameters.parameter_class import P
from bgsim.simulation import Simulation

__all__ = ["BUILT_IN", "ENTRY_POINT_GROUP", "find_simulation", "simulation_names"]

BUILT_IN = {
    "asian_call": "bgsim.models.options:asian_call",
    "asian_option": "bgsim.models.options:asian_option",
    "barrier_option": "bgsim.models.extremes:barrier_option",
    "battle": "bgsim.models.battle:battle",
    "european_call": "bgsim.models.options:european_call",
    "european_option": "bgsim.models.options:european_option",
    "heston_option": "bgsim.models.heston:heston_option",
    "ising": "bgsim.models.ising:ising",
    "ising_wolff": "bgsim.models.ising:ising_wolff",
    "lookback_option": "bgsim.models.extremes:lookback_option",
    "mg1": "bgsim.models.queueing:mg1",
    "mmc": "bgsim.models.queueing:mmc",
    "reactions": "bgsim.models.reactions:reactions",
    "tau_leaping": "bgsim.models.tau_leaping:tau_leaping",
}
"""Short name to ``module:attribute``."""

ENTRY_POINT_GROUP = "bgsim.simulations"


def __dir__() -> list[str]:
    return __all__


def simulation_names() -> dict[str, str]:
    """Return the known short names and the ``module:attribute`` that each stands for.

    Packages add to them with entry points in the group ``bgsim.simulations``; built-in names win.
    """
    found = {e.name: e.value for e in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)}
    return dict(sorted({**found, **BUILT_IN}.items()))


def find_simulation(name: str) -> Simulation:
    """Return a simulation by its short name, its full name, or ``module:attribute``.

    Raises
    ------
    SimulationNotFoundError
        Naming what is known, or why the module cannot be imported.
    """
    if name.endswith(SUFFIX):
        return difference_of(find_simulation(name.removesuffix(SUFFIX)))
    known = simulation_names()
    target = known.get(name, name)
    file, _, attribute = target.partition(".py:") if ".py:" in target else (target.removesuffix(".py"), "", "NAME")
    if file != target:
        raise SimulationNotFoundError(
            f"{name!r} names a file; write {Path(file).name}:{attribute}, in the folder of that file"
        )
    if ":" not in target:
        module_name, _, attribute = target.rpartition(".")
        if not module_name:
            raise SimulationNotFoundError(
                f"no simulation is named {brief(name)}{nearest(name, known)} (there are {', '.join(known)}, and "
                "module:attribute finds one of yours)"
            )
    else:
        module_name, _, attribute = target.partition(":")
    found = getattr(import_here(module_name, name), attribute, None)
    if not isinstance(found, Simulation):
        own = [key for key, value in vars(sys.modules[module_name]).items() if isinstance(value, Simulation)]
        raise none_of_that_name(module_name, attribute, own)
    return found


def none_of_that_name(module: str, attribute: str, own: Collection[str]) -> SimulationNotFoundError:
    """Return the error for a module, or file, that has no simulation of a name, with the names that it has."""
    there = f" (it has {', '.join(own)})" if own else "; decorate a function with @bgsim.simulation"
    return SimulationNotFoundError(f"{module} has no simulation {attribute!r}{nearest(attribute, own)}{there}")


def look_here() -> None:
    """Have modules found in the working folder, too, as `python -m` does."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def import_here(module_name: str, name: str) -> ModuleType:
    """Import a module for a simulation that a user names, also from the working folder.

    Raises
    ------
    SimulationNotFoundError
        With the line of the user's code that raised.
    """
    look_here()
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the module's code raises
        raise cannot_import(name, module_name, error) from error


def cannot_import(name: str, module_name: str, error: BaseException) -> SimulationNotFoundError:
    """Return the error for a module that cannot be imported: where the user's own code raised, and what."""
    text = text_of(error)
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        line = (error.text or "").strip()
        what = f"{shown_path(error.filename)}:{error.lineno}: {type(error).__name__}: {error.msg}"
        return SimulationNotFoundError(f"{what}\n    {line}" if line else what)
    frame = frame_of_user(error)
    if frame is not None:
        hint = "; guard what a script does with if __name__ == '__main__'" if isinstance(error, SystemExit) else ""
        return SimulationNotFoundError(
            f"{shown_path(frame.filename)}:{frame.lineno}: {what}{hint}\n    {(frame.line or '').strip()}"
        )
    if isinstance(error, ImportError | ValueError):
        return SimulationNotFoundError(f"no simulation {brief(name)}: {error}")
    return SimulationNotFoundError(f"no simulation {brief(name)}: importing {module_name} raised {what}")


def find_known(name: str) -> Simulation | None:
    """Return a simulation by the full name that a file gives, if this process has it; None if not.

    A file is not trusted with the choice of what is imported: the module must have been imported already, unless it is
    one of bgsim's own models.
    """
    if name.endswith(SUFFIX):
        base = find_known(name.removesuffix(SUFFIX))
        return None if base is None else difference_of(base)
    module_name, _, attribute = name.replace(":", ".").rpartition(".")
    if module_name.startswith("bgsim.models.") and all(map(str.isidentifier, module_name.split("."))):
        with suppress(ImportError):
            importlib.import_module(module_name)
    found = getattr(sys.modules.get(module_name), "__dict__", {}).get(attribute)  # a module's __getattr__ may import
    return found if isinstance(found, Simulation) else None


def find_if_named(simulation: Simulation[P] | str) -> Simulation[P]:
    """Return a simulation, or the one of that name; see `find_simulation`."""
    if isinstance(simulation, Simulation):
        return simulation
    if isinstance(simulation, str):
        return find_simulation(simulation)
    raise refused("simulation", simulation, "a function with @simulation, or the name of one")
