"""Options that depend on the highest or lowest price of a path: barrier and lookback options.

The asset follows a geometric Brownian motion, simulated exactly at the dates at which it is looked at, so a contract
with these dates is priced without bias. One that looks at all times is approached by the continuity correction of
Broadie, Glasserman and Kou: between two dates h apart the path's extreme exceeds that at the dates by a factor of
exp(beta sigma sqrt(h)), beta = -zeta(1/2) / sqrt(2 pi), in the mean. What remains is of a smaller order than sqrt(h).
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

from numba import njit

from bgsim.checks import is_double
from bgsim.errors import ParameterError
from bgsim.models.pricing import (
    LEAST_PRICE,
    MAX_STEPS,
    MOST_PRICE,
    BlackScholesContract,
    exercise,
    log_drift,
    lognormal_payoff,
)
from bgsim.parameters.fields import parameter
from bgsim.simulation import simulation
from bgsim.streams import Rng

BETA = 0.5825971579390106
"""-zeta(1/2) / sqrt(2 pi), Riemann's zeta (Broadie, Glasserman and Kou 1997, theorem 1.1)."""


class Barrier(enum.IntEnum):
    """What happens when the price reaches the barrier, from above (down) or from below (up)."""

    DOWN_AND_OUT = 0
    DOWN_AND_IN = 1
    UP_AND_OUT = 2
    UP_AND_IN = 3


@dataclass(frozen=True)
class BarrierOption(BlackScholesContract):
    """A European option that ends (out) or begins (in) when the price is at or beyond a barrier on one of the dates."""

    barrier: float = parameter(
        90.0, unit="currency", ge=LEAST_PRICE, le=MOST_PRICE, doc="below the spot for down, above for up"
    )
    kind: Barrier = parameter(Barrier.DOWN_AND_OUT, doc="of barrier")
    steps: int = parameter(252, unit="dates", ge=1, le=MAX_STEPS, doc="equidistant dates, the last of them maturity")
    continuity_correction: bool = parameter(False, doc="approach a barrier that is watched at all times")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_double(self.barrier) and is_double(self.spot) and isinstance(self.kind, int)):
            return  # the check of types names it
        down = self.kind in (Barrier.DOWN_AND_OUT, Barrier.DOWN_AND_IN)
        if (self.barrier >= self.spot) if down else (self.barrier <= self.spot):
            raise ParameterError(
                f"barrier must lie {'below' if down else 'above'} the spot price, {self.spot:g}, for a "
                f"{'down' if down else 'up'} barrier, or it is reached at the start; got {self.barrier:g}",
                field="barrier",
                value=self.barrier,
            )


@dataclass(frozen=True)
class LookbackOption(BlackScholesContract):
    """A right to trade at the best price of all dates, today among them.

    With a floating strike a call buys at the lowest price and a put sells at the highest. With a fixed strike a call
    pays the highest price less the strike and a put the strike less the lowest price.
    """

    floating: bool = parameter(True, doc="whether the best price takes the place of the strike, which then is not used")
    steps: int = parameter(
        252, unit="dates", ge=1, le=MAX_STEPS, doc="equidistant dates after today, the last of them maturity"
    )
    continuity_correction: bool = parameter(False, doc="approach a contract that looks at all times")


@simulation(outputs={"payoff": "f8", "control": "f8"})
def barrier_option(p: BarrierOption, rng: Rng) -> tuple[float, float]:
    """Discounted payoff of one barrier option path, in currency.

    With the continuity correction the barrier is moved towards the spot price (Broadie, Glasserman and Kou 1997,
    "A Continuity Correction for Discrete Barrier Options"). The control is the payoff of the European option less its
    price.
    """
    draws = rng.standard_normal(p.steps)
    payoff, vanilla = _barrier_payoffs(p, draws, 1.0)
    if p.antithetic:
        mirrored = _barrier_payoffs(p, draws, -1.0)
        payoff = 0.5 * (payoff + mirrored[0])
        vanilla = 0.5 * (vanilla + mirrored[1])
    discount = math.exp(-p.rate * p.maturity)
    mean = math.log(p.spot) + log_drift(p) * p.maturity
    expected = lognormal_payoff(mean, p.volatility * math.sqrt(p.maturity), p.strike, p.put)
    return discount * payoff, discount * (vanilla - expected)


@simulation(outputs={"payoff": "f8", "control": "f8"})
def lookback_option(p: LookbackOption, rng: Rng) -> tuple[float, float]:
    """Discounted payoff of one lookback option path, in currency.

    The contracts are those of Goldman, Sosin and Gatto (1979), floating strike, and Conze and Viswanathan (1991),
    fixed strike. With the continuity correction the extreme is moved outwards (Broadie, Glasserman and Kou 1999,
    "Connecting Discrete and Continuous Path-Dependent Options"). The control is the discounted price of the asset at
    maturity less its mean.
    """
    draws = rng.standard_normal(p.steps)
    payoff, price = _lookback_payoff(p, draws, 1.0)
    if p.antithetic:
        mirrored = _lookback_payoff(p, draws, -1.0)
        payoff = 0.5 * (payoff + mirrored[0])
        price = 0.5 * (price + mirrored[1])
    discount = math.exp(-p.rate * p.maturity)
    return discount * payoff, discount * price - p.spot * math.exp(-p.dividend_yield * p.maturity)


@njit
def _correction(p: Any) -> float:
    """Return by how much the logarithm of a path's extreme exceeds that at the dates; 0 without the correction."""
    return BETA * p.volatility * math.sqrt(p.maturity / p.steps) if p.continuity_correction else 0.0


@njit
def _extremes(p: Any, draws: Any, sign: float) -> tuple[float, float, float]:
    """Return last, lowest and highest logarithm of price over spot, over the dates after today."""
    step = p.maturity / p.steps
    drift = log_drift(p) * step
    scale = sign * p.volatility * math.sqrt(step)
    growth, lowest, highest = 0.0, math.inf, -math.inf
    for draw in draws:
        growth += drift + scale * draw
        lowest = min(lowest, growth)
        highest = max(highest, growth)
    return growth, lowest, highest


@njit
def _barrier_payoffs(p: Any, draws: Any, sign: float) -> tuple[float, float]:
    """Return the payoffs with and without the barrier."""
    growth, lowest, highest = _extremes(p, draws, sign)
    level = math.log(p.barrier / p.spot)
    if p.kind in (Barrier.DOWN_AND_OUT, Barrier.DOWN_AND_IN):
        touched = lowest <= level + _correction(p)
    else:
        touched = highest >= level - _correction(p)
    vanilla = exercise(p.spot * math.exp(growth), p.strike, p.put)
    alive = touched == (p.kind in (Barrier.DOWN_AND_IN, Barrier.UP_AND_IN))
    return (vanilla if alive else 0.0), vanilla


@njit
def _lookback_payoff(p: Any, draws: Any, sign: float) -> tuple[float, float]:
    """Return the payoff, and the price at maturity."""
    growth, lowest, highest = _extremes(p, draws, sign)
    price = p.spot * math.exp(growth)
    low = p.spot * math.exp(min(lowest, 0.0) - _correction(p))
    high = p.spot * math.exp(max(highest, 0.0) + _correction(p))
    if p.floating:
        return (high - price if p.put else price - low), price
    return exercise(low if p.put else high, p.strike, p.put), price
