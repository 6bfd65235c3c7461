"""Tests of bgsim.models.queueing: against Erlang's C formula and that of Pollaczek and Khinchine.

The bias of the empty start is below exp(-(1 - sqrt(0.8))**2 * 2000), 3e-10, of the wait.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from montecarlo import assert_agrees, mean_and_error, reference

import bgsim
from bgsim.errors import ParameterError
from bgsim.models.queueing import MG1, MMc, Service, mg1, mmc

EXACT = reference("queueing")
REPLICATES = 6000


@pytest.mark.parametrize("row", EXACT["M/M/c"]["rows"], ids=lambda row: f"{row[0]}servers")
def test_erlang_c(row):
    """Probability of a wait, and mean wait."""
    servers, arrival_rate, waits, mean_wait = row
    result = bgsim.run(mmc, MMc(arrival_rate=arrival_rate, servers=servers), replicates=REPLICATES, seed=51)
    assert_agrees(*mean_and_error(result["waited"]), waits)
    assert_agrees(*mean_and_error(result["mean_wait"]), mean_wait)
    assert_agrees(*mean_and_error(result["last_wait"]), mean_wait)


def test_distribution_of_waits():
    """The last wait exceeds t with probability C exp(-(c mu - lambda) t) (Erlang 1917)."""
    waits = bgsim.run(mmc, MMc(), replicates=REPLICATES, seed=52)["last_wait"]
    for t in (0.0, 0.5, 2.0, 6.0):
        assert_agrees(*mean_and_error(waits > t), 0.7111111111 * math.exp(-(2 - 1.6) * t))


@pytest.mark.parametrize(("law", "scv"), [("deterministic", 0.0), ("erlang-2", 0.5), ("exponential", 1.0)])
def test_pollaczek_khinchine(law, scv):
    """Mean wait by the spread of the service time; the load is the probability of a wait."""
    result = bgsim.run(mg1, MG1(service_scv=scv), replicates=REPLICATES, seed=53)
    assert_agrees(*mean_and_error(result["mean_wait"]), EXACT["M/G/1"]["rows"][law])
    assert_agrees(*mean_and_error(result["waited"]), 0.8)


@pytest.mark.parametrize("service", list(Service))
@pytest.mark.parametrize("scv", [0.25, 3.0])
def test_other_service_laws(service, scv):
    """Only mean and spread of the service time count for the mean wait (Pollaczek and Khinchine)."""
    p = MG1(arrival_rate=1.2, mean_service=0.5, service_scv=scv, service=service)
    result = bgsim.run(mg1, p, replicates=REPLICATES, seed=54)
    assert_agrees(*mean_and_error(result["mean_wait"]), 0.6 / 0.4 * 0.5 * (1 + scv) / 2)


def test_mmc_with_one_server_is_mg1_with_exponential_service():
    """Two recursions, one queue."""
    one = bgsim.run(mmc, MMc(arrival_rate=0.7, servers=1), replicates=REPLICATES, seed=55)["mean_wait"]
    other = bgsim.run(mg1, MG1(arrival_rate=0.7), replicates=REPLICATES, seed=56)["mean_wait"]
    (a, a_error), (b, b_error) = mean_and_error(one), mean_and_error(other)
    assert_agrees(a - b, math.hypot(a_error, b_error), 0.0)


def test_waits_by_the_clock():
    """Each replicate is a walk through its stream: arrivals, servers, first come first served."""
    p = MMc(arrival_rate=2.5, servers=3, warm_up=5, customers=20)
    result = bgsim.run(mmc, p, replicates=30, seed=8)
    for i in range(30):
        rng, now, free_at, waits = bgsim.replicate_rng(8, i), 0.0, [0.0] * 3, []
        for _ in range(25):
            now += rng.exponential(1 / 2.5)
            begin = max(now, min(free_at))
            waits.append(begin - now)
            free_at[free_at.index(min(free_at))] = begin + rng.exponential(1.0)
        counted = np.array(waits[5:])
        expected = [counted.mean(), np.mean(counted > 1e-12), counted[-1]]
        assert [result[name][i] for name in result] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_first_customer_never_waits():
    """The queue starts empty."""
    for simulation in (mmc, mg1):
        result = bgsim.run(simulation, {"warm_up": 0, "customers": 1}, replicates=10)
        assert not any(column.any() for column in result.values())


@pytest.mark.parametrize(
    ("simulation", "settings"),
    [(mmc, {"arrival_rate": 2.0}), (mg1, {"mean_service": 1.25}), (mg1, {"arrival_rate": 9.0})],
)
def test_overload(simulation, settings):
    """A queue that grows for ever is refused, with its load and what to do."""
    with pytest.raises(ParameterError, match="load must be below 1: lower the arrival rate"):
        simulation.bind(settings)


@pytest.mark.parametrize(("field", "value"), [("service_scv", -0.1), ("service", "PARETO"), ("customers", 0)])
def test_bad_parameters(field, value):
    """Each is refused by name."""
    with pytest.raises(ParameterError, match=field):
        mg1.bind({field: value})
