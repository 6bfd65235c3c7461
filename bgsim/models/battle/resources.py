"""Costs and resources while a battle is fought; the limited uses of an action are a resource, too."""

from __future__ import annotations

from typing import Any

from bgsim.models.battle.log import Event
from bgsim.models.battle.state import LEFT_NOW, WAITING, compiled, note
from bgsim.models.battle.tables import (
    END_COST,
    END_RESOURCE,
    FIRST_COST,
    FIRST_RESOURCE,
    LIMIT,
    PRICE,
    RECHARGE,
    RESOURCE,
    RETURNS,
)
from bgsim.models.battle.terms import Reset


@compiled
def payable(p: Any, day: Any, row: int) -> bool:
    """Tell whether each cost of an action can be paid."""
    for cost in range(p.rows[row][FIRST_COST], p.rows[row][END_COST]):
        if day.values[int(p.numbers[cost][RESOURCE])][LEFT_NOW] < p.numbers[cost][PRICE]:
            return False
    return True


@compiled
def pay(p: Any, day: Any, row: int) -> None:
    """Pay the costs of an action; a use that recharges by turns begins to wait."""
    for cost in range(p.rows[row][FIRST_COST], p.rows[row][END_COST]):
        resource = int(p.numbers[cost][RESOURCE])
        day.values[resource][LEFT_NOW] -= p.numbers[cost][PRICE]
        if p.numbers[resource][RECHARGE] < 0:
            day.values[resource][WAITING] = int(-p.numbers[resource][RECHARGE])


@compiled
def give_back(p: Any, day: Any, creature: int, least: int, most: int) -> None:
    """Return the creature's resources of these kinds (`Reset`), from the one to the other."""
    for resource in range(p.rows[creature][FIRST_RESOURCE], p.rows[creature][END_RESOURCE]):
        if least <= int(p.numbers[resource][RETURNS]) <= most:
            day.values[resource][LEFT_NOW] = p.numbers[resource][LIMIT]
            day.values[resource][WAITING] = 0


@compiled
def recharge(p: Any, day: Any, creature: int, rng: Any) -> None:
    """At the start of a creature's turn recharge what recharges: by a d6 for each, or after some turns."""
    for resource in range(p.rows[creature][FIRST_RESOURCE], p.rows[creature][END_RESOURCE]):
        if (
            int(p.numbers[resource][RETURNS]) != Reset.RECHARGE
            or day.values[resource][LEFT_NOW] >= p.numbers[resource][LIMIT]
        ):
            continue
        ready = False
        if p.numbers[resource][RECHARGE] > 0:
            ready = 1 + int(rng.random() * 6) >= p.numbers[resource][RECHARGE]
        else:
            day.values[resource][WAITING] -= 1
            ready = day.values[resource][WAITING] <= 0
        if ready:
            day.values[resource][LEFT_NOW] = p.numbers[resource][LIMIT]
            note(Event.RECHARGED, creature, creature, resource, 0.0, 0.0)
