"""The choice of an action's target, while a battle is fought."""

from __future__ import annotations

from typing import Any

from bgsim.models.battle.state import (
    CHOICES,
    DEAD,
    END_FOE,
    FIRST_FOE,
    FOCUSED_BEFORE,
    HP,
    LIFE,
    NOBODY,
    PARTY,
    PICKED,
    TEMP,
    compiled,
)
from bgsim.models.battle.tables import (
    ARMOR,
    BEST_TO_HIT,
    DAMAGE_RATE,
    ID_RANK,
    MAXIMUM,
    NAME_RANK,
    STRATEGY,
    WANTED,
)
from bgsim.models.battle.terms import (
    ALLY,
    ANYBODY,
    HIGHEST_AC,
    HIGHEST_DPR,
    HURT,
    LEAST_HP,
    LOWEST_AC,
    MOST_HP,
    SELF,
)


@compiled
def new_choice(day: Any) -> int:
    """Return the number of a new choice, with which `choose` marks its picks, so that none comes twice."""
    day.counters[CHOICES] += 1
    choice: int = day.counters[CHOICES]
    return choice


@compiled
def choose(p: Any, day: Any, chooser: int, row: int, choice: int) -> int:
    """Return the creature that an action's strategy prefers, -1 where there is none.

    Ties between enemies go to the one that concentrated when the fight began, then to fewest hit points, then by
    name; ties between allies by id. Creatures that this choice has picked already are left out.
    """
    strategy, wanted = p.rows[row][STRATEGY], p.rows[row][WANTED]
    allies = strategy >= ALLY
    kind = strategy - ALLY if allies else strategy
    if (chooser < day.counters[PARTY]) == allies:
        first, end = 0, day.counters[PARTY]
    else:
        first, end = day.counters[FIRST_FOE], day.counters[END_FOE]
    if kind == SELF:
        first, end = chooser, chooser + 1
    best: int = NOBODY
    best_key = 0.0
    for i in range(first, end):
        if day.state[i][PICKED] == choice or not fits(p, day, i, wanted):
            continue
        key = _key(p, day, chooser, i, kind)
        if best < 0 or key < best_key or (key == best_key and _goes_before(p, day, i, best, allies)):
            best, best_key = i, key
    if best >= 0:
        day.state[best][PICKED] = choice
    return best


@compiled
def fits(p: Any, day: Any, i: int, wanted: int) -> bool:
    """Tell whether a creature comes into question: `wanted` is `ANYBODY` to `WITHOUT_TEMPORARY`."""
    hp = day.state[i][HP]
    if wanted == HURT:
        return bool(hp < p.rows[i][MAXIMUM] and (hp > 0 or (p.srd and day.state[i][LIFE] != DEAD)))
    return bool(hp > 0 and (wanted == ANYBODY or day.state[i][TEMP] == 0))


@compiled
def _key(p: Any, day: Any, chooser: int, i: int, kind: int) -> float:
    if kind == LEAST_HP:
        return float(day.state[i][HP] + day.state[i][TEMP])
    if kind == MOST_HP:
        return -float(day.state[i][HP] + day.state[i][TEMP])
    if kind == LOWEST_AC:
        return float(p.numbers[i][ARMOR])
    if kind == HIGHEST_AC:
        return -float(p.numbers[i][ARMOR])
    if kind == HIGHEST_DPR:
        return -float(p.numbers[i][DAMAGE_RATE])
    chance = (21.0 - p.numbers[i][ARMOR] + p.numbers[chooser][BEST_TO_HIT]) / 20.0
    return -float((day.state[i][HP] + day.state[i][TEMP]) / min(max(chance, 0.05), 0.95))


@compiled
def _goes_before(p: Any, day: Any, a: int, b: int, allies: bool) -> bool:
    if allies:
        return bool(p.rows[a][ID_RANK] < p.rows[b][ID_RANK])
    if day.state[a][FOCUSED_BEFORE] != day.state[b][FOCUSED_BEFORE]:
        return bool(day.state[a][FOCUSED_BEFORE])
    if day.state[a][HP] != day.state[b][HP]:
        return bool(day.state[a][HP] < day.state[b][HP])
    return bool(p.rows[a][NAME_RANK] < p.rows[b][NAME_RANK])
