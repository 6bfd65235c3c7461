"""Tests of bgsim.models.ising: against enumeration and exact finite lattices.

Errors come from the means of independent chains, so they know the autocorrelation within a chain. What is left of the
start is the only bias; burn-in is many times the autocorrelation time.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from montecarlo import assert_agrees, mean_and_error, reference

import bgsim
from bgsim.errors import ParameterError
from bgsim.models.ising import CRITICAL_TEMPERATURE, Ising, IsingWolff, ising, ising_wolff
from bgsim.models.series import autocorrelation_time, standard_error

VALUES = reference("ising")["values"]
TEMPERATURES = {"T1.5": 1.5, "T2.0": 2.0, "TTc": CRITICAL_TEMPERATURE, "T2.5": 2.5, "T3.0": 3.0}
ALGORITHMS = [ising, ising_wolff]


def exact(case):
    return {name: float(value) for name, value in VALUES[case].items()}


def jackknife(statistic, *means):
    """Return a function of means over chains, and its standard error, leaving out one chain at a time."""
    count = len(means[0])
    totals = [m.sum() for m in means]
    left_out = np.array(
        [statistic(*((t - m[i]) / (count - 1) for t, m in zip(totals, means, strict=True))) for i in range(count)]
    )
    whole = statistic(*(t / count for t in totals))
    estimate = count * whole - (count - 1) * left_out.mean()
    return estimate, math.sqrt((count - 1) / count * np.sum((left_out - left_out.mean()) ** 2))


def check(result, p, expected):
    """Compare energy, specific heat, magnetisation and Binder's cumulant, as far as they are known."""
    energy, size = result["energy"], p.rows * p.columns
    magnetisation = np.abs(result["magnetisation"])
    moments = [np.mean(x, axis=1) for x in (energy, energy**2, magnetisation, magnetisation**2, magnetisation**4)]
    assert_agrees(*mean_and_error(moments[0]), expected["e"])
    heat = jackknife(lambda e, e2: size * (e2 - e * e) / p.temperature**2, moments[0], moments[1])
    assert_agrees(*heat, expected["c"])
    if "absm" in expected:
        assert_agrees(*mean_and_error(moments[2]), expected["absm"])
        assert_agrees(*mean_and_error(moments[3]), expected["m2"])
        binder = jackknife(lambda m2, m4: 1 - m4 / (3 * m2 * m2), moments[3], moments[4])
        assert_agrees(*binder, expected["U4"])


@pytest.mark.parametrize("simulation", ALGORITHMS)
@pytest.mark.parametrize("label", ["T1.5", "T2.0", "TTc", "T3.0"])
def test_enumeration_of_4_by_4(simulation, label):
    """Energy, specific heat, |m|, m**2 and Binder's cumulant, all exact."""
    p = simulation.parameters_class(rows=4, columns=4, temperature=TEMPERATURES[label], sweeps=1000, burn_in=500)
    check(bgsim.run(simulation, p, replicates=2000, seed=41), p, exact(f"4x4_{label}"))


@pytest.mark.parametrize(
    ("simulation", "case", "settings", "chains"),
    [
        (ising, "L8_T2.0", {"sweeps": 2000, "burn_in": 1000}, 400),
        (ising, "L16_T2.5", {"sweeps": 2000, "burn_in": 1000}, 100),
        (ising, "L32_T2.0", {"sweeps": 1000, "burn_in": 200, "cold": True}, 50),
        (ising_wolff, "L8_T2.0", {"sweeps": 1000, "burn_in": 100}, 1000),
        (ising_wolff, "L16_T2.5", {"sweeps": 1000, "clusters": 4, "burn_in": 100}, 200),
        (ising_wolff, "L32_TTc", {"sweeps": 1000, "burn_in": 200}, 100),
        (ising_wolff, "L32_T2.0", {"sweeps": 500, "burn_in": 100}, 100),
    ],
    ids=lambda value: getattr(value, "__name__", value) if not isinstance(value, dict) else "",
)
def test_finite_lattice(simulation, case, settings, chains):
    """Energy and specific heat of Kaufman's (1949) finite lattices."""
    size, label = case.removeprefix("L").split("_")
    p = simulation.parameters_class(rows=int(size), columns=int(size), temperature=TEMPERATURES[label], **settings)
    check(bgsim.run(simulation, p, replicates=chains, seed=42), p, exact(case))


def test_spontaneous_magnetisation():
    """Yang (1952), at T = 2 on 64 x 64: what the size changes is of order exp(-64 / correlation length), nothing here."""
    p = IsingWolff(rows=64, columns=64, temperature=2.0, cold=True, burn_in=50, sweeps=100)
    result = bgsim.run(ising_wolff, p, replicates=400, seed=43)
    assert_agrees(*mean_and_error(np.abs(result["magnetisation"]).mean(axis=1)), exact("inf_T2.0")["m"])
    assert_agrees(*mean_and_error(result["energy"].mean(axis=1)), exact("inf_T2.0")["e"])


def states(rows, columns):
    """Return {(energy, |magnetisation|): number of states} by enumeration, each site with its right and lower bond."""
    found = {}
    for spins in itertools.product((-1, 1), repeat=rows * columns):
        s = np.reshape(spins, (rows, columns))
        key = (-int(np.sum(s * (np.roll(s, 1, 0) + np.roll(s, 1, 1)))), abs(int(s.sum())))
        found[key] = found.get(key, 0) + 1
    return found


