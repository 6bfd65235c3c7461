"""Whose code something is: the user's own, which is followed, or an installed package's, which counts by version."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

_SITE = frozenset({"site-packages", "dist-packages"})
_STDLIB = frozenset({os.path.dirname(os.__file__), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})  # noqa: PTH120
_RECORDED_APART = frozenset({"numpy", "numba", "llvmlite"})
"""Their versions stand beside each block of rows: an upgrade must not orphan what is stored."""
_SIMULATIONS = ("bgsim.models", "bgsim.testing.backend_examples")
"""What of bgsim itself has simulations that are compiled."""


class Ownership:
    """Tells the user's own modules from installed ones.

    Attributes
    ----------
    own : tuple of str
        Packages and modules that are followed wherever they are installed: those of the simulation.
    """

    def __init__(self, own: tuple[str, ...]) -> None:
        self.own = own
        self._known: dict[str, str | None] = {}  # of modules that are imported, or found to be installed

    def installed(self, module: Any, *, find: bool = False) -> str | None:
        """Return the package and version that an installed module counts by; None if it is the user's own.

        `module` is its name; where code has made something else of that, it is the user's own. So is a module that is
        not imported, unless it is to be looked for with `find`, which imports nothing.
        """
        name = module if isinstance(module, str) else "__main__"
        if name in self._known:
            return self._known[name]
        found = self._installed(name, find)
        if found is not None or name in sys.modules:
            self._known[name] = found
        return found

    def _installed(self, name: str, find: bool) -> str | None:
        if any(name == own or name.startswith(f"{own}.") for own in self.own):
            return None
        top = name.partition(".")[0]
        if top in ("bgsim", "builtins"):
            return top
        if top in sys.stdlib_module_names:
            return top if _is_of_stdlib(top) else None
        file = _file_of(name) or _file_of(top)
        if file is None and find and name not in sys.modules:
            file = _file_to_import(top)
        if file is None or not _SITE & set(Path(file).parts):
            return None
        version = _version_of(top)
        return None if version is None else f"{top} {version}".rstrip()


def _file_of(name: str) -> str | None:
    """Return the file of a module that is imported, None if there is none."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return file if isinstance(file, str) else None


def can_be_imported(module: str) -> bool:
    """Tell whether the topmost package of a module would be found, without importing it."""
    top = module.partition(".")[0]
    return top in sys.modules or _file_to_import(top) is not None


def _file_to_import(top: str) -> str | None:
    """Return the file or folder of a topmost module that would be imported."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):  # it has no specification, or a finder has failed
        return None
    if spec is None:
        return None
    if spec.has_location:
        return spec.origin
    folders = sorted(spec.submodule_search_locations or (), key=lambda folder: bool(_SITE & set(Path(folder).parts)))
    return folders[0] if folders else None  # of a package in several folders, the user's own


def _is_of_stdlib(top: str) -> bool:
    """Tell whether a module with a name of the standard library is that, and no file of the user's with this name."""
    module = sys.modules.get(top)
    file = _file_of(top) if module is not None else _file_to_import(top)
    if file is None:
        return module is None or getattr(module, "__spec__", None) is not None
    path = Path(file)
    return not _SITE & set(path.parts) and any(path.is_relative_to(folder) for folder in _STDLIB)


def is_of_stdlib(installed: str) -> bool:
    """Tell whether what something installed counts by is of the standard library."""
    return installed in sys.stdlib_module_names or installed == "builtins"


def own_modules(module: str | None) -> tuple[str, ...]:
    """Return what is followed for a simulation of this module: its topmost package, and bgsim's own simulations."""
    top = (module or "__main__").partition(".")[0]
    return _SIMULATIONS if top == "bgsim" else (top, *_SIMULATIONS)


def is_extension(module: str | None) -> bool:
    """Tell whether a module is machine code."""
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    return file is not None and str(file).endswith(tuple(EXTENSION_SUFFIXES))


def _distributions_of(package: str) -> Sequence[str]:
    """Return what a package was installed by; the table takes half a second, and is made again for a new package."""
    for read in (_read_distributions, importlib.metadata.packages_distributions):
        found = read().get(package)
        if found:
            return found
    return ()


_read_distributions = functools.cache(importlib.metadata.packages_distributions)


@functools.cache
def _version_of(package: str) -> str | None:
    """Return the version of an installed package; None if none is known, as of a file that was copied there.

    The version comes from the metadata of the installation, which are there before the import.
    """
    if package in _RECORDED_APART:
        return ""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        names = sorted(set(_distributions_of(package)))
    if len(names) == 1:
        return importlib.metadata.version(names[0])
    return " ".join(f"{name} {importlib.metadata.version(name)}" for name in names) or None
