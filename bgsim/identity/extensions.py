"""What the user's own modules have taught numba: overloads, type rules and implementations, found in numba's tables."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bgsim.identity.watch import contents_of

if TYPE_CHECKING:
    from bgsim.identity.walk import Walk

_index: tuple[tuple[int, ...], dict[Any, list[tuple[Any, Any]]]] = ((), {})
"""How long numba's tables were, and the extensions in them."""


def extensions_of(walk: Walk) -> dict[Any, list[tuple[Any, Any]]]:
    """Return the functions of the user's own modules that extend numba, each with its template, if it has one.

    By the address of the function that they extend, or by the name of the attribute.
    """
    global _index  # noqa: PLW0603 - one for the process, as numba's own tables are
    if walk.extensions is not None:
        return walk.extensions
    tables = _tables()
    sizes = _sizes(tables)
    walk.watch.contents(_same_sizes, tables, sizes)
    if _index[0] != sizes:
        found: dict[Any, list[tuple[Any, Any]]] = {}
        for key, function, template in _all_extensions():
            found.setdefault(key, []).append((function, template))
        _index = (sizes, found)
    walk.extensions = {}
    for key, extensions in _index[1].items():
        own = [item for item in extensions if _is_own(walk, item[0])]
        if own:
            walk.extensions[key] = own
    return walk.extensions


def _is_own(walk: Walk, function: Any) -> bool:
    """Tell whether an extension is of the user's own modules; `register_jitable` makes one around her function."""
    home = function.__globals__.get("__name__")
    return walk.ownership.installed(home) is None or "register_jitable" in function.__qualname__


def _all_extensions() -> Iterator[tuple[Any, types.FunctionType, Any]]:
    """Yield key, function and template of what `overload`, `type_callable`, `lower_builtin` and the like have made."""
    globals_, functions, attributes, lowered = _tables()
    for function, kind in list(globals_):
        for template in getattr(kind, "templates", ()):
            if isinstance(getattr(template, "_overload_func", None), types.FunctionType):
                yield id(function), template._overload_func, template
    for template in list(functions):
        rule = getattr(template, "generic", None)
        held = [contents_of(cell) for cell in getattr(rule, "__closure__", None) or ()]  # `type_callable` holds it so
        for function in (rule, *held):
            if isinstance(function, types.FunctionType):
                yield id(getattr(template, "key", None)), function, None
    for template in list(attributes):
        if isinstance(getattr(template, "_overload_func", None), types.FunctionType):
            yield template._attr, template._overload_func, template
    for code, function, *_ in list(lowered):
        while hasattr(code, "__wrapped__"):
            code = code.__wrapped__  # noqa: PLW2901 - numba has put its own around it
        if isinstance(code, types.FunctionType):
            yield id(function), code, None


def _tables() -> tuple[list[Any], ...]:
    from numba.core.imputils import builtin_registry as lowered  # noqa: PLC0415 - numba is there
    from numba.core.typing.templates import builtin_registry as typed  # noqa: PLC0415

    return typed.globals, typed.functions, typed.attributes, lowered.functions


def _sizes(tables: tuple[list[Any], ...]) -> tuple[int, ...]:
    return tuple(map(len, tables))


def _same_sizes(tables: tuple[list[Any], ...], seen: tuple[int, ...]) -> bool:
    return _sizes(tables) == seen
