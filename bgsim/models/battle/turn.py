"""A creature's turn: which actions it chooses, and what it does with them."""

from __future__ import annotations

from typing import Any

from bgsim.models.battle.attack import attack, attack_with_save, cast, heal, wake
from bgsim.models.battle.choice import fits
from bgsim.models.battle.effects import count_rounds, repeat_saves
from bgsim.models.battle.log import Event
from bgsim.models.battle.resources import give_back, pay, payable, recharge
from bgsim.models.battle.state import (
    ACTIVE,
    BOUND,
    DAZED,
    DEAD,
    DYING,
    END_FOE,
    FAILURES,
    FIRST_FOE,
    FOCUS,
    FOES_UP,
    HP,
    LIFE,
    PARTY,
    PARTY_UP,
    REACTED,
    ROUND,
    SOURCE,
    STABLE,
    SUCCESSES,
    TEMP,
    WHAT,
    compiled,
    d20,
    note,
)
from bgsim.models.battle.tables import (
    ACT,
    CONDITION,
    EFFECT,
    END_ACTION,
    FIRST_ACTION,
    FOCUSES,
    MAXIMUM,
    PAYS_A_TURN,
    PERCENT,
    SLOT,
    STRATEGY,
    TIMES,
    TRAITS,
    WANTED,
)
from bgsim.models.battle.terms import (
    ALLY,
    ALLY_BELOW,
    ALLY_DOWN,
    ALWAYS,
    HASTE,
    HELPLESS,
    INACTIVE,
    MANY_ENEMIES,
    NO_TEMPORARY,
    ONE_ENEMY,
    SELF,
    SELF_BELOW,
    UNFOCUSED,
    Act,
    Reset,
)

BEFORE = 0
"""The slot of actions before the first round."""

SAVES_TO_LIVE = 3


@compiled
def take_turn(p: Any, day: Any, creature: int, rng: Any) -> None:
    """Let a creature that is up take its turn; in round 0 it does what it does before the fight."""
    day.state[creature][REACTED] = 0
    if p.rows[creature][TRAITS] & PAYS_A_TURN:
        give_back(p, day, creature, Reset.TURN, Reset.TURN)
    if day.state[creature][DAZED] and day.counters[ROUND] > 0:
        note(Event.SURPRISED, creature, creature, 0, 0.0, 0.0)
    elif not p.srd or not day.state[creature][BOUND] & HELPLESS:
        act(p, day, creature, rng)
    if p.srd and day.counters[ROUND] > 0:
        day.state[creature][DAZED] = 0
        if day.counters[ACTIVE] > 0:
            repeat_saves(p, day, creature, rng)


@compiled
def begin_turn(p: Any, day: Any, creature: int, rng: Any) -> None:
    """Under the SRD, do what the start of a creature's turn brings, whether it is up or not."""
    if day.counters[ACTIVE] > 0:
        count_rounds(p, day, creature)
    if day.state[creature][LIFE] == DYING:
        death_save(day, creature, rng)
    if day.state[creature][HP] > 0:
        recharge(p, day, creature, rng)


@compiled
def death_save(day: Any, creature: int, rng: Any) -> None:
    """Throw a death save: three successes make stable, three failures kill, a natural 20 wakes with 1 hit point."""
    natural = d20(rng)
    if natural == 20:
        wake(day, creature)
        day.state[creature][HP] = 1
    elif natural >= 10:
        day.state[creature][SUCCESSES] += 1
        if day.state[creature][SUCCESSES] >= SAVES_TO_LIVE:
            day.state[creature][LIFE] = STABLE
    else:
        day.state[creature][FAILURES] += 2 if natural == 1 else 1
        if day.state[creature][FAILURES] >= SAVES_TO_LIVE:
            day.state[creature][LIFE] = DEAD
    note(Event.DEATH_SAVE, creature, day.state[creature][LIFE], 0, float(natural), 0.0)


