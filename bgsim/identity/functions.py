"""What functions count as: their text, what they were made with, and all that their names hold."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from bgsim.identity import draws, machine
from bgsim.identity.limits import why_not, why_not_named
from bgsim.identity.lookup import Named
from bgsim.identity.origin import installed_class, installed_function, is_own_class
from bgsim.identity.reads import Import, Path, Reads, reads_of
from bgsim.identity.source import text_of
from bgsim.identity.watch import ABSENT, contents_of, same_mapping, seen_mapping
from bgsim.identity.writer import Writer


def write_function(walk: Writer, function: types.FunctionType, out: list[str]) -> None:
    """Append a function: an installed one by its name, the user's own as a node."""
    installed = installed_function(walk.ownership, function)
    if installed is None:
        walk.enqueue(f"{function.__module__}.{function.__qualname__}", function, out)
        return
    module = function.__globals__.get("__name__")
    out.append(f"installed {installed} {module}.{function.__code__.co_qualname}")
    why = why_not(function)
    if why is not None:
        walk.refuse(f"{module}.{function.__qualname__}()", why, out)
    if function.__code__.co_qualname == "singledispatch.<locals>.wrapper":
        walk.number(function)
        walk.write(function.registry, out)  # type: ignore[attr-defined] # its cache is no result's business
    elif "<locals>" in function.__code__.co_qualname:  # a decorator's wrapper, say, around code of the user's
        walk.number(function)
        _write_made(walk, function, out)
    machine.write_overloads(walk, function, out)


def _write_made(walk: Writer, function: types.FunctionType, out: list[str]) -> None:
    """Append what was given to a function when it was made."""
    walk.watch.function(function)
    walk.write_all("defaults", function.__defaults__ or (), out)
    keywords = function.__kwdefaults__ or {}
    for name in sorted(keywords):
        out.append(f"default {name}")
        walk.write(keywords[name], out)
    if installed_function(walk.ownership, function) is not None:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            walk.watch.cell(cell)
            out.append(f"free {name}")
            walk.write(contents_of(cell), out)
    attributes = {k: v for k, v in vars(function).items() if k != "__wrapped__"}
    if attributes:
        walk.watch.contents(same_mapping, vars(function), seen_mapping(vars(function)))
    for name in sorted(attributes):
        out.append(f"attribute {name}")
        walk.write(attributes[name], out)


def write_type(walk: Writer, value: type, out: list[str]) -> None:
    """Append a class: an installed one by its name, the user's own as a node."""
    installed = installed_class(walk.ownership, value)
    if installed is not None:
        out.append(f"installed {installed} {value.__module__}.{value.__qualname__}")
        why = why_not(value)
        if why is not None:
            walk.refuse(f"{value.__module__}.{value.__qualname__}", why, out)
        machine.write_overloads(walk, value, out)
    elif is_own_class(walk.ownership, value):
        walk.enqueue(f"{value.__module__}.{value.__qualname__}", value, out)
    else:
        walk.refuse(f"{value.__module__}.{value.__qualname__}", "it is machine code", out)


def write_module(walk: Writer, module: types.ModuleType, out: list[str]) -> None:
    """Append a module that is used as a whole."""
    installed = walk.ownership.installed(module.__name__)
    if installed is None:
        walk.refuse(f"the module {module.__name__}", "any of its names may be used", out)
    else:
        out.append(f"installed {installed} {module.__name__}")


def write_builtin(walk: Writer, value: Any, out: list[str]) -> None:
    """Append a function or method of C."""
    owner = getattr(value, "__self__", None)
    if not isinstance(owner, types.ModuleType | None):
        out.append(f"method {value.__name__}")
        walk.write(owner, out)
        return
    module = getattr(value, "__module__", None) or "builtins"
    why = why_not(value)
    installed = walk.ownership.installed(module)
    if why is None and installed is None:
        why = "it is machine code"
    if why is not None:
        walk.refuse(f"{value.__name__}()" if module == "builtins" else f"{module}.{value.__name__}()", why, out)
    else:
        out.append(f"installed {installed} {module}.{value.__qualname__}")
        machine.write_overloads(walk, value, out)


def write_by_name(walk: Writer, named: Named, out: list[str]) -> None:
    """Append what a function imports itself of an installed package."""
    if named.value is not ABSENT:
        drawn, why = draws.why(named.value), why_not(named.value)
    else:
        drawn, why = None, why_not_named(named.name)
    out.append(f"installed {named.installed} {named.name}")
    if drawn is not None:
        walk.write_draw(drawn, named.value, out)
    elif why is not None:
        walk.refuse(f"{named.name}()", why, out)


def write_own_function(walk: Writer, function: types.FunctionType, out: list[str]) -> None:
    """Append what a function of the user's counts as."""
    _write_made(walk, function, out)
    out.append(text_of(function.__code__, function.__globals__))
    machine.write_overloads(walk, function, out)
    reads = reads_of(function.__code__)
    new = reads.attributes - walk.attributes
    machine.write_methods(walk, new, out)
    if walk.compiled:
        out += [f"{name} of NumPy" for name in sorted(new & draws.CHANGED_METHODS)]
    walk.attributes |= reads.attributes
    if "__subclasses__" in reads.attributes:
        walk.refuse("__subclasses__()", "it finds classes wherever they are defined", out)
    values = list(_values_read(walk, function, reads))
    for read, name, value, consumed in values:
        _write_read(walk, function.__module__, name, value, consumed, out)
        unseeded = read in reads.unseeded and draws.why_unseeded(value.value if isinstance(value, Named) else value)
        if unseeded:
            walk.write_draw(unseeded, value, out)
    if not walk.compiled:
        walk.methods.add(walk.here, reads, [(read, value, consumed) for read, _, value, consumed in values])


def _values_read(
    walk: Writer, function: types.FunctionType, reads: Reads
) -> Iterator[tuple[Path | Import, str, Any, int]]:
    """Yield what is read, its name, what it holds, and how many names of the path were needed for that."""
    for path in reads.names:
        yield path, ".".join(path), *walk.lookup.of_name(function, path)
    for path in reads.free:
        yield path, ".".join(path), *walk.lookup.of_free(function, path)
    for imported in reads.imports:
        name = ".".join((imported.module, *imported.path))
        yield imported, name, *walk.lookup.of_import(function, imported)


def _write_read(walk: Writer, module: str, name: str, value: Any, consumed: int, out: list[str]) -> None:
    """Append what a name holds."""
    out.append(f"read {name}")
    walk.write_named(f"{module}.{'.'.join(name.split('.')[:consumed])}", value, out)
