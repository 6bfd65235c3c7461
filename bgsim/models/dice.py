"""Dice formulas as people write them: ``2d6 + 4[STR] - 1``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bgsim.checks import is_number
from bgsim.errors import ScenarioError
from bgsim.parameters.fields import brief

_TERM = re.compile(
    r"\s*(?P<sign>[+-]?)\s*(?:(?P<count>\d*)[dD](?P<sides>\d+)|(?P<constant>\d+(?:\.\d+)?))\s*(?:\[[^\]]*\])?\s*",
    re.ASCII,
)

MAX_LENGTH = 1000
"""Characters of a formula."""

MAX_DICE = 1000
MAX_SIDES = 10_000
MAX_CONSTANT = 1e9


@dataclass(frozen=True, slots=True)
class Formula:
    """A sum of dice and a constant.

    Attributes
    ----------
    dice : tuple of (int, int)
        Number, negative to subtract, and sides.
    constant : float
    """

    dice: tuple[tuple[int, int], ...]
    constant: float

    @property
    def mean(self) -> float:
        """The expected roll."""
        return self.constant + sum(count * (sides + 1) / 2 for count, sides in self.dice)

    def without_d20(self) -> Formula:
        """Return the formula without single d20s: a bonus that was written with the die it is added to."""
        return Formula(tuple(d for d in self.dice if d != (1, 20)), self.constant)


def parse_formula(text: Any, where: str) -> Formula:
    """Return the formula that a number or a text stands for.

    Parameters
    ----------
    text : int, float or str
        Signed terms: ``k``, ``XdY`` or ``dY``, each with an optional ``[label]``.
    where : str
        The entry's place in the scenario, for the error.

    Raises
    ------
    ScenarioError
        If it is none, naming the entry, the formula and an example.
    """
    if is_number(text) and abs(text) <= MAX_CONSTANT:
        return Formula((), float(text))
    dice: list[tuple[int, int]] = []
    constant, position = 0.0, 0
    while isinstance(text, str) and len(text) <= MAX_LENGTH and (position < len(text) or not position):
        match = _TERM.match(text, position)
        if match is None or (position and not match["sign"]):
            break
        sign = -1 if match["sign"] == "-" else 1
        if match["sides"] is None:
            constant += sign * float(match["constant"])
        else:
            count, sides = int(match["count"] or 1), int(match["sides"])
            if not (1 <= sides <= MAX_SIDES and count <= MAX_DICE):
                break
            dice.append((sign * count, sides))
        position = match.end()
    else:
        if isinstance(text, str) and position and abs(constant) <= MAX_CONSTANT:
            return Formula(tuple(dice), constant)
    raise ScenarioError(
        f"{where}: {brief(text)} is no dice formula; write a number, or terms such as '2d6 + 4' or 'd8 + 3[STR]' with "
        f"up to {MAX_DICE} dice of 1 to {MAX_SIDES} sides, in at most {MAX_LENGTH:,} characters",
        field=where,
        value=text,
    )
