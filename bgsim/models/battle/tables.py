"""The tables that the battle kernel runs on: what each column means, and the builder that adds the rows.

A scenario of any size and kind becomes the same two arrays, so one compilation serves all: `rows` of integers, with
the creatures, actions, effects, dice and steps of the timeline one below the other, and `numbers` of floats, with the
creatures' statistics, resources, costs and formulas. Row i of both is creature i. Where a row refers to others, it
does so by their place in the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bgsim.models.battle.terms import Reset, int64s
from bgsim.models.dice import Formula

NONE = -1
"""Where a row refers to no other."""

# ---- creatures: int64, one row a creature, the party first, then each encounter's monsters -----------

ENCOUNTER, MAXIMUM, ID_RANK, NAME_RANK, FIRST_ACTION, END_ACTION, FIRST_RESOURCE, END_RESOURCE = range(8)
INITIATIVE, TRAITS, RESISTS, IMMUNE, VULNERABLE, REACTION, HIT_DICE = range(8, 15)
HIT_DIE_SIDES = (12, 10, 8, 6)
CREATURE_COLUMNS = HIT_DICE + len(HIT_DIE_SIDES)
"""Number of its encounter (-1: the party), hit point maximum, ranks that break ties, spans of rows in the tables of
actions and resources, formula of its initiative, bits of `TRAITS`, bits of damage types, action row of its Shield,
and how many hit dice of 12, 10, 8 and 6 sides it has."""

QUICK, STEADFAST, FOCUSED_MIND, PAYS_A_TURN = 1, 2, 4, 8
"""Traits: advantage on initiative, on all saves, on saves to concentrate; has resources that return each turn."""

# ---- statistics: float64, one row a creature ---------------------------------------------------------

ARMOR, BEST_TO_HIT, DAMAGE_RATE, CONSTITUTION, SAVES = range(5)
STATISTIC_COLUMNS = SAVES + 7
"""Armor class, mean of its best bonus to hit, mean damage a turn against armor class 15, Constitution modifier, and
bonuses to saves: of no named ability, then of the six."""

# ---- actions: int64, one row an action, those of a creature together, in order -----------------------

ACT, SLOT, TIMES, STRATEGY, EFFECT, TO_HIT, AMOUNT, DIFFICULTY, DAMAGE_TYPE, ABILITY, CONDITION, PERCENT = range(12)
FIRST_COST, END_COST, WANTED, TEMPORARY, HALVES, FOCUSES = range(12, 18)
ACTION_COLUMNS = 18
"""What it does (`Act`), number of its slot among the creature's, targets or attacks, its strategy, row of its
effect or rider, formulas of the bonus to hit, the damage or healing and the difficulty of its save, damage type,
ability of the save, when it is chosen and the percentage for that, span of its costs, which creatures come into
question (`ANYBODY` to `WITHOUT_TEMPORARY`), whether the hit points are temporary, whether a save halves the damage,
whether it is not chosen while concentrating."""

# ---- effects: int64, one row an effect that an action may put on a creature --------------------------

TITLE, LASTS, ROUNDS, FLAGS, CONCENTRATES, AC_BONUS, HIT_BONUS, DAMAGE_BONUS, SAVE_BONUS, REDUCTION = int64s(range(10))
DEALT, TAKEN, DC_BONUS, EFFECT_DC, EFFECT_ABILITY = int64s(range(10, 15))
EFFECT_COLUMNS = 15
EFFECT_FORMULAS = (*range(AC_BONUS, DC_BONUS + 1), EFFECT_DC)
"""Number of its name, its end (`Lasts`) and limit of rounds (0: none), bits of what it does, whether it takes
concentration, formulas that it adds to armor class, attacks, damage and saves and takes off damage suffered, factors
of damage dealt and suffered, what it adds to the difficulty of saves, and difficulty and ability of its own save."""

# ---- formulas, dice, resources, costs, timeline ------------------------------------------------------

FIRST_DIE, END_DIE, CONSTANT, MEAN = range(4)
"""Formulas, float64: span of its dice, constant, mean."""

NUMBER, SIDES = range(2)
"""Dice, int64: how many (negative: subtracted), and their sides."""

LIMIT, RETURNS, RECHARGE = range(3)
"""Resources, float64: how much there is, when it returns (`Reset`), and the least d6 that recharges it, or minus the
turns that it takes. A limited use of an action is a resource, too."""

RESOURCE, PRICE = range(2)
"""Costs, float64: the resource, and how much of it."""

KIND, FIRST_MONSTER, END_MONSTER, SURPRISED = range(4)
"""Steps of the timeline, int64: its kind (`Step`), the span of its monsters, and 1 (party) + 2 (monsters) surprised."""


ROW_COLUMNS = max(CREATURE_COLUMNS, ACTION_COLUMNS, EFFECT_COLUMNS)


class Tables:
    """Collects rows; `arrays` returns them as a `Battle` holds them."""

    def __init__(self) -> None:
        self.creatures: list[list[int]] = []
        self.statistics: list[list[float]] = []
        self.actions: list[list[int]] = []
        self.effects: list[list[int]] = []
        self.formulas: list[tuple[float, float, float, float]] = []
        self.dice: list[tuple[int, int]] = []
        self.resources: list[tuple[float, float, float]] = []
        self.costs: list[tuple[int, float]] = []
        self.timeline: list[tuple[int, int, int, int]] = []
        self.names: list[str] = []
        self.ids: list[str] = []
        self.action_names: list[str] = []
        self.effect_names: list[str] = []
        self._titles: dict[str, int] = {}
        self._formula_rows: dict[Formula, int] = {}

    def add_formula(self, formula: Formula | float | None) -> int:
        """Return the row of a formula, `NONE` for None."""
        if formula is None:
            return NONE
        if not isinstance(formula, Formula):
            formula = Formula((), float(formula))
        if formula not in self._formula_rows:
            start = len(self.dice)
            self.dice += formula.dice
            self._formula_rows[formula] = len(self.formulas)
            self.formulas.append((start, len(self.dice), formula.constant, formula.mean))
        return self._formula_rows[formula]

    def add_effect(self, name: str, columns: dict[int, int]) -> int:
        """Add an effect with the values of some columns, the others empty, and return its row."""
        row = [NONE] * EFFECT_COLUMNS
        row[LASTS] = row[ROUNDS] = row[FLAGS] = row[CONCENTRATES] = row[EFFECT_ABILITY] = 0
        row[TITLE] = self._titles.setdefault(name, len(self._titles))
        for column, value in columns.items():
            row[column] = value
        self.effects.append(row)
        self.effect_names.append(name)
        return len(self.effects) - 1

    def add_action(self, name: str, columns: dict[int, int]) -> int:
        """Add an action with the values of some columns, the others empty, and return its row."""
        row = [0] * ACTION_COLUMNS
        row[EFFECT] = row[TO_HIT] = row[AMOUNT] = row[DIFFICULTY] = NONE
        for column, value in columns.items():
            row[column] = value
        self.actions.append(row)
        self.action_names.append(name)
        return len(self.actions) - 1

    def add_resource(self, limit: float, returns: Reset, recharge: float = 0.0) -> int:
        """Add a resource and return its row."""
        self.resources.append((limit, returns, recharge))
        return len(self.resources) - 1

    def arrays(self) -> dict[str, Any]:
        """Return the fields of a `Battle` that are tables, names, or places in the tables."""
        creatures = _table(self.creatures, ROW_COLUMNS, np.int64)
        creatures[:, ID_RANK] = _ranks(self.ids)
        creatures[:, NAME_RANK] = _ranks(list(zip(self.names, self.ids, strict=True)))
        actions, effects = _table(self.actions, ROW_COLUMNS, np.int64), _table(self.effects, ROW_COLUMNS, np.int64)
        dice, steps = _table(self.dice, ROW_COLUMNS, np.int64), _table(self.timeline, ROW_COLUMNS, np.int64)
        statistics = _table(self.statistics, STATISTIC_COLUMNS, np.float64)
        resources = _table(self.resources, STATISTIC_COLUMNS, np.float64)
        costs = _table(self.costs, STATISTIC_COLUMNS, np.float64)
        formulas = _table(self.formulas, STATISTIC_COLUMNS, np.float64)

        first_action, first_effect, first_die, first_step, _ = _starts(creatures, actions, effects, dice, steps)
        first_resource, first_cost, first_formula, _ = _starts(statistics, resources, costs, formulas)
        _shift(creatures, (FIRST_ACTION, END_ACTION, REACTION), first_action)
        _shift(creatures, (FIRST_RESOURCE, END_RESOURCE), first_resource)
        _shift(creatures, (INITIATIVE,), first_formula)
        _shift(actions, (EFFECT,), first_effect)
        _shift(actions, (TO_HIT, AMOUNT, DIFFICULTY), first_formula)
        _shift(actions, (FIRST_COST, END_COST), first_cost)
        _shift(effects, EFFECT_FORMULAS, first_formula)
        _shift(costs, (RESOURCE,), first_resource)
        _shift(formulas, (FIRST_DIE, END_DIE), first_die)
        unnamed = [""] * (len(dice) + len(steps))
        return {
            "first_step": first_step,
            "end_resources": first_cost,
            "names": (*_distinct(self.names), *self.action_names, *self.effect_names, *unnamed),
            "rows": np.concatenate([creatures, actions, effects, dice, steps]),
            "numbers": np.concatenate([statistics, resources, costs, formulas]),
        }


def _table(rows: Sequence[Sequence[float]], columns: int, dtype: Any) -> Any:
    """Return the rows as an array, filled up with zeros."""
    table = np.zeros((len(rows), columns), dtype)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return table


def _starts(first: Any, *others: Any) -> list[int]:
    """Return where each of the other tables starts when all stand one below the other, and where the last ends."""
    return [int(n) for n in np.cumsum([len(table) for table in (first, *others)])]


def _shift(table: Any, columns: Sequence[int], start: int) -> None:
    """Let columns that refer to rows of a table refer to them below other tables; `NONE` stays."""
    for column in columns:
        table[:, column] += np.where(table[:, column] >= 0, start, 0).astype(table.dtype)


def _ranks(keys: Sequence[Any]) -> list[int]:
    """Return the place of each key in the sorted order; equal keys by where they stand."""
    order = sorted(range(len(keys)), key=lambda i: (keys[i], i))
    ranks = [0] * len(keys)
    for rank, i in enumerate(order):
        ranks[i] = rank
    return ranks


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the names, numbered where a name comes again."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
