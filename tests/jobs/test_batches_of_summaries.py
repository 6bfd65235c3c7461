"""Batches whose jobs keep a summary, or whose points have each its own number of replicates: tables, figures, progress."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import summarised

import bgsim
from bgsim.errors import NoRowsError
from bgsim.progress import ProgressBus, UpdateType

GRID = {"mean": [1.0, 3.0]}
WANTED = bgsim.Precision("scaled", standard_error=0.02, minimum=64, maximum=4096)


@bgsim.simulation(outputs={"scaled": "f8", "hit": "?", "path": ("f8", 2), "name": "S3"}, compile=False)
def scaled(p: summarised.Mixed, rng: Any) -> Any:
    """What needs more replicates the larger its mean is."""
    value = p.mean * rng.random()
    return value, value > 0.5, [value, -value], b"abc"


@bgsim.simulation(outputs={"scaled": "f8", "hit": "?", "path": ("f8", 2)}, compile=False)
def numbers(p: summarised.Mixed, rng: Any) -> Any:
    """The same without a text."""
    value = p.mean * rng.random()
    return value, value > 0.5, [value, -value]


@pytest.fixture
def engine() -> Iterator[bgsim.Engine]:
    with bgsim.Engine() as found:
        yield found


@pytest.mark.parametrize("statistic", ["mean", "sd", "standard_error", "minimum", "maximum", "valid"])
def test_a_dataset_of_summaries_is_that_of_the_rows(engine: bgsim.Engine, statistic: Any) -> None:
    rows = engine.sweep(summarised.mixed, GRID, replicates=300).to_xarray(statistic)
    kept = engine.sweep(summarised.mixed, GRID, replicates=300, keep="summary").to_xarray(statistic)
    assert list(kept) == list(rows) == ["value", "twice", "count", "hit", "path"]
    assert dict(kept.sizes) == dict(rows.sizes)
    for name in rows:
        assert kept[name].dtype == rows[name].dtype
        np.testing.assert_allclose(kept[name], rows[name], rtol=1e-6)


def test_a_frame_and_the_list_of_results_are_those_of_the_rows(engine: bgsim.Engine) -> None:
    rows = engine.sweep(numbers, GRID, replicates=300)
    kept = engine.sweep(numbers, GRID, replicates=300, keep="summary")
    ours, theirs = kept.to_pandas(), rows.to_pandas()
    assert list(ours.columns) == list(theirs.columns)
    assert "replicates" not in ours.columns
    np.testing.assert_allclose(ours.select_dtypes("number"), theirs.select_dtypes("number"), rtol=1e-12)
    assert repr(kept.results()) == repr(rows.results())


def test_a_row_a_replicate_of_summaries_is_refused(engine: bgsim.Engine) -> None:
    kept = engine.sweep(numbers, GRID, replicates=300, keep="summary")
    with pytest.raises(NoRowsError, match='submit with keep="columns"'):
        kept.to_pandas("replicate")
    with pytest.raises(NoRowsError, match='submit with keep="columns"'):
        kept.to_xarray("replicates")


def test_points_say_how_many_replicates_each_took(engine: bgsim.Engine) -> None:
    swept = engine.sweep(scaled, GRID, replicates=WANTED)
    counts = [result.replicates for result in swept.results()]
    assert counts == [256, 2048]
    dataset = swept.to_xarray()
    assert dataset["replicates"].dims == ("mean",)
    assert dataset["replicates"].values.tolist() == counts
    assert dataset.attrs["replicates"] == 2048
    every = swept.to_xarray("replicates")
    assert every["scaled"].shape == (2, 2048)
    assert np.isnan(every["scaled"]).sum(axis=1).values.tolist() == [2048 - 256, 0]
    frame = swept.to_pandas()
    assert frame["replicates"].tolist() == counts
    assert list(frame.columns)[-3:] == ["replicates", "state", "error"]
    assert len(swept.to_pandas("replicate")) == sum(counts)
    heading, first, second = repr(swept.results()).splitlines()[1:4]
    assert heading.split() == ["job", "mean", "scaled", "hit", "replicates"]
    assert (first.split()[-1], second.split()[-1]) == ("256", "2,048")


def test_a_point_that_failed_has_no_replicates(engine: bgsim.Engine) -> None:
    @bgsim.simulation(outputs={"scaled": "f8"}, compile=False)
    def fails(p: summarised.Mixed, rng: Any) -> float:
        if p.mean > 2:
            raise ValueError("too much")
        return p.mean * rng.random()

    swept = engine.sweep(fails, GRID, replicates=WANTED, keep="summary")
    assert swept.to_xarray()["replicates"].values.tolist() == [256, 0]
    assert swept.to_pandas()["replicates"].tolist() == [256, 0]


def test_figures_of_summaries_have_the_points_of_the_rows(engine: bgsim.Engine) -> None:
    drawn = []
    for keep in ("columns", "summary"):
        swept = engine.sweep(numbers, GRID, replicates=300, keep=keep)
        axes = swept.plot("scaled")
        drawn.append(axes.lines[0].get_ydata())
        assert len(swept.plot("path").lines) == 2
    np.testing.assert_allclose(drawn[0], drawn[1], rtol=1e-12)


def test_progress_of_a_batch_is_towards_what_is_expected_of_each_job() -> None:
    with ProgressBus() as bus, bus.batch({"a": 10_000, "b": 10_000}) as batch:
        tell(bus, "a", UpdateType.STARTED, 0, 10_000)
        tell(bus, "a", UpdateType.PROGRESS, 1000, 2000)
        state = last(batch, lambda s: s.replicates_completed == 1000)
        assert (state.total_replicates, state.fraction) == (12_000, pytest.approx(1000 / 12_000))
        tell(bus, "a", UpdateType.COMPLETED, 1500, 1500)
        tell(bus, "b", UpdateType.STARTED, 0, 500)
        tell(bus, "b", UpdateType.COMPLETED, 500, 500)
        state = last(batch, lambda s: s.is_final)
        assert (state.replicates_completed, state.total_replicates, state.fraction) == (2000, 2000, 1.0)


def tell(bus: ProgressBus, job: str, kind: UpdateType, done: int, total: int) -> None:
    bus.publish(job, kind, fraction=done / total, replicates_completed=done, total_replicates=total)


def last(batch: Any, reached: Any) -> Any:
    return next(state for state in batch if reached(state))


def test_a_batch_longer_than_the_queue_takes_stored_answers_to_a_precision() -> None:
    """What is stored answers at once with fewer replicates than the progress of the batch was told of."""
    grid = {"mean": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 2.5, 3.0]}
    with bgsim.Engine(max_queue_size=2) as engine:
        engine.sweep(numbers, {"mean": [2.5, 3.0]}, replicates=WANTED, keep="summary").wait()
        engine.pause()
        swept = engine.sweep(numbers, grid, replicates=WANTED, keep="summary")
        assert len(swept.submitted()) < 6
        progress = swept.progress()
        engine.resume()
        *_, final = progress
        counts = [result.replicates for result in swept.results()]
        assert (final.completed, final.total_replicates, final.fraction) == (8, sum(counts), 1.0)
