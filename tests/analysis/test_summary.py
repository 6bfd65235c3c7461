"""Summaries: NaN that is left out, intervals of means and proportions, fans, and their table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import bgsim
from bgsim.analysis.intervals import interval, wilson
from bgsim.analysis.summary import Summary, summarize
from bgsim.errors import InvalidInputError
from bgsim.ui.terminal import summary_table

CUTS = (0.0, 0.05, 0.5, 0.95, 1.0)


@bgsim.simulation(outputs={"x": "f8", "won": "?", "curve": ("f8", 3), "word": "U3"}, compile=False)
def gappy(p: Any, rng: Any) -> Any:
    x = rng.standard_normal()
    return (math.nan if x < -1.2 else x, x > 0, np.array([0.0, x, math.nan if x < 0 else x]), "abc")


@pytest.fixture(scope="module")
def result() -> Any:
    return bgsim.run(gappy, replicates=1000, seed=3)


def test_nan_is_left_out_and_counted(result: Any) -> None:
    x = result["x"]
    kept = x[~np.isnan(x)]
    found, alone = summarize(x, CUTS, 0.9), summarize(kept, CUTS, 0.9)
    assert (found.count, found.valid, alone.valid) == (1000, len(kept), len(kept))
    for name in ("mean", "sd", "standard_error", "minimum", "maximum", "low", "high"):
        assert getattr(found, name) == pytest.approx(getattr(alone, name), rel=1e-13)
    assert found.quantiles == pytest.approx(alone.quantiles, rel=1e-13)


def test_each_element_of_an_array_leaves_out_its_own() -> None:
    rng = np.random.default_rng(1)
    column = rng.random((200, 4))
    column[rng.random(column.shape) < 0.2] = math.nan
    column[:, 2] = math.nan
    column[1:, 3] = math.nan
    column[0, 3] = 7.0
    found = summarize(column, CUTS, 0.95)
    assert found.valid.tolist() == (~np.isnan(column)).sum(axis=0).tolist()
    for i in range(4):
        alone = summarize(column[:, i][~np.isnan(column[:, i])], CUTS, 0.95)
        for name in ("mean", "sd", "standard_error", "minimum", "maximum", "low", "high"):
            assert getattr(found, name)[i] == pytest.approx(getattr(alone, name), rel=1e-13, nan_ok=True)
        for q in CUTS:
            assert found.quantiles[q][i] == pytest.approx(alone.quantiles[q], rel=1e-13, nan_ok=True)
    assert math.isnan(found.mean[2])
    assert (found.mean[3], found.minimum[3]) == (7.0, 7.0)
    assert math.isnan(found.sd[3])


def test_infinities_and_nan_together() -> None:
    found = summarize(np.array([-math.inf, math.nan, math.inf, 1.0]), (0.0, 0.25, 0.5, 1.0))
    assert found.valid == 3
    assert found.quantiles == {0.0: -math.inf, 0.25: -math.inf, 0.5: 1.0, 1.0: math.inf}
    assert summarize(np.array([1.0, math.inf])).valid == 2
    assert summarize(np.array([math.inf, -math.inf])).valid == 2


def test_complex_and_empty_columns_have_what_they_can() -> None:
    found = summarize(np.array([1 + 1j, complex(math.nan, 0)]), confidence=0.9)
    assert (found.valid, found.mean) == (1, 1 + 1j)
    assert math.isnan(found.low)
    assert math.isnan(summarize(np.empty(0), confidence=0.9).high)
    assert summarize(np.empty((5, 0)), confidence=0.9).mean.shape == (0,)
    assert math.isnan(summarize(np.empty(0, bool), confidence=0.9).low)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("count", [2, 3, 30, 500])
def test_the_interval_is_that_of_scipy(count: int, confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(count).random(count)
    expected = stats.t.interval(confidence, count - 1, values.mean(), stats.sem(values))
    assert interval(values, confidence) == pytest.approx(expected, rel=1e-7)
    wins = values < 0.3
    exact = stats.binomtest(int(wins.sum()), count).proportion_ci(confidence, method="wilson")
    assert interval(wins, confidence) == pytest.approx((exact.low, exact.high), rel=1e-9, abs=1e-15)


def test_a_proportion_of_nothing_or_all_keeps_a_width() -> None:
    low, high = wilson(np.array([0, 20]), 20, 0.95)
    assert (low[0], high[1]) == (0.0, 1.0)
    assert 0.1 < high[0] < 0.2
    assert low[1] == pytest.approx(1 - high[0])


def test_an_interval_covers_as_often_as_it_says() -> None:
    """Of 2,000 intervals of 90 %, 1,800 hold the mean, up to four standard errors (54); the last 10 values are NaN."""
    rng = np.random.default_rng(4)
    column = rng.standard_normal((20, 2000))
    column[10:] = math.nan
    low, high = interval(column, 0.9)
    assert ((low <= 0) & (high >= 0)).sum() == pytest.approx(1800, abs=60)


def test_the_table_has_arrays_intervals_and_what_is_valid(result: Any) -> None:
    text = repr(result.summary())
    assert f"{(~np.isnan(result['x'])).sum()} of 1,000" in text
    assert "curve (3,)" in text
    assert " .. " in text
    assert "<U3, such as 'abc'" in text
    assert "interval" not in text
    summary = result.summary(confidence=0.95)
    assert "95 % interval of the mean" in repr(summary)
    x = summary["x"]
    assert f"{x.low:.6g} to {x.high:.6g}" in repr(summary)
    assert x.low < x.mean < x.high
    assert summary["curve"].low.shape == (3,)
    assert repr(summary).count(" to ") == 2
    html = summary._repr_html_()
    assert "text-align:right" in html
    assert "padding" in html


def test_a_table_without_nan_has_no_column_for_it() -> None:
    columns = {"x": np.arange(4.0), "none": np.empty((4, 0)), "same": np.ones((4, 2)), "z": np.ones((4, 2), complex)}
    headings, rows = Summary(columns).table()
    assert headings[:3] == ["output", "mean", "standard error"]
    assert rows[2][:3] == ["same (2,)", "1", "0"]
    assert rows[3][1] == ""


def test_the_command_line_says_what_is_valid(result: Any) -> None:
    table = summary_table(result)
    names, means = ([row[i] for row in table.rows] for i in (0, 1))
    assert names == [
        f"x, {result.summary()['x'].valid_text}",
        "won",
        f"curve, {result.summary()['curve'].valid_text} (3,)",
        "word",
    ]
    assert "±" in means[0]
    assert " .. " in means[2]


def test_one_output_shows_itself(result: Any) -> None:
    text = repr(result.summary(confidence=0.9)["x"])
    assert "standard error" in text
    assert "1,000" in text
    assert [line.split()[0] for line in text.splitlines()][-5:] == ["low", "high", "5", "50", "95"]
    assert " .. " in repr(result.summary()["curve"])
    assert repr(result.summary()["word"]).split() == ["count", "1,000"]


def test_a_fan_has_quantiles_for_each_element(result: Any) -> None:
    fan = result.fan("curve")
    assert list(fan) == [0.05, 0.25, 0.5, 0.75, 0.95]
    assert fan[0.5].shape == (3,)
    assert fan[0.05][1] == pytest.approx(np.quantile(result["curve"][:, 1], 0.05))
    assert fan[0.05][2] >= 0
    assert list(result.fan("x", (0.5,))) == [0.5]
    with pytest.raises(InvalidInputError, match="output of numbers"):
        result.fan("word")
    with pytest.raises(KeyError, match="did you mean 'curve'"):
        result.fan("curv")


def test_bad_quantiles_and_confidences_are_refused(result: Any) -> None:
    for bad in (1.5, -0.1, math.nan, "a", True):
        with pytest.raises(InvalidInputError, match="quantiles must be numbers from 0 to 1"):
            result.summary((0.5, bad))
        with pytest.raises(InvalidInputError, match="quantiles"):
            result.fan("x", [bad])
    for bad in (0, 1, 95, "high", math.nan):
        with pytest.raises(InvalidInputError, match="confidence must be a number between 0 and 1"):
            result.summary(confidence=bad)
