"""Reads types and attributes as they are stored, so that no code of the user runs: no property and no `__getattr__`."""

from __future__ import annotations

import types
from typing import Any

_NAMED = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)


def is_a(value: Any, kinds: type | tuple[type, ...]) -> bool:
    """Tell whether a value is of a type; `isinstance` asks the value's ``__class__``, which may be anything."""
    return issubclass(type(value), kinds)


def member_of(cls: type, name: str, default: Any = None) -> Any:
    """Return what a class or one of its bases has under a name, as it stands there."""
    for base in cls.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return default


def space_of(value: Any) -> dict[str, Any] | None:
    """Return the dictionary of a value's own attributes, None if it has none."""
    descriptor = _descriptor(type(value), (types.GetSetDescriptorType, types.MemberDescriptorType))
    return None if descriptor is None else descriptor.__get__(value)


def space_descriptor(kind: type) -> Any:
    """Return what reads the dictionary of attributes of a class's instances, None if they have none.

    The dictionary of a `types.SimpleNamespace` or a module is a slot of it: `slots_of` has it.
    """
    return _descriptor(kind, (types.GetSetDescriptorType,))


def _descriptor(kind: type, kinds: tuple[type, ...]) -> Any:
    for base in kind.__mro__:
        found = vars(base).get("__dict__")
        if type(found) in kinds:
            return found
    return None


def slots_of(kind: type) -> dict[str, types.MemberDescriptorType]:
    """Return the slots that a class and its bases declare, by name."""
    found: dict[str, types.MemberDescriptorType] = {}
    for base in kind.__mro__:
        for name, member in vars(base).items():
            if type(member) is types.MemberDescriptorType:
                found.setdefault(name, member)
    return found


def slot(value: Any, member: types.MemberDescriptorType, default: Any) -> Any:
    """Return what a slot of a value holds."""
    try:
        return member.__get__(value)
    except AttributeError:
        return default


def shown(value: Any) -> str:
    """Return how a message names a value: never by what its class says, which may be anything."""
    if is_a(value, _NAMED):
        return str(value.__name__)
    return f"a {type(value).__module__}.{type(value).__qualname__}"
