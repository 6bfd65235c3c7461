"""What the options share: the contract, its payoff, the payoff's mean under a lognormal law, and control variates.

A kernel returns two columns. ``payoff`` is the discounted payoff, whose mean is the price. ``control`` is a quantity
of the same path whose mean is exactly zero; `control_variate` uses it to take noise out of the price.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from bgsim.checks import is_double
from bgsim.errors import InvalidInputError, ParameterError
from bgsim.parameters.fields import brief, parameter

SQRT_HALF = math.sqrt(0.5)

LEAST_PRICE, MOST_PRICE = 1e-50, 1e50
"""Of an asset, a strike, a barrier; the square of what grows from them is a double, too."""

MAX_GROWTH = 50.0
"""Most that a rate, or a squared volatility, times the maturity may come to: a price grows by exp(50)."""

MAX_STEPS = 1_000_000
"""Of a path."""


@dataclass(frozen=True)
class Contract:
    """What is agreed on, and the market that it is priced in."""

    spot: float = parameter(100.0, unit="currency", ge=LEAST_PRICE, le=MOST_PRICE, doc="price of the asset today")
    strike: float = parameter(100.0, unit="currency", ge=LEAST_PRICE, le=MOST_PRICE, doc="price that is agreed on")
    rate: float = parameter(0.05, unit="per year", gt=-math.inf, lt=math.inf, doc="continuous interest rate")
    dividend_yield: float = parameter(0.0, unit="per year", gt=-math.inf, lt=math.inf, doc="continuous, of the asset")
    maturity: float = parameter(1.0, unit="years", gt=0, lt=math.inf, doc="time to exercise")
    put: bool = parameter(False, doc="a right to sell instead of one to buy")
    antithetic: bool = parameter(False, doc="a replicate is the mean over a path and its mirror image")

    def __post_init__(self) -> None:
        check_growth(self, "rate", "dividend_yield")


@dataclass(frozen=True)
class BlackScholesContract(Contract):
    """A contract on an asset that follows a geometric Brownian motion."""

    volatility: float = parameter(
        0.2, unit="per square-root year", ge=0, lt=math.inf, doc="standard deviation of the asset's returns"
    )

    def __post_init__(self) -> None:
        check_growth(self, "rate", "dividend_yield")
        check_growth(self, "volatility", power=2)


def check_growth(p: Any, *names: str, power: int = 1) -> None:
    """Refuse what makes a price overflow: a parameter, to a power and times the maturity, of more than `MAX_GROWTH`.

    Parameters
    ----------
    p : instance of a parameter class
        With a ``maturity``. What is no number is left to the check of types.
    *names : str
        Of the parameters.
    power : int

    Raises
    ------
    ParameterError
        Naming the parameter and the maturity.
    """
    for name in names:
        value, maturity = getattr(p, name), p.maturity
        if (
            is_double(value)
            and is_double(maturity)
            and maturity > 0
            and abs(value) > (MAX_GROWTH / maturity) ** (1 / power)
        ):
            written = name if power == 1 else f"{name}**{power}"
            raise ParameterError(
                f"{written} * maturity must be {-MAX_GROWTH if power == 1 else 0.0:g} to {MAX_GROWTH:g}, or prices "
                f"overflow; got {name}={brief(value)} and maturity={brief(maturity)}",
                field=name,
                value=value,
            )


@njit
def exercise(price: float, strike: float, put: bool) -> float:
    """Return the payoff at this price."""
    return max(strike - price, 0.0) if put else max(price - strike, 0.0)


@njit
def normal_cdf(x: float) -> float:
    """Return the standard normal distribution function."""
    return 0.5 * math.erfc(-x * SQRT_HALF)


@njit
def lognormal_payoff(mean: float, sd: float, strike: float, put: bool) -> float:
    """Return the mean payoff on a price whose logarithm is normal (Black and Scholes 1973, equation 13).

    Parameters
    ----------
    mean, sd : float
        Of the logarithm.
    strike : float
    put : bool

    Returns
    -------
    float
        Not discounted.
    """
    if sd == 0.0:
        return float(exercise(math.exp(mean), strike, put))
    sign = -1.0 if put else 1.0
    d = (mean - math.log(strike)) / sd
    expected = math.exp(mean + 0.5 * sd * sd)
    return float(sign * (expected * normal_cdf(sign * (d + sd)) - strike * normal_cdf(sign * d)))


@njit
def log_drift(p: Any) -> float:
    """Return the growth of the price's logarithm, per year, under the risk-neutral measure."""
    return float(p.rate - p.dividend_yield - 0.5 * p.volatility * p.volatility)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, estimated with a control variate.

    Attributes
    ----------
    mean, standard_error : float
    slope : float
        How much of the control was taken off.
    variance_ratio : float
        Variance without the control over variance with it: how many times fewer replicates give the same error.
    """

    mean: float
    standard_error: float
    slope: float
    variance_ratio: float


def control_variate(payoff: ArrayLike, control: ArrayLike) -> Estimate:
    """Estimate a mean with a control of known mean zero (Glasserman 2004, section 4.1.1).

    The slope comes from the same sample, which biases the mean by a part of order 1 / n: below the standard error
    by a factor of order ``sqrt(n)``.

    Parameters
    ----------
    payoff, control : array_like of float, shape (n,), n >= 3

    Returns
    -------
    Estimate

    Raises
    ------
    InvalidInputError
        If the two are no columns of one length, of 3 or more.
    """
    values, controls = np.asarray(payoff, float), np.asarray(control, float)
    if values.ndim != 1 or values.shape != controls.shape or len(values) < 3:
        raise InvalidInputError(
            "payoff and control must be two columns of one result, with 3 replicates or more; "
            f"got the shapes {values.shape} and {controls.shape}",
            field="control",
            value=controls.shape,
        )
    count, centred = len(values), controls - controls.mean()
    spread = float(centred @ centred)
    slope = float(centred @ values) / spread if spread else 0.0
    residual = float(np.sum((values - values.mean() - slope * centred) ** 2)) / (count - 2)
    plain = float(values.var(ddof=1))
    return Estimate(
        mean=float(values.mean() - slope * controls.mean()),
        standard_error=math.sqrt(residual / count),
        slope=slope,
        variance_ratio=plain / residual if residual else math.inf if plain else 1.0,
    )
