"""What is put around functions counts as what it wraps: methods, partials, properties, caches and the like."""

from __future__ import annotations

import functools
import types
from typing import Any

from bgsim.identity.remembered import LRU_CACHE, look_at_cache
from bgsim.identity.static import is_a, space_of
from bgsim.identity.watch import ABSENT, same_items
from bgsim.identity.writer import Writer

_WRAPPERS: dict[type, tuple[str, ...]] = {
    types.MethodType: ("__func__", "__self__"),
    functools.partial: ("func", "args", "keywords"),
    functools.partialmethod: ("func", "args", "keywords"),
    functools.cached_property: ("func",),
    functools.singledispatchmethod: ("func", "dispatcher"),
    LRU_CACHE: ("__wrapped__",),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    types.DynamicClassAttribute: ("fget", "fset", "fdel"),  # and so `enum.property`
}
"""What each is made of."""

_COPIED = frozenset(
    [
        *functools.WRAPPER_ASSIGNMENTS,
        "__annotate__",
        "__annotations__",
        "__doc__",
        "__isabstractmethod__",
        "__type_params__",
        "__wrapped__",
        "_method_cache",
        "attrname",
        "cache_parameters",
        "lock",
        "overwrite_doc",
    ]
)
"""Attributes that the standard library gives to a wrapper."""

_STORED = (types.MemberDescriptorType, types.GetSetDescriptorType)


def write_wrapped(walk: Writer, value: Any, out: list[str]) -> bool:
    """Append a wrapper as what it wraps, with its own class and attributes; tell whether it was one."""
    kind = next((kind for kind in _WRAPPERS if is_a(value, kind)), None)
    if kind is None:
        return False
    out.append(kind.__name__)
    walk.number(value)
    seen = _parts(value, kind)
    if kind is not types.MethodType:
        walk.watch.contents(_is_same, value, (kind, seen))
    for part in seen[: len(_WRAPPERS[kind])]:
        walk.write(part, out)
    if type(value) is not kind:
        walk.write(type(value), out)
    for name, attribute in zip(*[iter(seen[len(_WRAPPERS[kind]) :])] * 2, strict=True):
        out.append(f"attribute {name}")
        walk.write(attribute, out)
    if kind is LRU_CACHE:
        look_at_cache(walk, value, out)
    return True


def _parts(value: Any, kind: type) -> tuple[Any, ...]:
    """Return what a wrapper is made of, then the names of its further attributes, each with what it holds."""
    space = space_of(value) or {}
    found = []
    for name in _WRAPPERS[kind]:
        stored = vars(kind).get(name)
        found.append(stored.__get__(value) if isinstance(stored, _STORED) else space.get(name, ABSENT))
    if type(value).__module__ != "enum":  # whose property notes what it stands for
        for name in sorted(space.keys() - _COPIED - {*_WRAPPERS[kind]}):
            found += [name, space[name]]
    return tuple(found)


def _is_same(value: Any, seen: tuple[type, tuple[Any, ...]]) -> bool:
    now = _parts(value, seen[0])
    return same_items(now, seen[1]) or (
        len(now) == len(seen[1]) and all(_is_one(*two) for two in zip(now, seen[1], strict=True))
    )


def _is_one(now: Any, seen: Any) -> bool:
    return now is seen or (type(now) is str and type(seen) is str and now == seen)
