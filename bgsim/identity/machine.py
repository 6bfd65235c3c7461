"""numba's objects: jitted functions, jitclasses, overloads and the like, by the Python code that they are made from.

bgsim looks at numba only where the user has imported it.

What numba compiled stays as it is when a constant that it read is changed. A compiled simulation has its jitted helpers
compiled anew, with the values of the moment (`bgsim.kernels.frozen`). That cannot be done for a jitclass, an overload,
or a jitted helper that plain Python calls: there, this module reports machine code that is older than the values.
"""

from __future__ import annotations

import builtins
import operator
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from bgsim.identity.atoms import atom_text
from bgsim.identity.extensions import extensions_of, overload_of
from bgsim.identity.problems import Problem
from bgsim.identity.static import is_a
from bgsim.identity.watch import ABSENT, contents_of
from bgsim.identity.writer import Writer

_COPIES = "bgsim.kernels.frozen"
"""The module of a copy."""

_KEPT = "numba keeps machine code of it that was compiled with other values; run its definition again"
_CACHED = "numba's own cache (cache=True) may hold machine code of other values; leave cache=True out"

_DEFINED = "numba compiled it when it was defined, maybe with other values; pass it what it reads, or use njit"
_UNSEEN = "it changes in place, and its items are numba's own"

_last_seen: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""The digest of a dispatcher's code and values when a walk last met it."""

_compiled_of: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""Of each piece of machine code, what it was compiled from; "" where that cannot be told."""


def numba_is_here() -> bool:
    """Tell whether numba has been imported; while another thread imports it, none of its objects can be reached yet."""
    spec = getattr(sys.modules.get("numba"), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def is_copy(value: Any) -> bool:
    """Tell whether a function is one of a frozen copy."""
    return str(getattr(value, "__globals__", {}).get("__name__")).startswith(_COPIES)


def _is_compiled_anew(walk: Writer, function: Any) -> bool:
    """Tell whether numba compiles a jitted function that was reached with the values of the moment.

    It does for all that a compiled simulation reaches, as far as `bgsim.kernels.frozen` has copied it; the rest may be
    older.
    """
    return walk.compiled and not walk.within and (not walk.of_copy or is_copy(function))


def is_machine_class(value: type) -> bool:
    """Tell whether a class is a jitclass."""
    return type(value).__name__ == "JitClassType" and hasattr(value, "class_type")


def write(walk: Writer, value: Any, out: list[str]) -> bool:
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


def _write_numba(walk: Writer, value: Any, out: list[str]) -> bool:
    from numba.core.dispatcher import Dispatcher  # noqa: PLC0415 - it is there
    from numba.core.types import Type  # noqa: PLC0415

    if is_a(value, Dispatcher):
        walk.number(value)
        _write_dispatcher(walk, value, out)
        if not _is_compiled_anew(walk, value.py_func):
            _look_at_machine_code(walk, value, out)
    elif is_a(value, Type):
        out.append(f"type {value}")
    elif is_a(value, type) and is_machine_class(value):
        walk.number(value)
        _write_jitclass(walk, value, out)
    elif isinstance(value, np.ufunc) and not _is_installed(walk, value):
        walk.refuse(value.__name__, "it is a ufunc that was made of a function", out)
    elif any(base.__name__ in _BOXES and base.__module__.startswith("numba.") for base in type(value).__mro__):
        walk.refuse(f"a {type(value).__module__}.{type(value).__qualname__}", _UNSEEN, out)
    else:
        return type(value).__module__.partition(".")[0] == "numba" and _write_made_of_function(walk, value, out)
    return True


def _write_made_of_function(walk: Writer, value: Any, out: list[str]) -> bool:
    """Append an intrinsic, ufunc, stencil or C callback; tell whether it was one."""
    made_from = _python_function(value)
    if made_from is None:
        return False
    walk.number(value)
    out.append(f"numba {type(value).__name__} {_declaration(value)}")
    walk.write(made_from, out)
    if hasattr(value, "kernel_ir"):
        _look_at_defined(walk, value, made_from, out)
    elif hasattr(value, "_wrapper_address"):
        if not _is_compiled_anew(walk, made_from):
            _look_at_defined(walk, value, made_from, out)
    else:
        _look_at_machine_code(walk, getattr(value, "_dispatcher", None), out)
    return True


_BOXES = ("List", "Dict", "StructRefProxy")


def _is_installed(walk: Writer, ufunc: Any) -> bool:
    """Tell whether a ufunc stands in an installed module under its name; numba makes some that keep no function."""
    return getattr(np, ufunc.__name__, None) is ufunc or any(
        getattr(module, "__dict__", {}).get(ufunc.__name__) is ufunc and walk.ownership.installed(name) is not None
        for name, module in list(sys.modules.items())
    )


def _declaration(value: Any) -> str:
    """Return what was declared of a C callback, a stencil or a ufunc beside its code."""
    signatures = value.types if getattr(value, "_frozen", False) else ""
    stencil = [getattr(value, name, "") for name in ("mode", "options")] if hasattr(value, "kernel_ir") else ""
    return f"{getattr(value, '_sig', '')} {getattr(value, 'signature', '')} {signatures} {stencil}"


def write_overloads(walk: Writer, function: Any, out: list[str]) -> None:
    """Append what the user's modules have taught numba of a function: overloads, type rules and their machine code.

    Of a function of the user's own that is all that they have taught numba of operators, too: no name tells which of
    them it uses.
    """
    if not numba_is_here():
        return
    extensions = extensions_of(walk)
    if not extensions:
        return
    _write_extensions(walk, extensions.get(id(function), ()), out)
    if isinstance(function, types.FunctionType):
        for name, used in _BY_SYNTAX:
            if id(used) in extensions:
                out.append(name)
                _write_extensions(walk, extensions[id(used)], out)


_BY_SYNTAX = [
    *[(name, value) for name, value in sorted(vars(operator).items()) if callable(value) and name[0] != "_"],
    *[(used.__name__, used) for used in (bool, getattr, iter, len, next, setattr, slice, str)],
]


def _write_extensions(walk: Writer, extensions: Any, out: list[str], tag: str = "extended by") -> None:
    for extension, template in extensions:
        out.append(tag)
        walk.write(extension, out)
        _look_at_overloads(walk, template, out)


def write_methods(walk: Writer, names: Any, out: list[str]) -> None:
    """Append what the user's `overload_method` and `overload_attribute` have made of attributes."""
    if not numba_is_here():
        return
    extensions = extensions_of(walk)
    for name in sorted(names & extensions.keys()):
        _write_extensions(walk, extensions[name], out, f"{name} extended by")


