"""Attacks, damage, healing and spells while a battle is fought."""

from __future__ import annotations

from math import floor
from typing import Any

from bgsim.models.battle.choice import choose, fits, new_choice
from bgsim.models.battle.effects import (
    afflict,
    difficulty,
    end_effects_from,
    end_effects_on,
    lose_focus,
    rolled_on,
    saves,
)
from bgsim.models.battle.log import Event
from bgsim.models.battle.resources import pay, payable
from bgsim.models.battle.state import (
    ACTIVE,
    ARMOR_NOW,
    BEARER,
    BOUND,
    DAZED,
    DEAD,
    DEALT_HP,
    DYING,
    END_FOE,
    FAILURES,
    FIRST_FOE,
    FOCUS,
    FOES_UP,
    HP,
    LIFE,
    NO,
    ONCE,
    PARTY,
    PARTY_UP,
    REACTED,
    ROLLED,
    SOURCE,
    SUCCESSES,
    TAKEN_HP,
    TEMP,
    UP,
    VALID,
    WHAT,
    YES,
    compiled,
    d20,
    note,
    roll,
)
from bgsim.models.battle.tables import (
    ABILITY,
    AMOUNT,
    CONSTANT,
    DAMAGE_BONUS,
    DAMAGE_TYPE,
    DEALT,
    DIFFICULTY,
    EFFECT,
    FLAGS,
    HALVES,
    HIT_BONUS,
    IMMUNE,
    MAXIMUM,
    REACTION,
    REDUCTION,
    RESISTS,
    STRATEGY,
    TAKEN,
    TEMPORARY,
    TIMES,
    TO_HIT,
    VULNERABLE,
    WANTED,
)
from bgsim.models.battle.terms import (
    ALLY,
    ATTACKED_BETTER,
    ATTACKED_WORSE,
    ATTACKS_BETTER,
    ATTACKS_WORSE,
    CON,
    CRITICAL_TAKEN,
    HELPLESS,
    MARK,
    SELF,
    TOUGH,
    Lasts,
)

SHIELD_BONUS = 5.0
LEAST_FOCUS_DC = 10.0
"""Of the save to keep concentrating; half the damage where that is more."""


# ---- attacks -----------------------------------------------------------------------------------------


@compiled
def attack(p: Any, day: Any, attacker: int, row: int, rng: Any) -> bool:
    """Make one attack; tell whether there was a target."""
    target = choose(p, day, attacker, row, new_choice(day))
    if target < 0:
        return False
    natural = _attack_die(day, attacker, target, rng)
    critical = natural == 20
    total = float(natural)
    hit = critical
    if natural > 1:
        total += roll(p, p.rows[row][TO_HIT], ONCE, rng)
        if day.state[attacker][ROLLED] > 0:
            total += rolled_on(p, day, attacker, HIT_BONUS, rng)
        armor = day.values[target][ARMOR_NOW]
        hit = critical or total >= armor
        if hit and not critical and p.rows[target][REACTION] >= 0 and total < armor + SHIELD_BONUS:
            hit = not _shield(p, day, target, total, rng)
    if hit:
        if day.state[target][BOUND] & CRITICAL_TAKEN:
            critical = True
        note(Event.CRITICAL if critical else Event.HIT, attacker, target, row, total, day.values[target][ARMOR_NOW])
        damage = _weapon_damage(p, day, attacker, target, row, 2 if critical else 1, rng)
        suffer(p, day, attacker, target, damage, p.rows[row][DAMAGE_TYPE], rng)
        if p.rows[row][EFFECT] >= 0 and day.state[target][HP] > 0:
            afflict(p, day, attacker, target, p.rows[row][EFFECT], rng)
    else:
        note(Event.MISS, attacker, target, row, total, day.values[target][ARMOR_NOW])
    if p.srd and day.counters[ACTIVE] > 0:
        end_effects_on(p, day, attacker, Lasts.ATTACK_MADE)
        end_effects_on(p, day, target, Lasts.ATTACK_TAKEN)
    return True


@compiled
def _attack_die(day: Any, attacker: int, target: int, rng: Any) -> int:
    """Throw the d20 of an attack, twice with advantage or disadvantage; both cancel."""
    natural: int = d20(rng)
    mine, its = day.state[attacker][BOUND], day.state[target][BOUND]
    if mine | its:
        better = bool(mine & ATTACKS_BETTER) or bool(its & ATTACKED_BETTER)
        worse = bool(mine & ATTACKS_WORSE) or bool(its & ATTACKED_WORSE)
        if better and not worse:
            natural = max(natural, d20(rng))
        elif worse and not better:
            natural = min(natural, d20(rng))
    return natural


