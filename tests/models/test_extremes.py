"""Tests of bgsim.models.extremes: against exact values, and the same paths by NumPy."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from montecarlo import assert_agrees, mean_and_error, paths, reference
from test_options import growth_paths
from test_pricing import normal_cdf

import bgsim
from bgsim.errors import ParameterError
from bgsim.models.extremes import BETA, Barrier, BarrierOption, LookbackOption, barrier_option, lookback_option
from bgsim.models.options import european_option
from bgsim.models.pricing import control_variate

ROWS = {float(level): row for level, row in reference("options")["barrier"]["rows"].items()}
MARKET = {"rate": 0.1, "volatility": 0.3, "maturity": 0.2, "steps": 50}


@pytest.mark.parametrize("level", ROWS)
def test_barrier_watched_on_dates(level):
    """The down-and-out calls of Broadie, Glasserman and Kou (1997), 50 dates: no bias."""
    result = bgsim.run(barrier_option, BarrierOption(barrier=level, **MARKET), replicates=paths(50), seed=21)
    assert_agrees(*mean_and_error(result["payoff"]), ROWS[level]["exact"])
    estimate = control_variate(result["payoff"], result["control"])
    assert_agrees(estimate.mean, estimate.standard_error, ROWS[level]["exact"])
    assert estimate.variance_ratio > 1.5


@pytest.mark.parametrize(("level", "above"), list(pairwise(ROWS)))
def test_barrier_watched_at_all_times(level, above):
    """With the correction 50 dates give the continuous price, without it they are far off.

    The bias is the error of the correction at the moved barrier, between this row's barrier and the next one's; the
    table has it for both: corrected less exact. (At 99 the moved barrier lies above the spot, where it serves no more.)
    """
    bias = max(abs(ROWS[row]["corr"] - ROWS[row]["exact"]) for row in (level, above))
    settings = {**MARKET, "barrier": level, "antithetic": True}
    results = [
        bgsim.run(barrier_option, {**settings, "continuity_correction": c}, replicates=paths(100), seed=22)
        for c in (True, False)
    ]
    corrected, plain = (control_variate(r["payoff"], r["control"]) for r in results)
    assert_agrees(corrected.mean, corrected.standard_error, ROWS[level]["cont"], bias)
    assert plain.mean - ROWS[level]["cont"] > 6 * plain.standard_error


def test_in_and_out_make_a_european_option():
    """On every path exactly one of the two is alive, and pays what the European option pays."""
    for down, put in ((True, True), (False, False)):
        kinds = (Barrier.DOWN_AND_IN, Barrier.DOWN_AND_OUT) if down else (Barrier.UP_AND_IN, Barrier.UP_AND_OUT)
        settings = {"barrier": 92.0 if down else 108.0, "steps": 1, "put": put}
        knocked_in, knocked_out = (
            bgsim.run(barrier_option, {**settings, "kind": kind}, replicates=1000, seed=5)["payoff"] for kind in kinds
        )
        vanilla = bgsim.run(european_option, {"put": put}, replicates=1000, seed=5)["payoff"]
        assert np.all((knocked_in == 0) | (knocked_out == 0))
        np.testing.assert_allclose(knocked_in + knocked_out, vanilla, rtol=1e-12, atol=1e-12)
        assert knocked_in.any()
        assert knocked_out.any()


@pytest.mark.parametrize("correction", [False, True])
@pytest.mark.parametrize("kind", list(Barrier))
def test_barrier_paths_by_numpy(kind, correction):
    """Each replicate is what NumPy makes of its stream, in all four kinds."""
    down = kind in (Barrier.DOWN_AND_OUT, Barrier.DOWN_AND_IN)
    p = BarrierOption(
        barrier=93 if down else 107,
        kind=kind,
        strike=98,
        dividend_yield=0.03,
        steps=8,
        antithetic=True,
        put=not down,
        continuity_correction=correction,
    )
    result = bgsim.run(barrier_option, p, replicates=200, seed=6)
    shift = math.exp(BETA * p.volatility * math.sqrt(p.maturity / 8)) if correction else 1.0
    level = p.barrier * shift if down else p.barrier / shift
    for i in range(200):
        normals, pair = bgsim.replicate_rng(6, i).standard_normal(8), []
        for sign in (1, -1):
            prices = p.spot * np.exp(growth_paths(p, sign * normals))
            touched = prices.min() <= level if down else prices.max() >= level
            alive = touched == (kind in (Barrier.DOWN_AND_IN, Barrier.UP_AND_IN))
            pair.append(alive * max(p.strike - prices[-1] if p.put else prices[-1] - p.strike, 0.0))
        assert result["payoff"][i] == pytest.approx(math.exp(-p.rate) * np.mean(pair), rel=1e-10, abs=1e-12)


def mean_exponential_extreme(p, highest):
    """Return the mean of exp(extreme of the log path over t0 to tn), by Spitzer's identity (1956).

    n b_n = sum over k of a_k b_{n-k}, b_0 = 1, with a_k = E[exp(max(X_k, 0))] and X_k the log price at date k.
    """
    drift = p.rate - p.dividend_yield - p.volatility**2 / 2
    times = p.maturity * np.arange(1, p.steps + 1) / p.steps
    a = []
    for t in times:
        mean, sd = drift * t, p.volatility * math.sqrt(t)
        sign = 1 if highest else -1
        beyond = math.exp(mean + sd**2 / 2) * normal_cdf(sign * (mean + sd**2) / sd)
        a.append(beyond + normal_cdf(-sign * mean / sd))
    b = [1.0]
    for n in range(1, p.steps + 1):
        b.append(sum(a[k - 1] * b[n - k] for k in range(1, n + 1)) / n)
    return b[p.steps]


def exact_lookback(p):
    """Return the price on dates, with the factor of the correction where it is asked for."""
    discount, forward = math.exp(-p.rate * p.maturity), p.spot * math.exp(-p.dividend_yield * p.maturity)
    shift = math.exp(BETA * p.volatility * math.sqrt(p.maturity / p.steps)) if p.continuity_correction else 1.0
    highest = p.put if p.floating else not p.put
    extreme = mean_exponential_extreme(p, highest) * p.spot * (shift if highest else 1 / shift)
    if p.floating:
        return discount * extreme - forward if p.put else forward - discount * extreme
    sign = 1 if highest else -1  # the strike lies on the other side of the spot, so the option always pays
    return sign * discount * (extreme - p.strike)


@pytest.mark.parametrize("correction", [False, True])
@pytest.mark.parametrize("put", [False, True])
@pytest.mark.parametrize("floating", [False, True])
def test_lookback_price(floating, put, correction):
    """All four contracts on 25 dates, against Spitzer's identity: no bias."""
    p = LookbackOption(
        floating=floating,
        put=put,
        strike=105 if put else 95,
        dividend_yield=0.02,
        steps=25,
        antithetic=put,
        continuity_correction=correction,
    )
    result = bgsim.run(lookback_option, p, replicates=paths(50), seed=23)
    assert_agrees(*mean_and_error(result["payoff"]), exact_lookback(p))
    estimate = control_variate(result["payoff"], result["control"])
    assert_agrees(estimate.mean, estimate.standard_error, exact_lookback(p))


