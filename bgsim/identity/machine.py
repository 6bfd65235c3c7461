"""numba's objects: jitted functions, jitclasses, overloads and the like, by the Python code that they are made from.

numba is looked at only where the user has imported it.

What numba compiled stays as it is when a constant that it read is changed. A compiled simulation has its jitted helpers
compiled anew, with the values of the moment (`bgsim.frozen`). That cannot be done for a jitclass, an overload, or a
jitted helper that plain Python calls: there, machine code that is older than the values is noticed and said.
"""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bgsim.identity.problems import Problem
from bgsim.identity.static import is_a
from bgsim.identity.watch import ABSENT, contents_of

if TYPE_CHECKING:
    from bgsim.identity.walk import Walk

_COPIES = "bgsim.frozen"
"""The module of a copy."""

_KEPT = "numba keeps machine code of it that was compiled with other values; run its definition again"
_CACHED = "numba's own cache (cache=True) may hold machine code of other values; leave cache=True out"

_first_seen: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""What a dispatcher's code and values were when a walk first met it."""


def numba_is_here() -> bool:
    """Tell whether numba has been imported; while another thread imports it, none of its objects can be reached yet."""
    spec = getattr(sys.modules.get("numba"), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def is_machine_class(value: type) -> bool:
    """Tell whether a class is a jitclass."""
    return type(value).__name__ == "JitClassType" and hasattr(value, "class_type")


def write(walk: Walk, value: Any, out: list[str]) -> bool:
    """Append one of numba's objects, or a simulation; tell whether it was one."""
    kind = type(value)
    if kind.__module__ == "bgsim.simulation":
        walk.number(value)
        out.append(f"simulation {value.version!r} {value.compiles}")
        walk.write(value.function, out)
        return True
    if not numba_is_here():
        return False
    return _write_numba(walk, value, out)


def _write_numba(walk: Walk, value: Any, out: list[str]) -> bool:
    from numba.core.dispatcher import Dispatcher  # noqa: PLC0415 - it is there
    from numba.core.types import Type  # noqa: PLC0415

    if is_a(value, Dispatcher):
        walk.number(value)
        _write_dispatcher(walk, value, out)
        if walk.within or not walk.compiled or _was_not_copied(walk, value):
            _look_at_machine_code(walk, value, out)
    elif is_a(value, Type):
        out.append(f"type {value}")
    elif is_a(value, type) and is_machine_class(value):
        walk.number(value)
        _write_jitclass(walk, value, out)
    elif type(value).__module__.partition(".")[0] == "numba":
        made_from = _python_function(value)
        if made_from is None:
            return False
        walk.number(value)
        out.append(f"numba {type(value).__name__}")
        walk.write(made_from, out)
        _look_at_machine_code(walk, getattr(value, "_dispatcher", None), out)
    else:
        return False
    return True


def write_overloads(walk: Walk, function: Any, out: list[str]) -> None:
    """Append what the user's modules have taught numba of a function: overloads, type rules and their machine code."""
    if not numba_is_here():
        return
    for extension, template in _extensions(walk).get(id(function), ()):
        out.append("extended by")
        walk.write(extension, out)
        _look_at_overloads(walk, template, out)


def write_methods(walk: Walk, names: Any, out: list[str]) -> None:
    """Append what the user's `overload_method` and `overload_attribute` have made of attributes."""
    if not numba_is_here():
        return
    extensions = _extensions(walk)
    for name in sorted(names & extensions.keys()):
        for extension, template in extensions[name]:
            out.append(f"{name} extended by")
            walk.write(extension, out)
            _look_at_overloads(walk, template, out)


def _look_at_overloads(walk: Walk, template: Any, out: list[str]) -> None:
    if getattr(template, "_jit_options", {}).get("cache"):
        walk.refuse(template._overload_func.__qualname__, _CACHED, out)
    for made, *_ in list(getattr(template, "_impl_cache", {}).values()):
        _look_at_machine_code(walk, made, out)


def _write_dispatcher(walk: Walk, dispatcher: Any, out: list[str]) -> None:
    options = {name: option for name, option in dispatcher.targetoptions.items() if name != "cache"}
    out.append("jitted")
    for name in sorted(options):
        out.append(f"option {name}")
        walk.write(options[name], out)
    for name in sorted(dispatcher.locals):
        out.append(f"local {name} {dispatcher.locals[name]}")
    if not dispatcher._can_compile:
        out.append(f"signatures {[str(s) for s in dispatcher.nopython_signatures]}")
    walk.write(dispatcher.py_func, out)


def _write_jitclass(walk: Walk, value: Any, out: list[str]) -> None:
    made = value.class_type
    out.append("jitclass")
    out.append(str({name: str(kind) for name, kind in made.struct.items()}))
    members = {
        **{f"method {name}": f for name, f in made.jit_methods.items()},
        **{f"static {name}": f for name, f in made.jit_static_methods.items()},
        **{f"property {name} {way}": f for name, ways in made.jit_props.items() for way, f in ways.items()},
    }
    for name in sorted(members):
        out.append(name)
        dispatcher = members[name]
        walk.write(dispatcher.py_func, out)
        _look_at_machine_code(walk, dispatcher, out)


def _python_function(value: Any) -> Any:
    """Return what an intrinsic, ufunc or C callback of numba's is made from, None for anything else."""
    for name in ("_defn", "py_func", "_pyfunc", "pyfunc"):
        found = getattr(value, name, None)
        if isinstance(found, types.FunctionType):
            return found
    dispatcher = getattr(value, "_dispatcher", None)
    return getattr(dispatcher, "py_func", None)


# ---- machine code that is older than what it reads ---------------------------------------------------


def _look_at_machine_code(walk: Walk, dispatcher: Any, out: list[str]) -> None:
    """Take note of machine code that numba keeps and that may have been compiled with other values than those now.

    Such code runs as it is, so what it computes does not belong to the code and the values that are written here.
    """
    if dispatcher is None or walk.ownership.installed(dispatcher.py_func.__globals__.get("__name__")) is not None:
        return
    name = f"{dispatcher.py_func.__module__}.{dispatcher.py_func.__qualname__}"
    cache = getattr(dispatcher, "_cache", None) or getattr(dispatcher, "cache", None)
    if getattr(cache, "_impl", None) is not None:
        walk.refuse(name, _CACHED, out)
        return
    walk.watch.contents(_same_overloads, dispatcher.overloads, len(dispatcher.overloads))
    fresh = type(walk)(walk.ownership, compiled=True)
    now = fresh.root("", dispatcher.py_func).digest
    seen = _first_seen.get(dispatcher)
    if seen is None or not dispatcher.overloads:
        _first_seen[dispatcher] = now
        seen = now
        if any(not _has_values_of_now(walk, dispatcher, overload) for overload in dispatcher.overloads.values()):
            seen = _first_seen[dispatcher] = ""
    if seen != now and walk.compiled:
        walk.stale.append(Problem(name, walk.here, _KEPT))
    elif seen != now:
        walk.refuse(name, _KEPT, out)


def _was_not_copied(walk: Walk, dispatcher: Any) -> bool:
    """Tell whether a frozen copy reads a helper as it is, which numba may have compiled before; see `bgsim.frozen`."""
    reader = getattr(walk.here.subject, "__globals__", {})
    return reader.get("__name__") == _COPIES and dispatcher.py_func.__globals__.get("__name__") != _COPIES


def _same_overloads(overloads: Any, seen: int) -> bool:
    return len(overloads) == seen


def _has_values_of_now(walk: Walk, dispatcher: Any, overload: Any) -> bool:
    """Tell whether an overload was compiled with the values that its names have now; False where it cannot be told."""
    from numba.core import ir  # noqa: PLC0415 - it is there

    blocks = getattr(overload.type_annotation, "blocks", None)
    if blocks is None:
        return False
    function = dispatcher.py_func
    for block in blocks.values():
        for statement in block.find_insts(ir.Assign):
            read = statement.value
            if isinstance(read, ir.Global):
                now = function.__globals__.get(read.name, ABSENT)
                if now is ABSENT:
                    continue  # a builtin
                if isinstance(now, types.ModuleType) and walk.ownership.installed(now.__name__) is None:
                    return False  # what was read of it is not kept
            elif isinstance(read, ir.FreeVar):
                now = contents_of(function.__closure__[read.index])
            else:
                continue
            if now is not read.value and not (type(now) is type(read.value) is float and now == read.value):
                return False
    return True


# ---- extensions ----------------------------------------------------------------------------------------

_index: tuple[tuple[int, ...], dict[Any, list[tuple[Any, Any]]]] = ((), {})
"""How long numba's tables were, and the extensions in them."""


def _extensions(walk: Walk) -> dict[Any, list[tuple[Any, Any]]]:
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
