"""Reading a reaction network from SBML core, levels 2 and 3: reactions with mass-action kinetics.

Parts without a place in such a network are refused by name: events, rules, function definitions, constraints, initial
assignments, conversion factors, delays, packages that a model requires, laws that are no mass action. A law is the
propensity, in events per unit of time, as in the Discrete Stochastic Models Test Suite: ``k*A*(A - 1)/2`` is the
dimerisation of A, and ``k*A^2`` is not. Amounts are molecules; the symbol of a species stands for its amount where
``hasOnlySubstanceUnits`` is true, else for amount over volume. Units are not looked at.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from bgsim.errors import InvalidInputError, MissingExtraError, ScenarioError
from bgsim.models.kinetic_law import Symbol, mass_action
from bgsim.models.network import Network

_REFUSED = {
    "events": "getListOfEvents",
    "rules": "getListOfRules",
    "initial assignments": "getListOfInitialAssignments",
    "constraints": "getListOfConstraints",
    "function definitions": "getListOfFunctionDefinitions",
}
"""Parts of a model that a network has no place for, and how libsbml lists them."""

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
        raise MissingExtraError('reading SBML needs python-libsbml: pip install "bgsim[sbml]"') from error
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error}", field="scenario", value=str(path)) from error
    document = libsbml.readSBMLFromFile(str(path))
    try:
        return _read_document(document, libsbml)
    except InvalidInputError as error:
        raise ScenarioError(f"{path}: {error}", field=error.field, value=error.value) from error


def _read_document(document: Any, libsbml: Any) -> Network:
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR:
            message = " ".join(error.getMessage().split())
            raise ScenarioError(f"line {error.getLine()}: {message}", field="sbml")
    for i in range(document.getNumPlugins() if document.getLevel() >= 3 else 0):  # packages came with level 3
        package = document.getPlugin(i).getPackageName()
        if package != _MATHEMATICS and document.getPackageRequired(package):
            raise ScenarioError(f"it requires the package {package!r}, and SBML core alone is read", field="package")
    model = document.getModel()
    if model is None:
        raise ScenarioError("it has no model", field="model")
    for what, lister in _REFUSED.items():
        found = getattr(model, lister)()
        if len(found):
            names = ", ".join(_name_of(part) for part in found)
            raise ScenarioError(f"it has {what} ({names}), which a network has no place for", field=what, value=names)
    if model.isSetConversionFactor():
        raise ScenarioError("the model has a conversionFactor, which is not read", field="conversionFactor")
    return _read_model(model)


def _name_of(part: Any) -> str:
    """Return what a part of a model calls itself, and what it is."""
    name = part.getId() or (part.getVariable() if hasattr(part, "getVariable") else "")
    return f"{part.getElementName()} {name}".strip()


def _read_model(model: Any) -> Network:
    network = Network()
    volumes = {c.getId(): c.getSize() if c.isSetSize() else math.nan for c in model.getListOfCompartments()}
    symbols = {c: Symbol(volume) for c, volume in volumes.items() if not math.isnan(volume)}
    symbols |= {p.getId(): Symbol(p.getValue()) for p in model.getListOfParameters() if p.isSetValue()}
    fixed = set()
    for species in model.getListOfSpecies():
        name, volume = species.getId(), volumes.get(species.getCompartment(), math.nan)
        if species.isSetConversionFactor():
            raise ScenarioError(f"species {name!r} has a conversionFactor, which is not read", field="conversionFactor")
        if species.getBoundaryCondition() or species.getConstant():
            fixed.add(name)
        network.species(name, _first_count(species, volume), fixed=name in fixed)
        only_amounts = species.getHasOnlySubstanceUnits()
        symbols.pop(name, None)
        if only_amounts or volume > 0:
            symbols[name] = Symbol(1.0 if only_amounts else 1.0 / volume, species=name)
    for reaction in model.getListOfReactions():
        _add_reaction(network, reaction, symbols, fixed)
    return network


def _first_count(species: Any, volume: float) -> int:
    """Return the molecules at the start."""
    name = species.getId()
    if species.isSetInitialAmount():
        amount = species.getInitialAmount()
    elif species.isSetInitialConcentration():
        amount = species.getInitialConcentration() * volume
    else:
        raise ScenarioError(f"species {name!r} must have an initialAmount", field="initialAmount")
    if not amount >= 0 or amount != math.floor(amount):
        raise ScenarioError(
            f"species {name!r} must start with a whole number of molecules; it has the amount {amount!r}",
            field="initialAmount",
            value=amount,
        )
    return int(amount)


def _add_reaction(network: Network, reaction: Any, symbols: dict[str, Symbol], fixed: set[str]) -> None:
    """Add a reaction: its law says which molecules meet, its lists of species what an event changes."""
    label = f"reaction {reaction.getId()!r}"
    if reaction.isSetFast() and reaction.getFast():
        raise ScenarioError(f"{label} is fast, which has no place in a network", field="fast")
    law = reaction.getKineticLaw()
    if law is None or law.getMath() is None:
        raise ScenarioError(f"{label} has no kinetic law", field="kineticLaw")
    own = [*law.getListOfParameters(), *law.getListOfLocalParameters()]
    rate, meeting = mass_action(law.getMath(), symbols | {p.getId(): Symbol(p.getValue()) for p in own}, label)
    taken = _stoichiometry(reaction.getListOfReactants(), label)
    made = _stoichiometry(reaction.getListOfProducts(), label)
    products = dict(meeting)
    for name in {**taken, **made}:
        left = meeting.get(name, 0) + made.get(name, 0) - taken.get(name, 0)
        if name in fixed:
            continue
        if left < 0:
            raise ScenarioError(
                f"{label} takes {taken[name]} of {name!r}, but its kinetic law does not vanish when fewer are "
                "there, so the count would become negative",
                field="kineticLaw",
                value=name,
            )
        products[name] = left
    network.reaction((meeting, {name: n for name, n in products.items() if n}), rate, reaction.getId())


def _stoichiometry(references: Any, label: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for reference in references:
        name, number = reference.getSpecies(), reference.getStoichiometry()
        if reference.isSetStoichiometryMath():
            raise ScenarioError(
                f"{label} has a stoichiometryMath for {name!r}, which is not read", field="stoichiometry"
            )
        if not number >= 0 or number != math.floor(number) or reference.getDenominator() != 1:
            raise ScenarioError(
                f"the stoichiometry of {name!r} in {label} must be a whole number; got {number!r}",
                field="stoichiometry",
                value=number,
            )
        found[name] = found.get(name, 0) + int(number)
    return found
