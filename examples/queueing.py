"""Waiting in line: how waits are distributed, and what irregular service costs.

Run ``python examples/queueing.py [FOLDER]``; it needs ``pip install matplotlib`` and half a minute.
"""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
from pictures import save

import bgsim
from bgsim.models.queueing import MG1, MMc, Service, mg1, mmc


def erlang_c(load: float, servers: int) -> float:
    """Return the probability of a wait; the load is arrivals over service rate of one server (Erlang 1917)."""
    terms = [load**k / math.factorial(k) for k in range(servers + 1)]
    busy = terms[-1] * servers / (servers - load)
    return busy / (sum(terms[:-1]) + busy)


def main() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    with bgsim.Engine() as engine:
        times = np.linspace(0, 12, 60)
        for number, (servers, arrival_rate) in enumerate(((1, 0.8), (2, 1.6), (5, 4.0))):
            p = MMc(arrival_rate=arrival_rate, servers=servers, customers=1)
            waits = engine.submit(mmc, p, replicates=20_000, seed=1).result()["last_wait"]
            exact = erlang_c(arrival_rate, servers) * np.exp(-(servers - arrival_rate) * times)
            left.semilogy(times, exact, color=f"C{number}", lw=0.8)
            share = [np.mean(waits > t) or np.nan for t in times[::3]]
            left.semilogy(times[::3], share, "o", ms=3, color=f"C{number}", label=f"c = {servers}")
        variations = np.linspace(0, 4, 9)
        for number, load in enumerate((0.6, 0.8)):
            right.plot(variations, load / (1 - load) * (1 + variations) / 2, color=f"C{number}", lw=0.8)
            for law, mark in ((Service.GAMMA, "o"), (Service.LOGNORMAL, "x")):
                jobs = [
                    engine.submit(mg1, MG1(arrival_rate=load, service_scv=v, service=law), replicates=2000, seed=seed)
                    for seed, v in enumerate(variations.tolist())
                ]
                waits = [job.result().summary()["mean_wait"] for job in jobs]
                label = f"{law.name.lower()} service, load {load}"
                means, errors = zip(*((w.mean, 2 * w.standard_error) for w in waits), strict=True)
                right.errorbar(variations, means, errors, fmt=mark, ms=4, lw=0.8, color=f"C{number}", label=label)
    left.set(xlabel="t (service times)", ylabel="P(wait > t)", title="M/M/c, load 0.8; lines: Erlang", ylim=(1e-3, 1))
    left.legend()
    right.set(
        xlabel="squared coefficient of variation of the service time",
        ylabel="mean wait (service times)",
        title="M/G/1; lines: Pollaczek and Khinchine",
    )
    right.legend()
    save(figure, "queueing.svg")


if __name__ == "__main__":
    main()
