"""Whose code something is: the user's own, which is followed, or an installed package's, which counts by version."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

_SITE = frozenset({"site-packages", "dist-packages"})
_RECORDED_APART = frozenset({"numpy", "numba", "llvmlite"})
"""Their versions stand beside each block of rows: an upgrade must not orphan what is stored."""


class Ownership:
    """Tells the user's own modules from installed ones.

    Attributes
    ----------
    own : tuple of str
        Packages and modules that are followed wherever they are installed: those of the simulation.
    """

    def __init__(self, own: tuple[str, ...]) -> None:
        self.own = own
        self._known: dict[str, str | None] = {}

    def installed(self, module: Any) -> str | None:
        """Return the package and version that an installed module counts by; None if it is the user's own.

        `module` is its name; where code has made something else of that, it is the user's own.
        """
        name = module if isinstance(module, str) else "__main__"
        if name not in self._known:
            self._known[name] = self._installed(name)
        return self._known[name]

    def _installed(self, name: str) -> str | None:
        if any(name == own or name.startswith(f"{own}.") for own in self.own):
            return None
        top = name.partition(".")[0]
        if top in ("bgsim", "builtins") or top in sys.stdlib_module_names:
            return top
        module = sys.modules.get(name) or sys.modules.get(top)
        file = getattr(module, "__file__", None)
        if file is None or not _SITE & set(Path(file).parts):
            return None
        return f"{top} {_version_of(top)}".rstrip()


def own_modules(module: str | None) -> tuple[str, ...]:
    """Return what is followed for a simulation of this module: its topmost package, and bgsim's models."""
    top = (module or "__main__").partition(".")[0]
    return ("bgsim.models",) if top == "bgsim" else (top, "bgsim.models")


def is_extension(module: str | None) -> bool:
    """Tell whether a module is machine code, which nobody can look into."""
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    return file is not None and str(file).endswith(tuple(EXTENSION_SUFFIXES))


@functools.cache
def _version_of(package: str) -> str:
    if package in _RECORDED_APART:
        return ""
    version = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(version, str):
        return version
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        found = importlib.metadata.packages_distributions().get(package, ())
        return " ".join(sorted(f"{name} {importlib.metadata.version(name)}" for name in found))
