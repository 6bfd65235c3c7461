"""Declaring simulations, and their fingerprints."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernels import Walk, walk
from numba import njit

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
    with pytest.raises(ParameterError, match="got None"):
        bgsim.simulation(bad.function, outputs={"x": ("f8", "nowhere")}).bind()


@pytest.mark.parametrize("compiles", [True, False])
def test_a_plain_output_that_does_not_match_is_named(compiles: bool) -> None:
    @bgsim.simulation(outputs={"x": ("f8", "n")}, compile=compiles)
    def short(p: Pair, rng: Any) -> Any:
        return np.zeros(1)

    with pytest.raises(OutputError, match=r"output 'x' of .*short is declared as float64 array of shape \(n,\)"):
        bgsim.run(short, replicates=3)


# ---- fingerprints ------------------------------------------------------------------------------------


def load(folder: Path, name: str, source: str) -> ModuleType:
    """Import a module from source, under a name of its own so that nothing is cached."""
    import importlib.util
    import sys

    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(source))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


BASE = '''
import math
import bgsim
from numba import njit

SCALE = 2.0

@njit
def helper(x):
    return x + 1.0

@bgsim.simulation(outputs={"x": "f8"})
def sim(p, rng):
    """Doc."""
    # a comment
    return SCALE * helper(math.sqrt(rng.random()))
'''


def fingerprint(folder: Path, source: str) -> str:
    fingerprint.count += 1  # type: ignore[attr-defined]
    found: str = load(folder, f"fingerprinted_{fingerprint.count}", source).sim.fingerprint  # type: ignore[attr-defined]
    return found


fingerprint.count = 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Doc."""', '"""Another."""'),
        ("# a comment", "# quite another"),
        ("SCALE * helper", "SCALE   *   helper"),
        ("def sim(p, rng):", "def sim(p, rng):\n"),
        ("@bgsim.simulation(", "@bgsim.simulation(name='y', "),
    ],
)
def test_what_changes_no_result_changes_no_fingerprint(tmp_path: Path, old: str, new: str) -> None:
    """Docstring, comments, layout, and the name, which is part of the key by itself."""
    assert old in BASE
    assert fingerprint(tmp_path, BASE.replace(old, new)) == fingerprint(tmp_path, BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2.0", "SCALE = 2.5"),
        ("x + 1.0", "x + 2.0"),
        ("math.sqrt", "math.exp"),
        ('outputs={"x": "f8"}', 'outputs={"x": "f4"}'),
        ('outputs={"x": "f8"}', 'outputs={"x": "f8"}, version="2"'),
        ('outputs={"x": "f8"}', 'outputs={"x": "f8"}, compile=False'),
        ("rng.random()", "rng.standard_normal()"),
    ],
)
def test_what_changes_results_changes_the_fingerprint(tmp_path: Path, old: str, new: str) -> None:
    assert old in BASE
    assert fingerprint(tmp_path, BASE.replace(old, new)) != fingerprint(tmp_path, BASE)


def test_attributes_of_own_modules_count(tmp_path: Path) -> None:
    """``settings.SCALE`` is a constant too, wherever it stands."""

    def with_scale(value: float) -> str:
        load(tmp_path, "own_settings", f"SCALE = {value}\ndef f(x):\n    return x * {value}\n")
        return fingerprint(
            tmp_path,
            """
            import bgsim, own_settings
            @bgsim.simulation(outputs={"x": "f8"}, compile=False)
            def sim(p, rng):
                return own_settings.f(own_settings.SCALE)
            """,
        )

    assert with_scale(1.0) == with_scale(1.0)
    assert with_scale(1.0) != with_scale(2.0)


def test_closures_count() -> None:
    def make(factor: float) -> Any:
        @njit
        def helper(x: float) -> float:
            return factor * x

        @bgsim.simulation(outputs={"x": "f8"})
        def sim(p: Any, rng: Any) -> Any:
            return helper(rng.random())

        return sim

    assert make(1.0).fingerprint == make(1.0).fingerprint
    assert make(1.0).fingerprint != make(2.0).fingerprint


def test_recursion_ends() -> None:
    def sim(p: Any, rng: Any) -> float:
        return 1.0 if rng.random() < 2 else sim(p, rng)

    assert len(bgsim.simulation(sim, outputs={"x": "f8"}, compile=False).fingerprint) == 32


def test_bgsims_own_interface_counts_by_name_only(tmp_path: Path) -> None:
    """Otherwise each release would orphan every stored result; a model's own helpers do count."""
    from bgsim.fingerprint import Dependencies
    from bgsim.models.battle import battle

    def polls(p: Any, rng: Any, control: Any) -> bool:
        return bgsim.stop_requested(control)

    assert "FRACTION" not in "\n".join(Dependencies(polls).parts)
    assert "def stop_requested" not in "\n".join(Dependencies(polls).parts)
    assert len([part for part in Dependencies(battle.function).parts if part.startswith("def ")]) > 3


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
