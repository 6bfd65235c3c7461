"""What the user's own modules have taught numba: overloads, type rules and implementations, found in numba's tables."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any

from bgsim.identity.watch import contents_of
from bgsim.identity.writer import Writer

_index: tuple[tuple[int, ...], dict[Any, list[tuple[Any, Any]]]] = ((), {})
"""How long numba's tables were, and the extensions in them."""


def extensions_of(walk: Writer) -> dict[Any, list[tuple[Any, Any]]]:
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


def _is_own(walk: Writer, function: Any) -> bool:
    """Tell whether an extension is of the user's own modules; `register_jitable` makes one around a user's function."""
    home = function.__globals__.get("__name__")
    return walk.ownership.installed(home) is None or "register_jitable" in function.__qualname__


def _all_extensions() -> Iterator[tuple[Any, types.FunctionType, Any]]:
    """Yield key, function and template of what `overload`, `type_callable`, `lower_builtin` and the like have made."""
    globals_, functions, attributes, lowered = _tables()
    for function, kind in list(globals_):
        for template in getattr(kind, "templates", ()):
            if overload := overload_of(template):
                yield id(function), overload, template
    for template in list(functions):
        for function in _rules_of(template):
            yield id(getattr(template, "key", None)), function, None
    for template in list(attributes):
        if overload := overload_of(template):
            yield template._attr, overload, template  # noqa: SLF001 - numba keeps it nowhere else
    for code, function, *_ in list(lowered):
        written = inspect.unwrap(code)  # numba has put its own around it
        if isinstance(written, types.FunctionType):
            yield id(function), written, None


def overload_of(template: Any) -> types.FunctionType | None:
    """Return the function that `overload` and its like made a template of, None if it is of another kind."""
    found = getattr(template, "_overload_func", None)
    return found if isinstance(found, types.FunctionType) else None


def _rules_of(template: Any) -> list[types.FunctionType]:
    rule = getattr(template, "generic", None)
    held = [contents_of(cell) for cell in getattr(rule, "__closure__", None) or ()]  # `type_callable` holds it so
    return [function for function in (rule, *held) if isinstance(function, types.FunctionType)]


def _tables() -> tuple[list[Any], ...]:
    from numba.core.imputils import builtin_registry as lowered  # noqa: PLC0415 - numba is there
    from numba.core.typing.templates import builtin_registry as typed  # noqa: PLC0415

    return typed.globals, typed.functions, typed.attributes, lowered.functions


def _sizes(tables: tuple[list[Any], ...]) -> tuple[int, ...]:
    return tuple(map(len, tables))


def _same_sizes(tables: tuple[list[Any], ...], seen: tuple[int, ...]) -> bool:
    return _sizes(tables) == seen
