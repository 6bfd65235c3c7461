"""What a code object reads: names with the attributes after them, found in its byte code."""

from __future__ import annotations

import dis
import functools
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bgsim.identity.draws import UNDIRECTED_METHODS

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
    loose : frozenset of str
        Those that are read of what no path leads to, such as what a function returns.
    stored : frozenset of str
        Every attribute that is set of anything.
    unseeded : frozenset of Path and Import
        What is called without arguments, or with nothing but None.
    undirected : frozenset of str
        Methods of `draws.UNDIRECTED_METHODS` that are read and not called with a stream to draw from.
    """

    names: tuple[Path, ...]
    free: tuple[Path, ...]
    imports: tuple[Import, ...]
    attributes: frozenset[str]
    loose: frozenset[str]
    stored: frozenset[str]
    unseeded: frozenset[Path | Import]
    undirected: frozenset[str]


@functools.lru_cache(maxsize=4096)
def reads_of(code: types.CodeType) -> Reads:
    """Return what a code object reads."""
    held: _Held = {}
    known = -1
    while known != (now := _count(held)):  # a name may be read above the line that it is imported in
        known, found = now, _Found()
        _read(code, {}, held, found)
    return Reads(
        tuple(sorted(found.names)),
        tuple(sorted(path for path in found.free if path[0] in code.co_freevars)),
        tuple(sorted(found.imports)),
        frozenset(found.attributes),
        frozenset(found.loose),
        frozenset(found.stored),
        frozenset(found.unseeded),
        frozenset(() if _STREAM & found.stored else found.undirected),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value on the top of the stack was read from: a path from a global name, a free one, or an import.

    An alias is a variable that such a value was given to: reads of it are not followed, only calls are.
    """

    kind: str  # name, free, import
    path: Path
    imported: Import | None = None
    alias: bool = False

    def attribute(self, name: str) -> _Place:
        return replace(self, path=(*self.path, name))

    def read(self) -> Path | Import:
        return self.path if self.imported is None else self.imported._replace(path=self.path)


_Scope = dict[str, list[_Place]]
"""By the name of a variable, all that code gives it of what can be followed."""

_Held = dict[int, _Scope]
"""By the address of a code object."""

_MOST_PLACES = 8
"""How many a variable may have; in a loop, ``m = m.next`` would have more and more."""

_STREAM = frozenset({"random_state", "rng", "seed"})
"""What libraries name the stream that a function is to draw from."""


def _count(held: _Held) -> int:
    return sum(len(places) for scope in held.values() for places in scope.values())


@dataclass(slots=True)
class _Found:
    names: set[Path] = field(default_factory=set)
    free: set[Path] = field(default_factory=set)
    imports: set[Import] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    unseeded: set[Path | Import] = field(default_factory=set)
    undirected: set[str] = field(default_factory=set)

    def add(self, place: _Place) -> None:
        """Take a place of which no more attributes follow."""
        if place.imported is not None:
            self.imports.add(place.imported._replace(path=place.path))
        elif not place.alias:
            (self.names if place.kind == "name" else self.free).add(place.path)


def _read(code: types.CodeType, around: _Scope, held: _Held, found: _Found) -> None:
    """Read a code object and those within it; `around` are the variables of the functions around it."""
    scope = held.setdefault(id(code), {})
    for name in code.co_freevars:
        scope[name] = around.setdefault(name, [])
    _Reader(code, scope, found).read()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType) and constant.co_name != "__annotate__":
            _read(constant, scope, held, found)


