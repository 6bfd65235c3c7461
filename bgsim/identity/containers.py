"""What containers, arrays and instances count as: their class and all that they hold."""

from __future__ import annotations

import array
import collections
import copyreg
import ctypes
import enum
import io
import os
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.identity.atoms import SYNCHRONISERS, atom_text
from bgsim.identity.classes import is_derived
from bgsim.identity.draws import is_of_process
from bgsim.identity.limits import why_not
from bgsim.identity.ownership import Ownership, is_extension, is_of_stdlib
from bgsim.identity.watch import (
    array_digest,
    same_array,
    same_items,
    same_mapping,
    seen_array,
    seen_mapping,
)

if TYPE_CHECKING:
    from bgsim.identity.walk import Walk

_SEQUENCES = (tuple, list, collections.deque)
_MAPPINGS = (dict, types.MappingProxyType)
_SETS = (set, frozenset)
_BYTES = (bytearray, array.array)
_TEXTS = (int, float, complex, str, bytes)
_BUILTIN_BASES = (*_SEQUENCES, *_MAPPINGS, *_SETS, *_BYTES, *_TEXTS, np.ndarray)
_OUTSIDE = (io.IOBase, os._Environ, ctypes.CDLL)


def write_contents(walk: Walk, value: Any, out: list[str]) -> None:
    """Append what anything that is no atom, function, class or module counts as."""
    kind = type(value)
    why = why_not(value)
    if any(value is stream for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)):
        out.append("standard stream")  # which is written to
    elif why is not None or isinstance(value, _OUTSIDE):
        walk.refuse(_shown(value), why or "it reads what is outside of the program", out)
    elif isinstance(value, SYNCHRONISERS):
        out.append(f"synchroniser {kind.__name__}")
    elif isinstance(value, enum.Enum):
        out.append(f"enum {value._name_}")
        walk.write(kind, out)
    elif not walk.counts_state and _is_state(value):
        out.append("state")
        if walk.ownership.installed(kind.__module__) is None and not is_extension(kind.__module__):
            walk.write(kind, out)
    elif kind in _BUILTIN_BASES:
        walk.number(value)
        _write_builtin(walk, value, kind, out)
    elif walk.ownership.installed(kind.__module__) is None and not is_extension(kind.__module__):
        walk.number(value)
        _write_instance(walk, value, kind, out)
    else:
        _write_reduced(walk, value, kind, out)


def _is_state(value: Any) -> bool:
    """Tell whether something can change in place."""
    if isinstance(value, np.ndarray):
        return bool(value.flags.writeable)
    if isinstance(value, tuple | frozenset | types.MappingProxyType):
        return False
    settings = getattr(type(value), "__dataclass_params__", None)
    return settings is None or not settings.frozen


def _write_builtin(walk: Walk, value: Any, base: type, out: list[str]) -> None:
    """Append the items of a container; `base` is the builtin type that it is, or is derived from."""
    if issubclass(base, np.ndarray):
        _write_array(walk, value, out)
    elif issubclass(base, _MAPPINGS):
        walk.watch.contents(same_mapping, value, seen_mapping(value))
        out.append(f"{base.__name__} {len(value)}")
        for key, item in list(value.items()):
            walk.write(key, out)
            walk.write(item, out)
    elif issubclass(base, _SETS):
        walk.watch.contents(same_items, value, tuple(value))
        _write_set(walk, value, out)
    elif issubclass(base, _BYTES):
        walk.watch.contents(_same_bytes, value, bytes(value))
        out.append(f"{base.__name__} {getattr(value, 'typecode', '')} {bytes(value).hex()}")
    elif issubclass(base, _TEXTS):
        out.append(str(atom_text(base(value))))
    else:
        if not isinstance(value, tuple):
            walk.watch.contents(same_items, value, tuple(value))
        walk.write_all(base.__name__, tuple(value), out)


def _write_array(walk: Walk, value: np.ndarray, out: list[str]) -> None:
    plain = np.asarray(value)
    if plain.dtype.hasobject:
        items = tuple(plain.ravel().tolist())
        walk.watch.contents(lambda holder, seen: same_items(np.asarray(holder).ravel().tolist(), seen), value, items)
        walk.write_all(f"array {plain.dtype} {plain.shape}", items, out)
        return
    if plain.flags.writeable or plain.base is not None:
        walk.watch.contents(same_array, plain, seen_array(plain))
    out.append(f"array {np.lib.format.dtype_to_descr(plain.dtype)!r} {plain.shape} {array_digest(plain).hex()}")
    if isinstance(value, np.ma.MaskedArray):
        walk.write(np.ma.getmaskarray(value), out)


