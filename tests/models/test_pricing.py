"""Tests of bgsim.models.pricing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from montecarlo import reference

from bgsim.errors import InvalidInputError, ParameterError
from bgsim.models.extremes import barrier_option
from bgsim.models.options import european_option
from bgsim.models.pricing import control_variate, lognormal_payoff, normal_cdf


def black_scholes(spot, strike, rate, volatility, maturity, put=False):
    mean = math.log(spot) + (rate - volatility**2 / 2) * maturity
    return math.exp(-rate * maturity) * lognormal_payoff(mean, volatility * math.sqrt(maturity), strike, put)


def test_black_scholes_price():
    """The closed form gives the reference's price."""
    assert black_scholes(100, 100, 0.05, 0.2, 1) == pytest.approx(reference("options")["black_scholes"]["value"])


@given(st.floats(-3, 3), st.floats(0, 2), st.floats(0.05, 20))
def test_put_call_parity(mean, sd, strike):
    """A call less a put is the mean price less the strike, with and without spread."""
    call, put = (lognormal_payoff(mean, sd, strike, kind) for kind in (False, True))
    assert call >= 0
    assert put >= 0
    assert call - put == pytest.approx(math.exp(mean + sd * sd / 2) - strike, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("x", "value"), [(0, 0.5), (1.959963984540054, 0.975), (-8, 6.220960574271786e-16)])
def test_normal_distribution(x, value):
    """Also far in the tail, where 1 - erf would lose every digit."""
    assert normal_cdf(float(x)) == pytest.approx(value, rel=1e-12)


def test_control_variate_is_a_regression():
    """Mean and error are those of the intercept of a least-squares line."""
    rng = np.random.default_rng(5)
    control = rng.standard_normal(500)
    payoff = 3 + 2 * control + rng.standard_normal(500)
    estimate = control_variate(payoff, control)
    design = np.column_stack([np.ones(500), control])
    (intercept, slope), (rss,), *_ = np.linalg.lstsq(design, payoff, rcond=None)
    assert estimate.mean == pytest.approx(intercept)
    assert estimate.slope == pytest.approx(slope)
    assert estimate.standard_error == pytest.approx(math.sqrt(rss / 498 / 500))
    assert estimate.variance_ratio == pytest.approx(payoff.var(ddof=1) / (rss / 498))


def test_control_without_spread_changes_nothing():
    """A constant control has nothing to tell."""
    estimate = control_variate([1.0, 2.0, 6.0], [0.0, 0.0, 0.0])
    assert (estimate.mean, estimate.slope) == (3.0, 0.0)


@pytest.mark.parametrize(
    ("payoff", "control"), [([1, 2, 3], [1, 2]), ([1, 2], [1, 2]), (np.ones((3, 3)), np.ones((3, 3)))]
)
def test_columns_that_do_not_match(payoff, control):
    """They are refused, with their shapes."""
    with pytest.raises(InvalidInputError, match="two columns of one result"):
        control_variate(payoff, control)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("volatility", -0.1, r"0 <= x < inf; got -0\.1"),
        ("volatility", math.inf, "0 <= x < inf"),
        ("spot", 0, "1e-50 <= x <= 1e"),
        ("maturity", 0, "0 < x"),
        ("rate", math.nan, "must not be NaN"),
        ("put", 1, "must be a bool"),
        ("barrier", 100, "barrier must lie below the spot price, 100, for a down barrier"),
        ("kind", "UP_AND_AWAY", "UP_AND_OUT"),
        ("steps", 0, "1 <= x"),
    ],
)
def test_bad_contract(field, value, message):
    """Each field is refused by name, with what is allowed."""
    with pytest.raises(ParameterError, match=message) as caught:
        barrier_option.bind({field: value})
    assert field in str(caught.value)


def test_misspelt_field():
    """The nearest name is offered."""
    with pytest.raises(ParameterError, match="dividend_yield"):
        european_option.bind({"dividend_yeild": 0.1})
