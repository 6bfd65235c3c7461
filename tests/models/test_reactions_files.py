"""Tests of the readers of reaction networks: TOML, SBML with mass action, and each refusal by name."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import libsbml
import numpy as np
import pytest
from test_reactions import SUITE, sides, suite_case

import bgsim
from bgsim.errors import MissingExtraError, ScenarioError
from bgsim.models.network import Network
from bgsim.models.network_file import DEFAULT_TIMES
from bgsim.models.network_sbml import read_sbml
from bgsim.models.reactions import Reactions, reactions
from bgsim.models.tau_leaping import TauLeaping

# ---- TOML --------------------------------------------------------------------------------------------

TOML = """
times = [0.0, 0.5, 2]

[species]
A = 100
B = 0
E = { count = 5, fixed = true }

[[reactions]]
equation = "2 A + E -> B + E"
rate = 0.001
name = "Dimerisation"

[[reactions]]
equation = "B -> 2 A"
rate = 1
"""


def written(folder, text, name="network.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def assert_same(found, expected):
    for name in Reactions.__dataclass_fields__:
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


def test_toml_says_what_python_says(tmp_path):
    network = Network().species("A", 100).species("B").species("E", 5, fixed=True)
    network.reaction("2 A + E -> B + E", 0.001, "Dimerisation").reaction("B -> 2 A", 1)
    path = written(tmp_path, TOML)
    assert_same(Reactions.from_file(path), Reactions.of(network, [0, 0.5, 2]))
    timeless = written(tmp_path, TOML.replace("times = [0.0, 0.5, 2]", ""), "timeless.toml")
    assert_same(Reactions.from_file(str(timeless), times=[7.0]), Reactions.of(network, [7]))
    assert TauLeaping.from_file(path).epsilon == 0.03
    finer = TauLeaping.from_file(written(tmp_path, "epsilon = 0.01\n" + TOML))
    assert finer.epsilon == 0.01
    assert_same(finer, Reactions.of(network, [0, 0.5, 2]))


def test_times_as_a_grid(tmp_path):
    """Start is 0 where it is left out."""
    text = TOML.replace("[0.0, 0.5, 2]", "{ stop = 50, points = 51 }")
    assert Reactions.from_file(written(tmp_path, text)).times.tolist() == list(range(51))
    text = TOML.replace("[0.0, 0.5, 2]", "{ start = 1, stop = 2, points = 3 }")
    assert Reactions.from_file(written(tmp_path, text)).times.tolist() == [1.0, 1.5, 2.0]
    text = TOML.replace("[0.0, 0.5, 2]", f"{{ start = 0, stop = {10**30}, points = 2 }}")  # larger than an int64
    assert Reactions.from_file(written(tmp_path, text)).times.tolist() == [0.0, 1e30]


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ("times", "tmies", "tmies", "the file has the unknown entry 'tmies'; did you mean 'times'?"),
        ("times", "epsilon = 0.1\ntimes", "epsilon", "unknown entry 'epsilon'"),
        ("fixed", "fxied", "fxied", "species.E has the unknown entry 'fxied'; did you mean 'fixed'?"),
        ("A = 100", "A = 1.5", "count", "the count of species 'A' must be a whole number"),
        ("rate = 1\n", "rate = -1\n", "rate", "the rate of reaction 'B -> 2 A' must be"),
        ("rate = 1\n", "", "reactions[1].rate", "reactions[1] has no 'rate'"),
        ('equation = "B -> 2 A"\n', "", "reactions[1].equation", "reactions[1] has no 'equation'"),
        ('name = "Dim', 'nmae = "Dim', "nmae", "reactions[0] has the unknown entry 'nmae'; did you mean 'name'?"),
        ("B -> 2 A", "Bb -> 2 A", "equation", "did you mean 'B'?"),
        ("B -> 2 A", "B <-> 2 A", "equation", "must have one '->'"),
        ("[0.0, 0.5, 2]", "[]", "times", "times must be a list of numbers"),
        ("[0.0, 0.5, 2]", "50", "times", "times must be a list of numbers"),
        ("[0.0, 0.5, 2]", "[0.0, true]", "times", "times must be a list of numbers"),
        ("[0.0, 0.5, 2]", "{ stop = 50 }", "times", "times must be a list of numbers"),
        ("[0.0, 0.5, 2]", "{ stop = 50, pionts = 3 }", "pionts", "did you mean 'points'?"),
        ("times = [0.0, 0.5, 2]", "", "times", "says no times; it needs times ="),
        ("times", "reactions = 3\ntimes", "scenario", "is no TOML"),
        ("times = [0.0, 0.5, 2]", "times = [1]\nsbml = 'x.xml'", "species", "give either sbml or species"),
    ],
)
def test_toml_refusals(tmp_path, old, new, field, message):
    """Each names the file and the entry."""
    assert old in TOML
    path = written(tmp_path, TOML.replace(old, new))
    with pytest.raises(ScenarioError) as caught:
        Reactions.from_file(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species = 3\ntimes = [1]", "species must be a table"),
        ("reactions = [3]\ntimes = [1]", "reactions must be tables"),
        ("times = [1]", "no species"),
        ("", "no times"),
        ("times = [2, 1]\n[species]\nA = 1\n[[reactions]]\nequation = 'A ->'\nrate = 1", "increasing"),
    ],
)
def test_toml_of_another_shape(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        Reactions.from_file(written(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ScenarioError, match=r"ends in \.toml, \.xml, \.sbml"):
        Reactions.from_file("network.json")
    for name in ("missing.toml", "missing.xml"):
        with pytest.raises(ScenarioError, match="cannot be read"):
            Reactions.from_file(tmp_path / name)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match="cannot be read"):
        Reactions.from_file(tmp_path / "bytes.toml")
    with pytest.raises(ScenarioError, match="line 1"):
        Reactions.from_file(written(tmp_path, "no XML", "text.xml"))


# ---- SBML --------------------------------------------------------------------------------------------


def math_of(formula):
    return libsbml.writeMathMLToString(libsbml.parseL3Formula(formula)).partition("?>")[2]


def references(side, tag):
    items = "".join(f'<speciesReference species="{s}" stoichiometry="{n}" constant="true"/>' for s, n in side.items())
    return f"<listOf{tag}>{items}</listOf{tag}>" if items else ""


def reaction(name, reactants, products, law, own="", attributes='reversible="false"'):
    return (
        f'<reaction id="{name}" {attributes}>{references(reactants, "Reactants")}{references(products, "Products")}'
        f"<kineticLaw>{math_of(law)}{own}</kineticLaw></reaction>"
    )


def species(name, amount, attributes='hasOnlySubstanceUnits="true" boundaryCondition="false" constant="false"'):
    return f'<species id="{name}" compartment="Cell" initialAmount="{amount}" {attributes}/>'


def sbml(listed, laws, *, parameters="", size="", before="", after="", attributes="", version=2):
    """Return a level 3 document."""
    values = "".join(
        f'<parameter id="{n}" value="{v}" constant="true"/>'
        for n, v in {"k1": 0.3, "k2": 0.7, "zero": 0, "K": 5}.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<sbml xmlns="http://www.sbml.org/sbml/level3/version{version}/core" level="3" version="{version}" {attributes}>'
        f'<model id="m">{before}<listOfCompartments><compartment id="Cell" spatialDimensions="3" {size} constant="true"/>'
        f"</listOfCompartments><listOfSpecies>{''.join(listed)}</listOfSpecies>"
        f"<listOfParameters>{values}{parameters}</listOfParameters>{after}"
        f"<listOfReactions>{''.join(laws)}</listOfReactions></model></sbml>"
    )


def law_of(reactants, rate):
    """Return the combinatorial law of the suite's own files: k*P*(P - 1)/2 for a pair."""
    factors = [rate] + [f"({s} - {i})" if i else s for s, n in reactants.items() for i in range(n)]
    return "*".join(factors) + ("/2" if 2 in reactants.values() else "")


