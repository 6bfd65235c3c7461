"""Datasets of xarray: statistics, missing points, names of dimensions, units, and where the numbers come from."""

from __future__ import annotations

import enum
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HANDSHAKE_S
from kernels import Walk, one_draw, walk

import bgsim
from bgsim.errors import InvalidInputError, MissingExtraError
from bgsim.testing import GATES, Gate, SteppedEngine, gated, run_all

xarray = pytest.importorskip("xarray")


class Side(enum.Enum):
    LEFT = 1
    RIGHT = 2


@dataclass(frozen=True)
class Epidemic:
    beta: float = bgsim.parameter(0.5, unit="per day", doc="transmission rate")
    days: int = bgsim.parameter(10, unit="days")
    ages: int = 2


@bgsim.simulation(
    outputs={
        "curve": ("f8", "days"),
        "ill": ("i8", ("days", "ages")),
        "pair": ("f8", 2),
        "square": ("f8", ("ages", "ages")),
    },
    compile=False,
    version="3",
)
def epidemic(p: Epidemic, rng: Any) -> Any:
    return (
        np.arange(p.days) * p.beta,
        np.ones((p.days, p.ages), np.int64),
        np.array([p.beta, rng.random()]),
        np.full((p.ages, p.ages), p.beta),
    )


RECORD = np.dtype([("mass", "f8"), ("place", [("at", "i4", (2,))])])


@bgsim.simulation(
    outputs={"n": "i8", "won": "?", "x": "f8", "word": "U3", "when": "M8[s]", "thing": RECORD}, compile=False
)
def mixed(p: Any, rng: Any) -> Any:
    if p.x == 3:
        raise ValueError("x is three")
    return (p.x, True, float("nan") if rng.random() < 0.5 else p.x, "abc", np.datetime64(1, "s"), np.zeros((), RECORD))


@pytest.mark.parametrize("statistic", ["mean", "sd", "standard_error", "minimum", "maximum", "valid"])
def test_a_dataset_has_the_statistic_over_the_grid(statistic: str) -> None:
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(walk, {"scale": [0.5, 1.5], "label": ["a", "b", "c"]}, {"steps": 4}, replicates=9)
        data = sweep.to_xarray(statistic)
        assert dict(data.sizes) == {"scale": 2, "label": 3, "steps": 4}
        assert data["label"].values.tolist() == ["a", "b", "c"]
        for job, point in zip(sweep, sweep.points, strict=True):
            there = data.sel(scale=point["scale"], label=point["label"])
            summary = job.result().summary()
            for output in ("end", "ups", "path"):
                expected = np.asarray(getattr(summary[output], statistic))
                np.testing.assert_array_equal(there[output].values, expected)
        assert data["end"].attrs == {"long_name": f"{statistic.replace('_', ' ')} of end"}


def test_a_dataset_of_every_replicate() -> None:
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(walk, {"scale": [0.5, 1.5]}, {"steps": 4}, replicates=9)
        data = sweep.to_xarray("replicates")
        assert data["end"].dims == ("scale", "replicate")
        assert data["path"].dims == ("scale", "replicate", "steps")
        assert data["path"].sel(scale=1.5).values.tolist() == sweep[1].result()["path"].tolist()
        assert (data["ups"].dtype, data["high"].dtype) == (np.int32, np.bool_)


def test_points_without_a_result_are_nan_and_listed() -> None:
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(mixed, {"x": [1, 2, 3, 4]}, replicates=20)
        data = sweep.to_xarray()
        assert list(data.data_vars) == ["n", "won", "x_", "thing.mass", "thing.place.at"]
        assert data["n"].values[[0, 1, 3]].tolist() == [1.0, 2.0, 4.0]
        assert np.isnan(data["n"].sel(x=3))
        assert data["state"].values.tolist() == ["completed", "completed", "failed", "completed"]
        assert "x is three" in data["error"].sel(x=3).item()
        assert data["error"].sel(x=4).item() == ""
        assert (data.attrs["points"], data.attrs["missing"]) == (4, 1)
        assert data["x_"].sel(x=2).item() == 2.0  # NaN is left out
        assert 0 < sweep.to_xarray("valid")["x_"].sel(x=2).item() < 20