@compiled
def _shield(p: Any, day: Any, target: int, total: float, rng: Any) -> bool:
    """Let the target cast Shield if it can; tell whether the attack misses for it."""
    row = p.rows[target][REACTION]
    if day.state[target][REACTED]:
        return False
    if p.srd:
        if day.state[target][DAZED] or day.state[target][BOUND] & HELPLESS or not payable(p, day, row):
            return False
        pay(p, day, row)
    day.state[target][REACTED] = 1
    note(Event.REACTION, target, target, row, 0.0, 0.0)
    cast(p, day, target, row, rng)
    return not p.srd or bool(total < day.values[target][ARMOR_NOW])


@compiled
def _weapon_damage(p: Any, day: Any, attacker: int, target: int, row: int, times: int, rng: Any) -> float:
    """Return the damage of a hit, its dice thrown `times` times; under the SRD those of effects, too."""
    damage: float = roll(p, p.rows[row][AMOUNT], times, rng)
    if day.state[attacker][ROLLED] == 0 and not day.state[target][BOUND] & MARK:
        return damage
    below, above = 1.0, 1.0
    for k in range(day.counters[ACTIVE]):
        effect = day.active[k][WHAT]
        if not day.active[k][VALID]:
            continue
        if p.rows[effect][FLAGS] & MARK:
            counts = day.active[k][SOURCE] == attacker and day.active[k][BEARER] == target
        else:
            counts = day.active[k][BEARER] == attacker
        if counts and p.rows[effect][DAMAGE_BONUS] >= 0:
            damage += roll(p, p.rows[effect][DAMAGE_BONUS], times if p.srd else ONCE, rng)
        if counts and p.rows[effect][DEALT] >= 0:
            factor = p.numbers[p.rows[effect][DEALT]][CONSTANT]
            below, above = min(below, factor), max(above, factor)
    return float(floor(floor(damage * below) * above)) if below * above != 1.0 else damage


@compiled
def attack_with_save(p: Any, day: Any, attacker: int, row: int, rng: Any) -> None:
    """Let each of the targets save against an action; the damage is rolled once for all."""
    dc = difficulty(p, day, attacker, p.rows[row][DIFFICULTY], rng)
    damage = floor(max(0.0, roll(p, p.rows[row][AMOUNT], ONCE, rng)))
    choice = new_choice(day)
    for _ in range(p.rows[row][TIMES]):
        target = choose(p, day, attacker, row, choice)
        if target < 0:
            return
        saved = saves(p, day, target, dc, p.rows[row][ABILITY], NO, rng)
        share = float(damage)
        if saved:
            share = float(floor(damage / 2)) if p.rows[row][HALVES] else 0.0
        suffer(p, day, attacker, target, share, p.rows[row][DAMAGE_TYPE], rng)
        if not saved and p.rows[row][EFFECT] >= 0 and day.state[target][HP] > 0:
            afflict(p, day, attacker, target, p.rows[row][EFFECT], rng)
        if day.counters[ACTIVE] > 0:
            end_effects_on(p, day, target, Lasts.ATTACK_TAKEN)


# ---- damage ------------------------------------------------------------------------------------------


@compiled
def suffer(p: Any, day: Any, source: int, target: int, damage: float, damage_type: int, rng: Any) -> None:
    """Take damage off a creature, temporary hit points first."""
    if p.srd:
        damage = _softened(p, day, target, damage, damage_type, rng)
    rest, temporary = damage, day.state[target][TEMP]
    if temporary > 0:
        absorbed = min(float(temporary), damage)
        day.state[target][TEMP] = floor(temporary - absorbed + 0.5)
        rest = max(0.0, damage - absorbed)
    before = day.state[target][HP]
    day.state[target][HP] = floor(max(0.0, before - rest) + 0.5)
    lost = before - day.state[target][HP] + temporary - day.state[target][TEMP]
    day.state[source][DEALT_HP] += lost
    day.state[target][TAKEN_HP] += lost
    note(Event.DAMAGE, source, target, 0, damage, float(day.state[target][HP]))
    if day.state[target][HP] == 0:
        _fall(p, day, target, rest - before)
    elif p.srd and damage > 0:
        if day.state[target][FOCUS] and not saves(
            p, day, target, max(LEAST_FOCUS_DC, floor(damage / 2)), CON, YES, rng
        ):
            lose_focus(p, day, target)
        if day.counters[ACTIVE] > 0:
            end_effects_on(p, day, target, Lasts.DAMAGED)


