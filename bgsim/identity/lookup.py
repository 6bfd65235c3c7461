"""What a name that code reads holds, attribute by attribute, as far as that can be told without running anything."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
import types
from typing import Any, NamedTuple

from bgsim.identity.origin import installed_class
from bgsim.identity.ownership import Ownership, can_be_imported
from bgsim.identity.reads import Import, Path
from bgsim.identity.static import member_of
from bgsim.identity.watch import ABSENT, Watch, contents_of

_BUILTINS = vars(builtins)


class Lookup:
    """Finds what names hold, and has each step watched.

    Modules and the user's plain classes are looked into for the one attribute that is read; of anything else the whole
    counts.

    Attributes
    ----------
    builtins_read : set of str
        Names of builtins that were looked up.
    """

    def __init__(self, ownership: Ownership, watch: Watch) -> None:
        self._ownership = ownership
        self._watch = watch
        self.builtins_read: set[str] = set()

    def of_name(self, function: types.FunctionType, path: Path) -> tuple[Any, int]:
        """Return what a path from a global or builtin name holds, and how many of its names were needed."""
        name = path[0]
        value = function.__globals__.get(name, ABSENT)
        self._watch.name(function.__globals__, name, value)
        if value is ABSENT:
            own = function.__globals__.get("__builtins__", _BUILTINS)
            space = vars(own) if isinstance(own, types.ModuleType) else own
            value = space.get(name, ABSENT)
            self._watch.name(space, name, value)
            self.builtins_read.add(name)
        return self._onward(value, path[1:])

    def of_free(self, function: types.FunctionType, path: Path) -> tuple[Any, int]:
        """Return the same for a path from a variable of an enclosing function."""
        cell = (function.__closure__ or ())[function.__code__.co_freevars.index(path[0])]
        self._watch.cell(cell)
        return self._onward(contents_of(cell), path[1:])

    def of_import(self, function: types.FunctionType, imported: Import) -> tuple[Any, int]:
        """Return the same for what the function imports itself; a module of the user's is imported for that."""
        name = imported.module
        try:
            if imported.level:
                package = function.__globals__.get("__package__") or ""
                name = importlib.util.resolve_name("." * imported.level + name, package)
            installed = self._ownership.installed(name, find=True)
            if installed is not None:
                return self._of_installed(name, installed, imported)
            importlib.import_module(name)
        except Exception:  # the function may catch what its import raises
            self._watch.name(sys.modules, name, sys.modules.get(name, ABSENT))
            self._watch.contents(_is_found_as_before, name, can_be_imported(name))
            return ABSENT, 1
        top = name.partition(".")[0] if imported.top else name
        module = sys.modules.get(top)
        self._watch.name(sys.modules, top, module)
        return self._onward(module, imported.path)

    def _of_installed(self, name: str, installed: str, imported: Import) -> tuple[Any, int]:
        """Return what is imported of an installed package, by name: the same whether the package is there already."""
        top = name.partition(".")[0] if imported.top else name
        value, consumed = ABSENT, 1
        if name in sys.modules:
            value, consumed = self._onward(sys.modules[top], imported.path)
        if isinstance(value, types.FunctionType) and self._is_own(value.__globals__.get("__name__")):
            return value, consumed  # the user has put it there
        return Named(installed, ".".join((top, *imported.path)), value), consumed

    def _onward(self, value: Any, attributes: Path) -> tuple[Any, int]:
        for count, attribute in enumerate(attributes, 1):
            if value is sys and attribute in _WRITTEN_TO:
                return Named("sys", f"sys.{attribute}", ABSENT), 1 + count
            if isinstance(value, types.ModuleType):
                value = self._of_module(value, attribute)
            elif isinstance(value, type) and self._is_plain(value):
                found = self._of_class(value, attribute)
                if found is ABSENT:
                    return value, count
                value = found
            else:
                return value, count
        return value, 1 + len(attributes)

    def _of_module(self, module: types.ModuleType, attribute: str) -> Any:
        value = vars(module).get(attribute, ABSENT)
        if value is ABSENT:
            try:
                value = getattr(module, attribute, ABSENT)  # of a module that makes its attributes when they are asked
            except Exception:
                value = ABSENT
            if value is not ABSENT and attribute not in vars(module):
                if self._is_own(module.__name__):
                    self._watch.contents(_never_same, module, None)  # what it makes anew may be another
                return value
        self._watch.name(vars(module), attribute, value)
        return value

    def _is_plain(self, value: type) -> bool:
        return type(value) is type and installed_class(self._ownership, value) is None

    def _is_own(self, module: Any) -> bool:
        return self._ownership.installed(module) is None

    def _of_class(self, value: type, attribute: str) -> Any:
        """Return an attribute of a class that is read as it stands; `ABSENT` if the class has a say in it."""
        for base in value.__mro__:
            found = vars(base).get(attribute, ABSENT)
            self._watch.name(base, attribute, found)
            if found is not ABSENT:
                if not self._is_plain(base):
                    return ABSENT
                if isinstance(found, staticmethod):
                    return found.__func__
                plain = isinstance(found, types.FunctionType | type) or member_of(type(found), "__get__") is None
                return found if plain else ABSENT
        return ABSENT


def _never_same(_module: types.ModuleType, _seen: None) -> bool:
    return False


def _is_found_as_before(module: str, seen: bool) -> bool:
    return can_be_imported(module) == seen


_WRITTEN_TO = frozenset({"stdout", "stderr", "__stdout__", "__stderr__"})
"""Streams of the process that are no input. They may be redirected at any time."""


class Named(NamedTuple):
    """Something installed that counts by package, version and the name that it is read under.

    Attributes
    ----------
    installed : str
        Package and version.
    name : str
    value : object
        The object, for warnings; `ABSENT` while its module is not imported.
    """

    installed: str
    name: str
    value: Any
