"""Tests of bgsim.models.heston: against the semi-analytic price, and the same paths by NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from montecarlo import assert_agrees, mean_and_error, paths
from test_pricing import black_scholes

import bgsim
from bgsim.errors import ParameterError
from bgsim.models.heston import HestonOption, heston_option
from bgsim.models.pricing import control_variate

BROADIE_KAYA = HestonOption(
    rate=0.0319,
    variance=0.010201,
    mean_reversion=6.21,
    long_run_variance=0.019,
    variance_volatility=0.61,
    correlation=-0.7,
    antithetic=True,
)
"""Broadie and Kaya (2006), table 1; the variance reaches zero, which is what truncation is for."""


def heston_price(p):
    """Return the price by one Fourier integral over the characteristic function, in the form of Lewis (2000).

    Call = S exp(-q T) - sqrt(S K) exp(-(r + q) T / 2) / pi times the integral of Re[exp(i u k) phi(u - i / 2)] /
    (u**2 + 1/4), with the characteristic function in the stable form of Albrecher et al. (2007).
    """
    u = np.linspace(0, 400, 200_001)
    z = u - 0.5j
    kappa, theta, xi, rho = p.mean_reversion, p.long_run_variance, p.variance_volatility, p.correlation
    b = kappa - 1j * rho * xi * z
    d = np.sqrt(b * b + xi * xi * (z * z + 1j * z))
    g = (b - d) / (b + d)
    decay = np.exp(-d * p.maturity)
    slope = (b - d) / xi**2 * (1 - decay) / (1 - g * decay)
    level = kappa * theta / xi**2 * ((b - d) * p.maturity - 2 * np.log((1 - g * decay) / (1 - g)))
    k = math.log(p.spot / p.strike) + (p.rate - p.dividend_yield) * p.maturity
    integral = np.trapezoid((np.exp(1j * u * k + level + slope * p.variance)).real / (u * u + 0.25), u)
    forward = p.spot * math.exp(-p.dividend_yield * p.maturity)
    mixed = math.sqrt(p.spot * p.strike) * math.exp(-(p.rate + p.dividend_yield) * p.maturity / 2)
    call = forward - mixed / math.pi * integral
    return call - forward + p.strike * math.exp(-p.rate * p.maturity) if p.put else call


def test_oracle():
    """The integral gives the published price, and that of Black and Scholes when the variance hardly moves."""
    assert heston_price(BROADIE_KAYA) == pytest.approx(6.8061, abs=5e-5)
    still = HestonOption(variance=0.04, long_run_variance=0.04, variance_volatility=1e-4)
    assert heston_price(still) == pytest.approx(black_scholes(100, 100, 0.05, 0.2, 1), abs=1e-4)


@pytest.mark.parametrize(
    "p",
    [
        HestonOption(antithetic=True),
        HestonOption(antithetic=True, put=True, strike=90, dividend_yield=0.02, correlation=0.3),
        BROADIE_KAYA,
    ],
    ids=["call", "put", "broadie-kaya"],
)
def test_heston_price(p):
    """The bias of Euler's scheme shrinks as 1 / steps: two step lengths tell it, and extrapolated it is gone."""
    estimates = []
    for steps, seed in ((24, 31), (48, 32)):
        q = HestonOption(**{**vars(p), "steps": steps})
        result = bgsim.run(heston_option, q, replicates=paths(2 * steps), seed=seed)
        assert_agrees(*mean_and_error(result["control"]), 0.0)
        estimates.append(control_variate(result["payoff"], result["control"]))
    coarse, fine = estimates
    error = math.hypot(2 * fine.standard_error, coarse.standard_error)
    bias = abs(fine.mean - coarse.mean) / 4  # what extrapolation may leave: the next order, for a scheme of order 1
    assert_agrees(2 * fine.mean - coarse.mean, error, heston_price(p), bias)
    assert abs(fine.mean - heston_price(p)) < 0.05


def test_still_variance_is_black_scholes():
    """Without movement of the variance every step is exact: no bias, whatever the number of steps."""
    p = {"variance": 0.04, "long_run_variance": 0.04, "variance_volatility": 0.0, "steps": 4}
    result = bgsim.run(heston_option, p, replicates=paths(8), seed=33)
    assert_agrees(*mean_and_error(result["payoff"]), black_scholes(100, 100, 0.05, 0.2, 1))
    estimate = control_variate(result["payoff"], result["control"])
    assert_agrees(estimate.mean, estimate.standard_error, black_scholes(100, 100, 0.05, 0.2, 1))


def test_paths_by_numpy():
    """Each replicate is what NumPy makes of its stream, also where the variance steps below zero."""
    p = HestonOption(**{**vars(BROADIE_KAYA), "steps": 6, "put": True, "dividend_yield": 0.01})
    result = bgsim.run(heston_option, p, replicates=100, seed=7)
    h, below = p.maturity / 6, 0
    for i in range(100):
        normals, prices = bgsim.replicate_rng(7, i).standard_normal((6, 2)), []
        for sign in (1, -1):
            x, v = 0.0, p.variance
            for first, second in sign * normals:
                below += v < 0
                positive = max(v, 0.0)
                other = p.correlation * first + math.sqrt(1 - p.correlation**2) * second
                x += (p.rate - p.dividend_yield - positive / 2) * h + math.sqrt(positive * h) * first
                v += p.mean_reversion * (p.long_run_variance - positive) * h
                v += p.variance_volatility * math.sqrt(positive * h) * other
            prices.append(p.spot * math.exp(x))
        payoff = math.exp(-p.rate) * np.mean([max(p.strike - price, 0.0) for price in prices])
        assert result["payoff"][i] == pytest.approx(payoff, rel=1e-10, abs=1e-12)
    assert below > 10


@pytest.mark.parametrize(("field", "value"), [("correlation", 1.5), ("variance", -0.1), ("variance_volatility", -1)])
def test_bad_parameters(field, value):
    """Each is refused by name."""
    with pytest.raises(ParameterError, match=field):
        heston_option.bind({field: value})
