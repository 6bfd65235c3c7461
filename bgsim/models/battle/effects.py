"""Effects on creatures while a battle is fought: put there, added up, and ended."""

from __future__ import annotations

from typing import Any

from bgsim.models.battle.log import Event
from bgsim.models.battle.state import (
    ACTIVE,
    ACTIVE_COLUMNS,
    ARMOR_NOW,
    BEARER,
    BOUND,
    FOCUS,
    LEFT,
    NO,
    ONCE,
    ROLLED,
    SAVE_NOW,
    SOURCE,
    VALID,
    WHAT,
    compiled,
    d20,
    note,
    roll,
)
from bgsim.models.battle.tables import (
    AC_BONUS,
    ARMOR,
    CONCENTRATES,
    DC_BONUS,
    EFFECT_ABILITY,
    EFFECT_DC,
    FLAGS,
    FOCUSED_MIND,
    LASTS,
    MEAN,
    ROUNDS,
    SAVE_BONUS,
    SAVES,
    STEADFAST,
    TITLE,
    TRAITS,
)
from bgsim.models.battle.terms import (
    DEX,
    DODGES_BETTER,
    HELPLESS,
    MARK,
    SAVES_BETTER,
    SAVES_WORSE,
    Lasts,
)


@compiled
def put_effect(p: Any, day: Any, source: int, bearer: int, effect: int) -> None:
    """Put an effect on a creature; one with the same name, source and bearer is replaced."""
    place = day.counters[ACTIVE]
    for k in range(day.counters[ACTIVE]):
        if (
            day.active[k][SOURCE] == source
            and day.active[k][BEARER] == bearer
            and p.rows[day.active[k][WHAT]][TITLE] == p.rows[effect][TITLE]
        ):
            place = k
    if place == day.counters[ACTIVE]:
        day.counters[ACTIVE] += 1
    day.active[place][SOURCE] = source
    day.active[place][BEARER] = bearer
    day.active[place][WHAT] = effect
    day.active[place][LEFT] = p.rows[effect][ROUNDS]
    if p.rows[effect][CONCENTRATES]:
        day.state[source][FOCUS] = 1
    note(Event.EFFECT, source, bearer, effect, 0.0, 0.0)
    add_up(p, day, bearer)
    if p.srd and p.rows[effect][FLAGS] & HELPLESS:
        lose_focus(p, day, bearer)


@compiled
def add_up(p: Any, day: Any, bearer: int) -> None:
    """Work out anew what the effects on a creature come to."""
    bits = rolled = 0
    armor, save = p.numbers[bearer][ARMOR], p.numbers[bearer][SAVES]
    for k in range(day.counters[ACTIVE]):
        if day.active[k][BEARER] != bearer:
            continue
        effect = day.active[k][WHAT]
        day.active[k][VALID] = 0 if p.srd and _counts_already(p, day, k) else 1
        if not day.active[k][VALID]:
            continue
        bits |= p.rows[effect][FLAGS]
        if p.rows[effect][AC_BONUS] >= 0:
            armor += p.numbers[p.rows[effect][AC_BONUS]][MEAN]
        if p.rows[effect][SAVE_BONUS] >= 0:
            save += p.numbers[p.rows[effect][SAVE_BONUS]][MEAN]
        rolled += 1
    day.state[bearer][BOUND] = bits
    day.state[bearer][ROLLED] = rolled
    day.values[bearer][ARMOR_NOW] = armor
    day.values[bearer][SAVE_NOW] = save


@compiled
def _counts_already(p: Any, day: Any, k: int) -> bool:
    """Tell whether an effect of the same name counts for the same creature; a mark counts for its source alone."""
    for j in range(k):
        if day.active[j][BEARER] != day.active[k][BEARER] or not day.active[j][VALID]:
            continue
        effect = day.active[k][WHAT]
        if p.rows[day.active[j][WHAT]][TITLE] == p.rows[effect][TITLE] and (
            not p.rows[effect][FLAGS] & MARK or day.active[j][SOURCE] == day.active[k][SOURCE]
        ):
            return True
    return False


@compiled
def end_effect(p: Any, day: Any, k: int) -> None:
    """End an active effect; the last of the list takes its place."""
    bearer, source, effect = day.active[k][BEARER], day.active[k][SOURCE], day.active[k][WHAT]
    note(Event.ENDED, bearer, source, effect, 0.0, 0.0)
    last = day.counters[ACTIVE] - 1
    for column in range(ACTIVE_COLUMNS):
        day.active[k][column] = day.active[last][column]
    day.counters[ACTIVE] = last
    add_up(p, day, bearer)
    if p.srd and p.rows[effect][CONCENTRATES]:
        _release(p, day, source)


@compiled
def end_effects_from(p: Any, day: Any, source: int) -> None:
    """End every effect that a creature is the source of."""
    for k in range(day.counters[ACTIVE] - 1, -1, -1):
        if day.active[k][SOURCE] == source:
            end_effect(p, day, k)