@pytest.mark.parametrize("path", SUITE, ids=lambda path: path.stem)
def test_the_suite_as_sbml(path, tmp_path):
    """Written as the suite's SBML files are, once with global and once with local parameters of the same names."""
    p, case = suite_case(path)
    listed = [species(name, count) for name, count in case["species"].items()]
    laws, values = [], ""
    for r in case["reactions"]:
        laws.append(reaction(r["name"], r["reactants"], r["products"], law_of(r["reactants"], f"rate_{r['name']}")))
        values += f'<parameter id="rate_{r["name"]}" value="{r["k"]!r}" constant="true"/>'
    assert_same(Reactions.from_file(written(tmp_path, sbml(listed, laws, parameters=values), "a.xml")), p)
    laws = []
    for r in case["reactions"]:
        own = f'<listOfLocalParameters><localParameter id="k1" value="{r["k"]!r}"/></listOfLocalParameters>'
        laws.append(reaction(r["name"], r["reactants"], r["products"], law_of(r["reactants"], "k1"), own))
    assert_same(Reactions.from_file(written(tmp_path, sbml(listed, laws), "b.sbml"), times=case["times"]), p)


FALSE = 'hasOnlySubstanceUnits="false" boundaryCondition="false" constant="false"'
BOUNDARY = 'hasOnlySubstanceUnits="true" boundaryCondition="true" constant="false"'
CONSTANT = 'hasOnlySubstanceUnits="true" boundaryCondition="true" constant="true"'


