"""Odd files of every kind that a model reads: an error of bgsim's that names the file and the entry, soon, and nothing else."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from paths import ENCOUNTERS

from bgsim.errors import InvalidInputError, ScenarioError
from bgsim.models import files
from bgsim.models.battle import Battle
from bgsim.models.dice import parse_formula
from bgsim.models.network import Network
from bgsim.models.network_sbml import MAX_PARTS
from bgsim.models.reactions import Reactions

READERS = {"scenario.json": Battle.from_file, "network.toml": Reactions.from_file, "network.xml": Reactions.from_file}
LONG = "9" * 100_000
SCENARIO: dict[str, Any] = json.loads((ENCOUNTERS / "ogre_bridge.json").read_text(encoding="utf-8"))
TOML = 'times = [0, 1]\n[species]\nA = 5\n[[reactions]]\nequation = "A ->"\nrate = 1\n'
MATHML = 'xmlns="http://www.w3.org/1998/Math/MathML"'
SBML = (
    '<?xml version="1.0" encoding="UTF-8"?>{top}<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4">'
    '<model id="m">{functions}<listOfCompartments><compartment id="c" size="1"/></listOfCompartments>'
    '<listOfSpecies><species id="A" compartment="c" initialAmount="{amount}" hasOnlySubstanceUnits="true"/></listOfSpecies>'
    '<listOfParameters><parameter id="k" value="1"/></listOfParameters><listOfReactions><reaction id="r" reversible="false">'
    '<listOfReactants><speciesReference species="A" stoichiometry="{stoichiometry}"/></listOfReactants>'
    "<kineticLaw>{notes}<math " + MATHML + ">{law}</math></kineticLaw></reaction></listOfReactions></model></sbml>"
)
PLAIN = {
    "top": "",
    "functions": "",
    "amount": "5",
    "stoichiometry": "1",
    "notes": "",
    "law": "<apply><times/><ci>k</ci><ci>A</ci></apply>",
}


def refusal(path: Path) -> str:
    """Return the message that refuses a file; it names the file."""
    with pytest.raises(ScenarioError) as caught:
        READERS[path.name](path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 2000
    return str(caught.value)


# ---- what stands under the name ----------------------------------------------------------------------


@pytest.fixture(params=READERS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def test_a_directory(path: Path) -> None:
    path.mkdir()
    assert "cannot be read" in refusal(path)


def test_a_pipe_that_nobody_writes_to(path: Path) -> None:
    """It keeps nobody waiting."""
    os.mkfifo(path)
    assert "it is a pipe or a device" in refusal(path)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full", "/dev/stdin"])
def test_a_device(path: Path, device: str) -> None:
    path.symlink_to(device)
    assert "cannot be read" in refusal(path)


def test_no_file_and_no_path(path: Path) -> None:
    assert "No such file" in refusal(path)
    for name in (
        "a\0b" + path.suffix,
        "a" * 300 + path.suffix,
        "\ud800" + path.suffix,
        5,
        None,
        b"a" + path.suffix.encode(),
    ):
        with pytest.raises(ScenarioError, match="cannot be read|is read from"):
            READERS[path.name](name)  # type: ignore[operator]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_file(path: Path) -> None:
    path.write_text("")
    path.chmod(0)
    assert "Permission denied" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\xff\xfe\0", b"\xc3(", b"\xed\xa0\x80", b"\0" * 1000, b"\x1b[2J", "{}".encode("utf-16")]
)
def test_no_text(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "\x1b" not in refusal(path)


def test_utf_16_says_what_to_do(path: Path) -> None:
    path.write_text("{}", encoding="utf-16")
    assert "it is UTF-16; save it as UTF-8" in refusal(path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    """Editors write it."""
    for name, text in {
        "scenario.json": json.dumps(SCENARIO),
        "network.toml": TOML,
        "network.xml": SBML.format(**PLAIN),
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        READERS[name](tmp_path / name)


def test_a_large_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is allowed is read of it."""
    with path.open("wb") as file:
        file.truncate(2**40)  # of holes
    assert "it is larger than 8,388,608 bytes" in refusal(path)
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    path.write_text("x" * 11)
    assert "it is larger than 10 bytes" in refusal(path)


