"""What a code object reads: names with the attributes after them, found in its byte code."""

from __future__ import annotations

import dis
import functools
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

Path = tuple[str, ...]
"""A name and the attributes that are read after it: ``np.random.normal`` is ``("np", "random", "normal")``."""


class Import(NamedTuple):
    """What a function reads of a module that it imports itself.

    Attributes
    ----------
    module : str
    level : int
        Of a relative import, in packages; 0 is absolute.
    top : bool
        Whether the path begins at the topmost package, as after ``import a.b``.
    path : Path
        Empty if the module itself is used.
    """

    module: str
    level: int
    top: bool
    path: Path


@dataclass(frozen=True, slots=True)
class Reads:
    """What a function's code reads, its inner functions included.

    Attributes
    ----------
    names : tuple of Path
        From a global or builtin name, sorted.
    free : tuple of Path
        From a name of an enclosing function.
    imports : tuple of Import
        Of what the function imports itself.
    attributes : frozenset of str
        Every attribute that is read of anything.
    called_bare : frozenset of Path
        Those of `names` that are called without arguments.
    """

    names: tuple[Path, ...]
    free: tuple[Path, ...]
    imports: tuple[Import, ...]
    attributes: frozenset[str]
    called_bare: frozenset[Path]


@functools.lru_cache(maxsize=4096)
def reads_of(code: types.CodeType) -> Reads:
    """Return what a code object reads."""
    found = _Reader()
    found.read(code, {})
    return Reads(
        tuple(sorted(found.names)),
        tuple(sorted(path for path in found.free if path[0] in code.co_freevars)),
        tuple(sorted(found.imports)),
        frozenset(found.attributes),
        frozenset(found.called_bare),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value on the top of the stack was read from: a path from a global name, a free one, or an import."""

    kind: str  # name, free, import
    path: Path
    imported: Import | None = None

    def attribute(self, name: str) -> _Place:
        return replace(self, path=(*self.path, name))


class _Reader:
    """Goes through byte code and follows what is read, attribute by attribute."""

    def __init__(self) -> None:
        self.names: set[Path] = set()
        self.free: set[Path] = set()
        self.imports: set[Import] = set()
        self.attributes: set[str] = set()
        self.called_bare: set[Path] = set()

    def read(self, code: types.CodeType, modules: dict[str, _Place]) -> None:
        """Read a code object; `modules` are the names of the functions around it that hold imported modules."""
        modules = {name: place for name, place in modules.items() if name in code.co_freevars}
        shared = {*code.co_cellvars, *code.co_freevars}
        place: _Place | None = None  # of what was read last, while attributes of it may follow
        source: _Place | None = None  # the module that names are imported from
        constants: list[Any] = [0, None]  # the last two: level and names of an import
        for name, argument, number in _instructions(code):
            if name in _ATTRIBUTE:
                self.attributes.add(argument)
                if place is not None:
                    place = place.attribute(argument)
                continue
            if name == "IMPORT_FROM" and source is not None:
                self.attributes.add(argument)
                place = source.attribute(argument)
                continue
            if name in _STORE and place is not None and place.kind == "import":
                modules[argument] = place
                place = None
                continue
            if name == "CALL" and number == 0 and place is not None and place.kind == "name":
                self.called_bare.add(place.path)
            self._complete(place)
            place = None
            if name in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
                place = _Place("name", (argument,))
            elif name in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"):
                place = modules.get(argument)
                if place is None and argument in code.co_freevars:
                    place = _Place("free", (argument,))
            elif name.startswith("LOAD_FAST") and argument not in shared:
                place = modules.get(argument)
            elif name == "IMPORT_NAME":
                level, names = constants
                imported = Import(argument, level, top=names is None, path=())
                source = place = _Place("import", (), imported)
            elif name in ("LOAD_CONST", "LOAD_SMALL_INT"):
                constants = [constants[1], argument if name == "LOAD_CONST" else number]
        self._complete(place)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType) and constant.co_name != "__annotate__":
                self.read(constant, modules)

    def _complete(self, place: _Place | None) -> None:
        """Take what was read when no more attributes of it follow."""
        if place is None:
            return
        if place.imported is not None:
            self.imports.add(place.imported._replace(path=place.path))
        else:
            (self.names if place.kind == "name" else self.free).add(place.path)


_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "LOAD_SUPER_METHOD"})

_STORE = frozenset({"STORE_FAST", "STORE_DEREF", "STORE_NAME"})

_SILENT = frozenset({"CACHE", "PRECALL", "PUSH_NULL", "NOP", "RESUME", "NOT_TAKEN"})
"""Instructions between a value and what is done with it."""

_SHIFTS = {
    "LOAD_GLOBAL": 1,
    "LOAD_SUPER_ATTR": 2,
    **({"LOAD_ATTR": 1} if sys.version_info >= (3, 12) else {}),
}
"""By how many bits the index of a name is shifted, below which flags stand."""


def _instructions(code: types.CodeType) -> Iterator[tuple[str, Any, int]]:
    """Yield name, argument, and numeric argument of each instruction; of one that is two in one, both.

    `dis.get_instructions` does the same, with much that is not needed here, in ten times the time.
    """
    data, extended = code.co_code, 0
    for at in range(0, len(data), 2):
        number = data[at + 1] | extended
        operation = data[at]
        if operation == dis.EXTENDED_ARG:
            extended = number << 8
            continue
        extended = 0
        name = dis.opname[operation]
        if name in _SILENT:
            continue
        if operation in _WITH_NAME:
            yield name, code.co_names[number >> _SHIFTS.get(name, 0)], number
        elif operation in _WITH_CONSTANT:
            yield name, code.co_consts[number], number
        elif operation in _WITH_TWO:
            first, second = _WITH_TWO[operation]
            yield first, code._varname_from_oparg(number >> 4), 0  # type: ignore[attr-defined]
            yield second, code._varname_from_oparg(number & 15), 0  # type: ignore[attr-defined]
        elif operation in _WITH_VARIABLE:
            yield name, code._varname_from_oparg(number), number  # type: ignore[attr-defined]
        else:
            yield name, None, number


_WITH_NAME = frozenset(dis.hasname)
_WITH_CONSTANT = frozenset(dis.hasconst)
_WITH_VARIABLE = frozenset((*dis.haslocal, *dis.hasfree))
_WITH_TWO = {
    dis.opmap[name]: tuple(f"{verb}_FAST" for verb in re.findall("LOAD|STORE", name))
    for name in dis.opmap
    if len(re.findall("(LOAD|STORE)_FAST", name)) == 2
}
"""LOAD_FAST_LOAD_FAST, STORE_FAST_LOAD_FAST and their like."""
