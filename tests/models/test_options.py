"""Tests of bgsim.models.options: against closed forms, exact values, and the same paths by NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from montecarlo import assert_agrees, mean_and_error, paths, reference
from test_pricing import black_scholes

import bgsim
from bgsim.models.options import (
    AsianCall,
    AsianOption,
    Dates,
    EuropeanOption,
    asian_call,
    asian_option,
    european_call,
    european_option,
    geometric_asian_payoff,
)
from bgsim.models.pricing import control_variate

EXACT = reference("options")


def growth_paths(p, normals):
    """Return the logarithm of price over spot at t1 to tn, in NumPy."""
    step = p.maturity / len(normals)
    return np.cumsum(
        (p.rate - p.dividend_yield - p.volatility**2 / 2) * step + p.volatility * math.sqrt(step) * normals
    )


def test_european_price():
    """Black and Scholes (1973) at 4,000,000 paths: call and put, plain, with the control, antithetic."""
    for put in (False, True):
        exact = black_scholes(100, 100, 0.05, 0.2, 1, put)
        for antithetic in (False, True):
            p = EuropeanOption(put=put, antithetic=antithetic)
            result = bgsim.run(european_option, p, replicates=paths(1), seed=1)
            assert_agrees(*mean_and_error(result["payoff"]), exact)
            estimate = control_variate(result["payoff"], result["control"])
            assert_agrees(estimate.mean, estimate.standard_error, exact)
            assert_agrees(*mean_and_error(result["control"]), 0.0)
            assert estimate.variance_ratio > 1.5


def test_antithetic_paths_take_out_variance():
    """A pair is worth more than two independent paths: its variance is below half of one path's."""
    plain, pairs = (bgsim.run(european_option, {"antithetic": a}, replicates=100_000)["payoff"] for a in (False, True))
    assert pairs.var() < 0.35 * plain.var()


def test_european_call_price():
    """The plain model has the reference's price."""
    result = bgsim.run(european_call, replicates=paths(1), seed=2)
    assert_agrees(*mean_and_error(result["payoff"]), EXACT["black_scholes"]["value"])


@pytest.mark.parametrize("row", EXACT["asian_252"]["rows"], ids=lambda row: f"strike{row['K']}")
def test_arithmetic_asian_252(row):
    """252 dates: plain, and with the geometric control a thousandth of the variance. No bias: the steps are exact."""
    result = bgsim.run(asian_option, AsianOption(strike=row["K"]), replicates=paths(252), seed=11)
    assert_agrees(*mean_and_error(result["payoff"]), row["exact"])
    estimate = control_variate(result["payoff"], result["control"])
    assert_agrees(estimate.mean, estimate.standard_error, row["exact"])
    assert estimate.variance_ratio > 500


@pytest.mark.parametrize("row", EXACT["asian_discrete"]["rows"], ids=lambda row: f"{row['M']}dates-strike{row['K']}")
def test_arithmetic_asian_with_the_price_today(row):
    """M dates and the price today."""
    p = AsianOption(
        rate=0.0367, volatility=0.17801, strike=row["K"], steps=row["M"], dates=Dates.WITH_START, antithetic=True
    )
    result = bgsim.run(asian_option, p, replicates=paths(row["M"]), seed=12)
    assert_agrees(*mean_and_error(result["payoff"]), row["exact"])
    estimate = control_variate(result["payoff"], result["control"])
    assert_agrees(estimate.mean, estimate.standard_error, row["exact"])


@pytest.mark.parametrize("row", EXACT["asian_continuous"]["rows"], ids=lambda r: f"{r['K']}-{r['r']}-{r['sigma']}")
def test_continuous_asian(row):
    """The trapezoidal rule stands for the continuous average (Zhang 2002).

    Its bias has two parts. The average between the dates, given the path at them, has a variance of about
    (S sigma)**2 T / (12 n**2), and the price lacks half of it times the density of the average at the strike, at most
    that of a normal law with the average's spread, S sigma sqrt(T / 3). And the rule overrates the mean of the average,
    since exp(r t) is convex, by S r**2 T**2 / (12 n**2) times the mean of exp(r t).
    """
    p = AsianOption(
        strike=row["K"], rate=row["r"], volatility=row["sigma"], steps=64, dates=Dates.TRAPEZOID, antithetic=True
    )
    missing = (p.spot * p.volatility) ** 2 * p.maturity / (12 * p.steps**2)
    density = 0.4 / (p.spot * p.volatility * math.sqrt(p.maturity / 3))
    convexity = p.spot * (p.rate * p.maturity) ** 2 / (12 * p.steps**2)  # discounted, exp(r t) is below 1
    result = bgsim.run(asian_option, p, replicates=paths(4 * 64), seed=13)
    estimate = control_variate(result["payoff"], result["control"])
    assert_agrees(estimate.mean, estimate.standard_error, row["exact"], bias=missing * density / 2 + convexity)