@compiled
def end_effects_on(p: Any, day: Any, bearer: int, lasts: int) -> None:
    """End the effects on a creature that end in this way."""
    for k in range(day.counters[ACTIVE] - 1, -1, -1):
        if day.active[k][BEARER] == bearer and p.rows[day.active[k][WHAT]][LASTS] == lasts:
            end_effect(p, day, k)


@compiled
def lose_focus(p: Any, day: Any, creature: int) -> None:
    """End a creature's concentration and what hangs on it."""
    if not day.state[creature][FOCUS]:
        return
    day.state[creature][FOCUS] = 0
    note(Event.FOCUS_LOST, creature, creature, 0, 0.0, 0.0)
    for k in range(day.counters[ACTIVE] - 1, -1, -1):
        if day.active[k][SOURCE] == creature and p.rows[day.active[k][WHAT]][CONCENTRATES]:
            end_effect(p, day, k)


@compiled
def count_rounds(p: Any, day: Any, source: int) -> None:
    """Take a turn of the source off its effects that last some of them; at none they end."""
    for k in range(day.counters[ACTIVE] - 1, -1, -1):
        if day.active[k][SOURCE] == source and day.active[k][LEFT] > 0:
            day.active[k][LEFT] -= 1
            if day.active[k][LEFT] == 0:
                end_effect(p, day, k)


@compiled
def _release(p: Any, day: Any, source: int) -> None:
    """Stop concentrating when nothing is left to concentrate on."""
    for k in range(day.counters[ACTIVE]):
        if day.active[k][SOURCE] == source and p.rows[day.active[k][WHAT]][CONCENTRATES]:
            return
    day.state[source][FOCUS] = 0


@compiled
def repeat_saves(p: Any, day: Any, bearer: int, rng: Any) -> None:
    """Let a creature save anew against the effects on it that allow that, at the end of its turn."""
    for k in range(day.counters[ACTIVE] - 1, -1, -1):
        effect = day.active[k][WHAT]
        if (
            day.active[k][BEARER] == bearer
            and p.rows[effect][LASTS] == Lasts.SAVE_EACH_ROUND
            and p.rows[effect][EFFECT_DC] >= 0
        ):
            dc = difficulty(p, day, day.active[k][SOURCE], p.rows[effect][EFFECT_DC], rng)
            if saves(p, day, bearer, dc, p.rows[effect][EFFECT_ABILITY], NO, rng):
                end_effect(p, day, k)


@compiled
def difficulty(p: Any, day: Any, source: int, formula: int, rng: Any) -> float:
    """Return the difficulty of a save against what a creature does."""
    dc: float = roll(p, formula, ONCE, rng)
    if p.srd and day.state[source][ROLLED] > 0:
        dc += rolled_on(p, day, source, DC_BONUS, rng)
    return dc


@compiled
def rolled_on(p: Any, day: Any, bearer: int, column: int, rng: Any) -> float:
    """Return the sum of what a creature's effects roll for a column of the table of effects."""
    total = 0.0
    for k in range(day.counters[ACTIVE]):
        if day.active[k][BEARER] == bearer and day.active[k][VALID]:
            formula = p.rows[day.active[k][WHAT]][column]
            if formula >= 0:
                total += roll(p, formula, ONCE, rng)
    return total


@compiled
def saves(p: Any, day: Any, creature: int, dc: float, ability: int, focus: int, rng: Any) -> bool:
    """Throw a save, to keep concentrating or against something; tell whether it succeeds."""
    natural = d20(rng)
    if p.srd:
        bits, traits = day.state[creature][BOUND], p.rows[creature][TRAITS]
        better = (
            bits & SAVES_BETTER or traits & STEADFAST or (ability == DEX and bits & DODGES_BETTER)
            or (focus and traits & FOCUSED_MIND)
        )  # fmt: skip
        if better and not bits & SAVES_WORSE:
            natural = max(natural, d20(rng))
        elif bits & SAVES_WORSE and not better:
            natural = min(natural, d20(rng))
        total = natural + p.numbers[creature][SAVES + ability]
        if day.state[creature][ROLLED] > 0:
            total += rolled_on(p, day, creature, SAVE_BONUS, rng)
    else:
        total = natural + day.values[creature][SAVE_NOW]
    success = bool(total >= dc)
    note(Event.FOCUS_SAVE if focus else Event.SAVE, creature, 1 if success else 0, 0, total, dc)
    return success


@compiled
def afflict(p: Any, day: Any, source: int, target: int, effect: int, rng: Any) -> None:
    """Put an effect on a creature unless a save keeps it off."""
    if p.rows[effect][EFFECT_DC] >= 0:
        dc = difficulty(p, day, source, p.rows[effect][EFFECT_DC], rng)
        if saves(p, day, target, dc, p.rows[effect][EFFECT_ABILITY], NO, rng):
            return
    put_effect(p, day, source, target, effect)
