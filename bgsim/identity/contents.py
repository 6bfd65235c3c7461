"""What values count as that are no code: containers, arrays, instances, streams, locks and references."""

from __future__ import annotations

import _io
import ctypes
import enum
import os
import sys
import types
import weakref
from typing import Any, ParamSpec, TypeVar

import numpy as np

from bgsim.identity.atoms import SYNCHRONISERS
from bgsim.identity.containers import BUILTIN_BASES, plain_text, write_array, write_builtin
from bgsim.identity.enums import write_member
from bgsim.identity.instances import write_instance, write_reduced
from bgsim.identity.limits import why_not
from bgsim.identity.origin import is_own_class
from bgsim.identity.static import is_a, member_of, shown
from bgsim.identity.writer import Writer

_OUTSIDE = (_io._IOBase, os._Environ, ctypes.CDLL)  # noqa: SLF001 - CPython names them so


def write_contents(walk: Writer, value: Any, out: list[str]) -> None:
    """Append what anything that is no atom, function, class or module counts as."""
    kind = type(value)
    if _write_apart(walk, value, kind, out):
        return
    if kind in BUILTIN_BASES:
        if plain_text(value) is None:  # else equal ones are one, wherever they are
            walk.number(value)
        write_builtin(walk, value, kind, out)
    elif kind in (np.void, np.record):
        walk.number(value)
        write_array(walk, np.asarray(value), out, holder=value)
    elif kind is weakref.ref:
        _write_reference(walk, value, out)
    elif kind in (TypeVar, ParamSpec):
        out.append(f"type variable {value.__name__}")
    elif is_own_class(walk.ownership, kind):
        walk.number(value)
        write_instance(walk, value, kind, out)
    else:
        write_reduced(walk, value, kind, out)


def _write_apart(walk: Writer, value: Any, kind: type, out: list[str]) -> bool:
    """Append what is not looked into, or is not to count; tell whether it was that."""
    why = why_not(value)
    if any(value is stream for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)):
        out.append("standard stream")  # which is written to
    elif why is not None or is_a(value, _OUTSIDE):
        walk.refuse(shown(value), why or "it reads what is outside of the program", out)
    elif kind in SYNCHRONISERS:
        out.append(f"synchroniser {kind.__name__}")
    elif is_a(value, enum.Enum):
        write_member(walk, value, out)
    elif not walk.counts_state and _is_state(value):
        out.append("state")
        if is_own_class(walk.ownership, kind):
            walk.write(kind, out)
    else:
        return False
    return True


def _is_state(value: Any) -> bool:
    """Tell whether something can change in place."""
    if is_a(value, np.ndarray):
        return bool(value.flags.writeable)
    if is_a(value, (tuple, frozenset, types.MappingProxyType)):
        return False
    settings = member_of(type(value), "__dataclass_params__")
    return settings is None or not settings.frozen


def _write_reference(walk: Writer, value: weakref.ref[Any], out: list[str]) -> None:
    walk.number(value)
    held = value()
    walk.watch.contents(_refers_to, value, None if held is None else id(held))
    out.append("weak reference")
    walk.write(held, out)


def _refers_to(reference: weakref.ref[Any], address: int | None) -> bool:
    held = reference()
    return (None if held is None else id(held)) == address
