"""What instances of classes count as: their class, what they are derived from, and their attributes."""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bgsim.identity.atoms import SYNCHRONISERS
from bgsim.identity.classes import is_derived
from bgsim.identity.containers import BUILTIN_BASES, write_builtin
from bgsim.identity.draws import is_of_process
from bgsim.identity.origin import global_of, installed_class, is_made_by_python
from bgsim.identity.ownership import is_of_stdlib
from bgsim.identity.remembered import look_at_instance, remembers_others
from bgsim.identity.static import shown, slot, slots_of, space_descriptor
from bgsim.identity.watch import ABSENT, same_items, same_mapping, seen_mapping
from bgsim.identity.writer import Writer

if TYPE_CHECKING:
    from bgsim.identity.ownership import Ownership

_STATE = 2
"""Where the state stands in what `__reduce__` returns."""

_FOREIGN = ("ctypes", "_ctypes", "cffi", "_cffi_backend")


def write_instance(walk: Writer, value: Any, kind: type, out: list[str]) -> None:
    """Append an instance of a class of the user's: the class, what a builtin type keeps of it, and each attribute."""
    out.append("instance")
    walk.write(kind, out)
    descriptor = space_descriptor(kind)
    space = {} if descriptor is None else descriptor.__get__(value)
    _write_base(walk, value, kind, space, out)
    walk.watch.contents(_same_instance, value, (kind, descriptor, seen_mapping(space)))
    attributes = {name: item for name, item in space.items() if not is_derived(kind, name)}
    slots = slots_of(kind)
    if slots:
        walk.watch.contents(_same_slots, value, (slots, tuple(slot(value, s, ABSENT) for s in slots.values())))
        found = {name: slot(value, member, ABSENT) for name, member in slots.items()}
        attributes |= {name: item for name, item in found.items() if item is not ABSENT}
    walk.within += 1
    package = _package_of(walk, kind)
    for name in sorted(attributes):
        out.append(f"attribute {name}")
        if package and is_of_process(attributes[name]):  # as a distribution of scipy's has it
            out.append(f"generator of {package}")
        else:
            walk.write(attributes[name], out)
    walk.within -= 1
    look_at_instance(walk, value, out)


def _package_of(walk: Writer, kind: type) -> str | None:
    """Return the package that a class of the user's has a base of, besides the standard library."""
    installed = (walk.ownership.installed(base.__module__) for base in kind.__mro__)
    return next((package for package in installed if package and not is_of_stdlib(package)), None)


def _same_instance(value: Any, seen: tuple[type, Any, Any]) -> bool:
    kind, descriptor, attributes = seen
    return type(value) is kind and (descriptor is None or same_mapping(descriptor.__get__(value), attributes))


def _same_slots(value: Any, seen: tuple[dict[str, Any], tuple[Any, ...]]) -> bool:
    slots, held = seen
    return same_items([slot(value, member, ABSENT) for member in slots.values()], held)


def _write_base(walk: Writer, value: Any, kind: type, space: Any, out: list[str]) -> None:
    """Append what the type of C that a class is derived from keeps of its instances."""
    base = next(base for base in kind.__mro__ if not is_made_by_python(base))
    builtin = next((known for known in BUILTIN_BASES if issubclass(kind, known)), None)
    if builtin is not None:
        write_builtin(walk, value, builtin, out)
    if base is object or base is builtin or base in SYNCHRONISERS:
        return
    reduce: Any = base.__reduce__
    if reduce is object.__reduce__:  # which asks the class
        walk.refuse(shown(value), f"it is an object of {base.__module__}.{base.__qualname__}", out)
    else:
        _write_reduction(walk, value, functools.partial(_reduced_by_base, reduce, space), out)


def _reduced_by_base(reduce: Any, space: Any, value: Any) -> Any:
    parts: Any = reduce(value)
    return [list(p) if isinstance(p, Iterator) else None if p is space else p for p in parts]


def write_reduced(walk: Writer, value: Any, kind: type, out: list[str]) -> None:
    """Append an instance of an installed class, by what pickling it would keep: that is its state, by its own word."""
    walk.number(value)
    installed = installed_class(walk.ownership, kind)
    if installed is None or kind.__module__.partition(".")[0] in _FOREIGN:
        walk.refuse(shown(value), f"it is an object of {kind.__module__}.{kind.__qualname__} (it is machine code)", out)
        return
    reduce = functools.partial(_reduced, walk.ownership, remembers_others(walk, value))
    _write_reduction(walk, value, reduce, out, f"reduced {installed}")


def _write_reduction(
    walk: Writer, value: Any, reduce: Callable[[Any], Any], out: list[str], tag: str = "reduced"
) -> None:
    """Append what an object reduces to. The outermost is watched by a digest, which holds those within it."""
    try:
        reduced = reduce(value)
    except Exception as error:  # whatever its class raises
        kind = type(value)
        walk.refuse(shown(value), f"it is an object of {kind.__module__}.{kind.__qualname__} ({error})", out)
        return
    if isinstance(reduced, str):
        out.append(reduced)
        return
    out.append(tag)
    outermost = not walk.within_reduced
    walk.within_reduced = True
    with walk.inside(tag.removeprefix("reduced").strip() or "builtins"):
        walk.write_all("parts", reduced, out)
    if outermost:
        walk.within_reduced = False
        walk.watch.contents(_same_reduced, value, (reduce, walk.new_digest(), walk.digest(reduced)))


def _same_reduced(value: Any, seen: tuple[Callable[[Any], Any], Callable[[Any], str], str]) -> bool:
    reduce, digest, before = seen
    try:
        return digest(reduce(value)) == before
    except Exception:  # whatever its class raises
        return False


def _reduced(ownership: Ownership, with_derived: bool, value: Any) -> Any:
    """Return what pickling an object keeps of it: how the global is called that it is, or a list."""
    kind = type(value)
    registered = copyreg.dispatch_table.get(kind)
    found = value.__reduce_ex__(4) if registered is None else registered(value)
    if not isinstance(found, str):
        parts = [list(part) if isinstance(part, Iterator) else part for part in found]
        if len(parts) > _STATE and not with_derived:
            parts[_STATE] = _without_derived(kind, parts[_STATE])
        return parts
    installed = global_of(ownership, value, found)
    if installed is None:
        raise TypeError(f"no module has it under its name, {found}")
    return f"installed {installed} {kind.__module__}.{found}"


def _without_derived(kind: type, state: Any) -> Any:
    """Return the state of an instance without what follows from the rest of it."""
    if type(state) is tuple and len(state) == 2:  # the second one holds slots
        return _without_derived(kind, state[0]), state[1]
    if type(state) is not dict:
        return state
    return {name: item for name, item in state.items() if not is_derived(kind, name)}
