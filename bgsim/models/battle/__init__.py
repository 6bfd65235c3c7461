"""Turn-based fantasy encounters, a party against monsters: one fight, or a day of fights and rests.

One replicate is one day. A fight is initiative, then rounds of turns until one side is down. In its turn a creature
chooses the first usable action of each of its action slots and does them in order. There are two rule sets.

- ``srd``, the default: the System Reference Document 5.1, as far as a fight without positions knows it.
- ``reference``: exactly what the application does that the scenario format comes from, quirks included.

The documentation's page on battles says what each rule set honours. The modules `scenario`, `actions` and `costs` read
a scenario into `tables`; the fight itself is in `turn`, `choice`, `attack`, `effects`, `resources` and `rests`.

This work includes material from the System Reference Document 5.1 by Wizards of the Coast LLC, licensed under the
Creative Commons Attribution 4.0 International License.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgsim.errors import ParameterError
from bgsim.models.battle.checks import check_tables
from bgsim.models.battle.log import CombatLog, Event, LogWriter
from bgsim.models.battle.resources import give_back
from bgsim.models.battle.rests import rest
from bgsim.models.battle.scenario import read_scenario, scenario_fields
from bgsim.models.battle.state import (
    ACTIVE,
    ARMOR_NOW,
    BOUND,
    DAZED,
    DEAD,
    DEALT_HP,
    DIED,
    DYING,
    END_FOE,
    FIGHTERS,
    FIRST_FOE,
    FOCUS,
    FOCUSED_BEFORE,
    FOES_UP,
    FOUGHT,
    HP,
    INITIATIVE_NOW,
    LENGTH,
    LIFE,
    ONCE,
    ORDER,
    OUTCOME,
    PARTY,
    PARTY_UP,
    REACTED,
    ROLLED,
    ROUND,
    SAVE_NOW,
    STABLE,
    STATE_COLUMNS,
    TAKEN_HP,
    as_rows,
    compiled,
    d20,
    new_day,
    note,
    roll,
)
from bgsim.models.battle.tables import (
    ARMOR,
    ENCOUNTER,
    END_MONSTER,
    FIRST_MONSTER,
    ID_RANK,
    INITIATIVE,
    KIND,
    QUICK,
    SAVES,
    SURPRISED,
    TRAITS,
)
from bgsim.models.battle.terms import Reset, Step
from bgsim.models.battle.turn import begin_turn, take_turn
from bgsim.models.plain import plain_form
from bgsim.parameters.fields import parameter
from bgsim.parameters.parameter_set import ParameterSet
from bgsim.simulation import simulation
from bgsim.streams import Rng

MAX_ROUNDS = 50
"""A fight that lasts longer is undecided."""

MAX_TURNS = 200
"""The same, by the reference rules alone; looked at when a round begins."""


@dataclass(frozen=True)
class Battle:
    """A day of encounters as tables; `from_file` and `from_scenario` read them.

    `bgsim.models.battle.tables` says what the columns are.
    """

    srd: bool = parameter(doc="rules of the SRD 5.1, not those of the reference application")
    creatures: int = parameter(unit="creatures", ge=2, doc="of the party and of all encounters")
    encounters: int = parameter(unit="encounters", ge=1, doc="of the day")
    room: int = parameter(unit="effects", ge=0, doc="most that may be active at once")
    first_step: int = parameter(ge=0, doc="row at which the timeline begins")
    end_resources: int = parameter(ge=0, doc="number at which the resources end")
    names: tuple[str, ...] = parameter(doc="of each row; the creatures come first, the party before the monsters")
    rows: NDArray[np.int64] = parameter(shape=(None, None), doc="creatures, actions, effects, dice, timeline")
    numbers: NDArray[np.float64] = parameter(shape=(None, None), doc="statistics, resources, costs, formulas")

    @classmethod
    def from_file(cls, path: str | Path, rules: str | None = None) -> Battle:
        """Read a scenario file; see `bgsim.models.battle.scenario.read_scenario`."""
        return cls(**read_scenario(path, rules))

    @classmethod
    def from_scenario(cls, scenario: Any, rules: str | None = None) -> Battle:
        """Read a scenario given as the dictionaries and lists of its JSON; see `read_scenario`."""
        return cls(**scenario_fields(scenario, rules))

    def __post_init__(self) -> None:
        try:
            check_tables(self)
        except ParameterError:
            raise
        except (TypeError, ValueError, OverflowError, IndexError) as error:
            raise ParameterError(
                f"Battle must have tables of numbers, as Battle.from_file(path) makes them: {error}", field="rows"
            ) from error


OUTPUTS = {
    "party_won": "?",
    "rounds": "i4",
    "party_hit_points": "i4",
    "deaths": "i4",
    "outcome": ("i1", "encounters"),
    "encounter_rounds": ("i4", "encounters"),
    "hit_points": ("i4", ("encounters", "creatures")),
    "damage_dealt": ("i4", "creatures"),
    "damage_taken": ("i4", "creatures"),
    "died": ("i1", "creatures"),
}


def replay_with_log(parameters: ParameterSet, rng: np.random.Generator) -> CombatLog:
    """Fight one day as plain Python; return its outputs with the combat log as their text."""
    writer = LogWriter(parameters["names"], int((parameters["rows"][: parameters["creatures"], ENCOUNTER] < 0).sum()))
    fought = plain_form(battle.function, {note: writer})
    return CombatLog(fought(parameters.kernel_view(), rng), writer.lines)


@simulation(outputs=OUTPUTS, replay=replay_with_log)
def battle(p: Battle, rng: Rng) -> Any:
    """One day of encounters: who won, rounds, hit points, damage and deaths.

    - ``party_won``: whether the last encounter was won; ``rounds``: of all encounters; ``party_hit_points``: of the
      party at the end of the day; ``deaths``: members of the party at 0 hit points then.
    - ``outcome`` of each encounter: 1 won, -1 lost, 0 undecided; ``encounter_rounds`` that it took.
    - ``hit_points`` at the end of each encounter of each creature, party first.
    - ``damage_dealt`` and ``damage_taken`` by each creature: hit points lost, temporary ones included.
    - ``died``: 1 for a creature that is dead at the end; under the SRD a member of the party at 0 hit points may live.
    """
    arrays = new_day(p)
    addresses = np.empty(len(p.rows) + len(p.numbers) + len(arrays[0]) + len(arrays[1]) + len(arrays[2]), np.int64)
    field, day = as_rows(p, arrays, addresses)
    live_through(field, day, rng, (p, arrays, addresses))
    state = arrays[0]
    creatures, results = state[: p.creatures], state[p.creatures + 1 :]
    rounds = down = left = 0
    for i in range(p.creatures):
        creatures[i, DIED] = 1 if creatures[i, LIFE] == DEAD else 0
        if i < state[p.creatures, PARTY]:
            left += creatures[i, HP]
            down += 1 if creatures[i, HP] == 0 else 0
    for encounter in range(p.encounters):
        rounds += results[encounter, LENGTH]
    return (
        bool(results[p.encounters - 1, OUTCOME] > 0),
        rounds,
        left,
        down,
        results[:, OUTCOME],
        results[:, LENGTH],
        creatures[:, STATE_COLUMNS:].T,
        creatures[:, DEALT_HP],
        creatures[:, TAKEN_HP],
        creatures[:, DIED],
    )


@compiled
def live_through(p: Any, day: Any, rng: Rng, _held: Any) -> None:
    """Go through the timeline, and record how each encounter ends. `_held` are the arrays that the rows are of."""
    while day.counters[PARTY] < p.creatures and p.rows[day.counters[PARTY]][ENCOUNTER] < 0:
        day.counters[PARTY] += 1
    for step in range(p.first_step, p.end_step):
        if p.rows[step][KIND] != Step.COMBAT:
            rest(p, day, p.rows[step][KIND] == Step.LONG_REST, rng)
            continue
        fight(p, day, step, rng)
        encounter = day.counters[FOUGHT]
        up, foes = day.counters[PARTY_UP] > 0, day.counters[FOES_UP] > 0
        outcome = (1 if up else 0) - (1 if foes else 0)
        day.state[p.creatures + 1 + encounter][OUTCOME] = outcome
        day.state[p.creatures + 1 + encounter][LENGTH] = day.counters[ROUND]
        note(Event.RESULT, encounter, outcome, day.counters[ROUND], 0.0, 0.0)
        for i in range(p.creatures):
            day.state[i][STATE_COLUMNS + encounter] = day.state[i][HP]
        day.counters[FOUGHT] += 1


@compiled
def fight(p: Any, day: Any, step: int, rng: Rng) -> None:
    """Fight an encounter until one side is down or it has lasted too long."""
    prepare(p, day, step, rng)
    day.counters[ROUND] = -1 if p.srd else 0  # under the SRD there is a round 0, for what is done before
    turns = 0
    while (
        day.counters[ROUND] < MAX_ROUNDS
        and (turns < MAX_TURNS or p.srd)
        and day.counters[PARTY_UP] > 0
        and day.counters[FOES_UP] > 0
    ):
        day.counters[ROUND] += 1
        if day.counters[ROUND] > 0:
            note(Event.ROUND, day.counters[ROUND], 0, 0, 0.0, 0.0)
        for k in range(day.counters[FIGHTERS]):
            creature = day.state[k][ORDER]
            if p.srd and day.counters[ROUND] > 0:
                begin_turn(p, day, creature, rng)
            if day.state[creature][HP] <= 0:
                continue
            turns += 1
            take_turn(p, day, creature, rng)
            if day.counters[PARTY_UP] == 0 or day.counters[FOES_UP] == 0:
                break
    day.counters[ROUND] = max(day.counters[ROUND], 0)
    if p.srd and day.counters[FOES_UP] == 0:
        for i in range(day.counters[PARTY]):
            if day.state[i][LIFE] == DYING:
                day.state[i][LIFE] = STABLE
                note(Event.STABLE, i, i, 0, 0.0, 0.0)


@compiled
def prepare(p: Any, day: Any, step: int, rng: Rng) -> None:
    """Set up an encounter: effects of the last one end, initiative is rolled, the order of turns found."""
    party, first, end = day.counters[PARTY], p.rows[step][FIRST_MONSTER], p.rows[step][END_MONSTER]
    note(Event.ENCOUNTER, day.counters[FOUGHT], first, end, 0.0, 0.0)
    day.counters[FIRST_FOE], day.counters[END_FOE] = first, end
    day.counters[ACTIVE] = day.counters[PARTY_UP] = day.counters[FOES_UP] = 0
    fighters = 0
    for i in range(end):
        if party <= i < first:
            continue
        monster = i >= party
        day.state[i][BOUND] = day.state[i][ROLLED] = day.state[i][REACTED] = 0
        day.values[i][ARMOR_NOW], day.values[i][SAVE_NOW] = p.numbers[i][ARMOR], p.numbers[i][SAVES]
        if p.srd:
            day.state[i][FOCUS] = 0
            day.state[i][DAZED] = p.rows[step][SURPRISED] >> (1 if monster else 0) & 1
            give_back(p, day, i, Reset.TURN, Reset.FIGHT)
        day.state[i][FOCUSED_BEFORE] = day.state[i][FOCUS]
        if monster or p.srd or day.counters[FOUGHT] == 0:
            throw = d20(rng)
            if p.rows[i][TRAITS] & QUICK:
                throw = max(throw, d20(rng))
            day.values[i][INITIATIVE_NOW] = throw + roll(p, p.rows[i][INITIATIVE], ONCE, rng)
        if day.state[i][HP] > 0:
            day.counters[FOES_UP if monster else PARTY_UP] += 1
        place = fighters  # insertion sort: few creatures, and no allocation
        while place > 0 and _turn_comes_before(p, day, i, day.state[place - 1][ORDER]):
            day.state[place][ORDER] = day.state[place - 1][ORDER]
            place -= 1
        day.state[place][ORDER] = i
        fighters += 1
    day.counters[FIGHTERS] = fighters
    for k in range(fighters):
        creature = day.state[k][ORDER]
        if day.state[creature][HP] > 0:
            note(Event.INITIATIVE, creature, creature, 0, day.values[creature][INITIATIVE_NOW], 0.0)


@compiled
def _turn_comes_before(p: Any, day: Any, a: int, b: int) -> bool:
    """Tell whose turn comes first: the higher initiative, the party, the lower id."""
    if day.values[a][INITIATIVE_NOW] != day.values[b][INITIATIVE_NOW]:
        return bool(day.values[a][INITIATIVE_NOW] > day.values[b][INITIATIVE_NOW])
    if (a < day.counters[PARTY]) != (b < day.counters[PARTY]):
        return bool(a < day.counters[PARTY])
    return bool(p.rows[a][ID_RANK] < p.rows[b][ID_RANK])
