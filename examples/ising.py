"""The Ising model: lattices below, at and above the critical temperature, and Onsager's solution met by simulation.

Run ``python examples/ising.py [FOLDER]``; it needs ``pip install matplotlib`` and half a minute.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from pictures import save

import bgsim
from bgsim.models.ising import CRITICAL_TEMPERATURE, Ising, IsingWolff, ising, ising_wolff

SIZE = 192


def onsager(temperature: np.ndarray) -> np.ndarray:
    """Return the magnetisation of the infinite lattice (Yang 1952)."""
    with np.errstate(invalid="ignore"):
        below = (1 - np.sinh(2 / temperature) ** -4) ** 0.125
    return np.where(temperature < CRITICAL_TEMPERATURE, below, 0.0)


def lattices(engine: bgsim.Engine) -> list[tuple[str, np.ndarray]]:
    """Return a title and the spins for each of three temperatures; Wolff where Metropolis would take too long."""
    quench = Ising(rows=SIZE, columns=SIZE, temperature=1.5, burn_in=150, sweeps=1)
    critical = IsingWolff(rows=SIZE, columns=SIZE, temperature=CRITICAL_TEMPERATURE, burn_in=600, sweeps=1)
    hot = Ising(rows=SIZE, columns=SIZE, temperature=3.0, burn_in=300, sweeps=1)
    jobs = [
        ("T = 1.5, 150 sweeps after a hot start", engine.submit(ising, quench, replicates=1, seed=3)),
        ("T = 2.269, critical", engine.submit(ising_wolff, critical, replicates=1, seed=3)),
        ("T = 3", engine.submit(ising, hot, replicates=1, seed=3)),
    ]
    return [(title, job.result()["spins"][0]) for title, job in jobs]


def main() -> None:
    temperatures = np.arange(1.6, 3.25, 0.1)
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained", width_ratios=(1, 1, 1, 1.3))
    with bgsim.Engine() as engine:
        for panel, (title, spins) in zip(axes, lattices(engine), strict=False):
            panel.imshow(spins, cmap="binary", interpolation="nearest")
            panel.set_title(title, fontsize=9)
            panel.set_axis_off()
        for size in (16, 64):
            jobs = [
                engine.submit(
                    ising_wolff,
                    IsingWolff(rows=size, columns=size, temperature=t, burn_in=200, sweeps=200, clusters=3),
                    replicates=20,
                    seed=4,
                )
                for t in temperatures
            ]
            means = [np.abs(job.result()["magnetisation"]).mean() for job in jobs]
            axes[3].plot(temperatures, means, "o", ms=3, label=f"{size} x {size}")
    fine = np.linspace(1.6, 3.2, 400)
    axes[3].plot(fine, onsager(fine), color="0.3", lw=0.8, label="infinite, exact")
    axes[3].set(xlabel="temperature (J / k)", ylabel="mean |magnetisation|")
    axes[3].legend()
    save(figure, "ising.png")


if __name__ == "__main__":
    main()