def _write_set(walk: Walk, value: Any, out: list[str]) -> None:
    """Append a set's items in an order of their own; that of the set is another in each process."""
    texts, before = [], walk.count()
    for item in value:
        text: list[str] = []
        walk.write(item, text)
        texts.append("\0".join(text))
    out.append(f"set {len(texts)}")
    if walk.count() - before > 1:
        walk.refuse("a set of objects", "its order is another in each process", out)
    out += sorted(texts)


def _same_bytes(value: Any, seen: bytes) -> bool:
    return bytes(value) == seen


def _write_instance(walk: Walk, value: Any, kind: type, out: list[str]) -> None:
    """Append an instance of a class of the user's: the class, and each attribute."""
    out.append("instance")
    walk.write(kind, out)
    for base in _BUILTIN_BASES:
        if isinstance(value, base):
            _write_builtin(walk, value, base, out)
            break
    space = getattr(value, "__dict__", None)
    attributes: dict[str, Any] = {}
    if isinstance(space, dict):
        walk.watch.contents(same_mapping, space, seen_mapping(space))
        attributes |= {name: item for name, item in space.items() if not is_derived(kind, name)}
    slots = _slots_of(kind)
    if slots:
        walk.watch.contents(_same_slots, value, tuple(getattr(value, name, None) for name in slots))
        attributes |= {name: getattr(value, name) for name in slots if hasattr(value, name)}
    walk.within += 1
    package = _package_of(walk, kind)
    for name in sorted(attributes):
        out.append(f"attribute {name}")
        if package and is_of_process(attributes[name]):  # as a distribution of scipy's has it
            out.append(f"generator of {package}")
        else:
            walk.write(attributes[name], out)
    walk.within -= 1


def _package_of(walk: Walk, kind: type) -> str | None:
    """Return the package that a class of the user's has a base of, besides the standard library."""
    installed = (walk.ownership.installed(base.__module__) for base in kind.__mro__)
    return next((package for package in installed if package and not is_of_stdlib(package)), None)


def _slots_of(kind: type) -> list[str]:
    """Return the names of the slots that a class and its bases declare."""
    return [
        name
        for base in kind.__mro__
        for name, member in vars(base).items()
        if isinstance(member, types.MemberDescriptorType)
    ]


def _same_slots(value: Any, seen: tuple[Any, ...]) -> bool:
    return same_items([getattr(value, name, None) for name in _slots_of(type(value))], seen)


def _write_reduced(walk: Walk, value: Any, kind: type, out: list[str]) -> None:
    """Append an instance of an installed class, by what pickling it would keep: that is its state, by its own word."""
    installed = walk.ownership.installed(kind.__module__)
    try:
        if installed is None or kind.__module__.partition(".")[0] in ("ctypes", "_ctypes", "cffi", "_cffi_backend"):
            raise TypeError("it is machine code")
        reduced = _reduced(value)
    except Exception as error:  # whatever its class raises
        walk.number(value)
        walk.refuse(_shown(value), f"it is an object of {kind.__module__}.{kind.__qualname__} ({error})", out)
        return
    walk.number(value)
    if isinstance(reduced, str):
        out.append(f"installed {installed} {kind.__module__}.{reduced}")
        return
    out.append(f"reduced {installed}")
    with walk.inside(installed):
        walk.write_all("parts", reduced, out)
    if walk.watches:
        digest = partial(_digest_of, type(walk), walk.ownership, walk.compiled, value)
        walk.watch.contents(_same_reduced, value, (digest, digest(reduced)))


def _reduced(value: Any) -> Any:
    """Return what pickling an object keeps of it: the name of a global, or a list."""
    registered = copyreg.dispatch_table.get(type(value))
    found = value.__reduce_ex__(4) if registered is None else registered(value)
    if isinstance(found, str):
        return found
    return [list(part) if isinstance(part, Iterator) else part for part in found]


def _digest_of(walk: type[Walk], ownership: Ownership, compiled: bool, value: Any, reduced: Any) -> str:
    fresh = walk(ownership, compiled=compiled)
    fresh.watches = False
    fresh.number(value)  # what it is reduced to may hold it
    return fresh.root("", reduced).digest


def _same_reduced(value: Any, seen: tuple[Callable[[Any], str], str]) -> bool:
    digest, before = seen
    try:
        return digest(_reduced(value)) == before
    except Exception:  # whatever its class raises by now
        return False


def _shown(value: Any) -> str:
    """Return how a message names a value: never by what its class says, which may be anything."""
    name = getattr(value, "__name__", None)
    if isinstance(name, str):
        return name
    return f"a {type(value).__module__}.{type(value).__qualname__}"
