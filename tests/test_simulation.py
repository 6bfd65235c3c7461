"""Declaring simulations, and finding them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernels import Walk, walk

import bgsim
from bgsim.errors import OutputError, ParameterError, SimulationNotFoundError
from bgsim.registry import find_simulation, simulation_names


class Pair(NamedTuple):
    a: float = 1.0
    n: int = 2


def test_what_a_simulation_knows() -> None:
    assert walk.name == "kernels.walk"
    assert walk.parameters_class is Walk
    assert [o.name for o in walk.outputs] == ["end", "path", "ups", "high"]
    assert not walk.takes_control
    assert walk.compiles
    assert repr(walk) == "<simulation kernels.walk: Walk -> end, path, ups, high>"
    assert "random walk" in (walk.__doc__ or "")


def test_calling_it_calls_the_plain_function() -> None:
    assert (
        walk(Walk(steps=2), bgsim.replicate_rng(0, 0))[0] == walk.function(Walk(steps=2), bgsim.replicate_rng(0, 0))[0]
    )


@pytest.mark.parametrize("compiles", [True, False])
def test_named_tuples_and_mappings_are_parameters(compiles: bool) -> None:
    def by_tuple(p: Pair, rng: Any) -> float:
        return p.a * p.n

    def by_mapping(p: Mapping[str, float], rng: Any) -> float:
        return p.a * p.n  # type: ignore[attr-defined]

    for function in (by_tuple, by_mapping):
        simulation = bgsim.simulation(function, outputs={"x": "f8"}, compile=compiles)
        assert bgsim.run(simulation, {"a": 3.0, "n": 2}, replicates=2, workers=1)["x"].tolist() == [6.0, 6.0]


def test_a_plain_simulation_sees_its_own_class_with_text() -> None:
    """Methods and text are there; a compiled one sees numbers only."""

    @bgsim.simulation(outputs={"x": "i8"}, compile=False)
    def length(p: Walk, rng: Any) -> int:
        assert isinstance(p, Walk)
        return len(p.label)

    assert bgsim.run(length, Walk(label="four"), replicates=1)["x"][0] == 4


@pytest.mark.parametrize(
    ("outputs", "field"),
    [
        ({}, "outputs"),
        ("f8", "outputs"),
        ({"no name": "f8"}, "no name"),
        ({"x": "f99"}, "x"),
        ({"x": "O"}, "x"),
        ({"x": ("f8", 1.5)}, "x"),
        ({"x": ("f8", -1)}, "x"),
    ],
)
def test_outputs_are_checked_when_they_are_declared(outputs: Any, field: str) -> None:
    with pytest.raises(OutputError) as caught:
        bgsim.simulation(lambda p, rng: 1.0, outputs=outputs)
    assert caught.value.field == field


def test_signatures_are_checked_when_they_are_declared() -> None:
    for bad in (lambda p: 1.0, lambda p, r, c, d: 1.0, lambda p, r, *, x: 1.0):
        with pytest.raises(ParameterError, match=r"\(p, rng\) or \(p, rng, control\)"):
            bgsim.simulation(bad, outputs={"x": "f8"})

    def unresolved(p: NotThere, rng: Any) -> float:  # type: ignore[name-defined]  # noqa: F821
        return 1.0

    with pytest.raises(ParameterError, match="cannot be resolved"):
        bgsim.simulation(unresolved, outputs={"x": "f8"})


def test_a_length_must_be_an_integer_parameter() -> None:
    @bgsim.simulation(outputs={"x": ("f8", "a")})
    def bad(p: Pair, rng: Any) -> Any:
        return np.zeros(1)

    with pytest.raises(ParameterError, match="'a' is a length of output 'x'"):
        bad.bind()
    with pytest.raises(ParameterError, match="parameter of 0 or more; there is none"):
        bgsim.simulation(bad.function, outputs={"x": ("f8", "nowhere")}).bind()


@pytest.mark.parametrize("compiles", [True, False])
def test_a_plain_output_that_does_not_match_is_named(compiles: bool) -> None:
    @bgsim.simulation(outputs={"x": ("f8", "n")}, compile=compiles)
    def short(p: Pair, rng: Any) -> Any:
        return np.zeros(1)

    with pytest.raises(OutputError, match=r"output 'x' of .*short is declared as float64 array of shape \(n,\)"):
        bgsim.run(short, replicates=3)


# ---- the registry ------------------------------------------------------------------------------------


def test_simulations_are_found_by_name() -> None:
    from bgsim.models.options import asian_call

    assert find_simulation("asian_call") is asian_call
    assert find_simulation("bgsim.models.options:asian_call") is asian_call
    assert find_simulation("bgsim.models.options.asian_call") is asian_call
    assert {"asian_call", "battle", "european_call"} <= simulation_names().keys()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("asian_cal", "did you mean 'asian_call'"),
        ("no_such_module:x", "No module named"),
        ("bgsim.models.options:AsianCall", "no simulation 'AsianCall'"),
    ],
)
def test_an_unknown_simulation_is_named_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(SimulationNotFoundError, match=message):
        find_simulation(name)
