"""What a class counts as: its bases and members, without what the language and the standard library add to it."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import functools
import types
from _abc import _get_dump  # type: ignore[import-not-found] # of the standard library
from typing import Any

from bgsim.identity.enums import is_made_by_enum, write_members
from bgsim.identity.static import member_of
from bgsim.identity.watch import same_length
from bgsim.identity.writer import Writer
from bgsim.parameters.parameter_class import KEPT_AS

_MADE_BY_DATACLASS = frozenset(
    [
        "__init__",
        "__repr__",
        "__eq__",
        "__lt__",
        "__le__",
        "__gt__",
        "__ge__",
        "__hash__",
        "__setattr__",
        "__delattr__",
        "__replace__",
        "__getstate__",
        "__setstate__",
    ]
)
_UNSEEN = frozenset(
    [
        "__doc__",
        "__module__",
        "__qualname__",
        "__dict__",
        "__weakref__",
        "__annotations__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__firstlineno__",
        "__static_attributes__",
        "__classcell__",
        "__classdictcell__",
        "__parameters__",
        "__orig_bases__",
        "__abstractmethods__",
        "_abc_impl",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__slots__",
        "_is_protocol",
        "_is_runtime_protocol",
        "__protocol_attrs__",
        "__non_callable_proto_members__",
        "__type_params__",
        KEPT_AS,
    ]
)
_OF_C = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
_OF_A_FIELD = type(vars(collections.namedtuple("_Any", "field"))["field"])


def write_class(walk: Writer, cls: type, out: list[str]) -> None:
    """Append what a class of the user's counts as."""
    space = vars(cls)
    walk.watch.contents(same_length, space, len(space))
    walk.watch.contents(_same_bases, cls, cls.__bases__)
    walk.write_all("class", cls.__bases__, out)
    if type(cls) not in (type, enum.EnumMeta):
        walk.write(type(cls), out)
    if issubclass(cls, enum.Enum):
        write_members(walk, cls, out)
    if _is_dataclass(cls):
        _write_fields(walk, cls, out)
    if _is_named_tuple(cls):
        out.append(f"fields {cls._fields}")  # type: ignore[attr-defined]
        walk.write(cls._field_defaults, out)  # type: ignore[attr-defined]
    if issubclass(type(cls), abc.ABCMeta):
        _write_registered(walk, cls, out)
    for name in sorted(space):
        value = space[name]
        if name in _UNSEEN or isinstance(value, _OF_C) or _is_made(cls, name, value):
            continue
        walk.watch.name(cls, name, value)
        out.append(f"member {name}")
        same = name == "_generate_next_value_" and type(value) is staticmethod  # a function under Python 3.11
        walk.as_member(name, value.__func__ if same else value, out)


def _same_bases(cls: type, seen: tuple[type, ...]) -> bool:
    return cls.__bases__ == seen


def _write_registered(walk: Writer, cls: type, out: list[str]) -> None:
    """Append the classes that were registered with an abstract one, which `isinstance` asks for."""
    registered = _registered(cls)
    walk.watch.contents(_same_registered, cls, registered)
    if registered:
        walk.write_all("registered", registered, out)


def _registered(cls: type) -> list[type]:
    held = [reference() for reference in _get_dump(cls)[0]]
    return sorted((found for found in held if found is not None), key=lambda found: found.__qualname__)


def _same_registered(cls: type, seen: list[type]) -> bool:
    return _registered(cls) == seen


_TEXTS = ("_StrCaching__cached_str", "_StringReferenceCaching__cached_refstr")


def is_derived(cls: type, name: str) -> bool:
    """Tell whether an attribute of a class's instances follows from others, and is kept from its first use on.

    That is a `functools.cached_property`, and the text of one of llvmlite's types.
    """
    return name in _TEXTS or any(isinstance(vars(base).get(name), functools.cached_property) for base in cls.__mro__)


def _write_fields(walk: Writer, cls: Any, out: list[str]) -> None:
    settings = cls.__dataclass_params__
    out.append(f"dataclass {[getattr(settings, n) for n in ('init', 'eq', 'order', 'frozen', 'unsafe_hash')]}")
    for field in cls.__dataclass_fields__.values():
        out.append(f"field {field.name} {field.init} {bool(field.kw_only)} {field.compare}")
        walk.write(None if field.default is dataclasses.MISSING else field.default, out)
        walk.write(None if field.default_factory is dataclasses.MISSING else field.default_factory, out)
        if field.metadata:
            walk.as_member("metadata", field.metadata, out)


def _is_dataclass(cls: type) -> bool:
    return member_of(cls, "__dataclass_fields__") is not None


def _is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and None not in (member_of(cls, "_fields"), member_of(cls, "_field_defaults"))


def _is_made(cls: Any, name: str, value: Any) -> bool:
    """Tell whether a member was put there by a decorator or base class of the standard library."""
    function = value.__func__ if type(value) in (staticmethod, classmethod) else value
    if name == "__match_args__" and (_is_dataclass(cls) or _is_named_tuple(cls)):
        return bool(value == _match_args(cls))
    if _is_dataclass(cls) and name in _MADE_BY_DATACLASS:
        return _is_generated(function)
    if issubclass(cls, enum.Enum):
        return is_made_by_enum(cls, name, value)
    if _is_named_tuple(cls):
        home = _home(function)
        return (
            name in ("_fields", "_field_defaults")
            or (name in cls._fields and type(value) is _OF_A_FIELD)
            or home == "collections"
            or str(home).startswith("namedtuple_")
        )
    return False


def _match_args(cls: Any) -> tuple[str, ...]:
    """Return what a dataclass or a named tuple takes by position."""
    if _is_named_tuple(cls):
        return tuple(cls._fields)
    return tuple(field.name for field in dataclasses.fields(cls) if field.init and not field.kw_only)


def _is_generated(function: Any) -> bool:
    """Tell whether `dataclass` made a method from the fields. What a user wrote for ``python -c`` is in no file too."""
    if type(function) is not types.FunctionType:
        return function is None
    return _home(function) in ("dataclasses", "reprlib") or function.__code__.co_qualname.startswith("__create_fn__.")


def _home(function: Any) -> str | None:
    return function.__globals__.get("__name__") if type(function) is types.FunctionType else None
