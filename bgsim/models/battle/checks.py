"""Checks of a battle's tables: with tables that do not fit each other the kernel would leave its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgsim.errors import ParameterError
from bgsim.models.battle.actions import MAX_ACTIONS
from bgsim.models.battle.scenario import MAX_CREATURES, MAX_HIT_POINTS
from bgsim.models.battle.tables import (
    ABILITY,
    ACT,
    AMOUNT,
    DAMAGE_TYPE,
    DIFFICULTY,
    EFFECT,
    EFFECT_ABILITY,
    EFFECT_FORMULAS,
    ENCOUNTER,
    END_ACTION,
    END_COST,
    END_DIE,
    END_MONSTER,
    END_RESOURCE,
    FIRST_ACTION,
    FIRST_COST,
    FIRST_DIE,
    FIRST_MONSTER,
    FIRST_RESOURCE,
    HIT_DICE,
    HIT_DIE_SIDES,
    INITIATIVE,
    KIND,
    MAXIMUM,
    NONE,
    NUMBER,
    REACTION,
    RESOURCE,
    ROW_COLUMNS,
    SIDES,
    SLOT,
    STATISTIC_COLUMNS,
    STRATEGY,
    TIMES,
    TO_HIT,
)
from bgsim.models.battle.terms import ABILITIES, ALLY, DAMAGE_TYPES, SELF, Act, Step
from bgsim.models.dice import MAX_DICE, MAX_SIDES
from bgsim.parameters.fields import brief

NEEDED = {
    Act.ATTACK: (TO_HIT, AMOUNT),
    Act.SAVE_ATTACK: (DIFFICULTY, AMOUNT),
    Act.HEAL: (AMOUNT,),
    Act.EFFECT: (EFFECT,),
}
"""Columns that may not be `NONE` where an action does this."""

MAX_TIMES = 1000
"""Targets or attacks of one action."""

MAX_SLOT = 62
"""The kernel keeps the slots that it has used in the bits of one integer."""


def check_tables(p: Any) -> None:
    """Refuse tables of a `Battle` with which the kernel would leave its arrays, or not end.

    Checks the rows that the fight can come to, and follows what they refer to.
    """
    rows, numbers = np.asarray(p.rows), np.asarray(p.numbers, np.float64)
    _check_shapes(p, rows, numbers)
    party, widest = _check_timeline(p, rows)
    _check_creatures(p, rows, numbers)
    creatures = rows[: p.creatures]
    reactions = creatures[:, REACTION][creatures[:, REACTION] != NONE]
    acting = np.union1d(_spanned(creatures[:, FIRST_ACTION], creatures[:, END_ACTION], len(rows)), reactions)
    actions = rows[acting]
    _check_actions(p, actions, len(numbers))
    _needs("the EFFECT of a creature's REACTION", rows[reactions, EFFECT])
    effects = rows[np.unique(actions[:, EFFECT][actions[:, EFFECT] != NONE])]
    _check_within("EFFECT_ABILITY of an effect", effects[:, EFFECT_ABILITY], 0, len(ABILITIES) - 1)
    added = effects[:, list(EFFECT_FORMULAS)]
    _check_within("each formula of an effect", added, NONE, len(numbers) - 1)
    used = [creatures[:, INITIATIVE], *(actions[:, column] for column in (TO_HIT, AMOUNT, DIFFICULTY)), added.ravel()]
    _check_formulas(p, rows, numbers, np.unique(np.concatenate(used)))
    _check_room(p, rows, max(party, widest))


def _check_shapes(p: Any, rows: NDArray[Any], numbers: NDArray[np.float64]) -> None:
    for name, table, columns in (("rows", rows, ROW_COLUMNS), ("numbers", numbers, STATISTIC_COLUMNS)):
        if table.ndim != 2 or table.shape[1] != columns:
            raise ParameterError(f"{name} must have {columns} columns; got the shape {table.shape}", field=name)
    if rows.dtype.kind not in "iu":
        raise ParameterError(f"rows must be integers; got {rows.dtype}", field="rows", value=rows)
    if not np.all(np.isfinite(numbers)):
        raise ParameterError(f"numbers must be finite; got {brief(numbers)}", field="numbers", value=numbers)
    _check_within("creatures", p.creatures, 2, min(MAX_CREATURES, len(numbers)), "creatures")
    _check_within("first_step", p.first_step, p.creatures, len(rows) - 1, "first_step")
    _check_within("end_resources", p.end_resources, p.creatures, len(numbers), "end_resources")
    if len(p.names) != len(rows):
        raise ParameterError(f"names must be {len(rows)}, one of each row; got {len(p.names)}", field="names")


def _check_timeline(p: Any, rows: NDArray[Any]) -> tuple[int, int]:
    """Check the steps, and return the size of the party and that of the largest encounter."""
    members = rows[: p.creatures, ENCOUNTER] < 0
    party = int(members.sum())
    if not 1 <= party < p.creatures or not np.all(members[:party]):
        raise ParameterError(
            f"rows must begin with the party, whose ENCOUNTER is {NONE}, and its enemies must follow",
            field="rows",
        )
    steps = rows[p.first_step :]
    _check_within("KIND of a step", steps[:, KIND], min(Step), max(Step))
    combats = steps[steps[:, KIND] == Step.COMBAT]
    if len(combats) != p.encounters:
        raise ParameterError(
            f"encounters must be {len(combats)}, as many as the timeline in rows has; got {brief(p.encounters)}",
            field="encounters",
            value=p.encounters,
        )
    _check_spans("monsters of a step", combats[:, FIRST_MONSTER], combats[:, END_MONSTER], party, p.creatures)
    return party, int((combats[:, END_MONSTER] - combats[:, FIRST_MONSTER]).max(initial=0))


def _check_creatures(p: Any, rows: NDArray[Any], numbers: NDArray[np.float64]) -> None:
    creatures = rows[: p.creatures]
    first, end = creatures[:, FIRST_ACTION], creatures[:, END_ACTION]
    _check_spans("actions of a creature", first, end, p.creatures, p.first_step)
    _check_within("how many actions a creature has", end - first, 0, MAX_ACTIONS)
    _check_spans(
        "resources of a creature",
        creatures[:, FIRST_RESOURCE],
        creatures[:, END_RESOURCE],
        p.creatures,
        p.end_resources,
        "numbers",
    )
    _check_within("MAXIMUM of a creature", creatures[:, MAXIMUM], 1, MAX_HIT_POINTS)
    _check_within("INITIATIVE of a creature", creatures[:, INITIATIVE], 0, len(numbers) - 1)
    _check_within("REACTION of a creature", creatures[:, REACTION], NONE, p.first_step - 1)
    dice = creatures[:, HIT_DICE : HIT_DICE + len(HIT_DIE_SIDES)]
    _check_within("HIT_DICE of a creature", dice, 0, MAX_HIT_POINTS)


def _check_actions(p: Any, actions: NDArray[Any], formulas: int) -> None:
    for name, column, least, most in (
        ("ACT", ACT, min(Act), max(Act)),
        ("SLOT", SLOT, 0, MAX_SLOT),
        ("TIMES", TIMES, 0, MAX_TIMES),
        ("STRATEGY", STRATEGY, 0, ALLY + SELF),
        ("EFFECT", EFFECT, NONE, p.first_step - 1),
        ("TO_HIT", TO_HIT, NONE, formulas - 1),
        ("AMOUNT", AMOUNT, NONE, formulas - 1),
        ("DIFFICULTY", DIFFICULTY, NONE, formulas - 1),
        ("DAMAGE_TYPE", DAMAGE_TYPE, 0, len(DAMAGE_TYPES) - 1),
        ("ABILITY", ABILITY, 0, len(ABILITIES) - 1),
    ):
        _check_within(f"{name} of an action", actions[:, column], least, most)
    for act, columns in NEEDED.items():
        for column in columns:
            _needs(f"each formula and effect that {act.name} needs", actions[actions[:, ACT] == act, column])
    first, end = actions[:, FIRST_COST], actions[:, END_COST]
    numbers = np.asarray(p.numbers, np.float64)
    _check_spans("costs of an action", first, end, p.end_resources, len(numbers), "numbers")
    paid = numbers[_spanned(first, end, len(numbers)), RESOURCE]
    _check_within("RESOURCE of a cost", paid, p.creatures, p.end_resources - 1, "numbers")


def _check_formulas(p: Any, rows: NDArray[Any], numbers: NDArray[np.float64], used: NDArray[Any]) -> None:
    formulas = numbers[used[used != NONE]]
    first, end = formulas[:, FIRST_DIE], formulas[:, END_DIE]
    _check_spans("dice of a formula", first, end, 0, p.first_step, "numbers")
    dice = rows[_spanned(first.astype(np.int64), end.astype(np.int64), len(rows))]
    _check_within("NUMBER of dice", dice[:, NUMBER], -MAX_DICE, MAX_DICE)
    _check_within("SIDES of dice", dice[:, SIDES], 1, MAX_SIDES)


def _check_room(p: Any, rows: NDArray[Any], widest: int) -> None:
    """Refuse a room that is less than each action's effect on each creature that it may choose."""
    creatures = rows[: p.creatures]
    most = np.where(rows[:, STRATEGY] == ALLY + SELF, 1, widest) * (rows[:, EFFECT] != NONE)
    before = np.concatenate([[0], np.cumsum(most)])
    needed = int((before[creatures[:, END_ACTION]] - before[creatures[:, FIRST_ACTION]]).sum())
    needed += int(most[creatures[:, REACTION][creatures[:, REACTION] != NONE]].sum())
    if p.room < needed:
        raise ParameterError(
            f"room must be at least {needed}, for each effect that may be active at once; got {brief(p.room)}",
            field="room",
            value=p.room,
        )


def _spanned(first: NDArray[Any], end: NDArray[Any], rows: int) -> NDArray[np.int64]:
    """Return the rows that are in one of the spans."""
    steps = np.zeros(rows + 1, np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, end, -1)
    return np.flatnonzero(np.cumsum(steps))


def _check_spans(what: str, first: Any, end: Any, least: int, most: int, table: str = "rows") -> None:
    if np.any((first < least) | (end < first) | (end > most) | (first % 1 != 0) | (end % 1 != 0)):
        raise ParameterError(f"{table}: the {what} must be a span within {least} to {most}", field=table)


def _check_within(what: str, values: Any, least: int, most: int, field: str = "rows") -> None:
    wrong = np.asarray(values)
    wrong = wrong[~((wrong >= least) & (wrong <= most))]
    if wrong.size:
        raise ParameterError(f"{field}: {what} must be {least} to {most}; got {wrong.flat[0]}", field=field)


def _needs(what: str, values: NDArray[Any]) -> None:
    if np.any(values == NONE):
        raise ParameterError(f"rows: {what} must be there; got {NONE}, which stands for none", field="rows")
