"""Recognising mass action in the formula of an SBML kinetic law, by its structure.

A law is taken for what it says: its value is the propensity, in events per unit of time. It is mass action if it is a
sum of terms, each a constant times, for each species S, one of S, S (S - 1), S (S - 1) (S - 2): the numbers of ways in
which molecules meet, times the factorials. Each term is a reaction of its own; one with a minus sign runs backwards.

Functions and rules of the model are written out. A formula is read from the leaves up, and its depth, its length and
the number of its terms are bounded, so that functions of functions of functions end soon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bgsim.errors import ScenarioError, nearest
from bgsim.parameters.fields import brief

MAX_DEPTH = 200
"""How deep the parts of a formula may lie in each other, functions and rules written out."""

MAX_STEPS = 200_000
"""Parts of all formulas of a model, functions and rules written out."""

MAX_TERMS = 64
"""Of a sum, when products are multiplied out."""

MAX_FACTORS = 12
"""Of a term: how many times it names a species."""

AVOGADRO = 6.02214179e23
"""As SBML level 3 defines its symbol."""

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
class Term:
    """A part of a law that is mass action.

    Attributes
    ----------
    rate : float
        The constant of the combinatorial propensity; negative where the reaction runs backwards.
    meeting : dict of str to int
        How many molecules of each species meet.
    """

    rate: float
    meeting: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Product:
    """A constant times factors (count of a species - shift)."""

    constant: float
    factors: list[tuple[str, float]] = field(default_factory=list)


_Sum = list[_Product]


class _NotMassActionError(Exception):
    """The formula, or this part of it, is something else; the message says what."""


class LawReader:
    """Reads the formulas of one model.

    Parameters
    ----------
    symbols : mapping of str to Symbol
        What the names of constants and species stand for.
    formulas : mapping of str to libsbml.ASTNode
        What the model's rules say of further names.
    functions : mapping of str to libsbml.FunctionDefinition
        The functions that the model defines.
    """

    def __init__(
        self, symbols: Mapping[str, Symbol], formulas: Mapping[str, Any], functions: Mapping[str, Any]
    ) -> None:
        import libsbml  # noqa: PLC0415 - an extra

        self._libsbml = libsbml
        self._formulas = formulas
        self._functions = functions
        self._names = {name: _value_of(symbol) for name, symbol in symbols.items()}
        self._steps = 0
        self._constants = {
            libsbml.AST_CONSTANT_E: math.e,
            libsbml.AST_CONSTANT_PI: math.pi,
            libsbml.AST_NAME_AVOGADRO: AVOGADRO,
        }
        self._operations: dict[int, Callable[[Any, list[_Sum]], _Sum]] = {
            libsbml.AST_TIMES: lambda node, parts: _multiply(parts),  # noqa: ARG005 - one signature for all
            libsbml.AST_DIVIDE: self._divide,
            libsbml.AST_POWER: self._power,
            libsbml.AST_FUNCTION_POWER: self._power,
            libsbml.AST_PLUS: self._add,
            libsbml.AST_MINUS: self._add,
            libsbml.AST_FUNCTION_EXP: self._of_a_constant(math.exp),
            libsbml.AST_FUNCTION_LN: self._of_a_constant(math.log),
        }

    def mass_action(self, law: Any, own: Mapping[str, Symbol], label: str, *, reversible: bool) -> list[Term]:
        """Return the terms of a kinetic law, one or more.

        Parameters
        ----------
        law : libsbml.ASTNode
            The formula.
        own : mapping of str to Symbol
            The law's own parameters, which come before the model's names.
        label : str
            Of the reaction, for messages.
        reversible : bool
            Whether the reaction may run backwards.

        Raises
        ------
        ScenarioError
            Quoting the formula, and saying why it is no mass action.
        """
        try:
            products = self._read(law, {name: _value_of(symbol) for name, symbol in own.items()}, 0)
            return [term for product in products for term in _terms(product, reversible)]
        except _NotMassActionError as error:
            formula = self._text(law)
            raise ScenarioError(
                f"the kinetic law of {label}, {formula}, is no mass action: {error}. Allowed is a sum of terms, each a "
                "constant times S, S*(S - 1) or S*(S - 1)*(S - 2) of each species",
                field="kineticLaw",
                value=formula,
            ) from error

    def constant(self, formula: Any, what: str) -> float:
        """Return the value of a formula that names no species.

        Raises
        ------
        ScenarioError
            If it does name one, or has no value.
        """
        try:
            return self._value(formula, self._read(formula, {}, 0))
        except _NotMassActionError as error:
            raise ScenarioError(
                f"{what}, {self._text(formula)}, is no constant: {error}", field=what, value=self._text(formula)
            ) from error

    # ---- from the leaves up --------------------------------------------------------------------------

    def _read(self, node: Any, bound: Mapping[str, _Sum], depth: int) -> _Sum:
        self._steps += 1
        if depth > MAX_DEPTH or self._steps > MAX_STEPS:
            raise _NotMassActionError(
                f"the formulas of the model are deeper than {MAX_DEPTH} levels, or longer than {MAX_STEPS:,} parts, "
                "functions and rules written out"
            )
        kind = node.getType()
        if kind in self._constants:
            return [_Product(self._constants[kind])]
        if node.isNumber():
            return [_Product(float(node.getValue()))]
        if kind == self._libsbml.AST_NAME:
            return self._named(node.getName(), bound, depth)
        if kind not in self._operations and kind != self._libsbml.AST_FUNCTION:
            raise _NotMassActionError(f"{self._text(node)} is not known here")
        parts = []
        for i in range(node.getNumChildren()):
            parts.append(self._read(node.getChild(i), bound, depth + 1))
        if kind in self._operations:
            return self._operations[kind](node, parts)
        return self._call(node, parts, depth)

    def _named(self, name: str, bound: Mapping[str, _Sum], depth: int) -> _Sum:
        """Return what a name stands for; a rule is read once."""
        if name in bound:
            return bound[name]
        if name not in self._names and name in self._formulas:
            self._names[name] = self._read(self._formulas[name], {}, depth + 1)
        if name not in self._names:
            raise _NotMassActionError(f"{brief(name)} has no value{nearest(name, {*bound, *self._names})}")
        return self._names[name]

    def _call(self, node: Any, parts: list[_Sum], depth: int) -> _Sum:
        """Write out a function of the model."""
        function = self._functions.get(node.getName())
        if function is None or function.getBody() is None or function.getNumArguments() != len(parts):
            raise _NotMassActionError(f"{self._text(node)} is not known here")
        names = [function.getArgument(i).getName() for i in range(len(parts))]
        return self._read(function.getBody(), dict(zip(names, parts, strict=True)), depth + 1)

    def _divide(self, node: Any, parts: list[_Sum]) -> _Sum:
        over, under = self._two(node, parts)
        if any(product.factors for product in under) or under[0].constant == 0:
            raise _NotMassActionError(f"{self._text(node)} divides by something else than a constant")
        return [_Product(product.constant / under[0].constant, product.factors) for product in over]

    def _power(self, node: Any, parts: list[_Sum]) -> _Sum:
        base, exponent = self._two(node, parts)
        times = exponent[0].constant
        if not any(product.factors for product in (*base, *exponent)):
            return [_Product(self._computed(node, lambda: base[0].constant ** times))]
        if any(product.factors for product in exponent) or times not in (1, 2, 3):
            raise _NotMassActionError(f"{self._text(node)} is a power that is not known here")
        return _multiply([base] * int(times))

    def _add(self, node: Any, parts: list[_Sum]) -> _Sum:
        """Return a sum of terms; one species and a constant are one factor, with a shift."""
        if node.getType() == self._libsbml.AST_MINUS:
            if len(parts) not in (1, 2):
                raise _NotMassActionError(f"{self._text(node)} must have one part or two")
            parts = [*parts[:-1], _multiply([[_Product(-1.0)], parts[-1]])]
        products = [product for part in parts for product in part]
        constant = sum(product.constant for product in products if not product.factors)
        others = [product for product in products if product.factors]
        if len(others) == 1 and len(others[0].factors) == 1 and constant and others[0].constant:
            factor, ((species, shift),) = others[0].constant, others[0].factors
            return [_Product(factor, [(species, shift - constant / factor)])]
        if constant or not others:
            others.append(_Product(constant))
        _check_few(len(others))
        return others

    def _of_a_constant(self, function: Callable[[float], float]) -> Callable[[Any, list[_Sum]], _Sum]:
        def read(node: Any, parts: list[_Sum]) -> _Sum:
            if len(parts) != 1:
                raise _NotMassActionError(f"{self._text(node)} is not known here")
            value = self._value(node, parts[0])
            return [_Product(self._computed(node, lambda: function(value)))]

        return read

    def _two(self, node: Any, parts: list[_Sum]) -> list[_Sum]:
        if len(parts) != 2:
            raise _NotMassActionError(f"{self._text(node)} must have two parts")
        return parts

    def _value(self, node: Any, products: _Sum) -> float:
        if any(product.factors for product in products):
            raise _NotMassActionError(f"{self._text(node)} depends on the count of a species")
        return products[0].constant

    def _computed(self, node: Any, compute: Callable[[], Any]) -> float:
        try:
            return float(compute())
        except (ArithmeticError, TypeError, ValueError) as error:
            raise _NotMassActionError(f"{self._text(node)} has no value") from error

    def _text(self, node: Any) -> str:
        text = str(self._libsbml.formulaToL3String(node))
        return text if len(text) <= 200 else text[:197] + "..."


def _value_of(symbol: Symbol) -> _Sum:
    return [_Product(symbol.value, [(symbol.species, 0.0)] if symbol.species else [])]


def _multiply(parts: list[_Sum]) -> _Sum:
    """Multiply sums out."""
    found = [_Product(1.0)]
    for part in parts:
        _check_few(len(found) * len(part))
        found = [_Product(a.constant * b.constant, [*a.factors, *b.factors]) for a in found for b in part]
        if any(len(product.factors) > MAX_FACTORS for product in found):
            raise _NotMassActionError(f"a term of it names species more than {MAX_FACTORS} times")
    return found


def _check_few(terms: int) -> None:
    if terms > MAX_TERMS:
        raise _NotMassActionError(f"it has more than {MAX_TERMS} terms")


# ---- what the terms mean -----------------------------------------------------------------------------


def _terms(product: _Product, reversible: bool) -> list[Term]:
    """Return a product as terms; ``k*(S + 2)``, which counts no molecules that meet, as ``k*S + 2*k``."""
    try:
        return [_combinatorial(product, reversible)]
    except _NotMassActionError:
        parts = [_Product(product.constant)]
        for species, shift in product.factors:
            parts = _multiply([parts, [_Product(1.0, [(species, 0.0)]), *([_Product(-shift)] if shift else [])]])
        if len(parts) == 1 or not (reversible or all(part.constant >= 0 for part in parts)):
            raise
        return [_combinatorial(part, reversible) for part in parts]


def _combinatorial(product: _Product, reversible: bool) -> Term:
    shifts: dict[str, list[float]] = {}
    for species, shift in product.factors:
        shifts.setdefault(species, []).append(shift)
    rate, orders = product.constant, {}
    for species, found in shifts.items():
        if any(not abs(shift - i) <= _WHOLE for i, shift in enumerate(sorted(found))):
            what = "*".join(f"({species} - {shift:g})" if shift else species for shift in sorted(found))
            raise _NotMassActionError(f"{what} is not the number of ways in which molecules of {species} meet")
        orders[species] = len(found)
        rate *= math.factorial(len(found))
    if not abs(rate) < math.inf:
        raise _NotMassActionError(f"its constant is {rate!r}, which must be a finite number")
    if rate < 0 and not reversible:
        raise _NotMassActionError(
            f"its constant is {rate!r}, and only a reaction with reversible='true' runs backwards"
        )
    return Term(rate, orders)
