"""Battles made by hand: tables that do not fit each other are refused, for the kernel trusts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from battles import boon, burn, creature, duel, strike

import bgsim
from bgsim.errors import ParameterError
from bgsim.models.battle import Battle, battle
from bgsim.models.battle.tables import (
    ABILITY,
    ACT,
    AMOUNT,
    DAMAGE_TYPE,
    DIFFICULTY,
    EFFECT,
    EFFECT_ABILITY,
    ENCOUNTER,
    END_ACTION,
    END_COST,
    END_DIE,
    END_MONSTER,
    END_RESOURCE,
    FIRST_ACTION,
    FIRST_MONSTER,
    HIT_BONUS,
    HIT_DICE,
    INITIATIVE,
    KIND,
    MAXIMUM,
    NUMBER,
    REACTION,
    RESOURCE,
    SIDES,
    SLOT,
    STRATEGY,
    TIMES,
    TO_HIT,
)
from bgsim.models.battle.terms import Act


def tables() -> dict[str, Any]:
    """Return the fields of a fight whose tables have a row of each kind."""
    blessing = boon({"toHit": "1d4", "concentration": True}, freq="1/day")
    hero = creature("hero", 20, actions=[strike("1d8"), blessing])
    fight = duel(hero, creature("ogre", 30, actions=[strike("2d6"), burn("1d6")]))
    return {**vars(fight), "rows": fight.rows.copy(), "numbers": fight.numbers.copy()}


def row_of(fields: dict[str, Any], act: Act) -> int:
    """Return the row of the first action that does this."""
    first, end = fields["creatures"], fields["rows"][: fields["creatures"], END_ACTION].max()
    return int(first + np.argmax(fields["rows"][first:end, ACT] == act))


def effect_of(fields: dict[str, Any]) -> int:
    return int(fields["rows"][row_of(fields, Act.EFFECT), EFFECT])


def die_of(fields: dict[str, Any]) -> int:
    formula = fields["rows"][row_of(fields, Act.ATTACK), AMOUNT]
    return int(fields["numbers"][formula, 0])


def creature_row(fields: dict[str, Any]) -> int:
    return 1


def step(fields: dict[str, Any]) -> int:
    return int(fields["first_step"])


def attack(fields: dict[str, Any]) -> int:
    return row_of(fields, Act.ATTACK)


def save_attack(fields: dict[str, Any]) -> int:
    return row_of(fields, Act.SAVE_ATTACK)


WRONG_ROWS = [
    (creature_row, FIRST_ACTION, 0, "actions of a creature must be a span"),
    (creature_row, END_ACTION, 10_000, "actions of a creature must be a span"),
    (creature_row, END_RESOURCE, 10_000, "resources of a creature must be a span"),
    (creature_row, ENCOUNTER, -1, "must begin with the party"),
    (creature_row, MAXIMUM, 0, "MAXIMUM of a creature"),
    (creature_row, INITIATIVE, -1, "INITIATIVE of a creature"),
    (creature_row, REACTION, 10_000, "REACTION of a creature"),
    (creature_row, HIT_DICE, -1, "HIT_DICE of a creature"),
    (attack, ACT, 4, "ACT of an action"),
    (attack, SLOT, 63, "SLOT of an action"),
    (attack, TIMES, 2**40, "TIMES of an action"),
    (attack, STRATEGY, 99, "STRATEGY of an action"),
    (attack, EFFECT, -2, "EFFECT of an action"),
    (attack, TO_HIT, 10_000, "TO_HIT of an action"),
    (attack, AMOUNT, -1, "each formula and effect that ATTACK needs"),
    (save_attack, DIFFICULTY, -1, "each formula and effect that SAVE_ATTACK needs"),
    (attack, DAMAGE_TYPE, 64, "DAMAGE_TYPE of an action"),
    (attack, ABILITY, 7, "ABILITY of an action"),
    (attack, END_COST, 10_000, "costs of an action must be a span"),
    (effect_of, EFFECT_ABILITY, 7, "EFFECT_ABILITY of an effect"),
    (effect_of, HIT_BONUS, 10_000, "each formula of an effect"),
    (die_of, NUMBER, 2**40, "NUMBER of dice"),
    (die_of, SIDES, 0, "SIDES of dice"),
    (step, KIND, 3, "KIND of a step"),
    (step, KIND, 1, "encounters must be 0"),
    (step, FIRST_MONSTER, 0, "monsters of a step must be a span"),
    (step, END_MONSTER, 3, "monsters of a step must be a span"),
]


@pytest.mark.parametrize(("row", "column", "value", "message"), WRONG_ROWS)
def test_rows_that_refer_to_what_is_not_there_are_refused(
    row: Callable[[dict[str, Any]], int], column: int, value: int, message: str
) -> None:
    fields = tables()
    fields["rows"][row(fields), column] = value
    with pytest.raises(ParameterError, match=message):
        Battle(**fields)


def test_numbers_that_refer_to_what_is_not_there_are_refused() -> None:
    for row, column, value, message in (
        (attack, END_DIE, 10_000.0, "dice of a formula must be a span"),
        (attack, END_DIE, 0.5, "dice of a formula must be a span"),
        (attack, END_DIE, np.nan, "numbers must be finite"),
    ):
        fields = tables()
        fields["numbers"][fields["rows"][row(fields), AMOUNT], column] = value
        with pytest.raises(ParameterError, match=message):
            Battle(**fields)
    fields = tables()
    fields["numbers"][fields["end_resources"], RESOURCE] = 10_000
    with pytest.raises(ParameterError, match="RESOURCE of a cost"):
        Battle(**fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"creatures": 10_000}, "creatures"),
        ({"encounters": 2}, "encounters must be 1"),
        ({"first_step": 10_000}, "first_step"),
        ({"end_resources": 10_000}, "end_resources"),
        ({"room": 0}, "room must be at least 1"),
        ({"names": ("hero",)}, "names must be"),
        ({"rows": np.zeros((3, 2), np.int64)}, "rows must have 18 columns"),
        ({"rows": "none"}, "rows"),
        ({"numbers": np.zeros(3)}, "numbers must have 11 columns"),
        ({"numbers": "none"}, "Battle must have tables of numbers"),
        ({"creatures": None}, "Battle must have tables of numbers"),
    ],
)
def test_counts_that_do_not_fit_the_tables_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Battle(**{**tables(), **change})


def test_a_request_with_such_tables_is_refused_before_it_runs() -> None:
    fields = tables()
    fields["rows"][attack(fields), AMOUNT] = 10_000
    with pytest.raises(ParameterError, match="AMOUNT of an action"):
        bgsim.run(battle, fields, replicates=1)


def test_creatures_that_share_their_actions_need_room_for_each() -> None:
    fields = tables()
    hero = fields["rows"][0]
    fields["rows"][1, [FIRST_ACTION, END_ACTION]] = hero[[FIRST_ACTION, END_ACTION]]
    with pytest.raises(ParameterError, match="room must be at least 2"):
        Battle(**fields)
    fields["room"] = 2
    assert bgsim.run(battle, Battle(**fields), replicates=10, seed=1)["rounds"].min() >= 1
