"""Methods that draw, or read from outside, found by their names: only a run knows whose they are."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any, NamedTuple

from bgsim.identity import draws, limits
from bgsim.identity.lookup import Named
from bgsim.identity.problems import Node, Problem
from bgsim.identity.reads import Import, Path, Reads
from bgsim.identity.static import space_of
from bgsim.identity.watch import ABSENT


class _Asked(NamedTuple):
    """An attribute that a function reads of an object."""

    attribute: str
    shown: str
    where: Node
    draws: bool


class Methods:
    """Attributes that functions ask objects for, and whether one of the user's own classes may be meant."""

    def __init__(self) -> None:
        self._asked: list[_Asked] = []
        self._stored: set[str] = set()

    def add(self, where: Node, reads: Reads, values: list[tuple[Path | Import, Any, int]]) -> None:
        """Take note of what a function asks for.

        `values` are what it reads: the path to each, what is there, and how many names of the path that took.
        """
        self._stored |= reads.stored
        shown = {attribute: f"{attribute}()" for attribute in reads.loose}
        for read in values:
            shown |= {attribute: f"{path}()" for path, attribute in _left(*read)}
        homes = {_home_of(value) for _, value, _ in values}
        for attribute in sorted(shown):
            if attribute in reads.undirected and draws.UNDIRECTED_METHODS[attribute] in (None, *homes):
                self._asked.append(_Asked(attribute, f"{shown[attribute]} without random_state=rng", where, True))
            if attribute in limits.METHODS and limits.METHODS[attribute][1] in (None, *homes):
                self._asked.append(_Asked(attribute, shown[attribute], where, False))

    def judge(self, met: Iterable[Any], limited: list[Problem], drawn: list[Problem]) -> None:
        """Append what is a limit or a draw, unless something that was met, of the user's, has such an attribute."""
        if not self._asked:
            return
        own = self._stored.union(*map(_attributes_of, met))
        for attribute, shown, where, draws_it in self._asked:
            if attribute in own:
                continue
            if draws_it:
                drawn.append(Problem(shown, where, "it draws from a stream that replicates share"))
            else:
                limited.append(Problem(shown, where, limits.METHODS[attribute][0]))


def _left(read: Path | Import, value: Any, consumed: int) -> list[tuple[str, str]]:
    """Return the attributes of a path that were not followed, each with the path to it.

    Of a module that is not imported yet none was; the first is what the module has.
    """
    start: Path = ()
    if isinstance(read, Import):
        start, read = (read.module.partition(".")[0] if read.top else read.module,), read.path
        consumed = 1 if isinstance(value, Named) and value.value is ABSENT else consumed - 1
    return [(".".join((*start, *read[: index + 1])), read[index]) for index in range(consumed, len(read))]


def _home_of(value: Any) -> str:
    """Return the topmost package that something is of."""
    if isinstance(value, Named):
        name = value.name
    elif isinstance(value, types.ModuleType):
        name = value.__name__
    else:
        name = getattr(value if isinstance(value, type | types.FunctionType) else type(value), "__module__", "")
    return name.partition(".")[0] if isinstance(name, str) else ""


def _attributes_of(value: Any) -> Iterable[str]:
    """Return the names that a class declares, or that an object holds; no code of the user runs."""
    space = space_of(value) or {}
    return [*space, *space.get("__dataclass_fields__", ()), *space.get("_fields", ())]