@pytest.mark.parametrize(
    ("attributes", "size", "law", "equation", "rate"),
    [
        ("", "", "k1*P", "P -> D", 0.3),
        ("", "", "P*k1*K/10", "P -> D", 0.15),
        ("", "", "k1*P/2/0.5", "P -> D", 0.3),
        ("", "", "(k1*(P/2))/0.5", "P -> D", 0.3),
        ("", "", "k1*P/(2/2)", "P -> D", 0.3),
        ("", 'size="0.5"', "Cell*k1*P", "P -> D", 0.15),
        ("", "", "0.5*k1*P*(P-1)", "2 P -> D", 0.3),
        ("", "", "k1*(P-1)*P", "2 P -> D", 0.6),
        ("", "", "(-1 + P)*k1*P/2", "2 P -> D", 0.3),
        ("", "", "k1*P*(P-1)*(P-2)/6", "3 P -> D", 0.3),
        ("", "", "k1*P*(P-1)*D/2", "2 P + D -> 2 D", 0.3),
        ("", "", "k1*(2*P - 2)*P/4", "2 P -> D", 0.3),
        ("", "", "k1^2*(2 - 1.5)*P", "P -> D", 0.045),
        ("", "", "-(-k1)*P", "P -> D", 0.3),
        ("", "", "k1 + k2", "-> D", 1.0),
        ("", "", "zero*P", "P -> D", 0.0),
        ("", 'size="2"', "k1*P", "P -> D", 0.3),
        ("", 'size="2"', "k1*P*Cell", "P -> D", 0.6),
        (FALSE, 'size="1"', "k1*P", "P -> D", 0.3),
        (FALSE, 'size="2"', "k1*P", "P -> D", 0.15),
        (FALSE, 'size="2"', "Cell*k1*P", "P -> D", 0.3),
        (FALSE, 'size="4"', "Cell*k1*P*(P - 0.25)/2", "2 P -> D", 0.3 / 4),
    ],
)
def test_mass_action_is_recognised_by_structure(tmp_path, attributes, size, law, equation, rate):
    """However the formula is written, and whatever the symbol of a species stands for."""
    kind = [attributes] if attributes else []
    listed = [species("P", 8, *kind), species("D", 3, *kind)]
    text = sbml(listed, [reaction("R", *sides(equation), law)], size=size)
    found = Reactions.of(read_sbml(written(tmp_path, text, "m.xml")), [1.0])
    wanted = Reactions.of(Network().species("P", 8).species("D", 3).reaction(equation, rate), [1.0])
    assert found.rates == pytest.approx(wanted.rates, rel=1e-15)
    for name in ("initial", "reactants", "changed", "changes"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name))


