"""A network of chemical reactions: species with counts, and reactions with rate constants.

A `Network` is put together in Python, or read from a file by `bgsim.models.network_file`, and laid out as the arrays
that `bgsim.models.reactions` and `tau_leaping` run on. A reaction of order up to three fires at the rate
``k * product of binomial(count, coefficient)`` over its reactants (Gillespie 1977), in events per unit of time.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bgsim.checks import is_double, is_integer
from bgsim.errors import ParameterError, nearest
from bgsim.models.files import shown
from bgsim.parameters.fields import brief

MAX_ORDER = 3
"""Of a reaction: how many molecules may meet."""

MAX_COUNT = 2**52
"""Molecules of one species. Counts are kept as doubles, which are exact up to twice that."""

MAX_CHANGE = 2**31
"""Molecules of one species that one event may add."""

MAX_CELLS = 10_000_000
"""Of the table of changes: reactions times the species that the largest of them changes."""

_TERM = re.compile(r"([0-9]{0,12})\s*([^\W\d]\w*)")


@dataclass(frozen=True, slots=True)
class Species:
    """A kind of molecule, and how many there are at the start; a fixed one is never used up and never grows."""

    name: str
    count: int
    fixed: bool


@dataclass(frozen=True, slots=True)
class Reaction:
    """What meets, what comes of it, and the rate constant of the combinatorial propensity."""

    name: str
    reactants: dict[str, int]
    products: dict[str, int]
    rate: float


class Network:
    """Species and reactions, put together in any order.

    Each verb returns the network itself, so that they can be chained. For one thread at a time.

    Examples
    --------
    >>> from bgsim.models.network import Network
    >>> Network().species("A", 100).species("B").reaction("2 A -> B", rate=0.001).reaction("B -> 2 A", rate=0.01)
    <network of A, B: 2 A -> B at 0.001; B -> 2 A at 0.01>
    """

    def __init__(self) -> None:
        self._species: dict[str, Species] = {}
        self._reactions: dict[str, Reaction] = {}

    def species(self, name: str, count: int = 0, *, fixed: bool = False) -> Network:
        """Add a species.

        Parameters
        ----------
        name : str
            A Python name.
        count : int
            Molecules at the start, 0 to `MAX_COUNT`.
        fixed : bool
            Whether no reaction changes its count: a reservoir, or what SBML calls a boundary.

        Raises
        ------
        ParameterError
            Naming the species.
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise ParameterError(f"a species must have a Python name; got {brief(name)}", field="species", value=name)
        if name in self._species:
            raise ParameterError(
                f"there is a species {brief(name)} already; name each once", field="species", value=name
            )
        if not isinstance(fixed, bool):
            raise ParameterError(
                f"fixed of species {brief(name)} must be a bool; got {brief(fixed)}", field="fixed", value=fixed
            )
        self._species[name] = Species(
            name, _whole(count, f"the count of species {brief(name)}", "count", 0, MAX_COUNT), fixed
        )
        return self

    def reaction(
        self, equation: str | tuple[Mapping[str, int], Mapping[str, int]], rate: float, name: str | None = None
    ) -> Network:
        """Add a reaction.

        Parameters
        ----------
        equation : str or pair of mappings
            As in ``"2 A + B -> C"``; a side may be empty. Or the reactants and the products, each a mapping from
            species to a whole coefficient. At most three molecules meet.
        rate : float
            k, 0 or more: events per unit of time and per combination of the molecules that meet.
        name : str, optional
            By default the equation.

        Raises
        ------
        ParameterError
            Naming the reaction.
        """
        if isinstance(equation, str):
            reactants, products = parse_equation(equation)
        else:
            reactants, products = (_read_side(side) for side in _pair(equation))
        written = write_equation(reactants, products)
        name = written if name is None else name
        label = f"reaction {brief(name)}"
        if not isinstance(name, str):
            raise ParameterError(f"the name of a reaction must be text; got {brief(name)}", field="name", value=name)
        if name in self._reactions:
            raise ParameterError(
                f"there is a {label} already; give each a name of its own, or add up the rates",
                field="name",
                value=name,
            )
        if not is_double(rate) or rate < 0:
            raise ParameterError(
                f"the rate of {label} must be a finite number of 0 or more; got {brief(rate)}",
                field="rate",
                value=rate,
            )
        order = sum(reactants.values())
        if order > MAX_ORDER:
            raise ParameterError(
                f"{label} lets {order} molecules meet; at most {MAX_ORDER} may. Write it as several reactions",
                field="equation",
                value=written,
            )
        self._reactions[name] = Reaction(name, reactants, products, float(rate))
        return self

    def tables(self, times: Iterable[float]) -> dict[str, Any]:
        """Return the fields of a `bgsim.models.reactions.Reactions`.

        Parameters
        ----------
        times : iterable of float
            When to look at the counts: 0 or more, increasing.

        Raises
        ------
        ParameterError
            If there is no species or no reaction, or a reaction has a species that is none.
        """
        for what, found in (("species", self._species), ("reaction", self._reactions)):
            if not found:
                raise ParameterError(f"the network has no {what}; add one with .{what}(...)", field=what)
        index = {name: i for i, name in enumerate(self._species)}
        rows = [self._row(reaction, index) for reaction in self._reactions.values()]
        width = max(1, *(len(changes) for _, _, changes in rows))
        if len(rows) * width > MAX_CELLS:
            raise ParameterError(
                f"{len(rows):,} reactions, of which one changes {width:,} species, are too many: at most {MAX_CELLS:,} "
                "changes fit into the table of reactions times changes; write that reaction as several",
                field="reactions",
                value=len(rows),
            )
        reactants = np.full((len(rows), MAX_ORDER), len(index), np.uint32)
        changed = np.full((len(rows), width), len(index), np.uint32)
        changes = np.zeros((len(rows), width), np.int64)
        for k, (_, meeting, change) in enumerate(rows):
            reactants[k, : len(meeting)] = meeting
            changed[k, : len(change)] = list(change)
            changes[k, : len(change)] = list(change.values())
        observed = np.array(list(times), float)
        return {
            "names": tuple(index),
            "initial": np.array([s.count for s in self._species.values()], np.int64),
            "rates": np.array([rate for rate, _, _ in rows]),
            "reactants": reactants,
            "changed": changed,
            "changes": changes,
            "times": observed,
            "species": len(index),
            "observations": len(observed),
        }

    def _row(self, reaction: Reaction, index: dict[str, int]) -> tuple[float, list[int], dict[int, int]]:
        """Return rate, reactants one by one, and changes by species; what is fixed is part of the rate."""
        for name in (*reaction.reactants, *reaction.products):
            if name not in index:
                raise ParameterError(
                    f"reaction {brief(reaction.name)} has the species {brief(name)}, which is not "
                    f"declared{nearest(name, index)} (there are {_listed(index)})",
                    field="equation",
                    value=name,
                )
        rate, meeting, changes = reaction.rate, [], {}
        for name, coefficient in reaction.reactants.items():
            if self._species[name].fixed:
                rate *= math.comb(self._species[name].count, coefficient)
            else:
                meeting += [index[name]] * coefficient
        for name in {**reaction.reactants, **reaction.products}:
            change = reaction.products.get(name, 0) - reaction.reactants.get(name, 0)
            if change and not self._species[name].fixed:
                changes[index[name]] = change
        return rate, sorted(meeting), changes

    def __repr__(self) -> str:
        reactions = (f"{write_equation(r.reactants, r.products)} at {r.rate:g}" for r in self._reactions.values())
        return f"<network of {', '.join(self._species)}: {'; '.join(reactions)}>"