def test_geometric_asian_price():
    """The closed form gives the published price (Clewlow and Strickland), and simulation gives the closed form."""
    p = AsianOption(rate=0.06, dividend_yield=0.03, steps=10)
    exact = EXACT["geometric"]["value"]
    assert math.exp(-0.06) * geometric_asian_payoff(asian_option.bind(p).kernel_view()) == pytest.approx(
        exact, abs=1e-9
    )
    result = bgsim.run(asian_option, p, replicates=paths(10), seed=14)
    assert_agrees(*mean_and_error(result["geometric"]), exact)
    assert_agrees(*mean_and_error(result["control"]), 0.0)


@pytest.mark.parametrize("dates", list(Dates))
@pytest.mark.parametrize("put", [False, True])
def test_geometric_closed_form_by_matrices(dates, put):
    """For every choice of dates: mean and variance of the log-average as sums over the covariance of the path."""
    p = AsianOption(rate=0.03, dividend_yield=0.01, volatility=0.4, maturity=2.0, steps=7, dates=dates, put=put)
    weights = np.ones(8)
    weights[0] = {Dates.AFTER_START: 0.0, Dates.WITH_START: 1.0, Dates.TRAPEZOID: 0.5}[dates]
    weights[-1] = 0.5 if dates is Dates.TRAPEZOID else 1.0
    weights /= weights.sum()
    times = np.linspace(0, p.maturity, 8)
    mean = math.log(p.spot) + (p.rate - p.dividend_yield - p.volatility**2 / 2) * weights @ times
    sd = p.volatility * math.sqrt(weights @ np.minimum.outer(times, times) @ weights)
    d = (mean - math.log(p.strike)) / sd
    phi = [0.5 * math.erfc(-x / math.sqrt(2)) for x in (d + sd, d)]
    call = math.exp(mean + sd**2 / 2) * phi[0] - p.strike * phi[1]
    expected = call - math.exp(mean + sd**2 / 2) + p.strike if put else call
    assert geometric_asian_payoff(asian_option.bind(p).kernel_view()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dates", list(Dates))
@pytest.mark.parametrize("put", [False, True])
def test_asian_paths_by_numpy(dates, put):
    """Each replicate is what NumPy makes of its stream: path, mirror image, both averages."""
    p = AsianOption(strike=103, dividend_yield=0.02, volatility=0.3, steps=9, dates=dates, put=put, antithetic=True)
    result = bgsim.run(asian_option, p, replicates=50, seed=3)
    discount = math.exp(-p.rate * p.maturity)
    for i in range(50):
        normals = bgsim.replicate_rng(3, i).standard_normal(9)
        pair = []
        for sign in (1, -1):
            prices = p.spot * np.exp(np.concatenate([[0.0], growth_paths(p, sign * normals)]))
            if dates is Dates.TRAPEZOID:
                averages = np.trapezoid(prices) / 9, math.exp(np.trapezoid(np.log(prices)) / 9)
            else:
                chosen = prices[1:] if dates is Dates.AFTER_START else prices
                averages = chosen.mean(), math.exp(np.log(chosen).mean())
            pair.append([max(p.strike - a if put else a - p.strike, 0.0) for a in averages])
        expected = discount * np.mean(pair, axis=0)
        assert [result["payoff"][i], result["geometric"][i]] == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_plain_models_share_the_paths():
    """european_call and asian_call see the prices that the options with more settings see."""
    for plain, option, p in (
        (european_call, european_option, {"strike": 95.0}),
        (asian_call, asian_option, {"strike": 95.0, "steps": 12}),
    ):
        one, other = (bgsim.run(s, p, replicates=100, seed=4)["payoff"] for s in (plain, option))
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_without_volatility():
    """Nothing is random: the payoff is the forward's, and the control is zero."""
    for simulation in (european_option, asian_option):
        result = bgsim.run(simulation, {"volatility": 0.0, "strike": 90.0}, replicates=10)
        assert np.ptp(result["payoff"]) == 0.0
        assert result["payoff"][0] > 0.0
        np.testing.assert_allclose(result["control"], 0.0, atol=1e-11)


def test_asian_call_default_is_the_reference_contract():
    """The default contract has the price of the table."""
    result = bgsim.run(asian_call, AsianCall(), replicates=paths(252), seed=15)
    assert_agrees(*mean_and_error(result["payoff"]), EXACT["asian_252"]["rows"][0]["exact"])
