"""Recognising mass action in the formula of an SBML kinetic law, by its structure.

A law is taken for what it says: its value is the propensity, in events per unit of time. It is mass action if it is a
constant times, for each species S, one of S, S (S - 1), S (S - 1) (S - 2): the numbers of ways in which molecules meet,
times the factorials. Nothing is evaluated but the constants in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bgsim.errors import ScenarioError, nearest

_WHOLE = 1e-9
"""How far from a whole number a shift may be, for rounding."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """What a name in a formula stands for.

    Attributes
    ----------
    value : float
        Of a constant; for a species, what one molecule adds to the symbol: 1, or 1 / volume for a concentration.
    species : str
        Empty for a constant.
    """

    value: float
    species: str = ""


@dataclass(frozen=True, slots=True)
class _Product:
    """A constant times factors (count of a species - shift)."""

    constant: float
    factors: list[tuple[str, float]] = field(default_factory=list)


class _NotMassActionError(Exception):
    """The formula, or this part of it, is something else; the message says what."""


def mass_action(law: Any, symbols: Mapping[str, Symbol], label: str) -> tuple[float, dict[str, int]]:
    """Return the rate constant k and how many molecules of each species meet.

    Parameters
    ----------
    law : libsbml.ASTNode
        The formula.
    symbols : mapping of str to Symbol
        What the names in it stand for.
    label : str
        Of the reaction, for messages.

    Raises
    ------
    ScenarioError
        Quoting the formula, and saying why it is no mass action.
    """
    import libsbml  # noqa: PLC0415 - an extra

    try:
        product = _Reader(libsbml, symbols).read(law)
        return _combinatorial(product)
    except _NotMassActionError as error:
        formula = libsbml.formulaToL3String(law)
        raise ScenarioError(
            f"the kinetic law of {label}, {formula}, is no mass action: {error}. Allowed is a constant times S, "
            "S*(S - 1) or S*(S - 1)*(S - 2) of each species",
            field="kineticLaw",
            value=formula,
        ) from error


def _combinatorial(product: _Product) -> tuple[float, dict[str, int]]:
    shifts: dict[str, list[float]] = {}
    for species, shift in product.factors:
        shifts.setdefault(species, []).append(shift)
    rate, orders = product.constant, {}
    for species, found in shifts.items():
        if any(abs(shift - i) > _WHOLE for i, shift in enumerate(sorted(found))):
            what = "*".join(f"({species} - {shift:g})" if shift else species for shift in sorted(found))
            raise _NotMassActionError(f"{what} is not the number of ways in which molecules of {species} meet")
        orders[species] = len(found)
        rate *= math.factorial(len(found))
    if not 0 <= rate < math.inf:
        raise _NotMassActionError(f"its constant is {rate!r}, which must be a finite number of 0 or more")
    return rate, orders


def _multiply(_: Any, parts: list[_Product]) -> _Product:
    return _Product(math.prod(p.constant for p in parts), [f for p in parts for f in p.factors])


class _Reader:
    """Turns the nodes of a formula into products, from the leaves up."""

    def __init__(self, libsbml: Any, symbols: Mapping[str, Symbol]) -> None:
        self._libsbml = libsbml
        self._symbols = symbols
        self._operations = {
            libsbml.AST_TIMES: _multiply,
            libsbml.AST_DIVIDE: self._divide,
            libsbml.AST_POWER: self._power,
            libsbml.AST_FUNCTION_POWER: self._power,
            libsbml.AST_PLUS: self._sum,
            libsbml.AST_MINUS: self._sum,
        }

    def read(self, node: Any) -> _Product:
        if node.isNumber():
            return _Product(float(node.getValue()))
        kind = node.getType()
        if kind == self._libsbml.AST_NAME:
            return self._symbol(node.getName())
        if kind not in self._operations:
            raise _NotMassActionError(f"{self._text(node)} is not known here")
        return self._operations[kind](node, [self.read(node.getChild(i)) for i in range(node.getNumChildren())])

    def _symbol(self, name: str) -> _Product:
        if name not in self._symbols:
            raise _NotMassActionError(f"{name!r} has no value{nearest(name, self._symbols)}")
        symbol = self._symbols[name]
        return _Product(symbol.value, [(symbol.species, 0.0)] if symbol.species else [])

    def _divide(self, node: Any, parts: list[_Product]) -> _Product:
        over, under = parts
        if under.factors or under.constant == 0:
            raise _NotMassActionError(f"{self._text(node)} divides by something else than a constant")
        return _Product(over.constant / under.constant, over.factors)

    def _power(self, node: Any, parts: list[_Product]) -> _Product:
        base, exponent = parts
        times = exponent.constant
        if exponent.factors or (base.factors and times not in (1, 2, 3)):
            raise _NotMassActionError(f"{self._text(node)} is a power that is not known here")
        try:
            constant = float(base.constant**times)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise _NotMassActionError(f"{self._text(node)} has no value") from error
        return _Product(constant, base.factors * int(times) if base.factors else [])

    def _sum(self, node: Any, parts: list[_Product]) -> _Product:
        """Read a sum of constants, or one species plus constants: a factor with a shift."""
        signs = [1.0] * len(parts)
        if node.getType() == self._libsbml.AST_MINUS:
            signs[-1] = -1.0  # of one part, or of two
        constant = sum(sign * p.constant for sign, p in zip(signs, parts, strict=True) if not p.factors)
        others = [(sign * p.constant, p.factors) for sign, p in zip(signs, parts, strict=True) if p.factors]
        if not others:
            return _Product(constant)
        if len(others) > 1 or (constant and len(others[0][1]) > 1):
            raise _NotMassActionError(f"{self._text(node)} is a sum of terms; write a reaction for each")
        (factor, factors), *_ = others
        if not constant:
            return _Product(factor, factors)
        ((species, shift),) = factors
        return _Product(factor, [(species, shift - constant / factor)] if factor else [])

    def _text(self, node: Any) -> str:
        return str(self._libsbml.formulaToL3String(node))
