"""Reading a scenario from JSON into the tables of a battle: its timeline and its creatures.

Actions are in `bgsim.models.battle.actions`. A scenario is read strictly. The SRD refuses by name what it does not
honour. The reference rules list it in one warning, for their files hold much that the application never reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bgsim.errors import ScenarioError, nearest
from bgsim.models.battle.actions import MAX_ACTIONS, ActionReader
from bgsim.models.battle.costs import slot_level
from bgsim.models.battle.entries import Entry, Listing, refuse
from bgsim.models.battle.json_file import check_plain, read_json
from bgsim.models.battle.tables import (
    ARMOR,
    BEST_TO_HIT,
    CONSTITUTION,
    CREATURE_COLUMNS,
    DAMAGE_RATE,
    EFFECT,
    ENCOUNTER,
    END_ACTION,
    END_RESOURCE,
    FIRST_ACTION,
    FIRST_RESOURCE,
    FOCUSED_MIND,
    HIT_DICE,
    HIT_DIE_SIDES,
    IMMUNE,
    INITIATIVE,
    MAXIMUM,
    PAYS_A_TURN,
    QUICK,
    REACTION,
    RESISTS,
    SAVES,
    STATISTIC_COLUMNS,
    STEADFAST,
    STRATEGY,
    TRAITS,
    VULNERABLE,
    Tables,
)
from bgsim.models.battle.terms import (
    ABILITIES,
    ALLY,
    DAMAGE_TYPES,
    RULES,
    SELF,
    Reset,
    Step,
)
from bgsim.parameters.fields import brief

MAX_CREATURES = 1000
MAX_STEPS = 100
MAX_HIT_POINTS = 1_000_000
MAX_ROOM = 1_000_000
"""Effects that may be active at once."""

SIDES_SURPRISED = (("playersSurprised", 1), ("monstersSurprised", 2))


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

    Warns
    -----
    ScenarioWarning
        Once, of all that ``rules="reference"`` ignores.
    """
    scenario = read_json(path)
    try:
        return scenario_fields(scenario, rules)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}", field=error.field, value=error.value) from error


def scenario_fields(scenario: Any, rules: str | None = None) -> dict[str, Any]:
    """Return the fields of a `Battle` for a scenario that has been read from JSON; see `read_scenario`."""
    check_plain(scenario)
    ignored = Listing()
    top = Entry(scenario, "", ignored)
    rules = rules if rules is not None else top.take("rules", default="srd")
    top.take("rules")
    if not isinstance(rules, str) or rules not in RULES:
        hint = nearest(rules, RULES) if isinstance(rules, str) else ""
        raise ScenarioError(
            f"rules must be one of {', '.join(RULES)}{hint}; got {brief(rules)}", field="rules", value=rules
        )
    if rules == "srd":
        top.leftover = refuse
    fields = _ScenarioReader(rules == "srd").read(top)
    ignored.warn(rules)
    return fields


