"""The state of a battle while it is fought: its arrays, the dice, and the line to the combat log.

All functions here and in the modules that use it run compiled. `note` does nothing there; a replay runs the same
functions as plain Python with a `note` that writes the log.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.core.registry import CPUDispatcher
from numba.extending import lower_builtin, type_callable

from bgsim.models.battle.tables import (
    ARMOR,
    CONSTANT,
    END_DIE,
    FIRST_DIE,
    HIT_DICE,
    HIT_DIE_SIDES,
    LIMIT,
    MAXIMUM,
    NUMBER,
    SAVES,
    SIDES,
)
from bgsim.models.battle.terms import int64s

# ---- creatures: int64, one row a creature ------------------------------------------------------------

HP, TEMP, BOUND, ROLLED, FOCUS, FOCUSED_BEFORE, REACTED, DAZED, LIFE, SUCCESSES, FAILURES, PICKED = range(12)
DEALT_HP, TAKEN_HP, DIED, ORDER, DICE_LEFT = range(12, 17)
STATE_COLUMNS = DICE_LEFT + len(HIT_DIE_SIDES)
"""Hit points, temporary ones, bits of the effects on it, how many effects these are, whether it concentrates, whether
it did when the fight began, whether its reaction is used, whether it is surprised, how it is (`UP` to `DEAD`), death
saves, the number of the last choice that picked it, hit points dealt and taken, whether it is dead when the
day ends, and hit dice left of each size. The column `ORDER` is of no creature: it lists the fighters by initiative."""

UP, DYING, STABLE, DEAD = range(4)

ARMOR_NOW, SAVE_NOW, INITIATIVE_NOW, LEFT_NOW, WAITING = range(5)
VALUE_COLUMNS = 5

# ---- counters: int64 ---------------------------------------------------------------------------------

PARTY, FIRST_FOE, END_FOE, PARTY_UP, FOES_UP, ACTIVE, CHOICES, FIGHTERS, FOUGHT, ROUND = range(10)
"""Size of the party, span of the encounter's monsters, creatures up on each side, active effects, choices, fighters
in the order of turns, encounters fought, and the round, 0 before the first."""

# ---- results: int64, one row an encounter ------------------------------------------------------------

OUTCOME, LENGTH = range(2)
"""1 won, -1 lost, 0 undecided; and rounds."""

# ---- active effects: int64, one row an effect on a creature ------------------------------------------

SOURCE, BEARER, WHAT, LEFT, VALID = range(5)
ACTIVE_COLUMNS = 5
"""The creature that put it there, the one that has it, its row in the table of effects, turns of the source until it
ends (0: no limit), and whether it counts: under the SRD one of several with the same name does."""


ONCE, NO, YES, NOBODY = int64s((1, 0, 1, -1))
"""What functions are called with."""


class _Both(CPUDispatcher):  # type: ignore[misc]
    """A function that compiled code calls compiled and Python calls plain."""

    def __call__(self, *args: Any) -> Any:
        return self.py_func(*args)


def compiled(function: Any) -> Any:
    """Let compiled functions call a function. There are no array expressions in it for numba to look for."""
    made = njit(no_rewrites=True)(function)
    if not hasattr(made, "py_func"):
        return made  # numba is switched off
    return _Both(made.py_func, made.locals, made.targetoptions)


# ---- what a day is fought with -----------------------------------------------------------------------


class Field(NamedTuple):
    """What stays as it is during a day: parameters, with their tables as `rows_of` has them."""

    srd: Any
    creatures: Any
    encounters: Any
    first_step: Any
    end_step: Any
    rows: Any
    numbers: Any


class Day(NamedTuple):
    """All that changes during a day, as `rows_of` has it.

    Attributes
    ----------
    state : rows of int64
        The creatures, then the counters, then the encounters' results. The last columns are the creatures' hit points
        at the end of each encounter.
    values : rows of float64
        Of a creature armor class, bonus to saves and initiative; of a resource the rest of it, and turns until it
        recharges.
    active : rows of int64
        Active effects.
    counters : row of int64
        A row of `state`.
    """

    state: Any
    values: Any
    active: Any
    counters: Any


def rows_of(table: Any, addresses: Any, start: int) -> Any:
    """Return a table as its rows. Compiled they are addresses, which stand in `addresses` from `start` on.

    The caller holds both arrays. An array is seven numbers and more, which numba writes down wherever one is handed on
    or looked into: that is a third of the time to compile. No index may be negative.
    """
    return table


@type_callable(rows_of)
def _rows_type(context: Any) -> Any:
    def typed(table: Any, addresses: Any, start: Any) -> Any:
        return types.CPointer(types.CPointer(table.dtype)) if table.layout == addresses.layout == "C" else None

    return typed


@lower_builtin(rows_of, types.Array, types.Array, types.Integer)
def _rows_code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    table = context.make_array(signature.args[0])(context, builder, args[0])
    addresses = context.make_array(signature.args[1])(context, builder, args[1])
    rows, columns = cgutils.unpack_tuple(builder, table.shape, 2)
    first = builder.bitcast(builder.gep(addresses.data, [args[2]]), context.get_value_type(signature.return_type))
    with cgutils.for_range(builder, rows) as loop:
        row = builder.gep(table.data, [builder.mul(loop.index, columns)])
        builder.store(row, builder.gep(first, [loop.index]))
    return first


def note(event: int, creature: int, other: int, row: int, first: float, second: float) -> None:
    """Write a line of the combat log; see `bgsim.models.battle.log`. Compiled it does nothing, and costs nothing."""


@type_callable(note)
def _note_type(context: Any) -> Any:
    return lambda event, creature, other, row, first, second: types.none


@lower_builtin(note, types.VarArg(types.Any))
def _note_code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return context.get_dummy_value()


@compiled
def d20(rng: Any) -> int:
    """Throw a d20. A die is the whole part of a uniform number: its faces are equally likely to 2**-49."""
    return 1 + int(rng.random() * 20)


@compiled
def roll(p: Any, formula: int, times: int, rng: Any) -> float:
    """Return the value of a formula with its dice thrown `times` times."""
    total = float(p.numbers[formula][CONSTANT])
    for die in range(int(p.numbers[formula][FIRST_DIE]), int(p.numbers[formula][END_DIE])):
        count, sides = p.rows[die][NUMBER], p.rows[die][SIDES]
        thrown = 0
        if sides == 1:
            thrown = abs(count) * times
        else:
            for _ in range(abs(count) * times):
                thrown += 1 + int(rng.random() * sides)
        total += thrown if count > 0 else -thrown
    return total


@compiled
def new_day(p: Any) -> tuple[Any, Any, Any]:
    """Return state, values and active effects of a day before anything has happened, as arrays; see `Day`."""
    state = np.zeros((p.creatures + 1 + p.encounters, STATE_COLUMNS + p.encounters), np.int64)
    values = np.zeros((p.end_resources, VALUE_COLUMNS))
    active = np.zeros((p.room, ACTIVE_COLUMNS), np.int64)
    for i in range(p.creatures):
        state[i, HP] = p.rows[i, MAXIMUM]
        values[i, ARMOR_NOW] = p.numbers[i, ARMOR]
        values[i, SAVE_NOW] = p.numbers[i, SAVES]
        for size in range(len(HIT_DIE_SIDES)):
            state[i, DICE_LEFT + size] = p.rows[i, HIT_DICE + size]
    for resource in range(p.creatures, p.end_resources):
        values[resource, LEFT_NOW] = p.numbers[resource, LIMIT]
    return state, values, active


@compiled
def as_rows(p: Any, arrays: Any, addresses: Any) -> tuple[Field, Day]:
    """Return parameters and the arrays of `new_day` as the functions of a fight take them; the caller holds all."""
    state, values, active = arrays
    numbers_start = len(p.rows)
    state_start = numbers_start + len(p.numbers)
    values_start = state_start + len(state)
    rows, numbers = rows_of(p.rows, addresses, 0), rows_of(p.numbers, addresses, numbers_start)
    creatures = rows_of(state, addresses, state_start)
    day = Day(
        creatures,
        rows_of(values, addresses, values_start),
        rows_of(active, addresses, values_start + len(values)),
        creatures[p.creatures],
    )
    return Field(p.srd, p.creatures, p.encounters, p.first_step, len(p.rows), rows, numbers), day
