"""A turn-based fantasy encounter, party against monsters, after the SRD 5.1.

One replicate is one fight: initiative, then rounds of turns until one side is down. A creature's turn uses the first
attack of each of its action slots; every attack chooses its target anew, rolls a d20 against its armor class, and does
double dice of damage on a natural 20. A creature at 0 hit points is out.

This work includes material from the System Reference Document 5.1 by Wizards of the Coast LLC, licensed under the
Creative Commons Attribution 4.0 International License.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bgsim.fields import parameter
from bgsim.models.battle_scenario import read_scenario
from bgsim.simulation import simulation

MAX_ROUNDS = 50
MAX_TURNS = 200
"""A fight that lasts longer is undecided; looked at when a round begins."""


@dataclass(frozen=True)
class Battle:
    """An encounter as tables, one row a creature or an attack; `from_file` reads a scenario."""

    names: tuple[str, ...] = parameter(doc="of the creatures, party first")
    monster: NDArray[np.bool_] = parameter(doc="whether a creature is no member of the party")
    hit_points: NDArray[np.int64] = parameter(unit="hit points", ge=1, doc="at the start")
    armor_class: NDArray[np.float64] = parameter(doc="what an attack has to reach")
    initiative_bonus: NDArray[np.float64] = parameter(doc="added to the d20")
    initiative_advantage: NDArray[np.bool_] = parameter(doc="whether the better of two d20 counts")
    id_rank: NDArray[np.int64] = parameter(ge=0, doc="breaks ties in initiative")
    name_rank: NDArray[np.int64] = parameter(ge=0, doc="breaks ties between targets")
    attacks: NDArray[np.int64] = parameter(shape=(None, 3), ge=0, doc="creature, times a turn, strategy")
    dice_spans: NDArray[np.int64] = parameter(shape=(None, 3), ge=0, doc="where its dice begin: to hit, damage, end")
    constants: NDArray[np.float64] = parameter(shape=(None, 2), doc="to hit, damage")
    dice: NDArray[np.int64] = parameter(shape=(None, 2), doc="number, sides")

    @classmethod
    def from_file(cls, path: str | Path, rules: str | None = None) -> Battle:
        """Read a scenario file; see `bgsim.models.battle_scenario.read_scenario`."""
        return cls(**read_scenario(path, rules))


@njit
def _roll(dice: Any, start: int, stop: int, times: int, rng: Any) -> int:
    """Return the sum of some dice, each thrown so many times."""
    total = 0
    for row in range(start, stop):
        count = dice[row, 0]
        for _ in range(abs(count) * times):
            face = rng.integers(1, dice[row, 1] + 1)
            total += face if count > 0 else -face
    return total


@njit
def _turn_order(p: Any, rng: Any) -> Any:
    """Return the creatures by initiative, the highest first; ties go to the party, then by id."""
    count = len(p.hit_points)
    initiative = np.empty(count)
    order = np.arange(count)
    for i in range(count):
        roll = rng.integers(1, 21)
        if p.initiative_advantage[i]:
            roll = max(roll, rng.integers(1, 21))
        initiative[i] = roll + p.initiative_bonus[i]
    for i in range(1, count):  # insertion sort: few creatures, and no allocation
        creature, j = order[i], i
        while j > 0 and _goes_before(p, initiative, creature, order[j - 1]):
            order[j] = order[j - 1]
            j -= 1
        order[j] = creature
    return order


@njit
def _goes_before(p: Any, initiative: Any, a: int, b: int) -> bool:
    if initiative[a] != initiative[b]:
        return bool(initiative[a] > initiative[b])
    if p.monster[a] != p.monster[b]:
        return bool(p.monster[b])
    return bool(p.id_rank[a] < p.id_rank[b])


@njit
def _choose_target(p: Any, hit_points: Any, attacker: int, strategy: int) -> int:
    """Return the living enemy that the strategy prefers, -1 if none lives; ties: fewest hit points, then name."""
    best, best_key = -1, 0.0
    for i in range(len(hit_points)):
        if hit_points[i] <= 0 or p.monster[i] == p.monster[attacker]:
            continue
        value = float(hit_points[i]) if strategy < 2 else p.armor_class[i]
        key = -value if strategy % 2 else value
        if (
            best < 0
            or key < best_key
            or (
                key == best_key
                and (
                    hit_points[i] < hit_points[best]
                    or (hit_points[i] == hit_points[best] and p.name_rank[i] < p.name_rank[best])
                )
            )
        ):
            best, best_key = i, key
    return best


@njit
def _attack(p: Any, hit_points: Any, row: int, rng: Any) -> None:
    """Make one attack of the table."""
    target = _choose_target(p, hit_points, p.attacks[row, 0], p.attacks[row, 2])
    if target < 0:
        return
    natural = rng.integers(1, 21)
    start, middle, stop = p.dice_spans[row]
    total = natural + _roll(p.dice, start, middle, 1, rng) + p.constants[row, 0]
    if natural == 1 or (natural < 20 and total < p.armor_class[target]):
        return
    damage = _roll(p.dice, middle, stop, 2 if natural == 20 else 1, rng) + p.constants[row, 1]
    hit_points[target] = int(max(0.0, hit_points[target] - damage) + 0.5)


@njit
def _alive(p: Any, hit_points: Any, monsters: bool) -> int:
    count = 0
    for i in range(len(hit_points)):
        if p.monster[i] == monsters and hit_points[i] > 0:
            count += 1
    return count


@simulation(outputs={"party_won": "?", "rounds": "i4", "party_hit_points": "i4", "deaths": "i4"})
def battle(p: Battle, rng: Any) -> tuple[bool, int, int, int]:
    """One fight: whether the party won, the rounds it took, and the party's hit points left and members at 0."""
    hit_points = p.hit_points.copy()
    order = _turn_order(p, rng)
    rounds = turns = 0
    while rounds < MAX_ROUNDS and turns < MAX_TURNS and _alive(p, hit_points, False) and _alive(p, hit_points, True):
        rounds += 1
        for creature in order:
            if hit_points[creature] <= 0:
                continue
            turns += 1
            for row in range(len(p.attacks)):
                if p.attacks[row, 0] == creature:
                    for _ in range(p.attacks[row, 1]):
                        _attack(p, hit_points, row, rng)
            if not (_alive(p, hit_points, False) and _alive(p, hit_points, True)):
                break
    members = left = 0
    for i in range(len(hit_points)):
        if not p.monster[i]:
            members += 1
            left += hit_points[i]
    alive = _alive(p, hit_points, False)
    return alive > 0 and _alive(p, hit_points, True) == 0, rounds, left, members - alive