def test_a_species_that_is_in_the_law_alone_is_a_catalyst(tmp_path):
    text = sbml([species("P", 8), species("D", 3)], [reaction("R", {"P": 1}, {}, "k1*P*D")])
    expected = Network().species("P", 8).species("D", 3).reaction("P + D -> D", 0.3)
    assert_same(Reactions.from_file(written(tmp_path, text, "m.xml"), [1.0]), Reactions.of(expected, [1.0]))


@pytest.mark.parametrize("kind", [BOUNDARY, CONSTANT])
def test_boundary_species_are_fixed(tmp_path, kind):
    """They are sources and sinks that stay; in a law they count as they are at the start."""
    listed = [species("Source", 0, kind), species("X", 2), species("Sink", 7, kind)]
    laws = [
        reaction("Immigration", {"Source": 1}, {"X": 1}, "k1"),
        reaction("Death", {"X": 1}, {"Sink": 1}, "k2*X"),
        reaction("Feeding", {"Sink": 2}, {"X": 1}, "k1*Sink*(Sink-1)/2"),
    ]
    p = Reactions.of(read_sbml(written(tmp_path, sbml(listed, laws), "m.xml")), [1.0, 40.0])
    assert p.rates.tolist() == pytest.approx([0.3, 0.7, 0.3 * 21])
    counts = bgsim.run(reactions, p, replicates=100)["counts"]
    assert np.all(counts[:, :, [0, 2]] == [0, 7])


