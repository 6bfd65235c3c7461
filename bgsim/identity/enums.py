"""What an enumeration counts as: its members with their values and attributes, and what its author wrote of it."""

from __future__ import annotations

import enum
import types
from typing import Any

from bgsim.identity.static import space_of
from bgsim.identity.watch import same_mapping, seen_mapping
from bgsim.identity.writer import Writer

_MADE = frozenset(
    f"_{name}_"
    for name in (
        "all_bits",
        "boundary",
        "flag_mask",
        "hashable_values",
        "inverted",
        "member_map",
        "member_names",
        "member_type",
        "new_member",
        "singles_mask",
        "unhashable_values",
        "unhashable_values_map",
        "use_args",
        "value2member_map",
        "value_repr",
    )
)
"""Members of the class that `enum` puts there itself."""

_OF_MEMBERS = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"})
"""Attributes that `enum` gives to each member."""


def write_members(walk: Writer, cls: type[enum.Enum], out: list[str]) -> None:
    """Append the members of an enumeration."""
    for name, member in cls._member_map_.items():
        space = space_of(member) or {}
        out.append(f"value {name}")
        walk.write(space.get("_value_"), out)
        attributes = sorted(space.keys() - _OF_MEMBERS)
        walk.watch.contents(same_mapping, space, seen_mapping(space))
        for attribute in attributes if space.get("_name_") == name else ():  # and not an alias
            out.append(f"attribute {attribute}")
            walk.write(space[attribute], out)
    boundary = vars(cls).get("_boundary_")
    if boundary is not None and boundary is not (enum.KEEP if issubclass(cls, int) else enum.STRICT):
        out.append(f"boundary {boundary._name_}")


def write_member(walk: Writer, member: enum.Enum, out: list[str]) -> None:
    """Append a member where it is used: by its name, or by its value if it is a combination of flags without a name."""
    space = space_of(member) or {}
    out.append(f"enum {space.get('_name_')}")
    if space.get("_name_") is None:
        walk.write(space.get("_value_"), out)
    walk.write(type(member), out)


def is_made_by_enum(cls: type[enum.Enum], name: str, value: Any) -> bool:
    """Tell whether `enum` itself has put a member into a class."""
    if name in cls._member_map_ or name in _MADE or type(value) is types.BuiltinFunctionType:
        return True
    function = value.__func__ if type(value) is staticmethod else value
    return type(function) is types.FunctionType and function.__globals__.get("__name__") == "enum"
