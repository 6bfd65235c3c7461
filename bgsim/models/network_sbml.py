"""Reading a reaction network from SBML core, levels 2 and 3: reactions with mass-action kinetics.

Functions are written out, and so are rules and initial assignments of parameters. A law with a minus sign is split
into reactions that run forwards and backwards. Parts without a place in such a network are refused by name: events,
rules of anything else, constraints, conversion factors, delays, packages that a model requires, laws that are no mass
action. A law is the propensity, in events per unit of time, as in the Discrete Stochastic Models Test Suite:
``k*A*(A - 1)/2`` is the dimerisation of A, and ``k*A^2`` is not. Amounts are molecules; the symbol of a species stands
for its amount where ``hasOnlySubstanceUnits`` is true, else for amount over volume. Units are not looked at.

libsbml ends the process where XML lies too deep, so Python's own parser looks at a file first. It refuses document
types, too: their entities can make a large text of a small one.
"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any
from xml.parsers import expat

from bgsim.errors import InvalidInputError, MissingExtraError, ScenarioError
from bgsim.models.files import read_text
from bgsim.models.kinetic_law import LawReader, Symbol, Term
from bgsim.models.network import MAX_CHANGE, MAX_COUNT, Network
from bgsim.parameters.fields import brief

MAX_DEPTH = 200
"""How deep the elements of a file may lie in each other."""

MAX_PARTS = 5_000
"""Of a formula as it is written; libsbml makes a sum as deep as it is long."""

_REFUSED = {"events": "getListOfEvents", "constraints": "getListOfConstraints"}
"""Parts of a model that a network has no place for, and how libsbml lists them."""

_FORMULAS = ("assignmentRule", "initialAssignment")
"""Parts that say what a name stands for, and change nothing in time by themselves."""

_MATHEMATICS = "l3v2extendedmath"
"""How libsbml calls what level 3 version 2 adds to formulas; a law that uses it is refused as such."""


def read_sbml(path: str | Path) -> Network:
    """Return the network of an SBML file.

    Raises
    ------
    ScenarioError
        Naming the file, and what of it is wrong or has no place in a network.
    MissingExtraError
        If python-libsbml is not installed.
    """
    try:
        import libsbml  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError("reading SBML needs python-libsbml: pip install python-libsbml") from error
    text = read_text(path)
    try:
        _XmlCheck(text)
        return _read_document(libsbml.readSBMLFromString(text), libsbml)
    except InvalidInputError as error:
        raise ScenarioError(f"{path}: {error}", field=error.field, value=error.value) from error


class _XmlCheck:
    """Refuses what is no XML, or is XML that no model needs and that libsbml does not survive."""

    def __init__(self, text: str) -> None:
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler, self._parser.EndElementHandler = self._start, self._end
        self._parser.XmlDeclHandler, self._parser.StartDoctypeDeclHandler = self._declaration, self._document_type
        self._depth = self._formula = self._parts = 0  # the second is the depth of the formula that is open, or 0
        try:
            self._parser.Parse(text.encode(), True)
        except expat.ExpatError as error:
            raise ScenarioError(f"line {error.lineno}: {expat.ErrorString(error.code)}", field="sbml") from error

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._depth += 1
        self._parts += 1
        if self._depth > MAX_DEPTH:
            raise self._refusal(f"at most {MAX_DEPTH} elements may lie in each other")
        if self._formula and self._parts > MAX_PARTS:
            raise self._refusal(f"a formula may have at most {MAX_PARTS:,} parts")
        if not self._formula and name.rpartition(":")[2] == "math":
            self._formula, self._parts = self._depth, 0

    def _end(self, _: str) -> None:
        if self._depth == self._formula:
            self._formula = 0
        self._depth -= 1

    def _declaration(self, _: str, encoding: str | None, __: int) -> None:
        if encoding is not None and encoding.lower() != "utf-8":
            raise self._refusal(f"it says that its encoding is {brief(encoding)}; save it as UTF-8")

    def _document_type(self, *_: object) -> None:
        raise self._refusal("it has a document type (<!DOCTYPE>), which is not read; take it out")

    def _refusal(self, why: str) -> ScenarioError:
        return ScenarioError(f"line {self._parser.CurrentLineNumber}: {why}", field="sbml")


def _read_document(document: Any, libsbml: Any) -> Network:
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR:
            message = textwrap.shorten(error.getMessage(), 300, placeholder="...")
            raise ScenarioError(f"line {error.getLine()}: {message}", field="sbml")
    for i in range(document.getNumPlugins() if document.getLevel() >= 3 else 0):  # packages came with level 3
        package = document.getPlugin(i).getPackageName()
        if package != _MATHEMATICS and document.getPackageRequired(package):
            raise ScenarioError(
                f"it requires the package {brief(package)}, and SBML core alone is read", field="package"
            )
    model = document.getModel()
    if model is None:
        raise ScenarioError("it has no model", field="model")
    for what, lister in _REFUSED.items():
        _refuse(what, getattr(model, lister)())
    if model.isSetConversionFactor():
        raise ScenarioError("the model has a conversionFactor, which is not read", field="conversionFactor")
    return _read_model(model)


def _refuse(what: str, parts: Any) -> None:
    """Refuse parts that a network has no place for, if there are any."""
    if len(parts):
        names = ", ".join(_name_of(part) for part in parts)
        raise ScenarioError(f"it has {what} ({names}), which a network has no place for", field=what, value=names)


def _name_of(part: Any) -> str:
    """Return what a part of a model calls itself, and what it is."""
    return f"{part.getElementName()} {part.getId() or _variable(part)}".strip()


def _variable(part: Any) -> str:
    """Return what a rule or an initial assignment is about."""
    getter = "getVariable" if hasattr(part, "getVariable") else "getSymbol"
    return str(getattr(part, getter)()) if hasattr(part, getter) else ""


def _read_model(model: Any) -> Network:
    volumes = {c.getId(): c.getSize() if c.isSetSize() else math.nan for c in model.getListOfCompartments()}
    units = _units(model, volumes)
    parameters = {p.getId() for p in model.getListOfParameters()}
    rules = _formulas("rules", model.getListOfRules(), parameters)
    assigned = _formulas("initial assignments", model.getListOfInitialAssignments(), {*parameters, *units})
    functions = {f.getId(): f for f in model.getListOfFunctionDefinitions()}

    symbols = {name: Symbol(volume) for name, volume in volumes.items() if not math.isnan(volume)}
    symbols |= {p.getId(): Symbol(p.getValue()) for p in model.getListOfParameters() if p.isSetValue()}
    symbols = {name: symbol for name, symbol in symbols.items() if name not in {*units, *rules, *assigned}}
    symbols |= {name: Symbol(unit, species=name) for name, unit in units.items() if not math.isnan(unit)}
    at_start = LawReader(symbols, rules | {n: f for n, f in assigned.items() if n in parameters}, functions)
    values = {name: at_start.constant(f, f"the initial assignment of {brief(name)}") for name, f in assigned.items()}

    network, fixed = Network(), set()
    for species in model.getListOfSpecies():
        name = species.getId()
        if species.isSetConversionFactor():
            raise ScenarioError(
                f"species {brief(name)} has a conversionFactor, which is not read", field="conversionFactor"
            )
        if species.getBoundaryCondition() or species.getConstant():
            fixed.add(name)
        amount = values[name] / units[name] if name in values else _first_amount(species, volumes)
        network.species(name, _whole(name, amount), fixed=name in fixed)
    laws = LawReader(symbols | {n: Symbol(v) for n, v in values.items() if n in parameters}, rules, functions)
    for reaction in model.getListOfReactions():
        _add_reaction(network, reaction, laws, fixed)
    return network


def _units(model: Any, volumes: dict[str, float]) -> dict[str, float]:
    """Return what one molecule of each species adds to its symbol; NaN where the model does not say."""
    flat = {c.getId() for c in model.getListOfCompartments() if c.getSpatialDimensionsAsDouble() == 0}
    found = {}
    for species in model.getListOfSpecies():
        volume = volumes.get(species.getCompartment(), math.nan)
        amounts = species.getHasOnlySubstanceUnits() or species.getCompartment() in flat
        found[species.getId()] = 1.0 if amounts else 1.0 / volume if 1e-300 < volume < math.inf else math.nan
    return found


def _formulas(what: str, parts: Any, readable: set[str]) -> dict[str, Any]:
    """Return the formula of each name; refuse what is about anything but readable names, or changes them in time."""
    found, others = {}, []
    for part in parts:
        if part.getElementName() in _FORMULAS and _variable(part) in readable and part.getMath() is not None:
            found[_variable(part)] = part.getMath()
        else:
            others.append(part)
    _refuse(what, others)
    return found


def _first_amount(species: Any, volumes: dict[str, float]) -> float:
    if species.isSetInitialAmount():
        return float(species.getInitialAmount())
    if species.isSetInitialConcentration():
        return float(species.getInitialConcentration() * volumes.get(species.getCompartment(), math.nan))
    raise ScenarioError(f"species {brief(species.getId())} must have an initialAmount", field="initialAmount")


def _whole(name: str, amount: float) -> int:
    """Return the molecules at the start."""
    if not 0 <= amount <= MAX_COUNT or amount != math.floor(amount):
        raise ScenarioError(
            f"species {brief(name)} must start with a whole number of molecules, 0 to {MAX_COUNT}; it has the amount "
            f"{brief(amount)}. Units are not looked at: write amounts as molecules, and rates to go with them",
            field="initialAmount",
            value=amount,
        )
    return int(amount)


def _add_reaction(network: Network, reaction: Any, laws: LawReader, fixed: set[str]) -> None:
    """Add a reaction for each term of its law: the term says which molecules meet, the lists what an event changes."""
    name = reaction.getId()
    label = f"reaction {brief(name)}"
    if reaction.isSetFast() and reaction.getFast():
        raise ScenarioError(f"{label} is fast, which has no place in a network", field="fast")
    law = reaction.getKineticLaw()
    if law is None or law.getMath() is None:
        raise ScenarioError(f"{label} has no kinetic law", field="kineticLaw")
    own = {p.getId(): Symbol(p.getValue()) for p in (*law.getListOfParameters(), *law.getListOfLocalParameters())}
    taken = _stoichiometry(reaction.getListOfReactants(), label)
    made = _stoichiometry(reaction.getListOfProducts(), label)
    terms = laws.mass_action(law.getMath(), own, label, reversible=reaction.getReversible())
    for number, term in enumerate(terms, 1):
        lost, gained = (made, taken) if term.rate < 0 else (taken, made)
        products = _products(term, lost, gained, fixed, label)
        network.reaction((term.meeting, products), abs(term.rate), name if number == 1 else f"{name} ({number})")


def _products(term: Term, lost: dict[str, int], gained: dict[str, int], fixed: set[str], label: str) -> dict[str, int]:
    """Return what is there after an event of which the molecules were there that meet."""
    products = dict(term.meeting)
    for name in {**lost, **gained}:
        if name in fixed:
            continue
        products[name] = term.meeting.get(name, 0) + gained.get(name, 0) - lost.get(name, 0)
        if products[name] < 0:
            backwards = " backwards" if term.rate < 0 else ""
            raise ScenarioError(
                f"{label}{backwards} takes {lost[name]} of {brief(name)}, but its kinetic law does not vanish when "
                "fewer are there, so the count would become negative",
                field="kineticLaw",
                value=name,
            )
    return {name: count for name, count in products.items() if count}


def _stoichiometry(references: Any, label: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for reference in references:
        name, number = reference.getSpecies(), reference.getStoichiometry()
        if reference.isSetStoichiometryMath():
            raise ScenarioError(
                f"{label} has a stoichiometryMath for {brief(name)}, which is not read", field="stoichiometry"
            )
        if not 0 <= number <= MAX_CHANGE or number != math.floor(number) or reference.getDenominator() != 1:
            raise ScenarioError(
                f"the stoichiometry of {brief(name)} in {label} must be a whole number; got {brief(number)}",
                field="stoichiometry",
                value=number,
            )
        found[name] = found.get(name, 0) + int(number)
    return found