def test_level_2_and_concentrations(tmp_path):
    """Level 2 lists local parameters by another name, and has stoichiometries of 1 by default."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4"><model id="m">'
        '<listOfCompartments><compartment id="Cell" size="0.5"/></listOfCompartments><listOfSpecies>'
        '<species id="X" compartment="Cell" initialConcentration="6"/></listOfSpecies><listOfReactions>'
        '<reaction id="R"><listOfReactants><speciesReference species="X"/></listOfReactants>'
        f'<kineticLaw>{math_of("k*X*Cell")}<listOfParameters><parameter id="k" value="0.1"/></listOfParameters>'
        "</kineticLaw></reaction></listOfReactions></model></sbml>"
    )
    assert_same(
        Reactions.from_file(written(tmp_path, text, "m.xml")),
        Reactions.of(Network().species("X", 3).reaction("X ->", 0.1), DEFAULT_TIMES),
    )


def test_times_for_sbml_are_chosen_in_a_toml_file(tmp_path):
    written(tmp_path, sbml([species("X", 3)], [reaction("Death", {"X": 1}, {}, "k1*X")]), "model.xml")
    p = Reactions.from_file(written(tmp_path, 'sbml = "model.xml"\ntimes = { stop = 2, points = 5 }'))
    assert_same(p, Reactions.of(Network().species("X", 3).reaction("X ->", 0.3), [0, 0.5, 1, 1.5, 2]))
    assert Reactions.from_file(written(tmp_path, 'sbml = "model.xml"')).times.tolist() == list(DEFAULT_TIMES)
    with pytest.raises(ScenarioError, match=r"other\.xml cannot be read"):
        Reactions.from_file(written(tmp_path, 'sbml = "other.xml"'))


DECAY = reaction("R", {"P": 1}, {}, "k1*P")
TRIGGER = '<trigger initialValue="true" persistent="true">' + math_of("k1 > 1") + "</trigger>"
INITIAL = "<listOfInitialAssignments><initialAssignment symbol='{}'>{}</initialAssignment></listOfInitialAssignments>"


def without_law(text):
    return text[: text.index("<kineticLaw>")] + "</reaction>"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"after": f"<listOfRules><rateRule variable='K'>{math_of('k1')}</rateRule></listOfRules>"},
            "rules (rateRule K)",
        ),
        (
            {"after": f"<listOfRules><assignmentRule variable='P'>{math_of('k1')}</assignmentRule></listOfRules>"},
            "rules (assignmentRule P)",
        ),
        (
            {"after": f"<listOfRules><assignmentRule variable='Cell'>{math_of('k1')}</assignmentRule></listOfRules>"},
            "rules (assignmentRule Cell)",
        ),
        (
            {"after": f"<listOfRules><algebraicRule>{math_of('k1 - K')}</algebraicRule></listOfRules>"},
            "rules (algebraicRule)",
        ),
        (
            {"after": INITIAL.format("Cell", math_of("k1"))},
            "initial assignments (initialAssignment Cell)",
        ),
        (
            {"after": INITIAL.format("K", math_of("k1 * P"))},
            "the initial assignment of 'K', k1 * P, is no constant: k1 * P depends on the count of a species",
        ),
        ({"after": INITIAL.format("P", math_of("k1"))}, "it has the amount 0.3"),
        (
            {"after": f"<listOfConstraints><constraint>{math_of('k1 > 0')}</constraint></listOfConstraints>"},
            "constraints (constraint)",
        ),
        ({"laws": [DECAY], "events": TRIGGER}, "events (event reset)"),
        ({"laws": [without_law(DECAY)]}, "reaction 'R' has no kinetic law"),
        ({"laws": [reaction("R", {"P": 1.5}, {}, "k1*P")]}, "the stoichiometry of 'P' in reaction 'R' must be a whole"),
        ({"laws": [reaction("R", {"P": 1}, {}, "k1*P/(K+P)")]}, "divides by something else than a constant"),
        ({"laws": [reaction("R", {"P": 2}, {}, "k1*P^2")]}, "P*P is not the number of ways"),
        ({"laws": [reaction("R", {"P": 2}, {}, "k1*P*P")]}, "P*P is not the number of ways"),
        ({"laws": [reaction("R", {"P": 1}, {}, "k1*(P-1)")]}, "(P - 1) is not the number of ways"),
        ({"laws": [reaction("R", {"P": 1}, {}, "k1*P^0.5")]}, "is a power that is not known"),
        ({"laws": [reaction("R", {"P": 1}, {}, "k1^P")]}, "is a power that is not known"),
        ({"laws": [reaction("R", {"P": 1}, {}, "k1*P - k2*D")]}, "only a reaction with reversible='true' runs"),
        ({"laws": [reaction("R", {}, {"D": 1}, "k1*(100-2*P)*(99-2*P)")]}, "is not the number of ways"),
        ({"laws": [reaction("R", {"P": 1}, {}, "-k1*P")]}, "its constant is -0.3"),
        ({"laws": [reaction("R", {"P": 1}, {}, "k1*P/zero")]}, "divides by something else"),
        ({"laws": [reaction("R", {"P": 1}, {}, "kk1*P")]}, "'kk1' has no value; did you mean 'k1'?"),
        ({"laws": [reaction("R", {"P": 1}, {}, "time*P")]}, "time is not known here"),
        ({"laws": [reaction("R", {"P": 1}, {}, "delay(P, 1)")]}, "delay(P, 1) is not known here"),
        ({"laws": [reaction("R", {"P": 1}, {}, "exp(P)")]}, "exp(P) depends on the count of a species"),
        ({"laws": [reaction("R", {"P": 1}, {}, "ln(zero)*P")]}, "ln(zero) has no value"),
        ({"laws": [reaction("R", {"P": 1}, {}, "sin(k1)*P")]}, "sin(k1) is not known here"),
        ({"laws": [reaction("R", {"P": 1}, {}, "avogadro*P*f(k1)")]}, "f(k1) is not known here"),
        ({"laws": [reaction("R", {"P": 1}, {}, "piecewise(k1, k2 > 1, 0)*P")]}, "is not known here"),
        ({"laws": [reaction("R", {"P": 1}, {}, "Cell*P")]}, "'Cell' has no value"),
        ({"laws": [reaction("R", {"P": 1}, {}, "k1")]}, "takes 1 of 'P', but its kinetic law does not vanish"),
        ({"laws": [reaction("R", {"P": 2}, {}, "k1*P")]}, "takes 2 of 'P'"),
        ({"laws": [reaction("R", {}, {"D": 1}, "k1*P*(P-1)*D*(D-1)")]}, "lets 4 molecules meet"),
        (
            {"laws": [reaction("R", {"P": 1}, {}, "k1*P", attributes='reversible="false" fast="true"')], "version": 1},
            "reaction 'R' is fast",
        ),
        ({"listed": [species("P", 1.5), species("D", 0)]}, "it has the amount 1.5"),
        ({"listed": [species("P", -1), species("D", 0)]}, "whole number of molecules"),
        ({"listed": [species("P", 1).replace('initialAmount="1"', "")]}, "must have an initialAmount"),
        ({"listed": [species("P", 1).replace("initialAmount", "initialConcentration")]}, "it has the amount nan"),
        ({"listed": [species("P", 1, FALSE)]}, "'P' has no value"),
        ({"listed": [species("P", 1, FALSE + ' conversionFactor="k1"')]}, "species 'P' has a conversionFactor"),
        ({"model": 'conversionFactor="k1"'}, "the model has a conversionFactor"),
        (
            {
                "attributes": 'xmlns:comp="http://www.sbml.org/sbml/level3/version1/comp/version1" comp:required="true"',
            },
            "requires the package 'comp'",
        ),
    ],
)
def test_sbml_refusals(tmp_path, document, message):
    """What has no place in a network is refused by name, and never ignored."""
    document = {"listed": [species("P", 8), species("D", 3)], "laws": [DECAY], **document}
    events, model = document.pop("events", ""), document.pop("model", "")
    text = sbml(**document)
    if events:
        text = text.replace(
            "</model>",
            f'<listOfEvents><event id="reset" useValuesFromTriggerTime="true">{events}</event></listOfEvents></model>',
        )
    text = text.replace('<model id="m"', f'<model id="m" {model}')
    path = written(tmp_path, text, "m.xml")
    with pytest.raises(ScenarioError) as caught:
        Reactions.from_file(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


BOTH_WAYS = 'reversible="true"'


@pytest.mark.parametrize(
    ("law", "terms"),
    [
        ("k1*P*(P-1) - k2*D", [("2 P -> D", 0.6), ("D -> 2 P", 0.7)]),
        ("K*(k1*P*(P-1) - k2*D/2)", [("2 P -> D", 3.0), ("D -> 2 P", 1.75)]),
        ("-(k2*D) + P*(P-1)*k1/2", [("D -> 2 P", 0.7), ("2 P -> D", 0.3)]),
        ("k1*P*(P-1) + k2*P*(P-1)*D - k2*D", [("2 P -> D", 0.6), ("2 P + D -> 2 D", 1.4), ("D -> 2 P", 0.7)]),
        ("(k1*P*(P-1) - k2*D)/K", [("2 P -> D", 0.12), ("D -> 2 P", 0.14)]),
        ("k1*P*(P-1) - k2*D*(D - 1)", [("2 P -> D", 0.6), ("2 D -> D + 2 P", 1.4)]),
    ],
)
def test_a_reversible_law_is_split(tmp_path, law, terms):
    """Each term is a reaction; one with a minus sign makes what the others take."""
    text = sbml([species("P", 8), species("D", 3)], [reaction("R", {"P": 2}, {"D": 1}, law, attributes=BOTH_WAYS)])
    found = Reactions.of(read_sbml(written(tmp_path, text, "m.xml")), [1.0])
    network = Network().species("P", 8).species("D", 3)
    for equation, rate in terms:
        network.reaction(equation, rate)
    wanted = Reactions.of(network, [1.0])
    assert found.rates == pytest.approx(wanted.rates, rel=1e-14)
    for name in ("initial", "reactants", "changed", "changes"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name


@pytest.mark.parametrize(
    ("reactants", "products", "law", "equations"),
    [
        ({"P": 1}, {}, "k1*P - k2", [("P ->", 0.3), ("-> P", 0.7)]),
        ({}, {"P": 1}, "k1 + k2*P", [("P -> 2 P", 0.7), ("-> P", 0.3)]),
        ({}, {"P": 1}, "K*(P + 2)*k1", [("P -> 2 P", 1.5), ("-> P", 3.0)]),
    ],
)
def test_a_species_and_a_constant_are_two_terms(tmp_path, reactants, products, law, equations):
    """As what is made of nothing, and is lost, too."""
    text = sbml([species("P", 8)], [reaction("R", reactants, products, law, attributes=BOTH_WAYS)])
    found = Reactions.of(read_sbml(written(tmp_path, text, "m.xml")), [1.0])
    rows = {(tuple(r), int(c[0])): k for r, c, k in zip(found.reactants, found.changes, found.rates, strict=True)}
    network = Network().species("P", 8)
    for equation, rate in equations:
        network.reaction(equation, rate)
    wanted = Reactions.of(network, [1.0])
    other = {(tuple(r), int(c[0])): k for r, c, k in zip(wanted.reactants, wanted.changes, wanted.rates, strict=True)}
    assert rows == pytest.approx(other, rel=1e-14)


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ("k1*P - k2*D", "takes 2 of 'P', but its kinetic law does not vanish"),
        ("k1*P*(P-1) - k2", "reaction 'R' backwards takes 1 of 'D', but its kinetic law does not vanish"),
        ("k1*P^2 - k2*D", "P*P is not the number of ways"),
        ("k1*P*(P-1)/(1 + k2*D)", "divides by something else"),
    ],
)
def test_what_cannot_be_split(tmp_path, law, message):
    text = sbml([species("P", 8), species("D", 3)], [reaction("R", {"P": 2}, {"D": 1}, law, attributes=BOTH_WAYS)])
    with pytest.raises(ScenarioError) as caught:
        read_sbml(written(tmp_path, text, "m.xml"))
    assert message in str(caught.value)


def test_a_reversible_dimerisation_has_its_stationary_distribution(tmp_path):
    """2 P <-> D: at equilibrium the count of D is n with the weight that detailed balance gives."""
    k1, k2, total = 0.3, 2.1, 12
    law = f"k1*P*(P-1)/2 - {k2}*D"
    text = sbml([species("P", total), species("D", 0)], [reaction("R", {"P": 2}, {"D": 1}, law, attributes=BOTH_WAYS)])
    p = Reactions.from_file(written(tmp_path, text, "m.xml"), times=[30.0])
    found = bgsim.run(reactions, p, replicates=20_000, seed=5)["counts"][:, 0, 1]
    weights = [1.0]
    for n in range(total // 2):
        monomers = total - 2 * n
        weights.append(weights[-1] * k1 * monomers * (monomers - 1) / 2 / (k2 * (n + 1)))
    exact = np.array(weights) / sum(weights)
    counts = np.bincount(found, minlength=len(exact))
    expected = exact * len(found)
    assert np.sum((counts - expected) ** 2 / expected) < 22.5  # chi squared, 6 degrees of freedom: 1 in 1,000


MATHML = "xmlns='http://www.w3.org/1998/Math/MathML'"


def function(name, arguments, body):
    bound = "".join(f"<bvar><ci>{a}</ci></bvar>" for a in arguments)
    inner = math_of(body).partition(">")[2].rpartition("</math>")[0]
    return f"<functionDefinition id='{name}'><math {MATHML}><lambda>{bound}{inner}</lambda></math></functionDefinition>"


def test_functions_are_written_out(tmp_path):
    """Of functions, too; an argument is what it stands for where the function is called."""
    functions = "".join(
        [
            function("rate", ["P"], "2*P"),  # the name of a species, and another thing
            function("flux", ["v"], "v"),
            function("meet", ["k", "A", "B"], "rate(k)*A*(B - 1)/4"),
        ]
    )
    laws = [
        reaction("In", {}, {"P": 1}, "flux(k1)"),
        reaction("Both", {"P": 2}, {"D": 1}, "meet(k2, P, P) - flux(k1*D)", attributes=BOTH_WAYS),
    ]
    before = f"<listOfFunctionDefinitions>{functions}</listOfFunctionDefinitions>"
    text = sbml([species("P", 8), species("D", 3)], laws, before=before)
    network = Network().species("P", 8).species("D", 3)
    network.reaction("-> P", 0.3).reaction("2 P -> D", 0.7).reaction("D -> 2 P", 0.3)
    assert_same(Reactions.from_file(written(tmp_path, text, "m.xml"), [1.0]), Reactions.of(network, [1.0]))


def test_rules_and_initial_assignments_of_parameters(tmp_path):
    """A rule says what its name stands for at all times, a species among it; an initial assignment a number."""
    after = INITIAL.format("k2", math_of("exp(ln(k1)) + pi - pi")).replace(
        "</listOfInitialAssignments>",
        f"<initialAssignment symbol='D'>{math_of('2*K')}</initialAssignment></listOfInitialAssignments>",
    )
    rules = [("speed", "half*P"), ("half", "k2/2"), ("unused", "sin(time)")]
    after += "<listOfRules>" + "".join(
        f"<assignmentRule variable='{name}'>{math_of(text)}</assignmentRule>" for name, text in rules
    )
    parameters = "".join(f"<parameter id='{name}' constant='false'/>" for name, _ in rules)
    text = sbml(
        [species("P", 8), species("D", 3)],
        [reaction("R", {"P": 1}, {"D": 1}, "speed")],
        parameters=parameters,
        after=after + "</listOfRules>",
    )
    found = Reactions.from_file(written(tmp_path, text, "m.xml"), [1.0])
    assert found.initial.tolist() == [8, 10]
    assert found.rates == pytest.approx([0.15])
    assert found.reactants.tolist() == [[0, 2, 2]]


def test_a_compartment_of_no_dimensions_has_amounts(tmp_path):
    """The symbol of a species in it is its amount, whatever it says."""
    text = sbml([species("P", 8, FALSE)], [reaction("R", {"P": 1}, {}, "k1*P")]).replace(
        'Dimensions="3"', 'Dimensions="0"'
    )
    assert Reactions.from_file(written(tmp_path, text, "m.xml"), [1.0]).rates.tolist() == [0.3]


def test_stoichiometry_by_formula_is_refused(tmp_path):
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4"><model id="m">'
        '<listOfCompartments><compartment id="Cell" size="1"/></listOfCompartments><listOfSpecies>'
        '<species id="X" compartment="Cell" initialAmount="6"/></listOfSpecies><listOfReactions>'
        '<reaction id="R"><listOfProducts><speciesReference species="X"><stoichiometryMath>'
        f"{math_of('2')}</stoichiometryMath></speciesReference></listOfProducts>"
        f"<kineticLaw>{math_of('3')}</kineticLaw></reaction></listOfReactions></model></sbml>"
    )
    with pytest.raises(ScenarioError, match="has a stoichiometryMath for 'X'"):
        Reactions.from_file(written(tmp_path, text, "m.xml"))


def test_the_extra_names_itself(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "libsbml", None)
    with pytest.raises(MissingExtraError, match="pip install python-libsbml"):
        importlib.import_module("bgsim.models.network_sbml").read_sbml(tmp_path / "m.xml")


# ---- the command line --------------------------------------------------------------------------------


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bgsim", "run", *arguments, "--store", str(folder / "runs.db")],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


@pytest.mark.parametrize("name", ["reactions", "tau_leaping"])
def test_networks_run_from_the_command_line(tmp_path, name):
    done = command(tmp_path, name, "--scenario", str(written(tmp_path, TOML)), "-n", "100", "--seed", "3", "--json")
    assert done.returncode == 0, done.stderr
    p = Reactions.from_file(tmp_path / "network.toml")
    expected = bgsim.run(reactions, p, replicates=100, seed=3)["counts"].mean(axis=0)
    assert np.allclose(json.loads(done.stdout)["outputs"]["counts"]["mean"], expected, rtol=0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scenario", "missing.toml"], "missing.toml cannot be read"),
        (["--scenario", "network.toml", "--rules", "srd"], "bgsim.models.reactions.reactions has no rule sets"),
        ([], "must be given"),
    ],
)
def test_bad_input_exits_with_2(tmp_path, arguments, message):
    written(tmp_path, TOML)
    arguments = [str(tmp_path / a) if a.endswith(".toml") else a for a in arguments]
    done = command(tmp_path, "reactions", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
