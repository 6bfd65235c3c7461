"""What a walk finds, and what of it has to be told to the author of a simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from bgsim.identity.watch import Watch


class Node(NamedTuple):
    """A function or a class that is looked at once."""

    number: int
    label: str
    subject: Any


@dataclass(slots=True)
class Problem:
    """Something that a simulation reaches and that has an answer of its own: it cannot be followed, or it draws.

    Attributes
    ----------
    what : str
        The object, as a reader would write it.
    where : Node
        The function or class that uses it.
    why : str
        What is wrong with it.
    """

    what: str
    where: Node
    why: str

    def __str__(self) -> str:
        return f"{self.what}, used in {self.where.label}: {self.why}"


@dataclass(slots=True)
class Found:
    """What a walk has found.

    Attributes
    ----------
    digest : str
        32 hexadecimal digits over everything.
    parts : dict of str to str
        Of each dependency, by a label for people, a short hash.
    watch : Watch
    attributes : set of str
        All that the code reads of anything.
    limits, draws, stale : list of Problem
        What cannot be followed; what draws from streams that are not the replicate's; machine code that numba keeps
        and that is older than what it was compiled from.
    """

    digest: str
    parts: dict[str, str]
    watch: Watch
    attributes: set[str]
    limits: list[Problem]
    draws: list[Problem]
    stale: list[Problem]
