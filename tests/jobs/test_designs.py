"""Sweeps over designs: even, in their ranges, whole where the parameter is, and the same for one seed."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bgsim
from bgsim.errors import InvalidInputError, MissingExtraError

pytest.importorskip("scipy")


@dataclass(frozen=True)
class Box:
    x: float = bgsim.parameter(0.5, unit="m", ge=0, le=100)
    n: int = 3
    scale: float = 1.0


@bgsim.simulation(outputs={"y": "f8"}, compile=False)
def box(p: Box, rng: Any) -> float:
    return p.x * p.n + rng.random()


@bgsim.simulation(outputs={"y": "f8"}, compile=False)
def free(p: Any, rng: Any) -> float:
    return p.x + rng.random()


def points_of(simulation: Any, ranges: Any, **options: Any) -> list[Any]:
    options = {"design": "sobol", "points": 64, **options}
    with bgsim.Engine(immediate=True) as engine:
        return engine.sweep(simulation, ranges, replicates=1, **options).points


@pytest.mark.parametrize("design", ["sobol", "latin"])
def test_a_design_fills_its_ranges_evenly(design: str) -> None:
    """Each sixteenth of each range has as many points as the next."""
    ranges = {"x": (10.0, 26.0), "scale": (0.001, 1000.0, "log"), "n": (1, 4)}
    points = points_of(box, ranges, design=design)
    assert [type(value) for value in points[0].values()] == [float, float, int]
    assert np.bincount([int(p["x"]) - 10 for p in points]).tolist() == [4] * 16
    tenths = [math.floor((math.log10(p["scale"]) + 3) / 6 * 16) for p in points]
    assert np.bincount(tenths).tolist() == [4] * 16
    assert np.bincount([p["n"] for p in points])[1:].tolist() == [16] * 4
    assert points == points_of(box, ranges, design=design)
    assert points != points_of(box, ranges, design=design, seed=1)


def test_a_longer_sobol_sequence_begins_with_a_shorter_one() -> None:
    assert points_of(box, {"x": (0.0, 1.0)}, points=128)[:64] == points_of(box, {"x": (0.0, 1.0)}, points=64.0)


def test_a_parameter_without_a_type_is_whole_if_its_range_is() -> None:
    points = points_of(free, {"x": (0, 3), "z": (0.0, 3)})
    assert {p["x"] for p in points} == {0, 1, 2, 3}
    assert {type(p["z"]) for p in points} == {float}
    assert {type(p["x"]) for p in points_of(box, {"x": (0, 3)})} == {float}
    assert {p["n"] for p in points_of(box, {"n": (1, 3, "log")})} == {1, 2, 3}


def test_a_dataset_of_a_design_is_along_point() -> None:
    pytest.importorskip("xarray")
    pytest.importorskip("pandas")
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(box, {"x": (0, 1), "n": (1, 4)}, {"scale": 2.0}, design="latin", points=5, replicates=3)
        assert sweep.grid == {}
        data, frame = sweep.to_xarray(), sweep.to_pandas()
        assert dict(data.sizes) == {"point": 5}
        assert data["y"].dims == ("point",)
        assert data["x"].values.tolist() == [p["x"] for p in sweep.points] == frame["x"].tolist()
        assert data["x"].attrs == {"units": "m"}
        assert [job.parameters["n"] for job in sweep] == data["n"].values.tolist()
        assert data.attrs["parameters"] == '{"scale": 2.0}'


@pytest.mark.parametrize(
    ("ranges", "options", "message"),
    [
        ({"x": (0, 1)}, {"design": "sobel"}, "design must be one of sobol, latin; did you mean 'sobol'"),
        ({"x": (0, 1)}, {"design": None}, "design must be one of sobol, latin"),
        ({"x": (0, 1)}, {"points": None}, "points must be given for a design, as in points=64; got None"),
        ({"x": (0, 1)}, {"points": 100}, "a power of 2 for a Sobol' sequence, such as 64 or 128; got 100"),
        ({"x": (0, 1)}, {"points": 0}, "points must be an integer from 1 to"),
        ({"x": (1, 1)}, {}, r"grid\['x'\] must be a pair \(low, high\) with low below high"),
        ({"x": (0, 1, "log")}, {}, "with both above 0"),
        ({"x": (1, 2, "lin")}, {}, "low, high"),
        ({"x": (0, math.inf)}, {}, "low, high"),
        ({"x": (0, 1, 2, 3)}, {}, "low, high"),
        ({"x": [True, 2]}, {}, "low, high"),
        ({"x": np.array([0.0, 1.0])}, {}, "low, high"),
        ({"n": (0.5, 2)}, {}, "of integers; got"),
        ({"x": (0, 200)}, {}, "must satisfy 0 <= x <= 100"),
        ({"z": (0, 1)}, {}, "no parameter 'z'"),
        ({}, {}, "grid must be a mapping of one range or more"),
        ({"x": (0, 1)}, {"seed": -1}, "seed must be an integer"),
    ],
)
def test_a_wrong_design_is_refused(ranges: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        points_of(box, ranges, **options)


def test_a_design_needs_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats.qmc", None)
    with pytest.raises(MissingExtraError, match="a design needs scipy: pip install scipy"):
        points_of(box, {"x": (0, 1)})