# ---- scenarios ---------------------------------------------------------------------------------------


def scenario_with(tmp_path: Path, place: list[Any], value: str) -> Path:
    """Write a scenario in which the text of one value is replaced."""
    scenario = copy.deepcopy(SCENARIO)
    holder: Any = scenario
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = "@"
    path = tmp_path / "scenario.json"
    path.write_text(json.dumps(scenario).replace('"@"', value), encoding="utf-8")
    return path


HP = ["players", 0, "hp"]
NAME = ["players", 0, "name"]
ACTION = ["players", 0, "actions", 0]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (HP, LONG, "players[0].hp must be an integer"),
        (HP, "-" + LONG, "players[0].hp must be an integer"),
        (HP, "1e" + LONG, "players[0].hp must be an integer"),
        (HP, "NaN", "players[0].hp must be an integer"),
        (HP, "Infinity", "players[0].hp must be an integer"),
        (HP, "1e400", "players[0].hp must be an integer"),
        (HP, "-0", "players[0].hp must be an integer"),
        (HP, "0x10", "is no JSON"),
        (HP, "1_000", "is no JSON"),
        (["players", 0, "AC"], LONG, "players[0].AC must be a number"),
        (["players", 0, "AC"], "NaN", "players[0].AC must be a number"),
        (NAME, '"\\ud800"', "players[0].name must have whole characters"),
        (NAME, '"' + "a" * 201 + '"', "players[0].name must be a text of at most 200 characters"),
        (["notes"], '"\\udfff"', "notes must have whole characters"),
        (["notes"], '{"\\ud800": 1}', "notes must have whole characters"),
        (["notes"], "[" * 60 + "]" * 60, "lies too deep: at most 50"),
        (["notes"], '{"a":' * 60 + "1" + "}" * 60, "lies too deep: at most 50"),
        (["notes"], "[" * 100_000 + "]" * 100_000, "is no JSON: at most 50 objects and lists may lie in each other"),
        (["notes"], '{"a": 1, "a": 2}', "an object has the entry 'a' twice"),
        (["hp\x1b"], "1", r"'hp\x1b' = 1"),
        ([*ACTION, "toHit"], '"' + LONG + '"', "toHit: '999"),
        ([*ACTION, "toHit"], '"' + LONG + 'd6"', "toHit: '999"),
        ([*ACTION, "toHit"], '"1d' + LONG + '"', "toHit: '1d999"),
        ([*ACTION, "toHit"], '"٣d6"', "is no dice formula"),
        ([*ACTION, "toHit"], '"' + "1d6+" * 300 + '1"', "in at most 1,000 characters"),
        ([*ACTION, "toHit"], '"' + " " * 100_000 + '"', "in at most 1,000 characters"),
        ([*ACTION, "cost"], "[" + "{}," * 20 + "{}]", "cost must be a list of at most 20 cost"),
        (["players", 0, "triggers"], "[" + "{}," * 60 + "{}]", "triggers must be a list of at most 60 triggers"),
    ],
)
def test_odd_scenarios(tmp_path: Path, place: list[Any], value: str, message: str) -> None:
    began = time.process_time()
    assert message in refusal(scenario_with(tmp_path, place, value))
    assert time.process_time() - began < 5


def test_odd_scenarios_of_python() -> None:
    """Objects that no JSON file holds."""
    endless: list[Any] = []
    endless.append(endless)
    for value in (10**5000, endless, {1: 2}, {"a": b"bytes"}, object(), {"\ud800": 1}):
        with pytest.raises(ScenarioError):
            Battle.from_scenario({**SCENARIO, "notes": value, "hp": value})
    for value in (10**5000, -(10**5000), endless, object()):
        with pytest.raises(ScenarioError):
            Battle.from_scenario({**SCENARIO, "players": value})
        with pytest.raises(ScenarioError):
            parse_formula(value, "here")


def test_many_effects_are_refused_before_they_take_memory() -> None:
    buff = {"type": "buff", "name": "b", "target": "ally with least HP", "buff": {"ac": 1, "duration": "1 round"}}
    crowd = {**SCENARIO["players"][0], "count": 140, "actions": [{**buff, "name": f"b{i}"} for i in range(60)]}
    with pytest.raises(ScenarioError, match="effects could be active at once, and at most 1,000,000 may be"):
        Battle.from_scenario({**SCENARIO, "players": [crowd]})


