"""Figures: what is drawn, its labels and units, and the points that have no result."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bgsim
from bgsim.analysis import distribution, drawing
from bgsim.analysis.distribution import Rows
from bgsim.errors import InvalidInputError, MissingExtraError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")

from matplotlib import pyplot  # noqa: E402 - it takes the backend


@dataclass(frozen=True)
class Model:
    a: float = bgsim.parameter(1.0, unit="m")
    b: float = bgsim.parameter(0.5, unit="per day", doc="rate of growth")
    days: int = 6
    kind: str = "low"


POINT = np.dtype([("x", "f8"), ("y", "i4")])


@bgsim.simulation(
    outputs={
        "size": "f8", "number": "i8", "won": "?", "curve": ("f8", "days"), "flags": ("?", 4), "plane": ("f8", ("days", 2)),
        "cube": ("f8", (2, 2, 2)), "word": "U3", "z": "c16", "point": POINT, "gappy": "f8",
    },
    compile=False,
)  # fmt: skip
def model(p: Model, rng: Any) -> Any:
    if p.a == 3 and p.b > 0.5:
        raise ValueError("no")
    size = p.a * p.b + rng.normal()
    return (
        size, int(rng.integers(1, 7)), size > 0, p.b * np.arange(p.days) + rng.random(), np.array([True, False, size > 0, True]),
        np.full((p.days, 2), size), np.zeros((2, 2, 2)), "abc", 1j, np.array((size, 1), POINT), np.nan,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def closes() -> Iterator[None]:
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with bgsim.Engine(immediate=True) as engine:
        yield engine


@pytest.fixture(scope="module")
def result(engine: Any) -> Any:
    return engine.submit(model, replicates=200, seed=1).result()


def drawn(axes: Any) -> Any:
    """Have everything laid out, as when it is saved."""
    np.ravel(np.asarray(axes, object))[0].figure.canvas.draw()
    return axes


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []


def test_all_that_can_be_drawn_has_axes_of_its_own(result: Any) -> None:
    axes = drawn(result.plot())
    names = [ax.get_xlabel() or ax.get_ylabel() for ax in axes]
    assert names == ["size", "number", "won", "days", "flags, axis 0", "plane, axis 1", "point.x", "point.y", "gappy"]


def test_a_number_is_a_histogram_with_its_mean(result: Any) -> None:
    ax = drawn(result.plot("size"))
    assert sum(patch.get_height() for patch in ax.patches) == 200
    assert ax.lines[0].get_xdata()[0] == result["size"].mean()
    assert legend(ax)[0].startswith("mean ")
    assert ax.get_ylabel() == "replicates"


def test_an_integer_has_whole_bins(result: Any) -> None:
    ax = result.plot("number")
    middles = [patch.get_x() + patch.get_width() / 2 for patch in ax.patches]
    assert middles == [1, 2, 3, 4, 5, 6]
    assert [patch.get_height() for patch in ax.patches] == np.bincount(result["number"])[1:].tolist()


def test_bins_are_few_and_hold_every_value() -> None:
    for values, whole in (
        (np.array([5.0]), False), (np.array([1.0, 1.0, 1.0, 9.0]), False), (np.array([0.0, 1e300]), False),
        (np.arange(100_000.0), True), (np.array([-3.0, 400.0]), True), (np.array([7.0]), True),
    ):  # fmt: skip
        edges = distribution.bins_of(values, whole=whole)
        assert 2 <= len(edges) <= 63
        assert edges[0] <= values.min() <= values.max() <= edges[-1]
        assert (np.diff(edges) > 0).all()
        if whole:
            assert ((edges + 0.5) % 1 == 0).all()


def test_a_boolean_is_a_proportion_with_wilson_s_interval(result: Any) -> None:
    ax = result.plot("won", confidence=0.9)
    assert [patch.get_height() for patch in ax.patches] == [1 - result["won"].mean(), result["won"].mean()]
    s = result.summary(confidence=0.9)["won"]
    ends = ax.collections[1].get_segments()[0][:, 1]
    assert ends.tolist() == pytest.approx([s.low, s.high])


def test_a_row_is_a_fan(result: Any) -> None:
    ax = drawn(result.plot("curve"))
    assert legend(ax) == ["5 to 95 %", "25 to 75 %", "median"]
    assert ax.lines[0].get_ydata().tolist() == result.fan("curve")[0.5].tolist()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("days", "curve")
    flags = result.plot("flags")
    assert flags.lines[0].get_ydata().tolist() == result["flags"].mean(axis=0).tolist()
    assert flags.get_ylabel() == "proportion of flags"


def test_a_plane_is_the_mean_of_each_element(result: Any) -> None:
    ax = drawn(result.plot("plane"))
    np.testing.assert_array_equal(ax.collections[0].get_array(), result["plane"].mean(axis=0))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("plane, axis 1", "days")


def test_an_axis_with_one_element_is_none(engine: Any) -> None:
    one = engine.submit(model, {"days": 1}, replicates=20).result()
    assert legend(drawn(one.plot("curve")))[0].startswith("mean ")
    ax = drawn(one.plot("plane"))
    assert ax.lines[0].get_ydata().tolist() == one.fan("plane")[0.5][0].tolist()
    assert ax.get_xlabel() == "plane, axis 1"


def test_what_cannot_be_drawn_is_refused(result: Any) -> None:
    for name in ("word", "z", "cube", "point"):
        with pytest.raises(InvalidInputError, match=f"'{name}' cannot be drawn"):
            result.plot(name)
    with pytest.raises(InvalidInputError, match="did you mean 'size'"):
        result.plot("sise")
    with pytest.raises(InvalidInputError, match="a place for each of 9 panels; got 1"):
        result.plot(ax=pyplot.subplots()[1])
    with pytest.raises(InvalidInputError, match="confidence"):
        result.plot("won", confidence=95)


def test_given_axes_are_drawn_into(result: Any) -> None:
    _, ax = pyplot.subplots()
    assert result.plot("size", ax=ax) is ax
    _, grid = pyplot.subplots(3, 3)
    assert list(result.plot(ax=grid)) == list(grid.ravel())
    assert len(pyplot.get_fignums()) == 2


def test_colours_are_those_of_the_style(result: Any) -> None:
    with pyplot.style.context("dark_background"):
        ax = drawn(result.plot("won"))
        assert ax.collections[0].get_edgecolor()[0].tolist() == [1.0, 1.0, 1.0, 1.0]
        assert (
            matplotlib.colors.to_hex(ax.patches[0].get_facecolor())
            == pyplot.rcParams["axes.prop_cycle"].by_key()["color"][0]
        )


# ---- sweeps ------------------------------------------------------------------------------------------


def test_one_parameter_is_a_line_with_its_interval(engine: Any) -> None:
    sweep = engine.sweep(model, {"b": [2.0, 0.5, 1.0]}, replicates=50)
    axes = drawn(sweep.plot(confidence=0.9))
    assert [ax.get_ylabel() for ax in axes] == [
        "mean of size", "mean of number", "proportion of won", "mean of point.x", "mean of point.y", "mean of gappy",
    ]  # fmt: skip
    line = axes[0].lines[0]
    assert line.get_xdata().tolist() == [0.5, 1.0, 2.0]
    by_b = {job.parameters["b"]: job.result().summary(confidence=0.9)["size"] for job in sweep}
    assert line.get_ydata().tolist() == [by_b[b].mean for b in (0.5, 1.0, 2.0)]
    assert legend(axes[0]) == ["90 % interval"]
    heights = axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (min(s.low for s in by_b.values()), max(s.high for s in by_b.values()))
    assert {ax.get_xlabel() for ax in axes} == {"rate of growth [per day]"}


def test_a_scale_that_the_caller_has_chosen_stays(engine: Any, result: Any) -> None:
    _, (one, two, three) = pyplot.subplots(1, 3)
    for ax in (one, two, three):
        ax.set_xscale("log")
    engine.sweep(model, {"b": [0.1, 1.0, 10.0]}, replicates=5).plot("size", ax=one)
    drawn(result.plot("number", ax=two))
    drawn(result.plot("curve", ax=three))
    assert [ax.get_xscale() for ax in (one, two, three)] == ["log"] * 3
    assert isinstance(one.xaxis.get_major_locator(), matplotlib.ticker.LogLocator)


def test_points_without_a_result_are_marked(engine: Any) -> None:
    ax = drawn(engine.sweep(model, {"a": [1, 2, 3, 4]}, {"b": 1.0}, replicates=5).plot("size"))
    assert legend(ax) == ["95 % interval", "no result"]
    assert ax.lines[-1].get_xdata().tolist() == [3.0]
    assert np.isnan(ax.lines[0].get_ydata()[2])
    assert ax.get_xlabel() == "a [m]"


def test_values_that_are_no_numbers_stand_side_by_side(engine: Any) -> None:
    ax = drawn(engine.sweep(model, {"kind": ["low", "mid", "high"]}, replicates=5).plot("size"))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["low", "mid", "high"]


def test_curves_have_a_line_for_each_value(engine: Any) -> None:
    few = drawn(engine.sweep(model, {"a": [1, 2, 3]}, {"b": 1.0}, replicates=5).plot("curve"))
    assert legend(few) == ["1", "2"]
    assert few.get_legend().get_title().get_text() == "a [m]"
    many = drawn(engine.sweep(model, {"b": np.linspace(0.1, 0.4, 12)}, replicates=5).plot("curve"))
    assert len(many.lines) == 12
    turned = drawn(engine.sweep(model, {"a": [2, 1]}, {"b": 1.0}, replicates=5).plot("curve"))
    straight = drawn(engine.sweep(model, {"a": [1, 2]}, {"b": 1.0}, replicates=5).plot("curve"))
    colors = [[tuple(line.get_color()) for line in ax.lines] for ax in (turned, straight)]
    assert colors[0] == colors[1][::-1]
    assert many.figure.axes[1].get_ylabel() == "rate of growth [per day]"
    assert (many.get_xlabel(), many.get_ylabel()) == ("days", "mean of curve")


def test_texts_are_no_formulas_and_name_their_curves(engine: Any) -> None:
    words = ["_low", "$\\frac$", "a$b$c"]
    curves = drawn(engine.sweep(model, {"kind": words}, replicates=3).plot("curve"))
    assert legend(curves) == [" _low", r"\$\frac\$", r"a\$b\$c"]
    ticks = drawn(engine.sweep(model, {"kind": words}, replicates=3).plot("size")).get_xticklabels()
    assert [tick.get_text() for tick in ticks] == [" _low", r"\$\frac\$", r"a\$b\$c"]


def test_curves_of_no_number_need_no_legend(engine: Any) -> None:
    failed = drawn(engine.sweep(model, {"b": [0.6, 0.7]}, {"a": 3.0}, replicates=1).plot("curve"))
    assert failed.get_legend() is None
    assert not failed.lines


def test_values_on_one_place_have_a_width(engine: Any) -> None:
    for places in ([2.0, 2.0], [1e300]):
        drawn(engine.sweep(model, {"a": places, "b": [0.1, 0.2]}, replicates=2).plot("number"))


def test_a_plane_without_elements_is_empty(engine: Any) -> None:
    ax = drawn(engine.submit(model, {"days": 0}, replicates=3).result().plot("plane"))
    assert not ax.collections
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("plane, axis 1", "days")


@pytest.mark.parametrize(
    "values",
    [
        [1e-320] * 40 + [2e-320] * 40 + [1e300],
        [1e300, 1.0000000000000002e300],
        [1e300],
        [5e-324, 0.0],
    ],
)
def test_numbers_at_the_ends_of_doubles_are_drawn(values: list[float]) -> None:
    figure, ax = pyplot.subplots()
    drawing.histogram(ax, "x", Rows(np.array(values)))
    assert sum(bar.get_height() for bar in ax.patches) == len(values)
    figure.canvas.draw()


def test_two_parameters_are_a_heat_map_with_hatches(engine: Any) -> None:
    sweep = engine.sweep(model, {"a": [1.0, 3.0, 2.0], "b": [0.4, 1.0]}, replicates=5)
    ax = drawn(sweep.plot("size"))
    plane = ax.collections[0].get_array()
    assert plane.shape == (2, 3)
    assert plane[1, 1] == sweep[5].result()["size"].mean()
    assert plane.mask.tolist() == [[False] * 3, [False, False, True]]
    hatched = [patch for patch in ax.patches if patch.get_hatch()]
    assert [(patch.get_x(), patch.get_y()) for patch in hatched] == [(2.5, pytest.approx(0.7))]
    assert legend(ax) == ["no result"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a [m]", "rate of growth [per day]")
    assert ax.figure.axes[1].get_ylabel() == "mean of size"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "3"]
    one = drawn(engine.sweep(model, {"a": [1.0], "kind": ["x", "y"]}, replicates=5).plot("won"))
    assert [tick.get_text() for tick in one.get_yticklabels()] == ["x", "y"]
    assert one.get_xlim() == (0.5, 1.5)
    assert one.collections[0].get_coordinates()[0, :, 0].tolist() == [0.5, 1.5]


def test_points_that_are_no_grid_are_coloured(engine: Any) -> None:
    sets = [{"a": 1.0, "b": 0.1}, {"a": 3.0, "b": 0.9}, {"a": 2.0, "b": 0.3}]
    ax = drawn(engine.submit_many(model, sets, replicates=5).plot("size"))
    assert ax.collections[0].get_offsets().data.tolist() == [[1.0, 0.1], [2.0, 0.3]]
    assert legend(ax) == ["no result"]
    alone = drawn(engine.submit_many(model, [{"b": 0.3}, {"b": 0.1}], replicates=5).plot("size"))
    assert alone.lines[0].get_xdata().tolist() == [0.1, 0.3]


def test_more_parameters_have_a_panel_each(engine: Any) -> None:
    sets = [{"a": 1.0, "b": 0.1, "kind": "x"}, {"a": 3.0, "b": 0.9, "kind": "y"}, {"a": 2.0, "b": 0.3, "kind": "x"}]
    batch = engine.submit_many(model, sets, replicates=5)
    axes = drawn(batch.plot("size"))
    assert [ax.get_xlabel() for ax in axes] == ["a [m]", "rate of growth [per day]", "kind"]
    means = [job.result()["size"].mean() for job in (batch[0], batch[2])]
    assert axes[0].lines[0].get_xdata()[[0, 2]].tolist() == [1.0, 2.0]
    assert axes[0].lines[0].get_ydata()[[0, 2]].tolist() == means
    assert axes[1].lines[1].get_xdata().tolist() == [0.9]
    assert [tick.get_text() for tick in axes[2].get_xticklabels()] == ["x", "y"]
    with pytest.raises(InvalidInputError, match="name one output, to be drawn over each parameter: size, number, won"):
        batch.plot()


def test_what_a_sweep_cannot_draw_is_refused(engine: Any) -> None:
    three = engine.sweep(model, {"a": [1], "b": [0.1], "days": [2]}, replicates=1)
    with pytest.raises(InvalidInputError, match="one or two parameters; this batch varies a, b, days"):
        three.plot()
    with pytest.raises(InvalidInputError, match="varies none"):
        engine.submit_many(model, [None], replicates=1).plot()
    with pytest.raises(
        InvalidInputError, match="'curve' cannot be drawn.*a real number over more than one parameter.*to_xarray"
    ):
        engine.sweep(model, {"a": [1], "b": [0.1]}, replicates=1).plot("curve")


def test_a_sweep_in_which_all_fail_is_drawn(engine: Any) -> None:
    grid = {"a": [3.0], "b": [0.6, 0.7]}
    drawn(engine.sweep(model, grid, replicates=1).plot())
    ax = drawn(engine.sweep(model, {"b": [0.6, 0.7]}, {"a": 3.0}, replicates=1).plot("size"))
    assert ax.lines[-1].get_xdata().tolist() == [0.6, 0.7]


# ---- comparisons -------------------------------------------------------------------------------------


def test_a_comparison_is_intervals_beside_zero(engine: Any, result: Any) -> None:
    other = engine.submit(model, {"b": 0.7}, replicates=100, seed=1).result()
    comparison = result.compare(other, confidence=0.9)
    axes = drawn(comparison.plot())
    assert [ax.get_xlabel() for ax in axes][:3] == ["difference of size", "difference of number", "difference of won"]
    size = comparison.outputs["size"]
    assert legend(axes[0]) == ["90 % interval, paired"]
    ends = axes[0].collections[0].get_segments()[0][:, 0]
    assert ends.tolist() == pytest.approx([size.low, size.high])
    assert axes[0].figure.get_suptitle() == "b 0.5 instead of 0.7"
    curve = comparison.plot("curve")
    assert curve.lines[0].get_ydata().tolist() == comparison.outputs["curve"].mean.tolist()
    with pytest.raises(InvalidInputError, match="'plane' cannot be drawn"):
        comparison.plot("plane")


def test_a_figure_needs_matplotlib(result: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r"plot\(\) needs matplotlib: pip install matplotlib"):
        result.plot("size")
