"""An epidemic: one result, a sweep over one parameter, and one over two, each drawn by bgsim.

Run ``python examples/epidemic.py [FOLDER]``; it needs ``pip install matplotlib`` and a few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from pictures import save

import bgsim


@dataclass(frozen=True)
class Epidemic:
    """How an infection spreads in a population in which everybody meets everybody."""

    beta: float = bgsim.parameter(0.3, unit="per day", doc="transmission rate", ge=0)
    gamma: float = bgsim.parameter(0.1, unit="per day", doc="recovery rate", gt=0)
    people: int = 1000
    days: int = 120


@bgsim.simulation(outputs={"ill": ("i8", "days"), "total": "i8"})
def epidemic(p: Epidemic, rng: Any) -> Any:
    """Draw who is infected and who recovers, day by day."""
    ill = np.zeros(p.days, np.int64)
    susceptible, infectious = p.people - 5, 5
    for day in range(p.days):
        ill[day] = infectious
        new = rng.binomial(susceptible, 1 - np.exp(-p.beta * infectious / p.people))
        recovered = rng.binomial(infectious, 1 - np.exp(-p.gamma))
        susceptible -= new
        infectious += new - recovered
    return ill, p.people - susceptible


def main() -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.1), layout="constrained")
    betas = np.linspace(0.05, 0.5, 10)
    with bgsim.Engine() as engine:
        one = engine.submit(epidemic, replicates=5000, seed=1)
        line = engine.sweep(epidemic, {"beta": betas}, replicates=100, seed=1)
        plane = engine.sweep(epidemic, {"beta": betas, "gamma": np.linspace(0.05, 0.3, 11)}, replicates=100, seed=1)
        one.result().plot("ill", ax=axes[0])
        line.plot("total", ax=axes[1])
        plane.plot("total", ax=axes[2])
    save(figure, "epidemic.png")


if __name__ == "__main__":
    main()