@pytest.mark.parametrize("rules", ["srd", "reference"])
def test_what_the_application_notes_about_its_file_changes_no_fight(rules: str) -> None:
    """Wherever it stands: one rule for all that only describes."""
    noted = copy.deepcopy(SCENARIO)
    step = noted["timeline"][0]
    for entry in (noted, noted["players"][0], noted["players"][0]["actions"][0], step, step["monsters"][0]):
        entry.update(updated=1700000000000, created="2024-01-01T00:00:00Z", updatedAt=1, createdAt=2, version=3)
    ours, theirs = Battle.from_scenario(noted, rules), Battle.from_scenario(SCENARIO, rules)
    assert ours.rows.tobytes() == theirs.rows.tobytes()
    assert ours.numbers.tobytes() == theirs.numbers.tobytes()


# ---- TOML --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("A = 5", "A = " + LONG, "line 3 has a number of more than 100 digits: 'A = 999"),
        ("A = 5", "A = -" + LONG, "line 3 has a number of more than 100 digits"),
        ("A = 5", "A = 0x" + LONG, "line 3 has a number of more than 100 digits"),
        ("A = 5", "A = 0b" + "1" * 100_000, "line 3 has a number of more than 100 digits"),
        ("A = 5", "A = 9" + "_999" * 5000, "line 3 has a number of more than 100 digits"),
        ("rate = 1", "rate = 0." + LONG, "line 6 has a number of more than 100 digits"),
        ("rate = 1", "rate = 1e" + LONG, "line 6 has a number of more than 100 digits"),
        ("rate = 1", "rate = 1e400", "the rate of reaction 'A ->' must be a finite number of 0 or more; got inf"),
        ("rate = 1", "rate = nan", "the rate of reaction 'A ->' must be a finite number of 0 or more; got nan"),
        ("rate = 1", "rate = 1e-400\nname = 5", "the name of a reaction must be text; got 5"),
        ("A = 5", "A = 0x" + "f" * 90, "the count of species 'A' must be a whole number from 0 to"),
        ("[0, 1]", "[" * 100_000 + "]" * 100_000, "lists and tables lie too deep in each other"),
        ("[0, 1]", "{ a = " * 5000 + "1" + "}" * 5000, "lists and tables lie too deep in each other"),
        ("[0, 1]", "1\n" + "a." * 100_000 + "a = 1", "line 2 has a name of more than 10 parts"),
        ("[0, 1]", "1\n'=[#'." + "'\"'." * 100_000 + "a = 1", "line 2 has a name of more than 10 parts"),
        ("[0, 1]", "1\nx = '''\n'''\n[" + "a." * 1000 + "a]", "line 4 has a name of more than 10 parts"),
        ("[0, 1]", "[0, inf]", "times must be a list of numbers, finite and 0 or more"),
        ("[0, 1]", "{ stop = inf, points = 3 }", "times must be a list of numbers"),
        ("[0, 1]", "{ stop = 1e308, start = nan, points = 3 }", "times must be a list of numbers"),
        ("[0, 1]", "{ stop = 5, points = 99999999999999999999 }", "at most 1,000,000 points"),
        ("[0, 1]", "{ stop = 5, points = true }", "times must be a list of numbers"),
        ("times = [0, 1]\n[species]\nA = 5\n[[reactions]]", "sbml = ['a']\n[[x]]", "unknown entry 'x'"),
        ("A = 5", "A = 5\nA = 6", "is no TOML"),
        ("A = 5", '"\\ud800" = 5', "is no TOML"),
        ("A = 5", '"\\u001b" = 5', r"a species must have a Python name; got '\x1b'"),
        ("A ->", LONG + " A ->", "is no species with a whole coefficient"),
        ("A ->", "٣ A ->", "is no species with a whole coefficient"),
        ("A ->", "9999999999 A ->", "must be a whole number from 1 to"),
        ("A ->", " + ".join("A" * 10_000) + " ->", "lets 10000 molecules meet"),
    ],
)
def test_odd_toml(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TOML
    path = tmp_path / "network.toml"
    path.write_text(TOML.replace(old, new), encoding="utf-8")
    began = time.process_time()
    assert message in refusal(path)
    assert time.process_time() - began < 5


def test_strings_and_comments_of_toml_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    comment = "# " + "." * 1000 + LONG + " '\n"
    path.write_text(comment + TOML.replace("rate = 1", f'rate = 1\nname = "{"a." * 100}{LONG}"'), encoding="utf-8")
    assert Reactions.from_file(path).species == 1


def test_a_toml_file_names_an_odd_sbml_file(tmp_path: Path) -> None:
    for name in ("/dev/zero", ".", "\\u0000", "\\u001b", "a" * 300, "network.toml"):
        (tmp_path / "network.toml").write_text(f'sbml = "{name}"')
        with pytest.raises(ScenarioError, match=r"cannot be read|line 1"):
            Reactions.from_file(tmp_path / "network.toml")


def test_a_wide_reaction_among_many_is_refused_before_it_takes_memory() -> None:
    network = Network()
    for i in range(5000):
        network.species(f"S{i}").reaction(f"S{i} ->", 1)
    network.reaction((dict.fromkeys([], 1), {f"S{i}": 1 for i in range(5000)}), 1)
    with pytest.raises(InvalidInputError, match="at most 10,000,000 changes fit into the table"):
        network.tables([1.0])


@pytest.mark.parametrize(
    "value", [10**5000, -(10**5000), float("nan"), float("inf"), None, True, b"1", [10**5000]], ids=range(8)
)
def test_odd_values_for_a_network(value: Any) -> None:
    for attempt in (
        lambda: Network().species("A", value),
        lambda: Network().species(value, 1),
        lambda: Network().species("A", 1, fixed=value if value is not True else 1),
        lambda: Network().reaction("A ->", -1.0 if value is True else value),
        lambda: Network().reaction(value, 1),
        lambda: Network().reaction(({value if not isinstance(value, list) else 1: 1}, {}), 1),
        lambda: Network().reaction(({"A": value if value is not True else 0}, {}), 1),
    ):
        with pytest.raises(InvalidInputError) as caught:
            attempt()
        assert len(str(caught.value)) < 1000


# ---- SBML --------------------------------------------------------------------------------------------

DEEP = "<apply><times/>" * 50_000 + "<ci>k</ci>" + "</apply>" * 50_000
LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {"a" * i} "&{"a" * (i - 1)};&{"a" * (i - 1)};">' for i in range(2, 40))
    + "]>"
)


