"""How an option's price is made sharper: less noise by antithetic paths and controls, less bias by a correction.

Run ``python examples/options.py [FOLDER]``; it needs ``pip install matplotlib`` and some seconds.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from pictures import save

import bgsim
from bgsim.models.extremes import BarrierOption, barrier_option
from bgsim.models.options import AsianOption, asian_option
from bgsim.models.pricing import control_variate

PATHS = 200_000
CONTINUOUS_PRICE = 5.80777
"""Of the barrier option below, watched at all times (closed form of Reiner and Rubinstein 1991)."""


def draw_noise(engine: bgsim.Engine, axes: Axes) -> None:
    """Draw the standard error of an Asian option's price by the number of paths, in three ways."""
    counts = np.unique(np.geomspace(100, PATHS, 12).astype(int))
    for antithetic in (False, True):
        result = engine.submit(asian_option, AsianOption(antithetic=antithetic), replicates=PATHS, seed=1).result()
        payoff, control = result["payoff"], result["control"]
        paths = 2 * counts if antithetic else counts
        plain = [payoff[:n].std(ddof=1) / np.sqrt(n) for n in counts]
        axes.loglog(paths, plain, "o-", ms=3, label="antithetic" if antithetic else "plain")
        if not antithetic:
            controlled = [control_variate(payoff[:n], control[:n]).standard_error for n in counts]
            axes.loglog(paths, controlled, "o-", ms=3, label="geometric control")
    axes.set(xlabel="paths", ylabel="standard error (currency)", title="Asian call, 252 dates")
    axes.legend()


def draw_bias(engine: bgsim.Engine, axes: Axes) -> None:
    """Draw the price of a down-and-out call by the number of dates, with and without the continuity correction."""
    dates = (5, 10, 20, 40, 80, 160)
    for corrected in (False, True):
        estimates = []
        for steps in dates:
            p = BarrierOption(
                barrier=91.0,
                rate=0.1,
                volatility=0.3,
                maturity=0.2,
                steps=steps,
                antithetic=True,
                continuity_correction=corrected,
            )
            result = engine.submit(barrier_option, p, replicates=PATHS, seed=2).result()
            estimates.append(control_variate(result["payoff"], result["control"]))
        axes.errorbar(
            dates,
            [e.mean for e in estimates],
            [2 * e.standard_error for e in estimates],
            fmt="o-",
            ms=3,
            label="corrected" if corrected else "watched on the dates",
        )
    axes.axhline(CONTINUOUS_PRICE, color="0.3", lw=0.8, ls="--", label="watched at all times, exact")
    axes.set(xscale="log", xlabel="dates", ylabel="price (currency)", title="Down-and-out call, barrier 91")
    axes.legend()


def main() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    with bgsim.Engine() as engine:
        draw_noise(engine, left)
        draw_bias(engine, right)
    save(figure, "options.svg")


if __name__ == "__main__":
    main()