def test_every_replicate_of_a_missing_point_is_filled() -> None:
    """Integers and booleans become floats, as in xarray; dates are NaT, texts empty."""
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(mixed, {"x": [1, 3]}, replicates=5)
        data = sweep.to_xarray("replicates")
    assert data["n"].values.tolist() == [[1.0] * 5, pytest.approx([np.nan] * 5, nan_ok=True)]
    assert data["won"].dtype == np.float64
    assert data["word"].values.tolist() == [["abc"] * 5, [""] * 5]
    assert np.isnat(data["when"].sel(x=3).values).all()
    assert data["thing.place.at"].dims == ("x", "replicate", "thing.place.at_0")


def test_what_is_there_now_needs_no_wait() -> None:
    names = ["now", "later"]
    GATES.update({name: Gate() for name in names})
    try:
        GATES["now"].go_on.set()
        with bgsim.Engine(workers=1, max_concurrent_simulations=1, max_queue_size=1) as engine:
            batch = engine.sweep(gated, {"name": [*names, "last"]}, replicates=1)
            batch[0].result(HANDSHAKE_S)
            assert GATES["later"].reached.wait(HANDSHAKE_S)
            data = batch.to_xarray(wait=False)
            assert data["state"].values.tolist()[:2] == ["completed", "running"]
            assert data.attrs["missing"] == 2
            batch.cancel()
            GATES["later"].go_on.set()
            data = batch.to_xarray()
            assert data["state"].values.tolist()[0] == "completed"
            assert "cancelled" in data["state"].values.tolist()
    finally:
        for name in names:
            GATES.pop(name).go_on.set()


def test_the_finished_replicates_of_a_running_job_are_there_now() -> None:
    pytest.importorskip("pandas")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    with SteppedEngine(max_concurrent_simulations=1) as engine:
        sweep = engine.sweep(walk, {"scale": [1.0, 2.0]}, {"steps": 2}, replicates=5000, seed=3)
        while not sweep[0].partial().replicates:
            engine.step()
        done = sweep[0].partial()
        assert 0 < done.replicates < 5000
        data, each = sweep.to_xarray(wait=False), sweep.to_xarray("replicates", wait=False)
        assert data["state"].values.tolist() == ["running", "queued"]
        assert data["end"].values[0] == done["end"].mean()
        assert np.isnan(data["end"].values[1])
        assert sweep.to_xarray("valid", wait=False)["end"].values[0] == done.replicates
        assert data.attrs["missing"] == 1
        assert each["end"].values[0, : done.replicates].tolist() == done["end"].tolist()
        assert np.isnan(each["end"].values[0, done.replicates :]).all()
        frame, long = sweep.to_pandas(wait=False), sweep.to_pandas("replicate", wait=False)
        assert frame["end_valid"].tolist() == [done.replicates, 0]
        assert len(long) == done.replicates + 1
        assert long["end"].to_numpy()[:-1].tolist() == done["end"].tolist()
        assert long["replicate"].iloc[-2] == done.replicates - 1
        line = sweep.plot("end", wait=False).lines[0]
        assert line.get_ydata()[0] == done["end"].mean()
        pyplot.close("all")
        sweep.cancel()
        run_all(engine)
        assert sweep.to_xarray(wait=False).attrs["missing"] == 2


def test_what_was_never_submitted_is_listed() -> None:
    with bgsim.Engine(immediate=True, max_queue_size=1) as engine:
        engine.submit(one_draw, replicates=1, delay_s=60.0)
        batch = engine.submit_many(one_draw, [{"n": 1}, {"n": 2}], replicates=1)
        data = batch.to_xarray()
        assert data["state"].values.tolist() == ["not submitted"] * 2
        assert "queue" in data["error"].values[0]
        assert np.isnan(data["x"]).all()
        engine.clock.advance(60.0)  # type: ignore[attr-defined]