@compiled
def act(p: Any, day: Any, creature: int, rng: Any) -> None:
    """Choose the first usable action of each slot, then do them in their order."""
    first, end = p.rows[creature][FIRST_ACTION], p.rows[creature][END_ACTION]
    before = p.srd and day.counters[ROUND] == 0
    slots = chosen = 0
    for row in range(first, end):
        slot = 1 << p.rows[row][SLOT]
        if (p.rows[row][SLOT] == BEFORE) == before and not slots & slot and usable(p, day, creature, row):
            slots |= slot
            chosen |= 1 << (row - first)
    attacked = first - 1
    for row in range(first, end):
        if chosen >> (row - first) & 1 and payable(p, day, row):
            pay(p, day, row)
            perform(p, day, creature, row, rng)
            if attacked < first and p.rows[row][ACT] == Act.ATTACK:
                attacked = row
    if attacked >= first and p.srd and day.state[creature][BOUND] & HASTE:
        attack(p, day, creature, attacked, rng)


@compiled
def perform(p: Any, day: Any, creature: int, row: int, rng: Any) -> None:
    """Do one action."""
    kind = p.rows[row][ACT]
    if kind != Act.ATTACK:
        note(Event.ACTION, creature, creature, row, 0.0, 0.0)
    if kind == Act.ATTACK:
        for _ in range(p.rows[row][TIMES]):
            if not attack(p, day, creature, row, rng):
                break
    elif kind == Act.SAVE_ATTACK:
        attack_with_save(p, day, creature, row, rng)
    elif kind == Act.HEAL:
        heal(p, day, creature, row, rng)
    else:
        cast(p, day, creature, row, rng)


@compiled
def usable(p: Any, day: Any, creature: int, row: int) -> bool:
    """Tell whether an action can be paid, would do something, and is wanted now."""
    if not payable(p, day, row):
        return False
    if p.rows[row][FOCUSES] and day.state[creature][FOCUS]:
        return False
    kind = p.rows[row][ACT]
    party = creature < day.counters[PARTY]
    if kind <= Act.SAVE_ATTACK and day.counters[FOES_UP if party else PARTY_UP] == 0:
        return False
    if kind == Act.HEAL and not _somebody_to_heal(p, day, creature, row):
        return False
    return not p.srd or p.rows[row][CONDITION] == ALWAYS or _wanted(p, day, creature, row)


@compiled
def _somebody_to_heal(p: Any, day: Any, creature: int, row: int) -> bool:
    if p.srd and p.rows[row][STRATEGY] == ALLY + SELF:
        return bool(fits(p, day, creature, p.rows[row][WANTED]))
    first, end = _side(day, creature)
    for i in range(first, end):  # noqa: SIM110 - numba compiles no generator expression
        if fits(p, day, i, p.rows[row][WANTED]):
            return True
    return False


@compiled
def _side(day: Any, creature: int) -> tuple[int, int]:
    """Return the span of the creature's side."""
    if creature < day.counters[PARTY]:
        return 0, day.counters[PARTY]
    return day.counters[FIRST_FOE], day.counters[END_FOE]


@compiled
def _wanted(p: Any, day: Any, creature: int, row: int) -> bool:  # noqa: C901 - its text counts in the identity of stored battles
    """Tell whether an action's condition holds."""
    condition, percent = p.rows[row][CONDITION], p.rows[row][PERCENT]
    if condition == SELF_BELOW:
        return bool(100 * day.state[creature][HP] < percent * p.rows[creature][MAXIMUM])
    if condition == NO_TEMPORARY:
        return bool(day.state[creature][TEMP] == 0)
    if condition == UNFOCUSED:
        return bool(day.state[creature][FOCUS] == 0)
    if condition == INACTIVE:
        for k in range(day.counters[ACTIVE]):
            if day.active[k][SOURCE] == creature and day.active[k][WHAT] == p.rows[row][EFFECT]:
                return False
        return True
    if condition in (ONE_ENEMY, MANY_ENEMIES):
        enemies = day.counters[FOES_UP if creature < day.counters[PARTY] else PARTY_UP]
        return bool(enemies == 1) if condition == ONE_ENEMY else bool(enemies > 1)
    first, end = _side(day, creature)
    for i in range(first, end):
        hp = day.state[i][HP]
        if condition == ALLY_DOWN and hp == 0 and day.state[i][LIFE] in (DYING, STABLE):
            return True
        if condition == ALLY_BELOW and hp > 0 and 100 * hp < percent * p.rows[i][MAXIMUM]:
            return True
    return False
