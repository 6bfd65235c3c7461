"""DataFrames of batches: a row a point, a row a replicate, and points without a result."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from kernels import Walk, fragile, one_draw, walk

import bgsim
from bgsim.errors import InvalidInputError, MissingExtraError

pandas = pytest.importorskip("pandas")


@bgsim.simulation(outputs={"n": "i8", "x": "f8", "word": "U3", "pair": ("f8", "k")}, compile=False)
def mixed(p: Any, rng: Any) -> Any:
    if p.k == 3:
        raise ValueError("k is three")
    return p.k, float("nan") if rng.random() < 0.5 else 1.0, "abc", np.full(p.k, rng.random())


def test_a_row_a_point_has_estimates() -> None:
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(walk, {"scale": [0.5, 1.5], "label": ["a", "b"]}, {"steps": 2}, replicates=9)
        frame = sweep.to_pandas()
        assert list(frame.columns) == [
            "scale", "label",
            *(f"{name}_{kind}" for name in ("end", "path[0]", "path[1]", "ups", "high")
              for kind in ("mean", "standard_error", "valid")),
            "state", "error",
        ]  # fmt: skip
        assert frame.index.name == "point"
        assert frame["scale"].tolist() == [0.5, 0.5, 1.5, 1.5]
        assert frame["label"].tolist() == ["a", "b", "a", "b"]
        for (_, row), result in zip(frame.iterrows(), sweep.results(), strict=True):
            s = result.summary()
            assert (row["end_mean"], row["end_standard_error"], row["end_valid"]) == (
                s["end"].mean,
                s["end"].standard_error,
                9,
            )
            assert row["path[1]_mean"] == s["path"].mean[1]
        assert set(frame["state"]) == {"completed"}


@bgsim.simulation(outputs={"point": "f8"}, compile=False)
def located(p: Any, rng: Any) -> float:
    return float(p.point_mean)


def test_the_index_has_a_name_of_its_own() -> None:
    """Else pandas can neither reset it nor group by it."""
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(located, {"point_mean": [1.0, 2.0]}, replicates=3)
        assert sweep.to_pandas("replicate").index.name == "point_"
        assert sweep.to_pandas().index.name == "point"
        sweep = engine.sweep(mixed, {"k": [1, 2], "point": [5, 6]}, replicates=3)
        for rows in ("point", "replicate"):
            frame = sweep.to_pandas(rows)
            assert frame.reset_index().columns[0] == frame.index.name == "point_"
            assert frame.groupby("point")["k"].nunique().tolist() == [2, 2]


def test_a_row_a_replicate_is_long() -> None:
    with bgsim.Engine(immediate=True) as engine:
        batch = engine.submit_many(walk, [Walk(steps=2), Walk(steps=2, scale=3.0)], replicates=4)
        frame = batch.to_pandas("replicate")
        assert list(frame.columns) == [
            "scale",
            "replicate",
            "end",
            "path[0]",
            "path[1]",
            "ups",
            "high",
            "state",
            "error",
        ]
        assert frame["scale"].tolist() == [1.0] * 4 + [3.0] * 4
        assert frame["replicate"].tolist() == [0, 1, 2, 3] * 2
        assert frame["end"].tolist() == [x for result in batch.results() for x in result["end"]]
        assert (frame["ups"].dtype, frame["high"].dtype, frame["replicate"].dtype) == (np.int32, np.bool_, np.int64)
        assert frame.groupby("point")["end"].mean().tolist() == pytest.approx(
            [r["end"].mean() for r in batch.results()]
        )


def test_a_point_without_a_result_is_one_row() -> None:
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(mixed, {"k": [2, 3]}, replicates=20)
        points, replicates = sweep.to_pandas(), sweep.to_pandas("replicate")
    assert points["state"].tolist() == ["completed", "failed"]
    assert "k is three" in points["error"][1]
    assert np.isnan(points["n_mean"][1])
    assert points["x_valid"].dtype == np.int64
    assert 0 < points["x_valid"][0] < 20
    assert points["x_valid"][1] == 0
    assert points["x_mean"][0] == 1.0
    assert len(replicates) == 21
    last = replicates.iloc[-1]
    assert last["replicate"] is pandas.NA
    assert np.isnan(last["n"])
    assert (last["word"], last["k"], last["state"]) == ("", 3, "failed")
    assert list(replicates.columns) == ["k", "replicate", "n", "x", "word", "pair[0]", "pair[1]", "state", "error"]


def test_lengths_that_differ_are_filled_up() -> None:
    with bgsim.Engine(immediate=True) as engine:
        frame = engine.sweep(mixed, {"k": [1, 2]}, replicates=2).to_pandas("replicate")
    assert frame["pair[1]"].isna().tolist() == [True, True, False, False]


def test_a_batch_in_which_all_fail_is_a_frame() -> None:
    with bgsim.Engine(immediate=True) as engine:
        batch = engine.submit_many(fragile, [{"fails_at": 1.0}, {"fails_at": 2.0}], replicates=3)
        assert batch.to_pandas()["x_mean"].isna().all()
        long = batch.to_pandas("replicate")
        assert long["x"].isna().tolist() == [True, True]
        assert long["replicate"].isna().all()


def test_names_that_are_taken_get_an_underscore() -> None:
    with bgsim.Engine(immediate=True) as engine:
        frame = engine.sweep(one_draw, {"x": [1], "error": [2]}, replicates=1).to_pandas("replicate")
    assert list(frame.columns) == ["x", "error", "replicate", "x_", "state", "error_"]


def test_unknown_rows_and_a_missing_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with bgsim.Engine(immediate=True) as engine:
        batch = engine.submit_many(one_draw, [{"n": 1}], replicates=1)
        with pytest.raises(InvalidInputError, match=r"rows must be one of point, replicate; did you mean 'replicate'"):
            batch.to_pandas("replicates")
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(MissingExtraError, match="pip install pandas"):
            batch.to_pandas()