class _Reader:
    """Goes through the byte code of one code object and follows what is read, attribute by attribute."""

    def __init__(self, code: types.CodeType, scope: _Scope, found: _Found) -> None:
        self._code = code
        self._scope = scope
        self._found = found
        self._shared = {*code.co_cellvars, *code.co_freevars}
        self._places: list[_Place] = []  # of what was read last, while attributes of it may follow
        self._source: _Place | None = None  # the module that names are imported from
        self._dotted = False  # whether `import a.b as c` is on its way from a to b
        self._constants: list[Any] = [0, None]  # the last two: level and names of an import
        self._callee: list[_Place] = []  # what was read before nothing but constants
        self._nones = 0  # how often None was read since
        self._waiting: list[str] = []  # methods that draw, and were given no stream so far

    def read(self) -> None:
        for name, argument, number in _instructions(self._code):
            if name in _ATTRIBUTE:
                self._attribute(argument)
            elif name == "IMPORT_FROM":
                self._import_from(argument)
            elif name in _STORE and self._places:
                self._store(name, argument)
            elif not (self._dotted and name in ("SWAP", "POP_TOP")):
                self._complete()
                self._call(name, argument, number)
                self._places = self._loaded(name, argument)
                if name in ("LOAD_CONST", "LOAD_SMALL_INT"):
                    self._constants = [self._constants[1], argument if name == "LOAD_CONST" else number]
        self._complete()
        self._found.undirected.update(self._waiting)

    def _attribute(self, name: str) -> None:
        self._found.attributes.add(name)
        if all(place.alias for place in self._places):
            self._found.loose.add(name)
        if name in UNDIRECTED_METHODS:
            self._waiting.append(name)
        self._places = [place.attribute(name) for place in self._places]

    def _import_from(self, name: str) -> None:
        self._found.attributes.add(name)
        if self._source is not None and self._source.imported is not None:
            self._dotted = self._source.imported.top
            start = self._places if self._dotted else [self._source]
            self._places = [place.attribute(name) for place in start]

    def _store(self, name: str, variable: str) -> None:
        """Remember what a variable is given. A value that a class is given can be used through the class."""
        known = self._scope.setdefault(variable, [])
        for place in self._places:
            given = place if place.imported is not None else replace(place, alias=True)
            if given not in known and len(known) < _MOST_PLACES:
                known.append(given)
            if place.imported is None or given not in known or name == "STORE_NAME":
                self._found.add(place)
        self._places = []
        self._dotted = False

    def _complete(self) -> None:
        """Take what was read when no more attributes of it follow."""
        for place in self._places:
            self._found.add(place)
        if self._places:
            self._callee, self._nones = self._places, 0
        self._places = []
        self._dotted = False

    def _call(self, name: str, argument: Any, number: int) -> None:
        """Take note of calls without a seed, and of those with a stream to draw from."""
        if name in ("CALL", "CALL_KW") and number == self._nones:
            self._found.unseeded.update(place.read() for place in self._callee)
        if name == "STORE_ATTR":
            self._found.stored.add(argument)
        is_keywords = name in ("LOAD_CONST", "KW_NAMES") and isinstance(argument, tuple)
        gives_stream = is_keywords and not _STREAM.isdisjoint(map(str, argument))
        may_give_stream = name == "CALL_FUNCTION_EX" and (number & _WITH_KEYWORDS or sys.version_info >= (3, 14))
        if self._waiting and (gives_stream or may_give_stream):
            self._waiting.pop()
        if name == "LOAD_CONST" and argument is None:
            self._nones += 1
        elif not is_keywords:
            self._callee = []

    def _loaded(self, name: str, argument: Any) -> list[_Place]:
        """Return where the value that an instruction loads is from."""
        if name == "IMPORT_NAME":
            level, names = self._constants
            self._source = _Place("import", (), Import(argument, level, top=names is None, path=()))
            return [self._source]
        if name == "LOAD_GLOBAL":
            return [_Place("name", (argument,))]
        if name in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            return [_Place("name", (argument,)), *self._scope.get(argument, ())]
        if name in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"):
            free = [_Place("free", (argument,))] if argument in self._code.co_freevars else []
            return [*free, *self._scope.get(argument, ())]
        if name.startswith("LOAD_FAST") and argument not in self._shared:
            return list(self._scope.get(argument, ()))
        return []


_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "LOAD_SUPER_METHOD"})

_STORE = frozenset({"STORE_FAST", "STORE_DEREF", "STORE_NAME"})

_WITH_KEYWORDS = 1
"""Flag of a call with ``**keywords``, up to Python 3.13."""

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
            yield first, _variable(code, number >> 4), 0
            yield second, _variable(code, number & 15), 0
        elif operation in _WITH_VARIABLE:
            yield name, _variable(code, number), number
        else:
            yield name, None, number


def _variable(code: Any, number: int) -> str:
    name: str = code._varname_from_oparg(number)  # noqa: SLF001 - as `dis` does, under each version of Python
    return name


_WITH_NAME = frozenset(dis.hasname)
_WITH_CONSTANT = frozenset(dis.hasconst)
_WITH_VARIABLE = frozenset((*dis.haslocal, *dis.hasfree))
_WITH_TWO = {
    dis.opmap[name]: tuple(f"{verb}_FAST" for verb in re.findall("LOAD|STORE", name))
    for name in dis.opmap
    if len(re.findall("(LOAD|STORE)_FAST", name)) == 2
}
"""LOAD_FAST_LOAD_FAST, STORE_FAST_LOAD_FAST and their like."""
