"""What functions and classes are called, and what they wrap: it counts only where code asks for it."""

from __future__ import annotations

import types
from typing import Any

from bgsim.identity.static import is_a
from bgsim.identity.watch import ABSENT
from bgsim.identity.writer import Writer

_NAMES = frozenset({"__name__", "__qualname__"})


def write_asked_for(walk: Writer) -> None:
    """Take the names of all functions and classes that were met, and what functions wrap, if the code reads such."""
    if "__wrapped__" in walk.attributes:
        for function in [one for one in walk.met if type(one) is types.FunctionType]:
            out: list[str] = []
            walk.write(vars(function).get("__wrapped__", ABSENT), out)
            walk.feed(["wrapped", *out])
    if walk.attributes & _NAMES:
        for named in [one for one in walk.met if is_a(one, (type, types.FunctionType))]:
            walk.feed([f"named {named.__qualname__}"])
            walk.watch.contents(_is_named, named, named.__qualname__)


def _is_named(subject: Any, seen: str) -> bool:
    return bool(subject.__qualname__ == seen)
