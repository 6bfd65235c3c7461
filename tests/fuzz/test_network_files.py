"""Whatever a network file holds, TOML or SBML, it is read, or refused by name."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from fuzzing import LONG, MARKS, fuzz, torn
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from bgsim.errors import ScenarioError
from bgsim.models.reactions import Reactions, reactions

pytestmark = MARKS

TOML = [
    (ROOT / "examples" / "networks" / "dimerisation.toml").read_text(encoding="utf-8"),
    "times = [0.0, 0.5, 2]\n[species]\nA = 100\nB = 0\nE = { count = 5, fixed = true }\n"
    '[[reactions]]\nequation = "2 A + E -> B + E"\nrate = 0.001\nname = "D"\n[[reactions]]\nequation = "B -> 2 A"\nrate = 1\n',
]
MATHML = "http://www.w3.org/1998/Math/MathML"
SBML = f"""<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4"><model id="m">
<listOfFunctionDefinitions><functionDefinition id="f"><math xmlns="{MATHML}"><lambda><bvar><ci>v</ci></bvar><bvar><ci>s</ci></bvar>
<apply><times/><ci>v</ci><ci>s</ci></apply></lambda></math></functionDefinition></listOfFunctionDefinitions>
<listOfCompartments><compartment id="c" size="2"/></listOfCompartments>
<listOfSpecies><species id="A" compartment="c" initialAmount="10" hasOnlySubstanceUnits="true"/>
<species id="B" compartment="c" initialConcentration="4"/><species id="E" compartment="c" initialAmount="3" boundaryCondition="true"/>
</listOfSpecies>
<listOfParameters><parameter id="k1" value="1"/><parameter id="k2" value="2"/><parameter id="K" constant="false"/></listOfParameters>
<listOfInitialAssignments><initialAssignment symbol="k2"><math xmlns="{MATHML}"><apply><exp/><cn>0.5</cn></apply></math>
</initialAssignment></listOfInitialAssignments>
<listOfRules><assignmentRule variable="K"><math xmlns="{MATHML}"><apply><divide/><ci>k1</ci><cn type="rational">1<sep/>3</cn></apply>
</math></assignmentRule></listOfRules>
<listOfReactions><reaction id="r"><listOfReactants><speciesReference species="A" stoichiometry="2"/></listOfReactants>
<listOfProducts><speciesReference species="B"/></listOfProducts><kineticLaw><math xmlns="{MATHML}"><apply><minus/>
<apply><ci>f</ci><ci>k1</ci><apply><times/><ci>A</ci><apply><minus/><ci>A</ci><cn>1</cn></apply></apply></apply>
<apply><times/><ci>K</ci><ci>c</ci><ci>B</ci></apply></apply></math></kineticLaw></reaction>
<reaction id="d" reversible="false"><listOfReactants><speciesReference species="B"/></listOfReactants><kineticLaw>
<math xmlns="{MATHML}"><apply><times/><ci>k</ci><apply><power/><ci>k2</ci><cn>2</cn></apply><ci>B</ci></apply></math>
<listOfParameters><parameter id="k" value="0.1"/></listOfParameters></kineticLaw></reaction></listOfReactions></model></sbml>
"""
WORDS = [
    "times", "divide", "minus", "plus", "power", "root", "exp", "ln", "log", "abs", "floor", "lambda", "bvar", "piecewise",
    "piece", "otherwise", "apply", "ci", "cn", "csymbol", "sep", "math", "degree", "logbase", "true", "pi", "notanumber",
    "infinity", "eq", "and", "semantics", "annotation", "A", "B", "E", "k1", "k2", "K", "c", "f", "k", "v", "s", "0", "1", "-1", "2",
    "3", "1e400", "-1e400", "NaN", "INF", "0.5", "1e-320", LONG, "rational", "e-notation", "integer", "apply><apply", "math/><math",
    "species", "reaction", "parameter", "compartment", "assignmentRule", "rateRule", "algebraicRule", "initialAssignment",
    "listOfEvents", "listOfConstraints", "kineticLaw", "localParameter", "model", "sbml", "notes", "size", "constant", "id",
    "stoichiometry", "stoichiometryMath", "true\" fast=\"true", "spatialDimensions", "level2/version4", "level3/version1/core",
]  # fmt: skip
VALUES = [
    "0", "-0.0", "-1", "1.5", "inf", "nan", "true", "[]", "{}", "[[[]]]", '""', "'x'", "0x" + "f" * 99, "9" * 99, "9" * 5000,
    "1_000", "1e400", "1e308", "1979-05-27", '"-> A"', '"2 A -> "', '"99999999999999999999 A -> B"', '"٢ A -> B"', '"A + A + A + A -> "',
    "{ stop = 1e308, points = 1000000 }", "{ stop = 5, points = 1e3 }", "{ start = 9, stop = 5, points = 3 }", "4503599627370496",
    "9223372036854775808", '"model.xml"', '"/dev/zero"', '"."', '"\\u0000"', "{ count = 1, fixed = 1 }", "[1, 2, 3]", "[3, 2, 1]",
]  # fmt: skip


@st.composite
def edited(draw: st.DrawFn, text: str, words: list[str]) -> bytes:
    """Return a text with some of its words replaced by others."""
    pieces = [piece for piece in _pieces(text) if piece]
    places = [i for i, piece in enumerate(pieces) if piece[0].isalnum()]
    for place in draw(st.lists(st.sampled_from(places), min_size=1, max_size=4)):
        other = draw(st.sampled_from(places))
        pieces[place] = draw(st.sampled_from([*words, pieces[other], ""]))
    return "".join(pieces).encode()


def _pieces(text: str) -> list[str]:
    """Cut a text into words and what stands between them."""
    found = [""]
    for character in text:
        if (found[-1][-1:].isalnum() or found[-1] == "") != character.isalnum():
            found.append("")
        found[-1] += character
    return found


def check(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        try:
            p = Reactions.from_file(path)
        except ScenarioError as error:
            assert str(path) in str(error)
            assert len(str(error)) < 5000
            assert str(error).encode()
        else:
            reactions.bind(p)


@fuzz(percent=5)
@given(st.sampled_from(TOML).flatmap(torn))
def test_torn_toml(content: bytes) -> None:
    check("network.toml", content)


@fuzz(percent=5)
@given(st.sampled_from(TOML).flatmap(lambda text: edited(text, VALUES)))
def test_edited_toml(content: bytes) -> None:
    check("network.toml", content)


@fuzz(percent=5)
@given(torn(SBML))
def test_torn_sbml(content: bytes) -> None:
    check("network.xml", content)


@fuzz(percent=10)
@given(edited(SBML, WORDS))
def test_edited_sbml(content: bytes) -> None:
    check("network.xml", content)


@pytest.mark.parametrize(("name", "text"), [("a.toml", TOML[0]), ("b.toml", TOML[1]), ("c.xml", SBML)])
def test_the_originals_are_read(name: str, text: str, tmp_path: Path) -> None:
    """Else the tests above would try nothing."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert Reactions.from_file(tmp_path / name).observations > 1
