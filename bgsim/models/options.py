"""Options on an asset that follows a geometric Brownian motion, priced by simulation.

The asset's price obeys dS = r S dt + sigma S dW under the risk-neutral measure (Black and Scholes 1973), so that over a
step of length h its logarithm grows by (r - sigma**2 / 2) h + sigma sqrt(h) Z with a standard normal Z, without bias.

`european_call` and `asian_call` are the plain models. `european_option` and `asian_option` add puts, dividends,
antithetic paths and a control variate. Options that look at the extremes of a path are in `extremes`, stochastic
volatility in `heston`, what they share in `pricing`.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

from numba import njit

from bgsim.models.pricing import (
    LEAST_PRICE,
    MAX_STEPS,
    MOST_PRICE,
    BlackScholesContract,
    check_growth,
    exercise,
    log_drift,
    lognormal_payoff,
)
from bgsim.parameters.fields import parameter
from bgsim.simulation import simulation
from bgsim.streams import Rng


@dataclass(frozen=True)
class EuropeanCall:
    """A right to buy the asset at the strike price at maturity."""

    spot: float = parameter(100.0, unit="currency", ge=LEAST_PRICE, le=MOST_PRICE, doc="price of the asset today")
    strike: float = parameter(
        100.0, unit="currency", ge=LEAST_PRICE, le=MOST_PRICE, doc="price at which it may be bought"
    )
    rate: float = parameter(
        0.05, unit="per year", gt=-math.inf, lt=math.inf, doc="continuously compounded interest rate"
    )
    volatility: float = parameter(0.2, unit="per square-root year", ge=0, lt=math.inf, doc="of the asset's returns")
    maturity: float = parameter(1.0, unit="years", gt=0, lt=math.inf, doc="time to exercise")

    def __post_init__(self) -> None:
        check_growth(self, "rate")
        check_growth(self, "volatility", power=2)


@dataclass(frozen=True)
class AsianCall:
    """A right to buy the asset's average over equidistant dates, the last of them maturity, at the strike price."""

    spot: float = parameter(100.0, unit="currency", ge=LEAST_PRICE, le=MOST_PRICE, doc="price of the asset today")
    strike: float = parameter(
        100.0, unit="currency", ge=LEAST_PRICE, le=MOST_PRICE, doc="price at which the average may be bought"
    )
    rate: float = parameter(
        0.05, unit="per year", gt=-math.inf, lt=math.inf, doc="continuously compounded interest rate"
    )
    volatility: float = parameter(0.2, unit="per square-root year", ge=0, lt=math.inf, doc="of the asset's returns")
    maturity: float = parameter(1.0, unit="years", gt=0, lt=math.inf, doc="time to exercise")
    steps: int = parameter(252, unit="dates", ge=1, le=MAX_STEPS, doc="number of dates in the average")

    def __post_init__(self) -> None:
        check_growth(self, "rate")
        check_growth(self, "volatility", power=2)


@simulation(outputs={"payoff": "f8"})
def european_call(p: EuropeanCall, rng: Rng) -> float:
    """Discounted payoff of one European call, in currency.

    Its mean is the price of Black and Scholes (1973), "The Pricing of Options and Corporate Liabilities", equation 13.
    """
    growth = (p.rate - 0.5 * p.volatility**2) * p.maturity
    price = p.spot * math.exp(growth + p.volatility * math.sqrt(p.maturity) * rng.standard_normal())
    return math.exp(-p.rate * p.maturity) * max(price - p.strike, 0.0)


@simulation(outputs={"payoff": "f8"})
def asian_call(p: AsianCall, rng: Rng) -> float:
    """Discounted payoff of one arithmetic-average Asian call path, in currency.

    Method: exact steps of the logarithm (Glasserman 2004, "Monte Carlo Methods in Financial Engineering", 3.2).
    """
    step = p.maturity / p.steps
    drift = (p.rate - 0.5 * p.volatility**2) * step
    scale = p.volatility * math.sqrt(step)
    logarithm = math.log(p.spot)
    total = 0.0
    for _ in range(p.steps):
        logarithm += drift + scale * rng.standard_normal()
        total += math.exp(logarithm)
    return math.exp(-p.rate * p.maturity) * max(total / p.steps - p.strike, 0.0)


class Dates(enum.IntEnum):
    """Which prices an average is over, of those at the equidistant dates t0 = today to tn = maturity."""

    AFTER_START = 0
    """The n prices at t1 to tn."""

    WITH_START = 1
    """The n + 1 prices at t0 to tn."""

    TRAPEZOID = 2
    """All n + 1, the first and the last with half the weight: stands for a continuous average, with a bias of
    order 1 / n**2 in the price."""


