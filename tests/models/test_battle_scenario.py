"""Reading scenarios: what is refused and how, what the reference rules list, and that nothing else ever happens."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from battles import REFERENCES, SCENARIOS, creature, duel, reference, strike
from hypothesis import given
from hypothesis import strategies as st
from paths import ENCOUNTERS

from bgsim.errors import ScenarioError
from bgsim.models.battle import Battle, battle
from bgsim.models.battle.entries import ScenarioWarning
from bgsim.models.battle.tables import AMOUNT, CONSTANT, END_DIE, FIRST_DIE, STRATEGY
from bgsim.models.battle.terms import TARGETS
from bgsim.models.dice import parse_formula

MINIMAL: dict[str, Any] = json.loads((ENCOUNTERS / "ogre_bridge.json").read_text())
ACTION = ["players", 0, "actions", 0]
STEP = ["timeline", 0]


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


# ---- formulas ----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "text", ["", "2d", "d0", "2x6", "1d6 2", "99999d6", "1d6 +", None, True, [1], float("nan"), 10**12, "1e9"]
)
def test_impossible_formulas_are_refused_with_an_example(text: Any) -> None:
    with pytest.raises(ScenarioError, match="is no dice formula; write a number, or terms such as") as caught:
        parse_formula(text, "players[0].actions[0].dpr")
    assert caught.value.field == "players[0].actions[0].dpr"


# ---- refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["players"], ..., "players must be a list of one creature or more"),
        (["timeline"], [], "a list of 1 to 100 encounters and rests"),
        (["timeline"], [{"type": "shortRest"}], "must have an encounter"),
        ([*STEP, "type"], "shortRst", "did you mean 'shortRest'"),
        ([*STEP, "monsters"], [], "must be a list of one creature or more"),
        ([*STEP, "monsterSurprised"], True, "did you mean 'monstersSurprised'"),
        ([*STEP, "monstersSurprised"], "yes", "must be true or false"),
        (["rules"], "srdd", "did you mean 'srd'"),
        (["playres"], [1], "unknown entry 'playres'; did you mean 'players'"),
        (["players", 0, "hp"], ..., r"players\[0\].hp must be an integer of 1 or more and at most 1,000,000; got None"),
        (["players", 0, "hp"], 0, "got 0"),
        (["players", 0, "hp"], 10**12, "must be an integer of 1 or more and at most 1,000,000"),
        (["players", 0, "AC"], "high", "AC must be a number"),
        (["players", 0, "count"], 10_000, "at most 1000 creatures"),
        (["players", 0, "arrival"], 3, "unknown entry 'arrival'"),
        (["players", 0, "hitDice"], "3d7", "must be of dice with 12, 10, 8, 6 sides"),
        (["players", 0, "resistances"], ["fier"], "did you mean 'fire'"),
        (["players", 0, "spellSlots"], {"1": "two"}, r"spellSlots.1 must be an integer of 0 or more"),
        (["players", 0, "triggers"], [{"condition": "on hit"}], "unknown entry 'triggers"),
        (["players", 0, "actions"], [strike(1)] * 61, "at most 60 actions"),
        ([*ACTION, "toHit"], ..., "has no 'toHit'"),
        ([*ACTION, "dpr"], "2d6 + STR", "is no dice formula"),
        ([*ACTION, "target"], "enemy with the leest HP", "did you mean 'enemy with least HP'"),
        ([*ACTION, "target"], "ally with least HP", "must be one of 'enemy with least HP'"),
        ([*ACTION, "type"], "haal", "did you mean 'heal'"),
        ([*ACTION, "type"], "heal", "target must be one of 'ally with least HP'"),
        ([*ACTION, "type"], "buff", "target must be one of"),
        ([*ACTION, "type"], "template", "has no 'templateOptions'"),
        ([*ACTION, "freq"], "2/day", "must be one of 'at will', '1/fight', '1/day'"),
        ([*ACTION, "freq"], {"reset": "lr"}, "uses must be an integer of 0 or more"),
        ([*ACTION, "freq"], {"reset": "recharge"}, "cooldownRounds must be an integer of 1 or more"),
        ([*ACTION, "freq"], {"reset": "recharge", "roll": 7}, "roll must be an integer of 2 or more and at most 6"),
        ([*ACTION, "condition"], "is under haf HP", "did you mean 'is under half HP'"),
        ([*ACTION, "actionSlot"], 4, "a reaction is a trigger"),
        ([*ACTION, "damageType"], "coldd", "did you mean 'cold'"),
        ([*ACTION, "requirements"], [{"type": "Custom"}], "unknown entry 'requirements'"),
        ([*ACTION, "cost"], [{"resourceType": "ClassResource", "resourceVal": "Ki"}], "must name a ClassResource"),
        ([*ACTION, "damge"], 3, "unknown entry 'damge'"),
        ([*ACTION, "riderEffect"], {"dc": 10}, "has no 'buff'"),
    ],
)  # fmt: skip
def test_what_is_wrong_or_not_honoured_is_refused_by_name(
    path: list[Any], value: Any, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps(changed(path, value)))
    with pytest.raises(ScenarioError, match=message) as caught:
        Battle.from_file(file)
    assert "scenario.json" in str(caught.value)
    assert caught.value.field


@pytest.mark.parametrize(
    ("buff", "message"),
    [
        ({"magnitude": 3}, "unknown entry 'magnitude'"),
        ({"condition": "Invisibel"}, "did you mean 'Invisible'"),
        ({"duration": "2 hours"}, "must be one of 'entire encounter'"),
        ({"duration": "instant"}, "must be one of 'entire encounter'"),
        ({"damageTakenMultiplier": -1}, "must be a number of 0 or more"),
        ({"concentration": "yes"}, "must be true or false"),
        (3, "must be an object"),
    ],
)
def test_buffs_are_read_as_strictly(buff: Any, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        duel(creature("P", 1, actions=[{"type": "buff", "target": "self", "buff": buff}]), creature("M", 1))


def test_a_spell_that_is_not_known_is_named() -> None:
    for options, message in (
        ({"templateName": "Bles"}, "did you mean 'Bless'"),
        ({"templateName": "Bane"}, "has no 'saveDC'"),
        ({"templateName": "Bless", "saveDC": 3}, "unknown entry 'saveDC'"),
    ):
        with pytest.raises(ScenarioError, match=message):
            duel(creature("P", 1, actions=[{"type": "template", "templateOptions": options}]), creature("M", 1))


def test_a_file_that_is_none_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        Battle.from_file(tmp_path / "nothing.json")
    file = tmp_path / "bad.json"
    for text in ("{players: 1}", "[" * 100_000):
        file.write_text(text)
        with pytest.raises(ScenarioError, match=r"bad\.json is no JSON"):
            Battle.from_file(file)
    file.write_text("[]")
    with pytest.raises(ScenarioError, match="must be an object"):
        Battle.from_file(file)


# ---- the reference rules -----------------------------------------------------------------------------


def test_the_reference_rules_list_what_they_ignore_in_one_warning() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Battle.from_file(REFERENCES / "kaelen_battle.json", rules="reference")
    assert [w.category for w in caught] == [ScenarioWarning]
    message = str(caught[0].message)
    for part in (
        "rules='reference' ignores: ",
        "duration = '1 round' (players[3].actions[0].buff and 3 more)",
        "damageTakenMultiplier = 0.5 (timeline[0].monsters[0].actions[0].buff)",
        "condition = 'ally at 0 HP' (players[1].actions[2])",
    ):
        assert part in message


@pytest.mark.parametrize("name", ["test_balanced", "test_multiattack", "test_multi_monster", "test_party_vs_boss"])
def test_what_only_describes_is_no_reason_to_warn(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Battle.from_file(REFERENCES / f"{name}.json", rules="reference")


NEVER_READ = {
    "class": {"type": "fighter"}, "cr": 3, "arrival": 2, "strSaveBonus": 3, "conSaveBonus": 1, "saveAdvantage": True,
    "speed": 30, "speed_fly": 60.0, "magicItems": ["ring"], "initialBuffs": [{}], "anything": {"else": [1]},
}  # fmt: skip
NEVER_EVALUATED = {
    "condition": "whatever", "useSaves": True, "halfOnSave": True, "riderEffect": {"dc": 3}, "requirements": [1],
    "tags": ["x"],
}  # fmt: skip
DO_NOT_WORK = {
    "duration": "instant", "damageReduction": "1d4", "damageMultiplier": -2, "damageTakenMultiplier": 0.5, "dc": 1,
    "magnitude": 5, "displayName": "x", "triggers": [{}],
}  # fmt: skip


def test_what_the_reference_never_reads_is_never_refused() -> None:
    """It changes no table either."""
    plain = creature("P", 5, actions=[strike(1), {"type": "buff", "name": "b", "target": "self", "buff": {"ac": 1}}])
    full = copy.deepcopy(plain)
    full.update(NEVER_READ)
    for action in full["actions"]:
        action.update(NEVER_EVALUATED)
    full["actions"][1]["buff"].update(DO_NOT_WORK)
    full["triggers"] = [{"condition": "on hit", "action": {"type": "atk"}}]
    with pytest.warns(ScenarioWarning) as caught:
        ours = duel(full, creature("M", 5), "reference", rounds=3, playersSurprised=True)
    assert len(caught) == 1
    theirs = duel(plain, creature("M", 5), "reference")
    assert battle.bind(ours) == battle.bind(theirs)
    for name in ("arrival", "anything", "useSaves", "magnitude", "playersSurprised", "triggers[0]"):
        assert f"{name} = " in str(caught[0].message)


def test_null_is_as_good_as_nothing() -> None:
    """The application writes it for what is not set."""
    unset = dict.fromkeys(("initiativeBonus", "triggers", "spellSlots", "classResources", "conModifier", "arrival"))
    unset_action = dict.fromkeys(("actionSlot", "cost", "freq", "useSaves", "riderEffect", "condition"))
    full = {**creature("P", 5, actions=[{**strike(1), **unset_action}]), **unset, "hitDice": ""}
    plain = creature("P", 5, actions=[strike(1)])
    for rules in ("srd", "reference"):
        ours, theirs = duel(full, creature("M", 3), rules), duel(plain, creature("M", 3), rules)
        assert battle.bind(ours) == battle.bind(theirs)


def test_encounters_is_a_timeline_too() -> None:
    scenario = {"players": [creature("P", 5)], "encounters": [{"monsters": [creature("M", 3)]}]}
    assert Battle.from_scenario(scenario, rules="reference").encounters == 1


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_reference_scenario_is_read(name: str) -> None:
    scenario, p = reference(name)
    steps = [s for s in scenario["timeline"] if s.get("type", "combat") == "combat"]
    monsters = sum(m.get("count", 1) for s in steps for m in s["monsters"])
    assert p.encounters == len(steps)
    assert p.creatures == monsters + sum(c.get("count", 1) for c in scenario["players"])


def test_strategies_may_have_an_article() -> None:
    for target, number in TARGETS.items():
        kind = "atk" if target.startswith("enemy") else "heal"
        with_it = target.replace("with ", "with the ")
        action = {**strike(1), "target": with_it} if kind == "atk" else {"type": kind, "amount": 3, "target": with_it}
        p = duel(creature("P", 5, actions=[action]), creature("M", 5))
        assert p.rows[p.creatures, STRATEGY] == number


def test_rows_refer_to_rows_of_the_whole() -> None:
    p = duel(creature("P", 5, actions=[strike("3d8 - 1d4 + 2")]), creature("M", 5, count=3))
    assert p.names[:5] == ("P", "M 1", "M 2", "M 3", "strike")
    amount = p.numbers[p.rows[p.creatures, AMOUNT]]
    assert amount[CONSTANT] == 2
    assert p.rows[int(amount[FIRST_DIE]) : int(amount[END_DIE]), :2].tolist() == [[3, 8], [-1, 4]]


# ---- fuzz --------------------------------------------------------------------------------------------

NAMES = sorted(
    {
        "players", "timeline", "encounters", "type", "monsters", "rules", "id", "name", "count", "hp", "AC", "ac",
        "saveBonus", "actions", "triggers", "spellSlots", "classResources", "hitDice", "conModifier", "action", "cost",
        "targets", "dpr", "toHit", "target", "freq", "reset", "uses", "roll", "cooldownRounds", "buff", "duration",
        "condition", "concentration", "templateOptions", "templateName", "saveDC", "amount", "tempHP", "useSaves",
        "riderEffect", "dc", "resistances", "actionSlot", "resourceType", "initiativeBonus", "damage", "save",
    }
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=8),
    st.sampled_from(["atk", "heal", "buff", "debuff", "template", "self", "1d6", "recharge", "Bane", "shortRest", "srd"]),
)  # fmt: skip
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
PLACES = [
    [], ["players"], ["players", 0], ["players", 0, "hp"], ["players", 0, "count"], ["players", 0, "triggers"],
    ["players", 0, "spellSlots"], ["players", 0, "hitDice"], ["players", 0, "saveBonus"], ["timeline"], [*STEP],
    [*STEP, "type"], [*STEP, "monsters"], ["rules"], ACTION, *([*ACTION, name] for name in NAMES),
]  # fmt: skip


@given(place=st.sampled_from(PLACES), value=ANYTHING, rules=st.sampled_from([None, "srd", "reference"]))
def test_reading_never_fails_but_with_a_scenario_error(place: list[Any], value: Any, rules: str | None) -> None:
    """Whatever stands wherever, it is read, or refused by name."""
    scenario = changed(place, value) if place else value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScenarioWarning)
        try:
            p = Battle.from_scenario(scenario, rules)
        except ScenarioError as error:
            assert str(error)
        else:
            battle.bind(p)
