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

from bgsim.checks import is_double
from bgsim.errors import ParameterError
from bgsim.parameters.fields import brief, parameter
from bgsim.simulation import simulation
from bgsim.streams import Rng

OUTPUTS = {"mean_wait": "f8", "waited": "f8", "last_wait": "f8"}
"""Mean wait before service; part of the customers that waited at all; wait of the last one, so that the column is a
sample of independent waits from their distribution in the long run."""


MAX_CUSTOMERS, MAX_SERVERS = 10_000_000, 10_000
"""Of a replicate; what has more is better done as several."""

MAX_SCV, LEAST_SCV = 1e6, 1e-100
"""Of a service time, the least but 0."""


@dataclass(frozen=True)
class MMc:
    """A queue with exponential service and several servers."""

    arrival_rate: float = parameter(1.6, unit="customers per unit of time", ge=1e-100, le=1e100, doc="lambda")
    service_rate: float = parameter(
        1.0, unit="customers per unit of time", ge=1e-100, le=1e100, doc="mu, of one server"
    )
    servers: int = parameter(2, ge=1, le=MAX_SERVERS, doc="c")
    warm_up: int = parameter(2000, unit="customers", ge=0, le=MAX_CUSTOMERS, doc="before the first that counts")
    customers: int = parameter(1000, unit="customers", ge=1, le=MAX_CUSTOMERS, doc="that count")

    def __post_init__(self) -> None:
        if all(map(is_double, (self.arrival_rate, self.service_rate, self.servers))):
            _check_load(self, self.service_rate * self.servers, "service_rate", "servers")


class Service(enum.IntEnum):
    """The law of the service times, beyond mean and coefficient of variation."""

    GAMMA = 0
    """Deterministic for a squared coefficient of variation of 0, Erlang-k for 1 / k, exponential for 1."""

    LOGNORMAL = 1
    """With a heavier tail."""


@dataclass(frozen=True)
class MG1:
    """A queue with one server and a service law of given mean and spread."""

    arrival_rate: float = parameter(0.8, unit="customers per unit of time", ge=1e-100, le=1e100, doc="lambda")
    mean_service: float = parameter(1.0, unit="units of time", ge=1e-100, le=1e100, doc="mean service time")
    service_scv: float = parameter(
        1.0, ge=0, le=MAX_SCV, doc="squared coefficient of variation of the service time: variance over squared mean"
    )
    service: Service = parameter(Service.GAMMA, doc="law of the service time")
    warm_up: int = parameter(2000, unit="customers", ge=0, le=MAX_CUSTOMERS, doc="before the first that counts")
    customers: int = parameter(1000, unit="customers", ge=1, le=MAX_CUSTOMERS, doc="that count")

    def __post_init__(self) -> None:
        if all(map(is_double, (self.arrival_rate, self.mean_service))) and self.mean_service > 0:
            _check_load(self, 1 / self.mean_service, "mean_service")
        if is_double(self.service_scv) and 0 < self.service_scv < LEAST_SCV:
            raise ParameterError(
                f"service_scv must be 0, or {LEAST_SCV} to {MAX_SCV:g}; got {brief(self.service_scv)}",
                field="service_scv",
                value=self.service_scv,
            )


def _check_load(p: Any, capacity: float, *names: str) -> None:
    """Refuse a queue that grows for ever; a capacity of 0 or less is left to the check of limits."""
    if 0 < capacity <= p.arrival_rate:
        given = " and ".join(f"{name}={brief(getattr(p, name))}" for name in ("arrival_rate", *names))
        raise ParameterError(
            f"{given} give each server a load of {p.arrival_rate / capacity:.4g}, and the queue grows for ever; the "
            "load must be below 1: lower the arrival rate, or serve faster",
            field="arrival_rate",
            value=p.arrival_rate,
        )


@simulation(outputs=OUTPUTS)
def mmc(p: MMc, rng: Rng) -> tuple[float, float, float]:
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
def mg1(p: MG1, rng: Rng) -> tuple[float, float, float]:
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
def _service_time(p: Any, rng: Rng) -> float:
    """Draw a service time of mean `mean_service` and squared coefficient of variation `service_scv`."""
    if p.service_scv == 0.0:
        return float(p.mean_service)
    if p.service == Service.GAMMA:
        return float(rng.gamma(1.0 / p.service_scv, p.mean_service * p.service_scv))
    variance = math.log1p(p.service_scv)  # of the logarithm
    draw = rng.standard_normal()
    return float(p.mean_service * math.exp(math.sqrt(variance) * draw - 0.5 * variance))
