"""Every parameter of every built-in model, with odd values: an answer that is a number, or an error that names the parameter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import bgsim
from bgsim.errors import InvalidInputError, ParameterError, ReplicateError
from bgsim.models import extremes, heston, ising, options, queueing, reactions, tau_leaping
from bgsim.models.battle import battle
from bgsim.models.heston import HestonOption
from bgsim.models.network import Network
from bgsim.models.options import EuropeanCall, european_call, european_option
from bgsim.models.queueing import MG1, mg1, mmc
from bgsim.parameters.parameter_class import parameter_class
from bgsim.registry import find_simulation, simulation_names

NETWORK = Network().species("P", 20).species("D").reaction("2 P -> D", 0.01).reaction("D -> 2 P", 0.1)
SHORT: dict[Any, dict[str, Any]] = {
    options.european_call: {},
    options.asian_call: {"steps": 4},
    options.european_option: {},
    options.asian_option: {"steps": 4},
    extremes.barrier_option: {"steps": 4},
    extremes.lookback_option: {"steps": 4},
    heston.heston_option: {"steps": 4},
    queueing.mmc: {"warm_up": 5, "customers": 5},
    queueing.mg1: {"warm_up": 5, "customers": 5},
    ising.ising: {"rows": 4, "columns": 4, "burn_in": 2, "sweeps": 2},
    ising.ising_wolff: {"rows": 4, "columns": 4, "burn_in": 2, "sweeps": 2},
    reactions.reactions: vars(reactions.Reactions.of(NETWORK, [1.0, 2.0])),
    tau_leaping.tau_leaping: vars(tau_leaping.TauLeaping.of(NETWORK, [1.0, 2.0])),
}
ODD: list[Any] = [
    math.inf, -math.inf, math.nan, 1e300, -1e300, 1e150, 1e9, 0, -0.0, -1, 5e-324, 1e-310, 2**63, 2**31, 10**400, None, "x", [],
    np.array([]), True,
]  # fmt: skip
ENDLESS = {("ising", "burn_in"), ("ising_wolff", "burn_in"), ("ising_wolff", "clusters"), ("mmc", "servers")}
"""Parameters for which a large value is right, and takes long; such a run can be cancelled, or ends after minutes."""


CASES = [
    pytest.param(simulation, others, field.name, id=f"{simulation.short_name}-{field.name}")
    for simulation, others in SHORT.items()
    for field in parameter_class(simulation.parameters_class).fields
]


def given(others: dict[str, Any], name: str, odd: Any) -> Any:
    """Return an odd value for a parameter; an array has it as its first element."""
    ordinary = others.get(name)
    if not isinstance(ordinary, np.ndarray) or not isinstance(odd, int | float):
        return odd
    changed = ordinary.astype(float if ordinary.dtype.kind == "f" and odd != 10**400 else object)
    changed.flat[0] = odd
    return changed


def long(simulation: Any, name: str, odd: Any) -> bool:
    is_count = simulation.short_name in ("reactions", "tau_leaping") and name in ("initial", "changes")
    return isinstance(odd, int | float) and odd >= 1e6 and (is_count or (simulation.short_name, name) in ENDLESS)


@pytest.mark.parametrize(("simulation", "others", "name"), CASES)
def test_an_odd_value_is_refused_or_gives_a_number(simulation: Any, others: dict[str, Any], name: str) -> None:
    for odd in ODD:
        if long(simulation, name, odd):
            continue
        value = given(others, name, odd)
        try:
            result = bgsim.run(simulation, {**others, name: value}, replicates=20, seed=1)
        except ParameterError as error:
            assert name in str(error)
        except ReplicateError as error:  # the network explodes
            assert isinstance(error.__cause__, OverflowError)
        else:
            for column in result.values():
                assert np.all(np.isfinite(column)), odd


@pytest.mark.parametrize(("simulation", "others", "name"), CASES)
def test_the_class_itself_raises_nothing_else(simulation: Any, others: dict[str, Any], name: str) -> None:
    """It is called by its author's code, before types are looked at."""
    for odd in ODD:
        try:
            simulation.bind(simulation.parameters_class(**{**others, name: given(others, name, odd)}))
        except InvalidInputError as error:
            assert str(error)


def test_every_built_in_simulation_is_tried() -> None:
    """But `battle`, whose parameters are tables that a file is read into."""
    built_in = {name for name in simulation_names() if find_simulation(name).name.startswith("bgsim.models.")}
    assert {find_simulation(name).name for name in built_in} == {s.name for s in (*SHORT, battle)}


PAIRS = [
    (0.0, 1e300, "maturity"), (0.05, 1e3, ""), (0.05, 1001.0, "rate"), (-0.05, 1001.0, "rate"), (50.0, 1.0, ""), (51.0, 1.0, "rate"),
    (1e300, 1e-300, ""), (1e300, 1e-290, "rate"),
]  # fmt: skip


@pytest.mark.parametrize(("rate", "maturity", "named"), PAIRS)
def test_rate_times_maturity_is_limited(rate: float, maturity: float, named: str) -> None:
    """And what is in the limit has the exact price: with no volatility, that of a forward."""
    p = {"rate": rate, "maturity": maturity, "volatility": 0.0, "strike": 90.0}
    if named == "rate":
        with pytest.raises(ParameterError, match=r"rate \* maturity must be -50 to 50, or prices overflow; got rate="):
            bgsim.run(european_call, p, replicates=1)
        return
    for simulation in (european_call, european_option):
        payoff = bgsim.run(simulation, p, replicates=1)["payoff"][0]
        assert payoff == pytest.approx(max(100 - 90 * math.exp(-rate * maturity), 0.0), rel=1e-9)


def test_the_largest_prices_are_numbers_and_so_are_their_squares() -> None:
    p = {"spot": 1e50, "strike": 1e-50, "rate": 50.0, "volatility": 7.0, "maturity": 1.0}
    payoff = bgsim.run(european_option, p, replicates=10_000)["payoff"]
    assert np.all(np.isfinite(payoff**2))
    with pytest.raises(ParameterError, match=r"volatility\*\*2 \* maturity must be 0 to 50"):
        EuropeanCall(volatility=7.1)


def test_a_coarse_mean_reversion_is_refused() -> None:
    with pytest.raises(ParameterError, match="take more steps"):
        HestonOption(mean_reversion=20.0, steps=9)
    assert HestonOption(mean_reversion=20.0, steps=10).steps == 10


def test_loads_at_the_ends_of_the_range() -> None:
    """A queue with hardly any customers has no waits; one with hardly any spread is deterministic."""
    assert bgsim.run(mmc, {"arrival_rate": 1e-100, "customers": 9}, replicates=9)["mean_wait"].max() == 0
    almost = bgsim.run(mg1, {"service_scv": 1e-100, "customers": 50, "warm_up": 0}, replicates=9)["mean_wait"]
    none = bgsim.run(mg1, {"service_scv": 0.0, "customers": 50, "warm_up": 0}, replicates=9)["mean_wait"]
    assert np.all(np.isfinite(almost))
    assert almost.mean() == pytest.approx(none.mean(), rel=3)
    with pytest.raises(ParameterError, match=r"service_scv must be 0, or 1e-100 to 1e\+06"):
        MG1(service_scv=1e-200)
