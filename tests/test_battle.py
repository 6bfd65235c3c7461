"""The encounter: against the reference application's own results, its plain form, and what is refused."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

import bgsim
from bgsim.errors import ScenarioError
from bgsim.models.battle import Battle, battle
from bgsim.models.dice import parse_formula

DATA = Path(__file__).parent / "data"
ENCOUNTERS = Path(__file__).parent.parent / "examples" / "encounters"

MINIMAL: dict[str, Any] = json.loads((ENCOUNTERS / "ogre_bridge.json").read_text())


def reference(name: str) -> tuple[Path, dict[str, Any]]:
    """Return the scenario as a file, and what the reference application found for its one encounter."""
    scenario = json.loads((DATA / f"{name}.json").read_text())
    return DATA / f"{name}.json", scenario["results"]["encounters"][0]


@pytest.mark.parametrize("name", ["test_balanced", "test_multiattack"])
def test_it_agrees_with_the_reference_application(name: str) -> None:
    """Within 3 joint standard errors: the reference's 20,000 fights against 100,000 of ours."""
    path, expected = reference(name)
    summary = bgsim.run(battle, Battle.from_file(path, rules="reference"), replicates=100_000, seed=1).summary()
    for ours, (mean, error) in (
        ("party_won", (expected["win"]["p"], expected["win"]["se"])),
        ("rounds", (expected["rounds"]["mean"], expected["rounds"]["se"])),
        ("party_hit_points", (expected["party_hp_total"]["mean"], expected["party_hp_total"]["se"])),
        ("deaths", (1 - expected["win"]["p"], expected["win"]["se"])),
    ):
        joint = math.hypot(summary[ours].standard_error, error)
        assert abs(summary[ours].mean - mean) < 3 * joint, ours


@pytest.mark.parametrize("path", sorted(ENCOUNTERS.glob("*.json")), ids=lambda p: p.stem)
def test_every_example_runs_and_replays(path: Path) -> None:
    result = bgsim.run(battle, Battle.from_file(path), replicates=200, seed=2)
    for index in (0, 99, 199):
        fight = battle.function(battle.bind(Battle.from_file(path)).kernel_view(), bgsim.replicate_rng(2, index))
        assert fight == tuple(column[index] for column in result.values())


def test_a_d20_in_the_bonus_is_rolled_by_the_reference_rules_only() -> None:
    path = DATA / "test_multiattack.json"
    reference, srd = Battle.from_file(path, rules="reference"), Battle.from_file(path, rules="srd")
    assert len(reference.dice) > len(srd.dice)


@pytest.mark.parametrize(
    ("text", "dice", "constant"),
    [
        (5, (), 5.0),
        ("2d6 + 4[STR] - 1", ((2, 6),), 3.0),
        ("d8", ((1, 8),), 0.0),
        ("-1d4 + 2.5", ((-1, 4),), 2.5),
        ("10d1", ((10, 1),), 0.0),
    ],
)
def test_formulas_are_read(text: Any, dice: Any, constant: float) -> None:
    formula = parse_formula(text, "here")
    assert (formula.dice, formula.constant) == (dice, constant)


@pytest.mark.parametrize("text", ["", "2d", "d0", "2x6", "1d6 2", "99999d6", "1d6 +", None, True, [1], float("nan")])
def test_impossible_formulas_are_refused_with_an_example(text: Any) -> None:
    with pytest.raises(ScenarioError, match="is no dice formula; write a number, or terms such as") as caught:
        parse_formula(text, "players[0].actions[0].dpr")
    assert caught.value.field == "players[0].actions[0].dpr"


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    """Return the minimal scenario with one entry set, or taken out by the value `...`."""
    scenario: Any = copy.deepcopy(MINIMAL)
    holder = scenario
    for step in path[:-1]:
        holder = holder[step]
    if value is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return scenario


ACTION = ["players", 0, "actions", 0]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["players"], ..., "players must be a list of one creature or more"),
        (["timeline"], [], "exactly one encounter"),
        (["timeline", 0, "type"], "shortRest", "must be 'combat'"),
        (["timeline", 0, "monstersSurprised"], True, "knows no surprise"),
        (["rules"], "srdd", "did you mean 'srd'"),
        (["playres"], [], "unknown entry 'playres'; did you mean 'players'"),
        (["players", 0, "hp"], ..., r"players\[0\].hp must be an integer of 1 or more; got None"),
        (["players", 0, "hp"], 0, "got 0"),
        (["players", 0, "AC"], "high", "AC must be a number"),
        (["players", 0, "count"], 10_000, "at most 1000 creatures"),
        (["players", 0, "triggers"], [{"x": 1}], "does not know it, so it must be empty"),
        ([*ACTION, "toHit"], ..., "has no 'toHit'"),
        ([*ACTION, "dpr"], "2d6 + STR", "is no dice formula"),
        ([*ACTION, "target"], "enemy with the least HP", "did you mean 'enemy with least HP'"),
        ([*ACTION, "type"], "heal", "attacks \\('atk'\\) only; got 'heal'"),
        ([*ACTION, "freq"], "1/day", "'at will' only; got '1/day'"),
        ([*ACTION, "damge"], 3, "unknown entry 'damge'"),
    ],
)
def test_what_is_wrong_or_not_known_is_refused_by_name(
    path: list[Any], value: Any, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps(changed(path, value)))
    with pytest.raises(ScenarioError, match=message) as caught:
        Battle.from_file(file)
    assert "scenario.json" in str(caught.value)


def test_a_file_that_is_none_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        Battle.from_file(tmp_path / "nothing.json")
    file = tmp_path / "bad.json"
    file.write_text("{players: 1}")
    with pytest.raises(ScenarioError, match=r"bad\.json is no JSON"):
        Battle.from_file(file)
    file.write_text("[]")
    with pytest.raises(ScenarioError, match="must be an object"):
        Battle.from_file(file)
