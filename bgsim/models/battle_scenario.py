"""Reading an encounter from a JSON file into the tables that the battle kernel runs on.

A scenario is read strictly: what it needs and this version does not honour is refused by name, never ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bgsim.errors import ScenarioError, nearest
from bgsim.models.dice import Formula, parse_formula

RULES = ("srd", "reference")
"""``srd``: the SRD 5.1. ``reference``: as the application that the format comes from, where a to-hit formula with a d20
of its own is rolled on top of the d20."""

STRATEGIES = {
    "enemy with least HP": 0,
    "enemy with most HP": 1,
    "enemy with lowest AC": 2,
    "enemy with highest AC": 3,
}
"""How an attack chooses its target; the number is what the kernel sees."""

MAX_CREATURES = 1000

_SCENARIO = {"name", "description", "source", "rules", "players", "timeline", "encounters"}
_ENCOUNTER = {"type", "id", "name", "monsters", "playersSurprised", "monstersSurprised"}
_CREATURE = {"id", "name", "count", "hp", "AC", "ac", "initiativeBonus", "initiativeAdvantage", "actions"}
_ACTION = {"id", "name", "type", "actionSlot", "freq", "targets", "dpr", "toHit", "target"}
_DESCRIPTIVE = {
    "mode", "class", "cr", "arrival", "src", "type", "initiative", "speed", "level", "source", "description", "tags",
    "saveBonus", "saveAdvantage", "conSaveBonus", "conModifier", "hitDice", "results", "notes",
}  # fmt: skip
"""Entries that change nothing in what is honoured now: saves are for spells, hit dice for rests."""

_EMPTY_ALLOWED = {"cost", "requirements", "triggers", "spellSlots", "classResources", "riderEffect", "condition"}
_NOTHING: tuple[Any, ...] = (None, [], {}, "", 0, False, "default")


@dataclass(slots=True)
class Tables:
    """A scenario as arrays; see `bgsim.models.battle.Battle`."""

    names: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    monster: list[bool] = field(default_factory=list)
    hit_points: list[int] = field(default_factory=list)
    armor_class: list[float] = field(default_factory=list)
    initiative_bonus: list[float] = field(default_factory=list)
    initiative_advantage: list[bool] = field(default_factory=list)
    attacks: list[tuple[int, int, int, Formula, Formula]] = field(default_factory=list)  # owner, times, strategy

    def arrays(self) -> dict[str, Any]:
        """Return the fields of a `Battle`."""
        order = sorted(range(len(self.ids)), key=lambda i: self.ids[i])
        by_name = sorted(range(len(self.ids)), key=lambda i: (self.names[i], self.ids[i]))
        dice: list[tuple[int, int]] = []
        spans: list[tuple[int, int, int]] = []
        constants: list[tuple[float, float]] = []
        for *_, to_hit, damage in self.attacks:
            start = len(dice)
            dice += to_hit.dice
            middle = len(dice)
            dice += damage.dice
            spans.append((start, middle, len(dice)))
            constants.append((to_hit.constant, damage.constant))
        return {
            "names": tuple(self.names),
            "monster": np.array(self.monster, bool),
            "hit_points": np.array(self.hit_points, np.int64),
            "armor_class": np.array(self.armor_class, float),
            "initiative_bonus": np.array(self.initiative_bonus, float),
            "initiative_advantage": np.array(self.initiative_advantage, bool),
            "id_rank": np.argsort(np.array(order)),
            "name_rank": np.argsort(np.array(by_name)),
            "attacks": np.array([a[:3] for a in self.attacks], np.int64).reshape(-1, 3),
            "dice_spans": np.array(spans, np.int64).reshape(-1, 3),
            "constants": np.array(constants, float).reshape(-1, 2),
            "dice": np.array(dice, np.int64).reshape(-1, 2),
        }


def read_scenario(path: str | Path, rules: str | None = None) -> dict[str, Any]:
    """Return the fields of a `Battle` for a scenario file.

    Parameters
    ----------
    path : path-like
        A JSON file.
    rules : {"srd", "reference"}, optional
        Overrides the file's own ``rules``; ``srd`` where neither says.

    Raises
    ------
    ScenarioError
        Naming the file, the entry, what it says and what is allowed.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(
            f"the scenario {path} cannot be read: {error}", field="scenario", value=str(path)
        ) from error
    try:
        scenario = json.loads(text)
    except json.JSONDecodeError as error:
        raise ScenarioError(f"{path} is no JSON: {error}", field="scenario", value=str(path)) from error
    try:
        return scenario_tables(scenario, rules).arrays()
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}", field=error.field, value=error.value) from error


def scenario_tables(scenario: Any, rules: str | None = None) -> Tables:
    """Return the tables of a scenario that has been read from JSON."""
    _check_names(scenario, _SCENARIO, "the scenario")
    rules = rules or scenario.get("rules", "srd")
    if rules not in RULES:
        raise ScenarioError(
            f"rules must be one of {', '.join(RULES)}{nearest(str(rules), RULES)}; got {rules!r}",
            field="rules",
            value=rules,
        )
    timeline = scenario.get("timeline", scenario.get("encounters"))
    if not isinstance(timeline, list) or len(timeline) != 1:
        raise ScenarioError(
            "the scenario must have a timeline of exactly one encounter; this version knows no more and no rests",
            field="timeline",
            value=timeline,
        )
    encounter = timeline[0]
    _check_names(encounter, _ENCOUNTER, "timeline[0]")
    if encounter.get("type", "combat") != "combat":
        raise ScenarioError(
            f"timeline[0].type must be 'combat'; got {encounter['type']!r}", field="timeline[0].type", value=encounter
        )
    for name in ("playersSurprised", "monstersSurprised"):
        if encounter.get(name):
            raise ScenarioError(f"timeline[0].{name}: this version knows no surprise", field=name, value=True)
    tables = Tables()
    _add_side(tables, scenario, "players", "players", rules, monsters=False)
    _add_side(tables, encounter, "monsters", "timeline[0].monsters", rules, monsters=True)
    return tables


