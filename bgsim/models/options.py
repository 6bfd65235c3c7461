"""Options on an asset that follows a geometric Brownian motion, priced by simulation.

The asset's price obeys dS = r S dt + sigma S dW under the risk-neutral measure (Black and Scholes 1973), so that over a
step of length h its logarithm grows by (r - sigma**2 / 2) h + sigma sqrt(h) Z with a standard normal Z, without bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bgsim.fields import parameter
from bgsim.simulation import simulation


@dataclass(frozen=True)
class EuropeanCall:
    """A right to buy the asset at the strike price at maturity."""

    spot: float = parameter(100.0, unit="currency", gt=0, doc="price of the asset today")
    strike: float = parameter(100.0, unit="currency", gt=0, doc="price at which it may be bought")
    rate: float = parameter(0.05, unit="per year", doc="continuously compounded interest rate")
    volatility: float = parameter(0.2, unit="per square-root year", ge=0, doc="of the asset's returns")
    maturity: float = parameter(1.0, unit="years", gt=0, doc="time to exercise")


@dataclass(frozen=True)
class AsianCall:
    """A right to buy the asset's average over equidistant dates, the last of them maturity, at the strike price."""

    spot: float = parameter(100.0, unit="currency", gt=0, doc="price of the asset today")
    strike: float = parameter(100.0, unit="currency", gt=0, doc="price at which the average may be bought")
    rate: float = parameter(0.05, unit="per year", doc="continuously compounded interest rate")
    volatility: float = parameter(0.2, unit="per square-root year", ge=0, doc="of the asset's returns")
    maturity: float = parameter(1.0, unit="years", gt=0, doc="time to exercise")
    steps: int = parameter(252, unit="dates", ge=1, doc="number of dates in the average")


@simulation(outputs={"payoff": "f8"})
def european_call(p: EuropeanCall, rng: Any) -> float:
    """Discounted payoff of one European call, in currency.

    Its mean is the price of Black and Scholes (1973), "The Pricing of Options and Corporate Liabilities", equation 13.
    """
    growth = (p.rate - 0.5 * p.volatility**2) * p.maturity
    price = p.spot * math.exp(growth + p.volatility * math.sqrt(p.maturity) * rng.standard_normal())
    return math.exp(-p.rate * p.maturity) * max(price - p.strike, 0.0)


@simulation(outputs={"payoff": "f8"})
def asian_call(p: AsianCall, rng: Any) -> float:
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
