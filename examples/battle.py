"""A day of two fights: who stands after each, what is left, and what the priest's Bless is worth against the dragon.

Run ``python examples/battle.py [FOLDER]``; it needs ``pip install matplotlib`` and half a minute.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from pictures import COLOURS, save

import bgsim
from bgsim.models.battle import Battle, battle

SCENARIO = Path(__file__).parent / "encounters" / "dragon_day.json"
FIGHTS = 40_000


def dragon_with(hit_points: int, *, bless: bool) -> Battle:
    """Return the last fight alone, with a dragon of so many hit points, and a priest who may do without Bless."""
    scenario: Any = copy.deepcopy(json.loads(SCENARIO.read_text()))
    scenario["timeline"] = scenario["timeline"][-1:]
    scenario["timeline"][0]["monsters"][0]["hp"] = hit_points
    if not bless:
        del scenario["players"][3]["actions"][0]
    return Battle.from_scenario(scenario)


def draw_standing(axes: Axes, p: Battle, result: bgsim.SimulationResult, party: int) -> None:
    """Draw how often each member of the party is up after each fight."""
    places = np.arange(party)
    for number, label in enumerate(("after the ogres", "after the dragon")):
        up = (result["hit_points"][:, number, :party] > 0).mean(axis=0)
        axes.barh(places - 0.2 + 0.4 * number, up, height=0.38, color=COLOURS[number], label=label)
    axes.set(yticks=places, yticklabels=p.names[:party], xlabel="up at the end", xlim=(0, 1))
    axes.invert_yaxis()
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, fontsize=8)


def draw_left(axes: Axes, p: Battle, result: bgsim.SimulationResult, party: int) -> None:
    """Draw the party's hit points after the day, won or lost."""
    left, won = result["party_hit_points"], result["party_won"]
    most = int(p.rows[:party, 1].sum())
    axes.hist([left[won], left[~won]], bins=np.linspace(0, most, 40), stacked=True, label=["won", "lost"])
    axes.set(xlabel="party's hit points at the end of the day", yticks=[])
    axes.legend()


def draw_bless(axes: Axes, engine: bgsim.Engine) -> None:
    """Draw the chance to beat dragons of many sizes; one seed for all, so that the curves are smooth."""
    sizes = np.arange(100, 401, 20)
    for bless, label in ((True, "with Bless"), (False, "without")):
        jobs = [engine.submit(battle, dragon_with(int(n), bless=bless), replicates=FIGHTS, seed=2) for n in sizes]
        axes.plot(sizes, [job.result()["party_won"].mean() for job in jobs], "o-", ms=3, label=label)
    axes.set(xlabel="hit points of the dragon", ylabel="chance to win", ylim=(0, 1))
    axes.legend()


def main() -> None:
    p = Battle.from_file(SCENARIO)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.0), layout="constrained")
    with bgsim.Engine() as engine:
        result = engine.submit(battle, p, replicates=5 * FIGHTS, seed=1).result()
        draw_standing(axes[0], p, result, party=5)
        draw_left(axes[1], p, result, party=5)
        draw_bless(axes[2], engine)
    save(figure, "battle.svg")


if __name__ == "__main__":
    main()
