"""Reading the actions and triggers of one creature into the tables of a battle."""

from __future__ import annotations

import re
from typing import Any

from bgsim.errors import ScenarioError
from bgsim.models.battle.costs import CostReader
from bgsim.models.battle.entries import Entry
from bgsim.models.battle.tables import (
    ABILITY,
    AC_BONUS,
    ACT,
    AMOUNT,
    CONCENTRATES,
    CONDITION,
    DAMAGE_BONUS,
    DAMAGE_TYPE,
    DC_BONUS,
    DEALT,
    DIFFICULTY,
    EFFECT,
    EFFECT_ABILITY,
    EFFECT_DC,
    END_COST,
    FIRST_COST,
    FLAGS,
    FOCUSES,
    HALVES,
    HIT_BONUS,
    LASTS,
    MEAN,
    NONE,
    PERCENT,
    REDUCTION,
    ROUNDS,
    SAVE_BONUS,
    SLOT,
    STRATEGY,
    TAKEN,
    TEMPORARY,
    TIMES,
    TO_HIT,
    WANTED,
    Tables,
)
from bgsim.models.battle.terms import (
    ABILITIES,
    ALLIES,
    ALWAYS,
    CONDITIONS,
    DAMAGE_TYPES,
    DEFAULT_BANE_DC,
    DURATIONS,
    ENEMIES,
    FOCUSED,
    HURT,
    REFERENCE_STATES,
    REFERENCE_TEMPLATES,
    STATES,
    TARGETS,
    TEMPLATES,
    UNUSED,
    WITHOUT_TEMPORARY,
    Act,
    Lasts,
    Reset,
)
from bgsim.models.dice import Formula, parse_formula

MAX_ACTIONS = 60
"""Of one creature: the kernel keeps those that it chose in the bits of one integer."""

BEFORE_THE_FIGHT = -3
"""Under the SRD, actions of this slot are done once, before the first round; to the reference it is like any other."""

SRD_SLOTS = {0: "action", 1: "bonus action", BEFORE_THE_FIGHT: "before the encounter", 5: "other", 6: "other"}
REACTION_SLOT = 4

KINDS = ("atk", "heal", "buff", "debuff", "template")
TARGET_ARMOR = 15.0
"""Armor class against which mean damage is judged."""