def test_correction_of_lookback_stands_for_all_times():
    """The corrected price goes to the continuous one (Goldman, Sosin and Gatto 1979) faster than 1 / sqrt(steps)."""
    rate, sigma, maturity, spot = 0.1, 0.3, 0.5, 100.0
    a1 = (rate / sigma + sigma / 2) * math.sqrt(maturity)
    a2, a3, ratio = (
        a1 - sigma * math.sqrt(maturity),
        (sigma / 2 - rate / sigma) * math.sqrt(maturity),
        sigma**2 / 2 / rate,
    )
    continuous = spot * (normal_cdf(a1) - ratio * normal_cdf(-a1)) - spot * math.exp(-rate * maturity) * (
        normal_cdf(a2) - ratio * normal_cdf(-a3)
    )
    errors = {
        (steps, correction): exact_lookback(
            LookbackOption(
                rate=rate, volatility=sigma, maturity=maturity, steps=steps, continuity_correction=correction
            )
        )
        - continuous
        for steps in (25, 100)
        for correction in (False, True)
    }
    assert abs(errors[25, True]) < abs(errors[25, False]) / 10
    assert abs(errors[100, True]) < abs(errors[25, True]) / 3
    assert errors[25, False] / errors[100, False] == pytest.approx(2, rel=0.1)


def test_lookback_always_pays_with_a_floating_strike():
    """The best price is never worse than the last one."""
    for put in (False, True):
        payoff = bgsim.run(lookback_option, {"put": put, "steps": 5}, replicates=2000)["payoff"]
        assert payoff.min() >= 0.0


@pytest.mark.parametrize(
    ("kind", "barrier"), [("DOWN_AND_OUT", 100.0), ("DOWN_AND_IN", 120.0), ("UP_AND_OUT", 100.0), ("UP_AND_IN", 80.0)]
)
def test_barrier_on_the_wrong_side(kind, barrier):
    """A barrier that is reached at the start is refused."""
    with pytest.raises(ParameterError, match=r"barrier must lie (below|above) the spot price, 100") as caught:
        barrier_option.bind({"kind": kind, "barrier": barrier})
    assert caught.value.__cause__.field == "barrier"
