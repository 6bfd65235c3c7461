"""What a walk finds that has to be told to the author of a simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


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
