"""Queues: customers arrive at random and are served first come, first served.

- `mmc`: Poisson arrivals, exponential service, c servers (Erlang 1917). Waits follow from the times at which the
  servers are next free (Kiefer and Wolfowitz 1955, "On the Theory of Queues with Many Servers").
- `mg1`: Poisson arrivals, any service, one server. Waits follow from the last one (Lindley 1952, "The Theory of
  Queues with a Single Server"): W' = max(W + service - time to the next arrival, 0).

A replicate is one queue that starts empty. The first `warm_up` customers do not count; the rest of the empty start
biases the waits downwards, less than by a factor of exp(-(1 - sqrt(load))**2 times the services that fit into the
warm-up), so the default serves loads up to about 0.9.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from bgsim.errors import ParameterError
from bgsim.parameters.fields import parameter
from bgsim.simulation import simulation

OUTPUTS = {"mean_wait": "f8", "waited": "f8", "last_wait": "f8"}
"""Mean wait before service; part of the customers that waited at all; wait of the last one, so that the column is a
sample of independent waits from their distribution in the long run."""


@dataclass(frozen=True)
class MMc:
    """A queue with exponential service and several servers."""

    arrival_rate: float = parameter(1.6, unit="customers per unit of time", gt=0, lt=math.inf, doc="lambda")
    service_rate: float = parameter(1.0, unit="customers per unit of time", gt=0, lt=math.inf, doc="mu, of one server")
    servers: int = parameter(2, ge=1, doc="c")
    warm_up: int = parameter(2000, unit="customers", ge=0, doc="before the first that counts")
    customers: int = parameter(1000, unit="customers", ge=1, doc="that count")

    def __post_init__(self) -> None:
        _check_load(self.arrival_rate / (self.service_rate * self.servers), "arrival_rate", self.arrival_rate)


class Service(enum.IntEnum):
    """The law of the service times, beyond mean and coefficient of variation."""

    GAMMA = 0
    """Deterministic for a squared coefficient of variation of 0, Erlang-k for 1 / k, exponential for 1."""

    LOGNORMAL = 1
    """With a heavier tail."""


@dataclass(frozen=True)
class MG1:
    """A queue with one server and a service law of given mean and spread."""

    arrival_rate: float = parameter(0.8, unit="customers per unit of time", gt=0, lt=math.inf, doc="lambda")
    mean_service: float = parameter(1.0, unit="units of time", gt=0, lt=math.inf, doc="mean service time")
    service_scv: float = parameter(
        1.0, ge=0, lt=math.inf, doc="squared coefficient of variation of the service time: variance over squared mean"
    )
    service: Service = parameter(Service.GAMMA, doc="law of the service time")
    warm_up: int = parameter(2000, unit="customers", ge=0, doc="before the first that counts")
    customers: int = parameter(1000, unit="customers", ge=1, doc="that count")

    def __post_init__(self) -> None:
        _check_load(self.arrival_rate * self.mean_service, "arrival_rate", self.arrival_rate)


def _check_load(load: float, field: str, value: float) -> None:
    """Refuse a queue that grows for ever."""
    if load >= 1:
        raise ParameterError(
            f"{field} {value:g} gives each server a load of {load:.4g}, and the queue grows for ever; the load must be "
            "below 1: lower the arrival rate, or serve faster",
            field=field,
            value=value,
        )


@simulation(outputs=OUTPUTS)
def mmc(p: MMc, rng: Any) -> tuple[float, float, float]:
    """Mean wait, part that waited, and last wait of one M/M/c queue.

    Their means over replicates are given by Erlang (1917): his C formula, and C / (c mu - lambda).
    """
    free_in = np.zeros(p.servers)  # time from the arrival in hand until each server is free; below 0: since when
    total, waited, wait = 0.0, 0, 0.0
    for customer in range(p.warm_up + p.customers):
        free_in -= rng.exponential(1.0 / p.arrival_rate)
        server = _first_free(free_in)
        wait = max(free_in[server], 0.0)
        free_in[server] = wait + rng.exponential(1.0 / p.service_rate)
        if customer >= p.warm_up:
            total += wait
            waited += wait > 0.0
    return total / p.customers, waited / p.customers, wait


@simulation(outputs=OUTPUTS)
def mg1(p: MG1, rng: Any) -> tuple[float, float, float]:
    """Mean wait, part that waited, and last wait of one M/G/1 queue.

    The mean over replicates is given by Pollaczek (1930) and Khinchine (1932): load / (1 - load) times mean service
    times (1 + squared coefficient of variation) / 2.
    """
    total, waited, wait, service = 0.0, 0, 0.0, 0.0
    for customer in range(p.warm_up + p.customers):
        wait = max(wait + service - rng.exponential(1.0 / p.arrival_rate), 0.0)
        service = _service_time(p, rng)
        if customer >= p.warm_up:
            total += wait
            waited += wait > 0.0
    return total / p.customers, waited / p.customers, wait


@njit
def _first_free(free_in: Any) -> int:
    best = 0
    for server in range(1, len(free_in)):
        if free_in[server] < free_in[best]:
            best = server
    return best


@njit
def _service_time(p: Any, rng: Any) -> float:
    """Draw a service time of mean `mean_service` and squared coefficient of variation `service_scv`."""
    if p.service_scv == 0.0:
        return float(p.mean_service)
    if p.service == Service.GAMMA:
        return float(rng.gamma(1.0 / p.service_scv, p.mean_service * p.service_scv))
    variance = math.log1p(p.service_scv)  # of the logarithm
    draw = rng.standard_normal()
    return float(p.mean_service * math.exp(math.sqrt(variance) * draw - 0.5 * variance))