def _add_side(tables: Tables, holder: dict[str, Any], name: str, where: str, rules: str, *, monsters: bool) -> None:
    creatures = holder.get(name)
    if not isinstance(creatures, list) or not creatures:
        raise ScenarioError(f"{where} must be a list of one creature or more; got {creatures!r}", field=where)
    for index, creature in enumerate(creatures):
        _add_creature(tables, creature, f"{where}[{index}]", index, rules, monsters=monsters)


def _add_creature(tables: Tables, creature: Any, where: str, index: int, rules: str, *, monsters: bool) -> None:
    _check_names(creature, _CREATURE, where)
    count = _integer(creature, "count", where, least=1, default=1)
    hit_points = _integer(creature, "hp", where, least=1)
    armor_class = _number(creature, "AC" if "AC" in creature else "ac", where)
    initiative = _number(creature, "initiativeBonus", where, default=0.0)
    actions = creature.get("actions", [])
    if not isinstance(actions, list):
        raise ScenarioError(f"{where}.actions must be a list; got {actions!r}", field=f"{where}.actions")
    attacks = _attacks(actions, where, rules)
    if len(tables.names) + count > MAX_CREATURES:
        raise ScenarioError(f"a scenario has at most {MAX_CREATURES} creatures", field=f"{where}.count", value=count)
    label = str(creature.get("name", creature.get("id", where)))
    for copy in range(count):
        owner = len(tables.names)
        tables.names.append(f"{label} {copy + 1}" if count > 1 else label)
        side = "step0-m" if monsters else "p"
        tables.ids.append(f"{side}-{index}-{copy}-{creature.get('id', '')}")
        tables.monster.append(monsters)
        tables.hit_points.append(hit_points)
        tables.armor_class.append(armor_class)
        tables.initiative_bonus.append(initiative)
        tables.initiative_advantage.append(bool(creature.get("initiativeAdvantage", False)))
        tables.attacks += [(owner, *attack) for attack in attacks]


def _attacks(actions: list[Any], where: str, rules: str) -> list[tuple[int, int, Formula, Formula]]:
    """Return the first attack of each action slot, in the order of the list: every one of them is always usable."""
    found = []
    slots = set()
    for index, action in enumerate(actions):
        here = f"{where}.actions[{index}]"
        _check_names(action, _ACTION, here)
        kind = action.get("type", "atk")
        if kind != "atk":
            raise ScenarioError(
                f"{here}.type: this version knows attacks ('atk') only; got {kind!r}", field=f"{here}.type"
            )
        if action.get("freq", "at will") != "at will":
            raise ScenarioError(
                f"{here}.freq: this version knows 'at will' only; got {action['freq']!r}", field=f"{here}.freq"
            )
        strategy = action.get("target", "enemy with least HP")
        if strategy not in STRATEGIES:
            raise ScenarioError(
                f"{here}.target must be one of {', '.join(map(repr, STRATEGIES))}"
                f"{nearest(str(strategy), STRATEGIES)}; got {strategy!r}",
                field=f"{here}.target",
                value=strategy,
            )
        for name in ("dpr", "toHit"):
            if name not in action:
                raise ScenarioError(f"{here} has no {name!r}", field=f"{here}.{name}")
        times = _integer(action, "targets", here, least=1, default=1)
        to_hit = parse_formula(action["toHit"], f"{here}.toHit")
        damage = parse_formula(action["dpr"], f"{here}.dpr")
        slot = action.get("actionSlot", 0)
        if slot not in slots:
            slots.add(slot)
            found.append((times, STRATEGIES[strategy], to_hit.without_d20() if rules == "srd" else to_hit, damage))
    return found


def _check_names(entry: Any, known: set[str], where: str) -> None:
    if not isinstance(entry, dict):
        raise ScenarioError(f"{where} must be an object {{...}}; got {entry!r}", field=where, value=entry)
    for name, value in entry.items():
        if name in known or name in _DESCRIPTIVE:
            continue
        if name in _EMPTY_ALLOWED:
            if value in _NOTHING:
                continue
            raise ScenarioError(
                f"{where}.{name}: this version does not know it, so it must be empty; got {value!r}",
                field=f"{where}.{name}",
            )
        raise ScenarioError(
            f"{where} has the unknown entry {name!r}{nearest(name, known)}", field=f"{where}.{name}", value=value
        )


def _integer(entry: dict[str, Any], name: str, where: str, *, least: int, default: int | None = None) -> int:
    value = entry.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ScenarioError(
            f"{where}.{name} must be an integer of {least} or more; got {value!r}", field=f"{where}.{name}", value=value
        )
    return value


def _number(entry: dict[str, Any], name: str, where: str, *, default: float | None = None) -> float:
    value = entry.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScenarioError(f"{where}.{name} must be a number; got {value!r}", field=f"{where}.{name}", value=value)
    return float(value)