def test_dimensions_have_the_names_of_the_lengths() -> None:
    with bgsim.Engine(immediate=True) as engine:
        data = engine.sweep(epidemic, {"beta": [0.1, 0.2]}, {"days": 5}, replicates=3).to_xarray()
        assert data["curve"].dims == ("beta", "days")
        assert data["ill"].dims == ("beta", "days", "ages")
        assert data["pair"].dims == ("beta", "pair_0")
        assert data["square"].dims == ("beta", "ages", "ages_")
        assert data["curve"].sel(beta=0.2).values.tolist() == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])


def test_a_length_that_is_swept_is_filled_up() -> None:
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(epidemic, {"days": [2, 4]}, {"beta": 1.0}, replicates=3)
        data, each = sweep.to_xarray(), sweep.to_xarray("replicates")
        assert data["curve"].dims == ("days", "days_")
        np.testing.assert_array_equal(data["curve"], [[0, 1, np.nan, np.nan], [0, 1, 2, 3]])
        assert data["ill"].dims == ("days", "days_", "ages")
        assert each["ill"].shape == (2, 3, 4, 2)
        assert each["ill"].isnull().sum() == 3 * 2 * 2


def test_coordinates_have_units_and_the_dataset_says_where_it_comes_from() -> None:
    with bgsim.Engine(immediate=True) as engine:
        data = engine.sweep(epidemic, {"beta": [0.1, 0.2]}, {"days": 5}, replicates=3, seed=4).to_xarray("sd")
    assert data["beta"].attrs == {"units": "per day", "long_name": "transmission rate"}
    attributes = dict(data.attrs)
    assert json.loads(attributes.pop("parameters")) == {"days": 5, "ages": 2}
    assert attributes.pop("created_at").endswith("+00:00")
    assert attributes.pop("computed_with").startswith("numpy ")
    assert attributes == {
        "simulation": epidemic.name, "fingerprint": epidemic.fingerprint, "version": "3", "seed": 4, "replicates": 3,
        "bgsim": bgsim.__version__, "statistic": "sd", "points": 2, "missing": 0,
    }  # fmt: skip


