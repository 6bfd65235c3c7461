"""Whose a class or a function is. The module that it names counts only if that module really holds it.

``dataclasses.make_dataclass``, ``types.new_class`` and ``exec`` make classes of the user's that name a module of the
standard library, and any code may set ``__module__``.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bgsim.identity.ownership import is_extension

if TYPE_CHECKING:
    from bgsim.identity.ownership import Ownership

_HEAP, _IMMUTABLE = 1 << 9, 1 << 8
"""Flags of a type that is not a static one of C, and of an immutable type, which no Python code makes."""


def is_made_by_python(cls: type) -> bool:
    """Tell whether a ``class`` statement, or a call of `type`, made a class; else it is of C."""
    return bool(cls.__flags__ & _HEAP) and not cls.__flags__ & _IMMUTABLE


def installed_class(ownership: Ownership, cls: type) -> str | None:
    """Return the package and version that a class counts by, None if it is the user's own."""
    installed = ownership.installed(cls.__module__)
    if installed is None or not is_made_by_python(cls):
        return installed
    module = sys.modules.get(cls.__module__)
    if module is None or _found(module, cls.__qualname__) is cls:
        return installed
    homes = {ownership.installed(function.__globals__.get("__name__")) is not None for function in _functions(cls)}
    return installed if homes == {True} or (not homes and is_extension(cls.__module__)) else None


def is_own_class(ownership: Ownership, cls: type) -> bool:
    """Tell whether a class is the user's own, written in Python."""
    if installed_class(ownership, cls) is not None:
        return False
    return not is_extension(cls.__module__) or ownership.installed(cls.__module__) is not None


def installed_function(ownership: Ownership, function: types.FunctionType) -> str | None:
    """Return the package and version that a function counts by, None if it is the user's own."""
    space = function.__globals__
    installed = ownership.installed(space.get("__name__"))
    if installed is None:
        return None
    module = sys.modules.get(space["__name__"])
    is_of_text = function.__code__.co_filename == "<string>"  # and of no file
    return None if is_of_text and module is not None and vars(module) is not space else installed


def global_of(ownership: Ownership, value: Any, name: str) -> str | None:
    """Return the package of an installed module that has an object under a name, None if no module has."""
    for module in [sys.modules.get(type(value).__module__), *list(sys.modules.values())]:
        if type(module) is types.ModuleType and vars(module).get(name) is value:
            installed = ownership.installed(module.__name__)
            if installed is not None:
                return installed
    return None


def _found(module: types.ModuleType, name: str) -> Any:
    """Return what a module has under a dotted name."""
    found: Any = module
    for part in name.split("."):
        if not isinstance(found, types.ModuleType | type):
            return None
        found = vars(found).get(part)
    return found


def _functions(cls: type) -> Iterator[types.FunctionType]:
    """Yield the functions that a class was written with, without those that `dataclass` makes of its fields."""
    for member in vars(cls).values():
        parts: tuple[Any, ...] = (member,)
        if isinstance(member, staticmethod | classmethod):
            parts = (member.__func__,)
        elif isinstance(member, property):
            parts = (member.fget, member.fset, member.fdel)
        for part in parts:
            if type(part) is types.FunctionType and part.__code__.co_filename != "<string>":
                yield part