class _ScenarioReader:
    """Reads one scenario under one rule set."""

    def __init__(self, srd: bool) -> None:
        self.srd = srd
        self.tables = Tables()
        self.encounters = 0

    def read(self, top: Entry) -> dict[str, Any]:
        for index, creature in enumerate(top.entries("players", least=1, most=MAX_CREATURES)):
            self.creature(creature, f"p-{index}", -1)
        steps = top.take("timeline", "encounters")
        if not isinstance(steps, list) or not 1 <= len(steps) <= MAX_STEPS:
            raise ScenarioError(
                f"the scenario must have a timeline, a list of 1 to {MAX_STEPS} encounters and rests; "
                f"got {brief(steps)}",
                field="timeline",
                value=steps,
            )
        for number, step in enumerate(top.entries("timeline", "encounters", most=MAX_STEPS)):
            self.step(step, number)
        top.close()
        if not self.encounters:
            raise ScenarioError("the timeline must have an encounter (type 'combat')", field="timeline", value=steps)
        return {
            "srd": self.srd,
            "creatures": len(self.tables.creatures),
            "encounters": self.encounters,
            "room": self.room(),
            **self.tables.arrays(),
        }

    def room(self) -> int:
        """Return how many effects may be active at once: each action's on each that it may choose."""
        party = sum(1 for row in self.tables.creatures if row[ENCOUNTER] < 0)
        largest = max(end - first for _, first, end, _ in self.tables.timeline)
        room = sum(
            1 if row[STRATEGY] == ALLY + SELF else max(party, largest)
            for row in self.tables.actions
            if row[EFFECT] >= 0
        )
        if room > MAX_ROOM:
            raise ScenarioError(
                f"{room:,} effects could be active at once, and at most {MAX_ROOM:,} may be; take fewer creatures, or "
                "fewer actions with effects on others",
                field="actions",
                value=room,
            )
        return room

    def step(self, step: Entry, number: int) -> None:
        """Read a step of the timeline."""
        kinds = {"combat": Step.COMBAT, "shortRest": Step.SHORT_REST}
        if self.srd:
            kinds["longRest"] = Step.LONG_REST
        kind = kinds[step.choice("type", kinds, "combat")]
        first = len(self.tables.creatures)
        surprised = 0
        if kind is Step.COMBAT:
            for index, creature in enumerate(step.entries("monsters", least=1, most=MAX_CREATURES)):
                self.creature(creature, f"step{number}-m-{index}", self.encounters)
            if self.srd:
                surprised = sum(bit for name, bit in SIDES_SURPRISED if step.flag(name))
            self.encounters += 1
        step.close()
        self.tables.timeline.append((kind, first, len(self.tables.creatures), surprised))

    def creature(self, creature: Entry, key: str, encounter: int) -> None:
        """Add the rows of a creature, once for each of its copies."""
        count = creature.integer("count", least=1, default=1)
        if len(self.tables.creatures) + count > MAX_CREATURES:
            raise creature.refusal("count", count, f"is too large: a scenario has at most {MAX_CREATURES} creatures")
        row, numbers = [0] * CREATURE_COLUMNS, [0.0] * STATISTIC_COLUMNS
        row[ENCOUNTER] = encounter
        row[MAXIMUM] = creature.integer("hp", least=1, most=MAX_HIT_POINTS)
        row[INITIATIVE] = self.tables.add_formula(creature.formula("initiativeBonus", 0))
        row[TRAITS] = QUICK if creature.flag("initiativeAdvantage") else 0
        row[HIT_DICE:] = self.hit_dice(creature)
        numbers[ARMOR] = creature.number("AC", "ac")
        numbers[CONSTITUTION] = creature.number("conModifier", default=0.0)
        numbers[SAVES:] = [creature.number("saveBonus", default=0.0)] * len(ABILITIES)
        if self.srd:
            self.srd_traits(creature, row, numbers)
        pools = {
            **{("ClassResource", name): n for name, n in creature.counts("classResources").items()},
            **{("SpellSlot", slot_level(name)): n for name, n in creature.counts("spellSlots").items()},
        }
        actions = creature.entries("actions", most=MAX_ACTIONS)
        triggers = creature.entries("triggers", most=MAX_ACTIONS)
        name = creature.text("name") or creature.text("id") or creature.where
        for copy in range(count):
            reader = ActionReader(self.tables, self.srd, pools)
            rows = row.copy()
            rows[FIRST_RESOURCE], rows[FIRST_ACTION] = len(self.tables.resources), len(self.tables.actions)
            reader.read(actions)
            rows[END_ACTION] = len(self.tables.actions)
            rows[REACTION] = reader.read_triggers(triggers)
            rows[END_RESOURCE] = len(self.tables.resources)
            if any(r[1] == Reset.TURN for r in self.tables.resources[rows[FIRST_RESOURCE] :]):
                rows[TRAITS] |= PAYS_A_TURN
            self.tables.creatures.append(rows)
            self.tables.statistics.append(
                [*numbers[:BEST_TO_HIT], reader.best_to_hit, reader.damage_rate, *numbers[DAMAGE_RATE + 1 :]]
            )
            self.tables.names.append(f"{name} {copy + 1}" if count > 1 else name)
            self.tables.ids.append(f"{key}-{copy}-{creature.text('id')}")
        creature.close()

    def srd_traits(self, creature: Entry, row: list[int], numbers: list[float]) -> None:
        """Read what only the SRD honours."""
        for i, ability in enumerate(ABILITIES[1:], 1):
            numbers[SAVES + i] = creature.number(f"{ability}SaveBonus", default=numbers[SAVES])
        row[TRAITS] |= STEADFAST if creature.flag("saveAdvantage") else 0
        row[TRAITS] |= FOCUSED_MIND if creature.flag("conSaveAdvantage") else 0
        for column, name in ((RESISTS, "resistances"), (IMMUNE, "immunities"), (VULNERABLE, "vulnerabilities")):
            row[column] = _damage_bits(creature, name)

    def hit_dice(self, creature: Entry) -> list[int]:
        """Return how many hit dice of each size a creature has."""
        formula = creature.formula("hitDice")
        if formula is None:
            return [0] * len(HIT_DIE_SIDES)
        if any(count < 0 or (self.srd and sides not in HIT_DIE_SIDES) for count, sides in formula.dice):
            raise creature.refusal(
                "hitDice", creature.take("hitDice"), f"must be of dice with {', '.join(map(str, HIT_DIE_SIDES))} sides"
            )
        return [sum(count for count, sides in formula.dice if sides == wanted) for wanted in HIT_DIE_SIDES]


def _damage_bits(creature: Entry, name: str) -> int:
    kinds = creature.take(name, default=[])
    if not isinstance(kinds, list):
        raise creature.refusal(name, kinds, "must be a list of damage types")
    bits = 0
    for kind in kinds:
        if not isinstance(kind, str) or kind not in DAMAGE_TYPES:
            hint = nearest(kind, DAMAGE_TYPES) if isinstance(kind, str) else ""
            raise creature.refusal(name, kind, f"must be of {', '.join(DAMAGE_TYPES)}{hint}")
        bits |= 1 << DAMAGE_TYPES.index(kind)
    return bits