def test_it_can_be_written_as_netcdf(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    with bgsim.Engine(immediate=True) as engine:
        big = {"table": np.zeros(1000), "side": Side.LEFT}
        data = engine.sweep(mixed, {"x": [1, 3], "k": ["a", "b"]}, big, replicates=3, seed=10**30).to_xarray()
        path = tmp_path / "a.nc"
        data.to_netcdf(path, engine="scipy")
        with xarray.open_dataset(path, engine="scipy") as again:
            np.testing.assert_array_equal(again["n"], data["n"])
            assert again["error"].values.tolist() == data["error"].values.tolist()
            assert again.attrs["seed"] == str(10**30)
            assert json.loads(again.attrs["parameters"]) == {
                "table": "<float64 array (1000,)>", "side": {"__enum__": "LEFT"},
            }  # fmt: skip


def test_a_list_of_parameter_sets_is_along_point() -> None:
    with bgsim.Engine(immediate=True) as engine:
        sets = [Walk(steps=3, scale=1.0), Walk(steps=3, scale=2.0, label="x")]
        batch = engine.submit_many(walk, sets, replicates=4)
        data = batch.to_xarray()
        assert data["end"].dims == ("point",)
        assert data["path"].dims == ("point", "steps")
        assert data["scale"].values.tolist() == [1.0, 2.0]
        assert data["label"].values.tolist() == ["", "x"]
        assert json.loads(data.attrs["parameters"]) == {"steps": 3}
        assert data["end"].values.tolist() == [r["end"].mean() for r in batch.results()]


def test_parameters_of_any_kind_are_coordinates() -> None:
    sets = [
        {"side": Side.LEFT, "weights": (1, 2), "n": 1, "on": True, "z": 1j, "odd": None, "point": 1},
        {"side": Side.RIGHT, "weights": (3, 4), "n": 2.5, "on": False, "z": 2j, "odd": "x", "point": 2},
    ]
    with bgsim.Engine(immediate=True) as engine:
        data = engine.submit_many(one_draw, sets, replicates=2).to_xarray()
    assert data["side"].values.tolist() == ["LEFT", "RIGHT"]
    assert data["weights"].values.tolist() == ["(1, 2)", "(3, 4)"]
    assert data["n"].values.tolist() == [1.0, 2.5]
    assert data["on"].values.tolist() == [True, False]
    assert data["z"].values.tolist() == [1j, 2j]
    assert data["odd"].values.tolist() == ["None", "x"]
    assert data["x"].sel(point=2).ndim == 0


def test_a_name_that_is_taken_gets_an_underscore() -> None:
    with bgsim.Engine(immediate=True) as engine:
        grid = {"x": [1], "state": [1], "replicate": [1]}
        data = engine.sweep(one_draw, grid, replicates=2).to_xarray("replicates")
    assert data["x_"].dims == ("x", "state", "replicate", "replicate_")
    assert data["state_"].item() == "completed"


def test_a_result_is_a_dataset_without_a_copy() -> None:
    result = bgsim.run(walk, Walk(steps=3), replicates=5, seed=2)
    data = result.to_xarray()
    assert dict(data.sizes) == {"replicate": 5, "steps": 3}
    assert data["path"].dims == ("replicate", "steps")
    assert np.shares_memory(data["path"].values, result["path"])
    assert json.loads(data.attrs["parameters"]) == {"steps": 3, "scale": 1.0, "label": ""}
    assert (data.attrs["seed"], data.attrs["replicates"]) == (2, 5)
    steps = bgsim.simulation(
        lambda p, rng: (np.zeros(p.steps), 1), outputs={"row": ("f8", "steps"), "steps": "i8"}, compile=False
    )
    assert bgsim.run(steps, {"steps": 3}, replicates=2).to_xarray()["row"].dims == ("replicate", "steps_")
    things = bgsim.run(mixed, {"x": 1}, replicates=2).to_xarray()
    assert things["thing.place.at"].shape == (2, 2)


def test_a_stored_result_without_its_simulation_is_a_dataset_and_a_figure() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")

    @bgsim.simulation(outputs={"x": "f8", "row": ("f8", "k")}, compile=False)
    def local(p: Any, rng: Any) -> Any:
        return rng.random(), np.zeros(p.k)

    store = bgsim.MemoryStore()
    with bgsim.Engine(store, immediate=True) as engine:
        result = engine.submit(local, {"k": 3}, replicates=4, seed=1).result()
    loaded = store.load_result(store.results()[0])
    data = loaded.to_xarray()
    assert data["row"].dims == ("replicate", "row_0")
    assert data["x"].values.tolist() == result["x"].tolist()
    assert (data.attrs["simulation"], data.attrs["version"]) == (local.name, "not known here")
    assert loaded.compare(result).outputs["x"].mean == 0.0
    assert len(loaded.plot()) == 2
    pyplot.close("all")


def test_only_what_is_asked_for_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a mean needs no quantiles")

    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(walk, {"scale": [1.0, 2.0]}, replicates=5)
        for name in ("quantile", "std", "sort"):
            monkeypatch.setattr(np, name, never)
        assert sweep.to_xarray()["end"].shape == (2,)


def test_a_dataset_needs_its_extra_and_a_known_statistic(monkeypatch: pytest.MonkeyPatch) -> None:
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(one_draw, {"n": [1]}, replicates=2)
        with pytest.raises(InvalidInputError, match="did you mean 'mean'") as caught:
            sweep.to_xarray("meen")
        assert caught.value.field == "statistic"
        with pytest.raises(InvalidInputError, match="one with jobs"):
            engine.submit_many(one_draw, [], replicates=1).to_xarray()
        monkeypatch.setitem(sys.modules, "xarray", None)
        with pytest.raises(MissingExtraError, match="pip install xarray"):
            sweep.to_xarray()