class ActionReader:
    """Adds the rows of one creature's actions.

    Parameters
    ----------
    tables : Tables
    srd : bool
        Whether to read by the rules of the SRD.
    pools : dict of (str, str) to int
        Type and name of the creature's own resources, and how much of each it has.

    Attributes
    ----------
    best_to_hit, damage_rate : float
        Mean of the best bonus to hit, and mean damage a turn against `TARGET_ARMOR`, of what was read.
    """

    def __init__(self, tables: Tables, srd: bool, pools: dict[tuple[str, str], int]) -> None:
        self.tables = tables
        self.srd = srd
        self.best_to_hit = 0.0
        self._rates = {False: 0.0, True: 0.0}  # of the best attack in the bonus action, and in the other slots
        self._rolled: list[float] = []
        self._costs = CostReader(tables, srd, pools)
        self._slots: dict[int, int] = {}

    @property
    def damage_rate(self) -> float:
        """Mean damage a turn of the best attack outside the bonus action and of the best one in it."""
        return self._rates[False] + self._rates[True]

    def read(self, actions: list[Entry]) -> None:
        """Add a row for each of at most `MAX_ACTIONS` actions, in their order."""
        for action in actions:
            slot = action.integer("actionSlot", least=-10, default=0)
            if self.srd and slot not in SRD_SLOTS:
                allowed = ", ".join(f"{number} ({meaning})" for number, meaning in SRD_SLOTS.items())
                raise action.refusal("actionSlot", slot, f"must be one of {allowed}; a reaction is a trigger")
            number = self._slots.setdefault(slot, len(self._slots) + 1)
            before = self.srd and slot == BEFORE_THE_FIGHT
            self.add(action, 0 if before else number, bonus_action=slot == 1)
        self.best_to_hit = max(self._rolled, default=0.0)

    def read_triggers(self, triggers: list[Entry]) -> int:
        """Add a row for the Shield among the triggers and return it, `NONE` where there is none."""
        found = NONE
        for trigger in triggers:
            action = trigger.entry("action")
            condition, cost = (
                trigger.take("condition"),
                trigger.take("cost", default=REACTION_SLOT if self.srd else None),
            )
            options = action.value.get("templateOptions") if action is not None else None
            name = options.get("templateName") if isinstance(options, dict) else None
            shield = isinstance(name, str) and name.lower() == "shield" and cost == REACTION_SLOT
            if shield and condition == "on being attacked" and action is not None and found == NONE:
                action.integer("actionSlot", least=-10, default=REACTION_SLOT)
                found = self.add(action, 0, bonus_action=False)
                trigger.close()
            else:
                trigger.leftover(trigger.where, trigger.value, ("a Shield template 'on being attacked', cost 4",))
        return found

    def add(self, action: Entry, slot: int, *, bonus_action: bool) -> int:
        """Add the row of one action and return its number."""
        kind = action.choice("type", KINDS, "atk")
        row: dict[int, int] = {SLOT: slot, TIMES: action.integer("targets", least=0, default=1, most=1000) or 1}
        row[FIRST_COST] = len(self.tables.costs)
        self._costs.read(action)
        if self.srd:
            row[CONDITION], row[PERCENT] = CONDITIONS[action.choice("condition", CONDITIONS, "default")]
            if row[CONDITION] == UNUSED:  # that is one use a fight
                row[CONDITION] = ALWAYS
                self.tables.costs.append((self.tables.add_resource(1.0, Reset.FIGHT), 1.0))
        row[END_COST] = len(self.tables.costs)
        name = action.text("name") or action.text("id") or kind
        if kind == "atk":
            self.attack(action, name, row)
            self.rate(row, bonus_action)
        elif kind == "heal":
            self.heal(action, row)
        elif kind == "buff":
            self.boon(action, name, row)
        elif kind == "debuff":
            self.bane(action, name, row)
        else:
            self.template(action, row)
        action.close()
        return self.tables.add_action(name, row)

    # ---- by kind -------------------------------------------------------------------------------------

    def attack(self, action: Entry, name: str, row: dict[int, int]) -> None:
        """Read an attack, or what allows a save instead."""
        saves = self.srd and action.flag("useSaves")
        row[ACT] = Act.SAVE_ATTACK if saves else Act.ATTACK
        row[STRATEGY] = ENEMIES[action.choice("target", ENEMIES, "enemy with least HP")]
        row[AMOUNT] = self.tables.add_formula(action.required_formula("dpr"))
        if saves:
            row[DIFFICULTY] = self.tables.add_formula(
                action.required_formula("saveDC" if "saveDC" in action.value else "toHit")
            )
            row[ABILITY] = ABILITIES.index(action.choice("saveAbility", ABILITIES, "any"))
            row[HALVES] = int(action.flag("halfOnSave"))
        else:
            to_hit = action.required_formula("toHit")
            row[TO_HIT] = self.tables.add_formula(to_hit.without_d20() if self.srd else to_hit)
        if self.srd:
            row[DAMAGE_TYPE] = DAMAGE_TYPES.index(action.choice("damageType", DAMAGE_TYPES, "untyped"))
            rider = action.entry("riderEffect")
            if rider is not None:
                dc = rider.required_formula("dc")
                ability = ABILITIES.index(rider.choice("ability", ABILITIES, "any"))
                row[EFFECT] = self.buff(rider, f"{name} (rider)", dc, ability)
                rider.close()

    def heal(self, action: Entry, row: dict[int, int]) -> None:
        """Read what heals."""
        row[ACT] = Act.HEAL
        row[STRATEGY] = ALLIES[action.choice("target", ALLIES, "ally with least HP")]
        row[AMOUNT] = self.tables.add_formula(action.required_formula("amount"))
        row[TEMPORARY] = int(action.flag("tempHP"))
        row[WANTED] = WITHOUT_TEMPORARY if self.srd and row[TEMPORARY] else HURT

    def boon(self, action: Entry, name: str, row: dict[int, int]) -> None:
        """Read a buff."""
        row[ACT] = Act.EFFECT
        row[STRATEGY] = ALLIES[action.choice("target", ALLIES, "self")]
        self.effect(row, self.buff(action, name))

    def bane(self, action: Entry, name: str, row: dict[int, int]) -> None:
        """Read a debuff."""
        row[ACT] = Act.EFFECT
        row[STRATEGY] = ENEMIES[action.choice("target", ENEMIES, "enemy with least HP")]
        dc = action.required_formula("saveDC")
        ability = ABILITIES.index(action.choice("saveAbility", ABILITIES, "any")) if self.srd else 0
        self.effect(row, self.buff(action, name, dc, ability))

    def template(self, action: Entry, row: dict[int, int]) -> None:
        """Read a spell by its name."""
        row[ACT] = Act.EFFECT
        options = action.entry("templateOptions")
        if options is None:
            raise ScenarioError(
                f"{action.where} has no 'templateOptions'", field=action.place("templateOptions"), value=None
            )
        if self.srd:
            template = options.choice("templateName", TEMPLATES)
            spell = TEMPLATES[template]
        else:
            template = options.text("templateName")
            spell = REFERENCE_TEMPLATES.get(template.lower(), {"concentration": True, "target": "ally with least HP"})
        default = spell["target"]
        if self.srd and options.value.get("target") is None and action.value.get("target") is not None:
            row[STRATEGY] = TARGETS[action.choice("target", TARGETS)]
        else:
            row[STRATEGY] = TARGETS[options.choice("target", TARGETS, default)]
        dc = None
        if "ability" in spell:
            source = action if self.srd and "saveDC" in action.value else options
            dc = source.formula("saveDC", None if self.srd else DEFAULT_BANE_DC)
            if dc is None:
                raise ScenarioError(f"{options.where} has no 'saveDC'", field=options.place("saveDC"), value=None)
        options.close()
        self.effect(row, self.spell(template, spell, dc))
        if not self.srd:
            row[FOCUSES] = int(template in FOCUSED)

    # ---- effects -------------------------------------------------------------------------------------

    def effect(self, row: dict[int, int], effect: int) -> None:
        """Let an action put an effect on its targets."""
        row[EFFECT] = effect
        row[FOCUSES] = self.tables.effects[effect][CONCENTRATES]

    def buff(self, action: Entry, name: str, dc: Formula | None = None, ability: int = 0) -> int:
        """Add the effect that an action's ``buff`` describes and return its row."""
        buff = action.entry("buff")
        if buff is None:
            raise ScenarioError(f"{action.where} has no 'buff'", field=action.place("buff"), value=None)
        formula = self.tables.add_formula
        columns = {
            AC_BONUS: formula(buff.formula("ac")),
            HIT_BONUS: formula(buff.formula("toHit")),
            DAMAGE_BONUS: formula(buff.formula("damage")),
            SAVE_BONUS: formula(buff.formula("save")),
            CONCENTRATES: int(buff.flag("concentration")),
            EFFECT_DC: formula(dc),
            EFFECT_ABILITY: ability,
        }
        condition = buff.take("condition")
        if self.srd:
            name = buff.text("displayName", name)
            if condition is not None:
                columns[FLAGS] = STATES[buff.choice("condition", STATES)]
            columns[REDUCTION] = formula(buff.formula("damageReduction"))
            columns[DEALT] = formula(self.factor(buff, "damageMultiplier"))
            columns[TAKEN] = formula(self.factor(buff, "damageTakenMultiplier"))
            columns[DC_BONUS] = formula(buff.formula("dc"))
            columns[LASTS], columns[ROUNDS] = duration(buff)
        elif isinstance(condition, str):
            columns[FLAGS] = REFERENCE_STATES.get(condition, 0)
        buff.close()
        return self.tables.add_effect(name, columns)

    def factor(self, buff: Entry, name: str) -> float | None:
        """Return a factor of damage, None where there is none."""
        if buff.take(name) is None:
            return None
        value = buff.number(name)
        if value < 0:
            raise buff.refusal(name, value, "must be a number of 0 or more")
        return value

    def spell(self, template: str, spell: dict[str, Any], dc: Formula | None) -> int:
        """Add the effect of a template and return its row."""

        def formula(name: str) -> int:
            return self.tables.add_formula(parse_formula(spell[name], template) if name in spell else None)

        lasts, rounds = DURATIONS[spell.get("duration", "entire encounter")] if self.srd else (Lasts.ENCOUNTER, 0)
        return self.tables.add_effect(
            template,
            {
                AC_BONUS: formula("ac"),
                HIT_BONUS: formula("toHit"),
                DAMAGE_BONUS: formula("damage"),
                SAVE_BONUS: formula("save"),
                CONCENTRATES: int(spell.get("concentration", False)),
                FLAGS: spell.get("flags", 0),
                LASTS: lasts,
                ROUNDS: spell.get("rounds", rounds),
                EFFECT_DC: self.tables.add_formula(dc),
                EFFECT_ABILITY: ABILITIES.index(spell.get("ability", "any")),
            },
        )

    # ---- judging -------------------------------------------------------------------------------------

    def rate(self, row: dict[int, int], bonus_action: bool) -> None:
        """Note how good an attack is, for the strategies that ask for it."""
        if row[ACT] == Act.SAVE_ATTACK:
            chance = 0.5
        else:
            to_hit = self.tables.formulas[row[TO_HIT]][MEAN]
            self._rolled.append(to_hit)
            chance = min(max((21.0 - TARGET_ARMOR + to_hit) / 20.0, 0.05), 0.95)
        damage = self.tables.formulas[row[AMOUNT]][MEAN] * row[TIMES] * chance
        self._rates[bonus_action] = max(self._rates[bonus_action], damage)


def duration(buff: Entry) -> tuple[int, int]:
    """Return how long a buff lasts, as `DURATIONS` does; ``"3 rounds"`` counts rounds."""
    value = buff.take("duration", default="entire encounter")
    rounds = re.fullmatch(r"([1-9]\d{0,3}) rounds?", value) if isinstance(value, str) else None
    if rounds is not None:
        return Lasts.ROUNDS, int(rounds[1])
    return DURATIONS[buff.choice("duration", DURATIONS, "entire encounter")]
