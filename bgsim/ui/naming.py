"""The simulation that a user names on the command line: also one in a file, and the only one of a module.

A file is imported as ``python file.py`` and pytest do: its folder comes first on ``sys.path``, and its stem is the name
of the module; in a package the name begins with the package's, so that relative imports work. So a result that is
stored under ``my_model.walk`` is found again by ``./my_model.py``, by ``my_model:walk`` and by programs that import
it.

Only what a user types comes here. A name from a store or a request never causes a file to be loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from bgsim.errors import SimulationNotFoundError, brief, nearest
from bgsim.registry import (
    cannot_import,
    find_simulation,
    import_here,
    look_here,
    none_of_that_name,
    simulation_names,
)
from bgsim.simulation import Simulation

_INSTALLED = ("site-packages", "dist-packages")


def simulation_of(name: str) -> Simulation:
    """Return the simulation of a short name, ``module:attribute``, ``module``, ``file.py`` or ``file.py:attribute``.

    Raises
    ------
    SimulationNotFoundError
        Naming those that a module has, or the line of the user's code that cannot be imported.
    """
    path, attribute = _as_file(name)
    if name in simulation_names():
        return find_simulation(name)
    with contextlib.redirect_stdout(sys.stderr):  # what the module prints is no data of the command
        if path is not None:
            return _one_of(_load(path), attribute, path.name)
        if ":" not in name and _is_module(name):
            return _one_of(import_here(name, name), "", name)
        return find_simulation(name)


def _as_file(name: str) -> tuple[Path | None, str]:
    """Return the file that a name means, None if it means none, and the attribute after it."""
    before, colon, after = name.rpartition(":")  # C:\model.py has one, too
    target, attribute = (before, after) if colon and before and re.fullmatch(r"[\w.]*", after) else (name, "")
    if target.endswith(".py") or attribute == "py" or target.startswith((".", "~")) or re.search(r"[/\\]", target):
        return Path(target).expanduser(), attribute
    if name.endswith(".py"):  # C:model.py
        return Path(name), ""
    return None, ""


def _is_module(name: str) -> bool:
    """Tell whether there is a module of this name, without importing more than the packages that it is in."""
    look_here()
    try:
        spec = importlib.util.find_spec(name)
        return spec is not None and spec.origin is not None  # a folder has none
    except (ImportError, ValueError, AttributeError):
        return False
    except (Exception, SystemExit) as error:  # of a package's own code
        raise cannot_import(name, name.rpartition(".")[0], error) from error


def _load(path: Path) -> ModuleType:
    """Import a file under the name that its folder gives it."""
    _check(path)
    found = path.resolve()
    root, parts = found.parent, [] if found.stem == "__init__" else [found.stem]
    while (root / "__init__.py").is_file() and root.parent != root:
        root, parts = root.parent, [root.name, *parts]
    name = ".".join(parts)
    if "." in found.stem or not parts:
        raise SimulationNotFoundError(f"{path} must be renamed: the name of a module has no dot")
    _check_name(path, found, parts[0], root)
    if str(root) in sys.path:
        sys.path.remove(str(root))
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    return import_here(name, str(path))


def _check(path: Path) -> None:
    """Refuse what is no file of Python."""
    try:
        if path.is_dir():
            raise SimulationNotFoundError(f"{path} is a folder; name a file in it{_files_in(path)}")
        if path.is_file() and path.suffix == ".py":
            return
        is_there, with_suffix = path.exists(), path.with_name(f"{path.name}.py")
        if is_there:
            raise SimulationNotFoundError(f"{path} is no file of Python; its name must end in .py")
        near = f"; did you mean {str(with_suffix)!r}?" if with_suffix.is_file() else _nearest_file(path)
    except (OSError, ValueError) as error:
        raise SimulationNotFoundError(f"{brief(str(path))} cannot be read: {error}") from error
    raise SimulationNotFoundError(f"there is no file {path}{near}")


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    stems = {file.stem: file.name for file in path.parent.glob("*.py")}
    return next((f"; did you mean {stems[stem]!r}?" for stem in stems if repr(stem) in nearest(path.stem, stems)), "")


def _files_in(folder: Path) -> str:
    files = sorted(file.name for file in folder.glob("*.py"))[:5]
    return f", such as {', '.join(files)}" if files else ""


def _check_name(path: Path, found: Path, name: str, root: Path) -> None:
    """Refuse a file whose name hides another module: whatever imports that one would get this file."""
    other = sys.modules.get(name)
    if other is not None:
        place = getattr(other, "__file__", None)
        ours = {found, root / name / "__init__.py"}
        if place is None or Path(place).resolve() not in ours:
            what = f"{name} is the name of a module that is loaded already ({place or 'of Python itself'})"
            raise SimulationNotFoundError(f"{path} must be renamed, since {what}")
        return
    spec = None
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name)
    origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
    installed = origin is not None and any(part in _INSTALLED for part in origin.parts) and not (root / name).is_dir()
    if installed and origin != found:
        raise SimulationNotFoundError(f"{path} must be renamed, since {name} is the name of an installed package")


def _one_of(module: ModuleType, attribute: str, shown: str) -> Simulation:
    """Return a module's simulation of that name, or the only one that it defines."""
    own = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Simulation) and value.function.__module__ == module.__name__
    }
    if attribute:
        found = vars(module).get(attribute)
        if isinstance(found, Simulation):
            return found
        raise none_of_that_name(shown, attribute, own)
    distinct = {id(value): name for name, value in own.items()}
    if len(distinct) == 1:
        return next(iter(own.values()))
    if not own:
        raise SimulationNotFoundError(f"{shown} defines no simulation; decorate a function with @bgsim.simulation")
    names = list(distinct.values())
    raise SimulationNotFoundError(
        f"{shown} has {len(names)} simulations: {', '.join(names)}; name one, as in {shown}:{names[0]}"
    )
