"""Chemistry at random: Lotka's oscillations wander, the Oregonator's do not, and what leaps save and cost.

Run ``python examples/reactions.py [FOLDER]``; it needs ``pip install matplotlib`` and some seconds.
"""

from __future__ import annotations

import time

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from pictures import COLOURS, save

import bgsim
from bgsim.models.network import Network
from bgsim.models.reactions import Reactions, reactions
from bgsim.models.tau_leaping import TauLeaping, tau_leaping

LOTKA = (
    Network()
    .species("Prey", 1000)
    .species("Hunters", 1000)
    .reaction("Prey -> 2 Prey", rate=10)
    .reaction("Prey + Hunters -> 2 Hunters", rate=0.01)
    .reaction("Hunters ->", rate=10)
)
OREGONATOR = (
    Network()
    .species("Y1", 500)
    .species("Y2", 1000)
    .species("Y3", 2000)
    .reaction("Y2 -> Y1", rate=2)
    .reaction("Y1 + Y2 ->", rate=0.1)
    .reaction("Y1 -> 2 Y1 + Y3", rate=104)
    .reaction("2 Y1 ->", rate=0.016)
    .reaction("Y3 -> Y2", rate=26)
)
"""Both with the constants of Gillespie (1977)."""

EPSILONS = (0.3, 0.1, 0.03, 0.01)


def draw_path(engine: bgsim.Engine, axes: Axes, network: Network, stop: float, title: str) -> None:
    """Draw the counts along one exact path."""
    p = Reactions.of(network, np.linspace(0, stop, 1001))
    counts = engine.submit(reactions, p, replicates=1, seed=5).result()["counts"][0]
    for name, path in zip(p.names, counts.T, strict=True):
        axes.plot(p.times, path, lw=0.8, label=name)
    axes.set(xlabel="time", ylabel="molecules", title=title)
    axes.legend()


def draw_leaps(engine: bgsim.Engine, axes: Axes) -> None:
    """Draw the distribution after a transient, exact and by leaps, with the time that each took."""
    network = Network().species("X", 1000).reaction("-> X", rate=1000).reaction("X ->", rate=0.1)
    bins = np.arange(6400, 7201, 25)
    ways = [("exact", "0.2", reactions.warmup(Reactions.of(network, [10.0])), Reactions.of(network, [10.0]))]
    for epsilon, colour in zip(EPSILONS, COLOURS, strict=True):
        p = TauLeaping.of(network, [10.0], epsilon=epsilon)
        ways.append((f"ε = {epsilon}", colour, tau_leaping.warmup(p), p))
    for label, colour, simulation, p in ways:
        began = time.perf_counter()
        counts = engine.submit(simulation, p, replicates=4000, seed=6).result()["counts"][:, 0, 0]
        took = time.perf_counter() - began
        axes.hist(counts, bins, histtype="step", density=True, color=colour, label=label)
        print(f"{label:9} mean {counts.mean():.1f}, sd {counts.std():.1f}, {took:.2f} s")
    axes.set(xlabel="molecules", ylabel="density", title="Tau-leaping, immigration and death")
    axes.legend()


def main() -> None:
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
    with bgsim.Engine() as engine:
        draw_path(engine, left, LOTKA, 12.0, "Lotka and Volterra")
        draw_path(engine, middle, OREGONATOR, 5.0, "Oregonator")
        draw_leaps(engine, right)
    save(figure, "reactions.png")


if __name__ == "__main__":
    main()