@pytest.mark.parametrize("simulation", ALGORITHMS)
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (3, 4), (2, 5), (2, 2)])
def test_boltzmann_distribution(simulation, rows, columns):
    """Ends of 20,000 chains, which are independent, against the exact joint distribution of energy and |m|."""
    table = {(e, m): n for e, m, n in VALUES["g4x4"]} if (rows, columns) == (4, 4) else states(rows, columns)
    p = simulation.parameters_class(rows=rows, columns=columns, temperature=2.4, burn_in=100, sweeps=1)
    result = bgsim.run(simulation, p, replicates=20_000, seed=44)
    sites = rows * columns
    seen = zip(
        np.rint(sites * result["energy"][:, 0]), np.rint(sites * np.abs(result["magnetisation"][:, 0])), strict=True
    )
    counts = dict.fromkeys(table, 0)
    for key in seen:
        counts[key] += 1  # a pair that no state has is a KeyError
    weights = np.array([n * math.exp(-e / p.temperature) for (e, _), n in table.items()])
    expected = 20_000 * weights / weights.sum()
    observed = np.array(list(counts.values()))
    rare = expected < 5
    if rare.any():
        expected, observed = (np.append(x[~rare], x[rare].sum()) for x in (expected, observed))
    freedom = len(expected) - 1
    chi_square = float(np.sum((observed - expected) ** 2 / expected))
    normal = ((chi_square / freedom) ** (1 / 3) - 1 + 2 / (9 * freedom)) / math.sqrt(2 / (9 * freedom))
    assert normal < 3.0, "Wilson and Hilferty's (1931) normal score of chi-square"


@pytest.mark.parametrize("simulation", ALGORITHMS)
def test_series_belong_to_the_spins(simulation):
    """The last recorded energy and magnetisation are those of the spins at the end."""
    result = bgsim.run(simulation, {"rows": 5, "columns": 7, "burn_in": 3, "sweeps": 4}, replicates=50, seed=3)
    spins = result["spins"].astype(int)
    assert set(np.unique(spins)) == {-1, 1}
    bonds = (spins * (np.roll(spins, 1, 1) + np.roll(spins, 1, 2))).sum(axis=(1, 2))
    np.testing.assert_allclose(result["energy"][:, -1], -bonds / 35, rtol=1e-15)
    np.testing.assert_allclose(result["magnetisation"][:, -1], spins.mean(axis=(1, 2)), rtol=1e-15, atol=1e-16)


def test_error_from_one_chain():
    """The autocorrelation time of single chains tells the same error as the spread over chains."""
    p = Ising(rows=16, columns=16, temperature=2.5, sweeps=4000, burn_in=1000)
    energy = bgsim.run(ising, p, replicates=100, seed=45)["energy"]
    assert np.median([standard_error(chain) for chain in energy]) == pytest.approx(
        energy.mean(axis=1).std(ddof=1), rel=0.25
    )


def test_wolff_mixes_faster_at_the_critical_point():
    """That is what it is for: counted in spins that are looked at, and in the slowest quantity, the magnetisation."""
    size, times = 32, []
    for simulation in ALGORITHMS:
        p = simulation.parameters_class(
            rows=size, columns=size, temperature=CRITICAL_TEMPERATURE, sweeps=10_000, burn_in=2000
        )
        result = bgsim.run(simulation, p, replicates=2, seed=46)
        times.append(autocorrelation_time(np.abs(result["magnetisation"])))
    assert times[0] > 20 * times[1]


@pytest.mark.parametrize("simulation", ALGORITHMS)
def test_cold_and_hot_limits(simulation):
    """At a very low temperature a cold lattice stays; at an infinite one energy and magnetisation are those of coins."""
    cold = bgsim.run(simulation, {"temperature": 0.05, "cold": True, "sweeps": 5}, replicates=4)
    assert np.all(cold["energy"] == -2.0)
    assert np.all(np.abs(cold["magnetisation"]) == 1.0)
    settings = {"rows": 8, "columns": 8, "temperature": math.inf, "cold": False, "burn_in": 0, "sweeps": 1}
    hot = bgsim.run(simulation, settings, replicates=20_000, seed=47)
    assert_agrees(*mean_and_error(hot["energy"][:, 0]), 0.0)
    assert_agrees(*mean_and_error(hot["magnetisation"][:, 0] ** 2), 1 / 64)


@pytest.mark.parametrize("size", [8, 512])
@pytest.mark.parametrize("simulation", ALGORITHMS)
def test_a_long_chain_tells_how_far_it_is_and_stops(simulation, size):
    """One replicate that would run for years shows a fraction, and lets go when it is cancelled."""
    p = {"rows": size, "columns": size, "burn_in": 10**12, "sweeps": 1}
    with bgsim.Engine(progress_update_interval_ms=1) as engine:
        job = engine.submit(simulation, p, replicates=1)
        for update in job.updates():
            if update.fraction > 0:
                assert update.fraction < 1e-3
                job.cancel()
        assert job.status().state is bgsim.JobState.CANCELLED


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rows", 1, "2 <= x <= 32768"),
        ("temperature", 0, "0 < x"),
        ("sweeps", 0, "1 <= x"),
        ("columns", 8.5, "must be an int"),
    ],
)
def test_bad_parameters(field, value, message):
    """Each is refused by name, with what is allowed."""
    with pytest.raises(ParameterError, match=message) as caught:
        ising.bind({field: value})
    assert caught.value.field == field