def parse_equation(text: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return reactants and products of ``"2 A + B -> C"``, each a mapping from species to coefficient.

    Raises
    ------
    ParameterError
        Quoting the part that is not understood.
    """
    sides = text.replace("→", "->").split("->")
    if len(sides) != 2 or "<" in text or "=" in text:
        raise ParameterError(
            f"reaction {brief(text)} must have one '->', as in '2 A + B -> C'; write a reversible one as two reactions",
            field="equation",
            value=text,
        )
    return _parse_side(sides[0], text), _parse_side(sides[1], text)


def write_equation(reactants: Mapping[str, int], products: Mapping[str, int]) -> str:
    """Return an equation as `parse_equation` reads it."""
    left, right = (" + ".join(f"{n} {s}" if n > 1 else s for s, n in side.items()) for side in (reactants, products))
    return f"{left} -> {right}".strip()


def _parse_side(text: str, equation: str) -> dict[str, int]:
    side: dict[str, int] = {}
    if text.strip() in ("", "0", "∅"):
        return side
    for part in text.split("+"):
        found = _TERM.fullmatch(part.strip())
        if found is None:
            raise ParameterError(
                f"reaction {brief(equation)}: {brief(part.strip())} is no species with a whole coefficient, "
                "as in '2 A'",
                field="equation",
                value=equation,
            )
        name = found[2]
        coefficient = _whole(
            int(found[1] or 1), f"reaction {brief(equation)}: the coefficient of {brief(name)}", "equation"
        )
        side[name] = side.get(name, 0) + coefficient
    return side


def _pair(equation: Any) -> tuple[Any, Any]:
    if isinstance(equation, tuple) and len(equation) == 2 and all(isinstance(side, Mapping) for side in equation):
        return equation
    raise ParameterError(
        "a reaction must be an equation, as in '2 A + B -> C', or a pair of mappings from species to coefficient; "
        f"got {brief(equation)}",
        field="equation",
        value=equation,
    )


def _read_side(given: Mapping[str, int]) -> dict[str, int]:
    for name in given:
        if not isinstance(name, str):
            raise ParameterError(
                f"the sides of a reaction must have names of species; got {brief(name)}", field="equation", value=name
            )
    return {name: _whole(n, f"the coefficient of {brief(name)}", "equation") for name, n in given.items()}


def _listed(names: Iterable[str]) -> str:
    first = list(itertools.islice(names, 21))
    return ", ".join(map(shown, first[:20])) + (", ..." if len(first) > 20 else "")


def _whole(value: Any, what: str, field: str, least: int = 1, most: int = MAX_CHANGE) -> int:
    if not is_integer(value) or not least <= value <= most:
        raise ParameterError(
            f"{what} must be a whole number from {least} to {most}; got {brief(value)}", field=field, value=value
        )
    return int(value)
