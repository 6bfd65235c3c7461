"""What the tests of battles share: small scenarios, and exact answers by walking a Markov chain."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import paths

import bgsim
from bgsim.models.battle import Battle, battle
from bgsim.models.battle.entries import ScenarioWarning

REFERENCES = paths.REFERENCES / "battle"
SCENARIOS = sorted(path.stem for path in REFERENCES.glob("*.json") if path.stem != "exact_duels")

ALWAYS_FAILED = 1000
"""A difficulty that no save reaches: damage that is certain."""


def reference(name: str) -> tuple[dict[str, Any], Battle]:
    """Return a scenario of the reference application, and what its own rules make of it."""
    scenario = json.loads((REFERENCES / f"{name}.json").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScenarioWarning)
        return scenario, Battle.from_scenario(scenario, rules="reference")


def creature(name: str, hp: int, first: int = 0, ac: float = 15, actions: Iterable[Any] = (), **more: Any) -> Any:
    """Return a creature; `first` is added to its initiative."""
    return {"id": name, "name": name, "hp": hp, "ac": ac, "initiativeBonus": first, "actions": list(actions), **more}


def strike(damage: Any, to_hit: Any = 5, **more: Any) -> dict[str, Any]:
    """Return an attack."""
    return {"type": "atk", "name": "strike", "dpr": damage, "toHit": to_hit, "target": "enemy with least HP", **more}


def burn(damage: Any, dc: int = ALWAYS_FAILED, **more: Any) -> dict[str, Any]:
    """Return an attack that allows a save; by default none that succeeds."""
    return {"type": "atk", "name": "burn", "useSaves": True, "saveDC": dc, "dpr": damage, **more}


def boon(buff: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an action that puts a buff on whoever does it."""
    return {"type": "buff", "name": "boon", "actionSlot": 1, "target": "self", "buff": buff, **more}


def bane(buff: dict[str, Any], dc: int, **more: Any) -> dict[str, Any]:
    """Return an action that puts a buff on an enemy that fails to save."""
    return {"type": "debuff", "name": "bane", "actionSlot": 1, "saveDC": dc, "buff": buff, **more}


def spell(name: str, options: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return an action by template."""
    return {
        "type": "template", "name": name, "actionSlot": 1, "templateOptions": {"templateName": name, **(options or {})},
        **more,
    }  # fmt: skip


def duel(party: Any, monsters: Any, rules: str = "srd", **encounter: Any) -> Battle:
    """Return the fight of some creatures, or of two."""
    party, monsters = ([c] if isinstance(c, dict) else c for c in (party, monsters))
    scenario = {"players": party, "timeline": [{"monsters": monsters, **encounter}]}
    return Battle.from_scenario(scenario, rules=rules)


def day(party: Any, *steps: Any, rules: str = "srd") -> Battle:
    """Return a day of encounters, each given by its monsters, and of rests, each given by its type."""
    timeline = [{"type": s} if isinstance(s, str) else {"monsters": s if isinstance(s, list) else [s]} for s in steps]
    party = party if isinstance(party, list) else [party]
    return Battle.from_scenario({"players": party, "timeline": timeline}, rules=rules)


def run(p: Battle, replicates: int = 40_000, seed: int = 5) -> bgsim.SimulationResult:
    return bgsim.run(battle, p, replicates=replicates, seed=seed)


def fixed(p: Battle) -> bgsim.SimulationResult:
    """Run a battle in which nothing is left to chance but the order of turns, if that."""
    return run(p, replicates=50)


def hit_chance(to_hit: float, ac: float, better: int = 0) -> float:
    """Return the chance that an attack hits; `better` is 1 with advantage, -1 with disadvantage."""
    faces = [n for n in range(1, 21) if n == 20 or (n > 1 and n + to_hit >= ac)]
    chance = len(faces) / 20
    if better > 0:
        return 1 - (1 - chance) ** 2
    return chance**2 if better < 0 else chance


def save_chance(bonus: float, dc: float) -> float:
    return sum(n + bonus >= dc for n in range(1, 21)) / 20


def rounds_until_over(
    start: Any, step: Callable[[Any], Iterable[tuple[float, Any]]], most: int = 50
) -> dict[int, float]:
    """Walk a Markov chain a round at a time; return the probability of each number of rounds after which it ends.

    `step` returns probabilities and next states of a round, None for the end. What has not ended after `most` rounds
    has that number, as in a fight.
    """
    states, ends = {start: 1.0}, dict.fromkeys(range(1, most + 1), 0.0)
    for n in range(1, most + 1):
        following: dict[Any, float] = {}
        for state, weight in states.items():
            for probability, then in step(state):
                if then is None:
                    ends[n] += weight * probability
                else:
                    following[then] = following.get(then, 0.0) + weight * probability
        states = following
    ends[most] += sum(states.values())
    return ends


def mean(distribution: dict[int, float]) -> float:
    assert math.isclose(sum(distribution.values()), 1.0)
    return sum(n * p for n, p in distribution.items())


def assert_mean(column: Any, exact: float, errors: float = 3.0) -> None:
    """Fail when a column's mean is more than some standard errors from the exact value, or certain and another."""
    values = column.astype(float)
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    found = float(values.mean())
    assert abs(found - exact) <= max(errors * error, 1e-12), f"{found:.5g} +- {error:.2g}, exact {exact:.5g}"