def _look_at_overloads(walk: Writer, template: Any, out: list[str]) -> None:
    overload = overload_of(template)
    if overload is not None and getattr(template, "_jit_options", {}).get("cache"):
        walk.refuse(overload.__qualname__, _CACHED, out)
    for made, *_ in list(getattr(template, "_impl_cache", {}).values()):
        _look_at_machine_code(walk, made, out)


def _write_dispatcher(walk: Writer, dispatcher: Any, out: list[str]) -> None:
    options = {name: option for name, option in dispatcher.targetoptions.items() if name != "cache"}
    out.append("jitted")
    for name in sorted(options):
        out.append(f"option {name}")
        walk.write(options[name], out)
    for name in sorted(dispatcher.locals):
        out.append(f"local {name} {dispatcher.locals[name]}")
    if not dispatcher._can_compile:  # noqa: SLF001 - numba has no public name for it
        out.append(f"signatures {[str(s) for s in dispatcher.nopython_signatures]}")
    walk.write(dispatcher.py_func, out)


def _write_jitclass(walk: Writer, value: Any, out: list[str]) -> None:
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
    if hasattr(value, "kernel_ir"):  # a stencil
        return value.kernel_ir.func_id.func
    dispatcher = getattr(value, "_dispatcher", None)
    return getattr(dispatcher, "py_func", None)


# ---- machine code that is older than what it reads ---------------------------------------------------


def _look_at_machine_code(walk: Writer, dispatcher: Any, out: list[str]) -> None:
    """Take note of machine code that numba keeps and that may have been compiled with other values than those now.

    Such code runs as it is, so what it computes does not belong to the code and the values that are written here.
    """
    if dispatcher is None or walk.machine_code is None:
        return
    if walk.ownership.installed(dispatcher.py_func.__globals__.get("__name__")) is not None:
        return
    if id(dispatcher) not in walk.machine_code:
        walk.machine_code[id(dispatcher)] = _why_not(walk, dispatcher)
    _report(walk, dispatcher.py_func, walk.machine_code[id(dispatcher)], out)


def _report(walk: Writer, function: Any, why: str | None, out: list[str]) -> None:
    if why is None:
        return
    name = f"{function.__module__}.{function.__qualname__}"
    if walk.compiled and why is not _CACHED:
        walk.stale.append(Problem(name, walk.here, why))
    else:
        walk.refuse(name, why, out)