@dataclass(frozen=True)
class EuropeanOption(BlackScholesContract):
    """A right to buy or to sell the asset at the strike price at maturity."""


@dataclass(frozen=True)
class AsianOption(BlackScholesContract):
    """A right to buy or to sell the asset's average over equidistant dates at the strike price."""

    steps: int = parameter(252, unit="dates", ge=1, le=MAX_STEPS, doc="n, from today to maturity")
    dates: Dates = parameter(Dates.AFTER_START, doc="which prices count")


@simulation(outputs={"payoff": "f8", "control": "f8"})
def european_option(p: EuropeanOption, rng: Rng) -> tuple[float, float]:
    """Discounted payoff of one European option, in currency.

    The control is the discounted price of the asset at maturity less its mean.
    """
    growth = log_drift(p) * p.maturity
    shock = p.volatility * math.sqrt(p.maturity) * rng.standard_normal()
    price = p.spot * math.exp(growth + shock)
    payoff = exercise(price, p.strike, p.put)
    if p.antithetic:
        mirrored = p.spot * math.exp(growth - shock)
        payoff = 0.5 * (payoff + exercise(mirrored, p.strike, p.put))
        price = 0.5 * (price + mirrored)
    discount = math.exp(-p.rate * p.maturity)
    return discount * payoff, discount * price - p.spot * math.exp(-p.dividend_yield * p.maturity)


@simulation(outputs={"payoff": "f8", "geometric": "f8", "control": "f8"})
def asian_option(p: AsianOption, rng: Rng) -> tuple[float, float, float]:
    """Discounted payoffs of one Asian option, in currency: on the arithmetic and on the geometric average.

    The control is the geometric payoff less its price, which has a closed form since the average of normal
    logarithms is normal (Kemna and Vorst 1990, "A Pricing Method for Options Based on Average Asset Values").
    """
    draws = rng.standard_normal(p.steps)
    arithmetic, geometric = _asian_payoffs(p, draws, 1.0)
    if p.antithetic:
        mirrored = _asian_payoffs(p, draws, -1.0)
        arithmetic = 0.5 * (arithmetic + mirrored[0])
        geometric = 0.5 * (geometric + mirrored[1])
    discount = math.exp(-p.rate * p.maturity)
    return discount * arithmetic, discount * geometric, discount * (geometric - geometric_asian_payoff(p))


@njit
def _weights(p: Any) -> tuple[float, float, float]:
    """Return the weights in the average: of the price today, of those between, of the one at maturity."""
    if p.dates == Dates.AFTER_START:
        return 0.0, 1.0 / p.steps, 1.0 / p.steps
    if p.dates == Dates.WITH_START:
        return 1.0 / (p.steps + 1), 1.0 / (p.steps + 1), 1.0 / (p.steps + 1)
    return 0.5 / p.steps, 1.0 / p.steps, 0.5 / p.steps


@njit
def _asian_payoffs(p: Any, draws: Any, sign: float) -> tuple[float, float]:
    """Return the payoffs on the arithmetic and on the geometric average of the path with these steps."""
    step = p.maturity / p.steps
    drift = log_drift(p) * step
    scale = sign * p.volatility * math.sqrt(step)
    first, inner, last = _weights(p)
    growth, price, total, log_total = 0.0, 1.0, 0.0, 0.0
    for draw in draws:
        growth += drift + scale * draw
        price = math.exp(growth)
        total += price
        log_total += growth
    arithmetic = p.spot * (first + inner * total + (last - inner) * price)
    geometric = p.spot * math.exp(inner * log_total + (last - inner) * growth)
    return exercise(arithmetic, p.strike, p.put), exercise(geometric, p.strike, p.put)


@njit
def geometric_asian_payoff(p: Any) -> float:
    """Return the mean payoff on the geometric average, not discounted; ``p`` as a kernel sees it.

    The average's logarithm is the sum over the steps of (the weight of all dates from there on) times the step's
    growth; so its mean and variance are sums of powers of integers.
    """
    step = p.maturity / p.steps
    _, inner, last = _weights(p)
    n = float(p.steps)
    linear = inner * n * (n - 1.0) / 2.0 + last * n
    square = inner * inner * (n - 1.0) * n * (2.0 * n - 1.0) / 6.0 + inner * last * n * (n - 1.0) + n * last * last
    mean = math.log(p.spot) + log_drift(p) * step * linear
    return float(lognormal_payoff(mean, p.volatility * math.sqrt(step * square), p.strike, p.put))
