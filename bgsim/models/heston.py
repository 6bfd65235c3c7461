"""A European option on an asset with stochastic variance, after Heston.

Under the risk-neutral measure dS = (r - q) S dt + sqrt(v) S dW1 and dv = kappa (theta - v) dt + xi sqrt(v) dW2, where
the two Brownian motions have correlation rho (Heston 1993, "A Closed-Form Solution for Options with Stochastic
Volatility"). The scheme is full-truncation Euler (Lord, Koekkoek and van Dijk 2010, "A Comparison of Biased Simulation
Schemes for Stochastic Volatility Models"): the variance may step below zero, and counts as zero wherever it is used.
Its bias in the price shrinks about as 1 / steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numba import njit

from bgsim.checks import is_double
from bgsim.errors import ParameterError
from bgsim.models.pricing import MAX_STEPS, Contract, check_growth, exercise
from bgsim.parameters.fields import brief, parameter
from bgsim.simulation import simulation
from bgsim.streams import Rng


@dataclass(frozen=True)
class HestonOption(Contract):
    """A European option under Heston's model; variances are per year, squares of volatilities."""

    variance: float = parameter(0.04, unit="per year", ge=0, lt=math.inf, doc="v today")
    mean_reversion: float = parameter(2.0, unit="per year", ge=0, lt=math.inf, doc="kappa")
    long_run_variance: float = parameter(0.04, unit="per year", ge=0, lt=math.inf, doc="theta")
    variance_volatility: float = parameter(0.3, unit="per year", ge=0, lt=math.inf, doc="xi")
    correlation: float = parameter(-0.7, ge=-1, le=1, doc="rho")
    steps: int = parameter(252, unit="steps", ge=1, le=MAX_STEPS, doc="equidistant, from today to maturity")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_growth(self, "variance", "long_run_variance", "variance_volatility")
        numbers = (self.mean_reversion, self.maturity, self.steps)
        if all(map(is_double, numbers)) and self.steps > 0 and self.mean_reversion * (self.maturity / self.steps) > 2:
            raise ParameterError(
                "mean_reversion * maturity / steps must be at most 2, or the variance swings ever further out; got "
                f"mean_reversion={brief(self.mean_reversion)}, maturity={brief(self.maturity)} and "
                f"steps={brief(self.steps)}: take more steps",
                field="mean_reversion",
                value=self.mean_reversion,
            )


@simulation(outputs={"payoff": "f8", "control": "f8"})
def heston_option(p: HestonOption, rng: Rng) -> tuple[float, float]:
    """Discounted payoff of one European option path under Heston's model, in currency.

    The control is the discounted price of the asset at maturity less its mean, which the scheme keeps exactly.
    """
    draws = rng.standard_normal((p.steps, 2))
    price = _price_at_maturity(p, draws, 1.0)
    payoff = exercise(price, p.strike, p.put)
    if p.antithetic:
        mirrored = _price_at_maturity(p, draws, -1.0)
        payoff = 0.5 * (payoff + exercise(mirrored, p.strike, p.put))
        price = 0.5 * (price + mirrored)
    discount = math.exp(-p.rate * p.maturity)
    return discount * payoff, discount * price - p.spot * math.exp(-p.dividend_yield * p.maturity)


@njit
def _price_at_maturity(p: Any, draws: Any, sign: float) -> float:
    """Return the price at the end of the path with these draws, shape (steps, 2)."""
    step = p.maturity / p.steps
    independent = math.sqrt(1.0 - p.correlation * p.correlation)
    growth, variance = 0.0, p.variance
    for i in range(p.steps):
        truncated = max(variance, 0.0)
        scale = sign * math.sqrt(truncated * step)
        growth += (p.rate - p.dividend_yield - 0.5 * truncated) * step + scale * draws[i, 0]
        shock = p.correlation * draws[i, 0] + independent * draws[i, 1]
        variance += p.mean_reversion * (p.long_run_variance - truncated) * step
        variance += p.variance_volatility * scale * shock
    return float(p.spot * math.exp(growth))