@compiled
def _softened(p: Any, day: Any, target: int, damage: float, damage_type: int, rng: Any) -> float:
    """Return damage after reductions, then resistance, then vulnerability; each counts once, fractions are dropped."""
    below, above = 1.0, 1.0
    if day.state[target][ROLLED] > 0:
        damage -= rolled_on(p, day, target, REDUCTION, rng)
        for k in range(day.counters[ACTIVE]):
            formula = p.rows[day.active[k][WHAT]][TAKEN]
            if day.active[k][BEARER] == target and day.active[k][VALID] and formula >= 0:
                below, above = min(below, p.numbers[formula][CONSTANT]), max(above, p.numbers[formula][CONSTANT])
    if p.rows[target][RESISTS] >> damage_type & 1 or day.state[target][BOUND] & TOUGH:
        below = min(below, 0.5)
    if p.rows[target][VULNERABLE] >> damage_type & 1:
        above = max(above, 2.0)
    if p.rows[target][IMMUNE] >> damage_type & 1:
        below = 0.0
    return float(floor(floor(floor(max(0.0, damage)) * below) * above))


@compiled
def _fall(p: Any, day: Any, creature: int, beyond: float) -> None:
    """Take a creature out that has come to 0 hit points, with damage left over."""
    party = creature < day.counters[PARTY]
    day.counters[PARTY_UP if party else FOES_UP] -= 1
    if p.srd and party and beyond < p.rows[creature][MAXIMUM]:
        day.state[creature][LIFE] = DYING
        day.state[creature][SUCCESSES] = day.state[creature][FAILURES] = 0
        note(Event.DOWN, creature, creature, 0, 0.0, 0.0)
    else:
        day.state[creature][LIFE] = DEAD
        note(Event.DEATH, creature, creature, 0, 0.0, 0.0)
    if day.counters[ACTIVE] > 0 and not p.srd:
        end_effects_from(p, day, creature)
    if p.srd:
        lose_focus(p, day, creature)


# ---- healing and spells ------------------------------------------------------------------------------


@compiled
def heal(p: Any, day: Any, healer: int, row: int, rng: Any) -> None:
    """Heal one creature or more: one roll for all."""
    temporary = bool(p.rows[row][TEMPORARY])
    if not p.srd and (p.rows[row][STRATEGY] == ALLY + SELF or not _another_is_hurt(p, day, healer, row)):
        return
    amount = roll(p, p.rows[row][AMOUNT], ONCE, rng)
    if p.srd:
        amount = floor(max(0.0, amount))
    choice = new_choice(day)
    for _ in range(p.rows[row][TIMES]):
        target = choose(p, day, healer, row, choice)
        if target < 0:
            return
        if temporary:
            day.state[target][TEMP] = floor(day.state[target][TEMP] + amount + 0.5)
        else:
            raised = min(day.state[target][HP] + amount, float(p.rows[target][MAXIMUM]))
            if day.state[target][HP] == 0 and raised >= 0.5:
                wake(day, target)
            day.state[target][HP] = floor(raised + 0.5)
        now = float(day.state[target][TEMP if temporary else HP])
        note(Event.TEMPORARY if temporary else Event.HEAL, healer, target, row, amount, now)


@compiled
def _another_is_hurt(p: Any, day: Any, healer: int, row: int) -> bool:
    first, end = day.counters[FIRST_FOE], day.counters[END_FOE]
    if healer < day.counters[PARTY]:
        first, end = 0, day.counters[PARTY]
    for i in range(first, end):  # noqa: SIM110 - numba compiles no generator expression
        if i != healer and fits(p, day, i, p.rows[row][WANTED]):
            return True
    return False


@compiled
def wake(day: Any, creature: int) -> None:
    """Bring a creature back that was at 0 hit points; the caller sets these."""
    day.counters[PARTY_UP if creature < day.counters[PARTY] else FOES_UP] += 1
    day.state[creature][LIFE] = UP


@compiled
def cast(p: Any, day: Any, caster: int, row: int, rng: Any) -> None:
    """Put an action's effect on its targets."""
    choice = new_choice(day)
    for _ in range(p.rows[row][TIMES]):
        target = choose(p, day, caster, row, choice)
        if target < 0:
            return
        afflict(p, day, caster, target, p.rows[row][EFFECT], rng)