def doubling(body: str) -> str:
    """Return functions of which each calls the one before it twice."""
    argument = f"<functionDefinition id='%s'><math {MATHML}><lambda><bvar><ci>x</ci></bvar>%s</lambda></math></functionDefinition>"
    texts = [argument % ("f0", "<ci>x</ci>")]
    for i in range(1, 60):
        texts.append(argument % (f"f{i}", body.replace("@", f"<apply><ci>f{i - 1}</ci><ci>x</ci></apply>")))
    return f"<listOfFunctionDefinitions>{''.join(texts)}</listOfFunctionDefinitions>"


def call(name: str, argument: str) -> str:
    return f"<apply><ci>{name}</ci><ci>{argument}</ci></apply>"


ITSELF = doubling("<apply><ci>f9</ci><ci>x</ci></apply>")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"law": DEEP}, "at most 200 elements may lie in each other"),
        (
            {"notes": "<notes>" + "<p>" * 100_000 + "</p>" * 100_000 + "</notes>"},
            "at most 200 elements may lie in each other",
        ),
        ({"top": LAUGHS, "notes": f"<notes>&{'a' * 39};</notes>"}, "it has a document type"),
        ({"top": '<!DOCTYPE a SYSTEM "file:///etc/passwd">'}, "it has a document type"),
        (
            {"top": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>', "law": "<ci>&b;</ci>"},
            "it has a document type",
        ),
        ({"law": "<ci>&nothing;</ci>"}, "undefined entity"),
        ({"amount": LONG}, "Data type mismatch"),
        ({"amount": "1e400"}, "Data type mismatch"),
        ({"amount": "NaN"}, "must start with a whole number of molecules"),
        ({"amount": "INF"}, "must start with a whole number of molecules"),
        ({"amount": "9007199254740993"}, "must start with a whole number of molecules"),
        ({"stoichiometry": "1e400"}, "Data type mismatch"),
        ({"stoichiometry": "NaN"}, "the stoichiometry of 'A' in reaction 'r' must be a whole number"),
        ({"law": f"<cn>{LONG}</cn>"}, "Failed to read a valid double value"),
        ({"law": "<cn type='rational'>1<sep/>0</cn>"}, "its constant is"),
        ({"law": "<notanumber/>"}, "its constant is nan"),
        ({"law": "<infinity/>"}, "its constant is inf"),
        ({"law": "<apply><divide/><ci>A</ci></apply>"}, "must have two parts"),
        ({"law": "<apply><power/><ci>A</ci><ci>k</ci><ci>k</ci></apply>"}, "must have two parts"),
        ({"law": "<apply><minus/></apply>"}, "must have one part or two"),
        ({"law": "<apply><power/><cn>1e300</cn><cn>9</cn></apply>"}, "has no value"),
        ({"law": "<apply><times/>" + "<ci>A</ci>" * 100 + "</apply>"}, "names species more than 12 times"),
        ({"law": "<apply><times/>" + "<ci>A</ci>" * 800_000 + "</apply>"}, "may have at most 5,000 parts"),
        (
            {"law": "<apply><times/>" + "<apply><plus/><ci>A</ci><ci>A</ci></apply>" * 100 + "</apply>"},
            "more than 64 terms",
        ),
        ({"functions": doubling("<apply><plus/>@@</apply>"), "law": call("f59", "A")}, "more than 64 terms"),
        (
            {"functions": doubling("<apply><times/>@@</apply>"), "law": call("f59", "A")},
            "names species more than 12 times",
        ),
        ({"functions": doubling("<apply><times/>@@</apply>"), "law": call("f59", "k")}, "longer than 200,000 parts"),
        ({"functions": ITSELF, "law": call("f9", "k")}, "deeper than 200 levels"),
        ({"law": call("f", "k")}, "is not known here"),
    ],
    ids=range(29),
)
def test_odd_sbml(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = tmp_path / "network.xml"
    path.write_text(SBML.format(**{**PLAIN, **change}), encoding="utf-8")
    began = time.process_time()
    assert message in refusal(path)
    assert time.process_time() - began < 20


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-7", "IBM037", "ISO-8859-1", "\x22 x=\x22"])
def test_sbml_of_another_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "network.xml"
    path.write_text(SBML.format(**PLAIN).replace("UTF-8", encoding), encoding="utf-8")
    refusal(path)


def test_the_longest_formula_fits_into_the_stack_of_a_thread(tmp_path: Path) -> None:
    path = tmp_path / "network.xml"
    path.write_text(SBML.format(**{**PLAIN, "law": "<apply><times/>" + "<ci>A</ci>" * (MAX_PARTS - 2) + "</apply>"}))
    before = threading.stack_size(512 * 1024)
    try:
        with ThreadPoolExecutor(1) as pool:
            assert "deeper than 200 levels" in pool.submit(refusal, path).result()
    finally:
        threading.stack_size(before)


# ---- the command line --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("simulation", "name", "text"),
    [
        ("battle", "digits.json", LONG),
        ("battle", "deep.json", "[" * 100_000),
        ("battle", "surrogate.json", json.dumps({**SCENARIO, "name": "\ud800", "\ud800": 5})),
        ("reactions", "deep.toml", "times = " + "[" * 100_000 + "]" * 100_000),
        ("tau_leaping", "digits.toml", TOML.replace("5", LONG)),
        ("reactions", "deep.xml", SBML.format(**{**PLAIN, "law": DEEP})),
    ],
)
def test_the_command_line_ends_with_2(tmp_path: Path, simulation: str, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "bgsim", "run", simulation, "--scenario", name, "-n", "9", "--store", "s.db"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert name in done.stderr
    assert "Traceback" not in done.stderr