def _why_not(walk: Writer, dispatcher: Any) -> str | None:
    """Return why the machine code of a dispatcher may be of other values than it reads now, None if it is of those."""
    cache = getattr(dispatcher, "_cache", None) or getattr(dispatcher, "cache", None)
    if getattr(cache, "_impl", None) is not None:
        return _CACHED
    walk.watch.contents(_same_overloads, dispatcher.overloads, _libraries(dispatcher.overloads))
    now = walk.look_at_code(dispatcher.py_func).digest  # without machine code: this look comes to all of it, too
    before = _last_seen.get(dispatcher)
    _last_seen[dispatcher] = now
    stale = False
    for overload in list(dispatcher.overloads.values()):
        if overload.library not in _compiled_of:
            same = _has_values_of_now(walk, dispatcher, overload)
            believed = same or (same is None and before == now)
            _compiled_of[overload.library] = now if believed else ""
        stale = stale or _compiled_of[overload.library] != now
    return _KEPT if stale else None


def _libraries(overloads: Any) -> tuple[Any, ...]:
    return tuple([overload.library for overload in list(overloads.values())])


def _same_overloads(overloads: Any, seen: tuple[Any, ...]) -> bool:
    return _libraries(overloads) == seen


def _has_values_of_now(walk: Writer, dispatcher: Any, overload: Any) -> bool | None:
    """Tell whether an overload was compiled with the values that its names have now; None where it cannot be told."""
    blocks = getattr(overload.type_annotation, "blocks", None)
    if blocks is None:
        return None
    linked = set(getattr(overload.library, "_linking_libraries", ()))
    return _all_same(walk, dispatcher, blocks, linked)


def _all_same(walk: Writer, dispatcher: Any, blocks: Any, linked: set[Any]) -> bool | None:
    found: set[bool | None] = {True}
    for read, now in _reads_in(dispatcher.py_func, blocks):
        if now is not dispatcher:  # it may call itself
            found.add(_is_same(walk, read.value, now, linked))
    return False if False in found else None if None in found else True


def _reads_in(function: Any, blocks: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each read of a global or free name in numba's form of a function, and what the name holds now."""
    from numba.core import ir  # noqa: PLC0415 - it is there

    for block in blocks.values():
        for statement in block.find_insts(ir.Assign):
            read = statement.value
            if isinstance(read, ir.Global):
                yield read, function.__globals__.get(read.name, getattr(builtins, read.name, ABSENT))
            elif isinstance(read, ir.FreeVar):
                names = function.__code__.co_freevars  # those of a function that numba put in its place are others
                held = (function.__closure__ or ())[names.index(read.name)] if read.name in names else None
                yield read, ABSENT if held is None else contents_of(held)


def _is_same(walk: Writer, read: Any, now: Any, linked: set[Any]) -> bool | None:
    """Tell whether what a name held when it was compiled is what it holds now; None where it cannot be told."""
    text = atom_text(read)
    if text is not None:
        return text == atom_text(now) if now is not ABSENT else None
    if now is ABSENT:
        return None
    if isinstance(read, tuple) and isinstance(now, tuple) and len(read) == len(now):
        found = {_is_same(walk, old, new, linked) for old, new in zip(read, now, strict=True)}
        return False if False in found else None if None in found else type(read) is type(now)
    if read is not now:
        return False
    if isinstance(now, types.ModuleType):
        return None if walk.ownership.installed(now.__name__) is None else True  # what was read of it is not kept
    if hasattr(now, "py_func") and hasattr(now, "overloads"):  # of the jitted function, what it has now must be in use
        if walk.ownership.installed(now.py_func.__globals__.get("__name__")) is not None:
            return True
        return True if linked & set(_libraries(now.overloads)) else None
    return True if isinstance(now, _CANNOT_CHANGE) else None


_CANNOT_CHANGE = (types.FunctionType, types.BuiltinFunctionType, type, np.ufunc)


# ---- what numba compiles where it is defined -----------------------------------------------------------


def _look_at_defined(walk: Writer, value: Any, function: Any, out: list[str]) -> None:
    """Take note of a C callback or a stencil, which keep the values that they were defined with."""
    if walk.machine_code is None:
        return
    if id(value) not in walk.machine_code:
        kernel = getattr(value, "kernel_ir", None)
        if kernel is not None:
            reads = list(_reads_in(function, kernel.blocks))
            changed = any(_is_same(walk, read.value, now, set()) is False for read, now in reads)
        else:
            changed = len(walk.look_at_code(function).parts) > 1  # it reads something
        walk.machine_code[id(value)] = (_KEPT if kernel is not None else _DEFINED) if changed else None
    _report(walk, function, walk.machine_code[id(value)], out)
