"""Rests between the encounters of a day."""

from __future__ import annotations

from math import floor
from typing import Any

from bgsim.models.battle.attack import wake
from bgsim.models.battle.log import Event
from bgsim.models.battle.resources import give_back
from bgsim.models.battle.state import (
    DEAD,
    DICE_LEFT,
    HP,
    LIFE,
    PARTY,
    TEMP,
    compiled,
    note,
)
from bgsim.models.battle.tables import CONSTITUTION, HIT_DICE, HIT_DIE_SIDES, MAXIMUM
from bgsim.models.battle.terms import Reset


@compiled
def rest(p: Any, day: Any, long: bool, rng: Any) -> None:
    """Let the party rest: hit points, hit dice and resources return. The dead stay dead under the SRD."""
    note(Event.REST, 1 if long else 0, 0, 0, 0.0, 0.0)
    for i in range(day.counters[PARTY]):
        if p.srd and day.state[i][LIFE] == DEAD:
            continue
        if day.state[i][HP] == 0:
            wake(day, i)
            day.state[i][HP] = 1
        give_back(p, day, i, Reset.TURN, Reset.LONG_REST if long else Reset.SHORT_REST)
        day.state[i][TEMP] = 0
        if long:
            day.state[i][HP] = p.rows[i][MAXIMUM]
            _regain_hit_dice(p, day, i)
        else:
            _spend_hit_dice(p, day, i, rng)
        note(Event.RESTED, i, i, 0, float(day.state[i][HP]), 0.0)


@compiled
def _spend_hit_dice(p: Any, day: Any, i: int, rng: Any) -> None:
    """Spend hit dice, the largest first, while their average does not go beyond the maximum.

    The SRD throws them, the reference rules take the average.
    """
    maximum, constitution = p.rows[i][MAXIMUM], p.numbers[i][CONSTITUTION]
    spending = True
    while spending and day.state[i][HP] < maximum:
        spending = False
        for size in range(len(HIT_DIE_SIDES)):
            regained = (HIT_DIE_SIDES[size] + 1) / 2 + constitution
            if day.state[i][DICE_LEFT + size] == 0 or day.state[i][HP] + regained > maximum:
                continue
            day.state[i][DICE_LEFT + size] -= 1
            if p.srd:
                regained = floor(max(0.0, 1 + int(rng.random() * HIT_DIE_SIDES[size]) + constitution))
            day.state[i][HP] = min(maximum, floor(day.state[i][HP] + regained + 0.5))
            spending = True
            break


@compiled
def _regain_hit_dice(p: Any, day: Any, i: int) -> None:
    """Regain half of all hit dice, at least one, the largest first."""
    total = 0
    for size in range(len(HIT_DIE_SIDES)):
        total += p.rows[i][HIT_DICE + size]
    regained = max(1, total // 2)
    for size in range(len(HIT_DIE_SIDES)):
        missing = min(regained, p.rows[i][HIT_DICE + size] - day.state[i][DICE_LEFT + size])
        day.state[i][DICE_LEFT + size] += missing
        regained -= missing
