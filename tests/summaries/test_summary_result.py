"""A result that keeps a summary, beside one that keeps the rows of the same replicates."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bgsim
from bgsim.errors import InvalidInputError, NoRowsError, SimulationChangedError
from bgsim.live.results import Reader
from bgsim.result import SimulationResult
from bgsim.storage import Columns
from bgsim.summaries.check import check_summarisable
from bgsim.summaries.column import Segment, TallyColumn
from bgsim.summaries.of_columns import result_of
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.result import SummaryResult
from bgsim.summaries.tally import Tally

pyplot = pytest.importorskip("matplotlib.pyplot")


@dataclass(frozen=True)
class Shift:
    shift: float = 0.0


@bgsim.simulation(
    outputs={"x": "f8", "hits": "i8", "won": "?", "path": ("f4", 3), "plane": ("f8", (2, 2)), "signs": ("?", 4)},
    compile=False,
)
def model(p: Shift, rng: Any) -> Any:
    x = rng.normal() + p.shift
    if rng.random() < 0.02:
        x = np.nan
    path = rng.normal(size=3).astype(np.float32)
    return x, rng.poisson(4.0), rng.random() < 0.3, path, rng.random((2, 2)), rng.random(4) < 0.5


@bgsim.simulation(outputs={"x": "f8", "name": "U3"}, compile=False)
def texts(p: Shift, rng: Any) -> Any:
    return rng.random(), "abc"


def rows_of(seed: int = 1, replicates: int = 400, shift: float = 0.0) -> SimulationResult:
    return bgsim.run(model, Shift(shift=shift), replicates=replicates, seed=seed)


def summary_of(result: SimulationResult, *, pair: bool = True) -> Any:
    columns = Columns()
    columns.versions = result.versions
    for name, column in result.items():
        tally = Tally(column.dtype, column.shape[1:])
        tally.add(column)
        columns[name] = TallyColumn([Segment(0, len(column), tally)])
    if pair:
        both = PairTally()
        both.add(result["x"], result["hits"])
        columns["x*hits"] = TallyColumn([Segment(0, len(result["x"]), both)])
    return result_of(result.simulation, result.parameters, result.seed, columns, result.fingerprint)


@pytest.fixture(scope="module")
def rows() -> SimulationResult:
    return rows_of()


@pytest.fixture(scope="module")
def summary(rows: SimulationResult) -> SummaryResult:
    return summary_of(rows)


def test_columns_of_tallies_are_a_summary_result(rows: SimulationResult, summary: SummaryResult) -> None:
    assert isinstance(summary, SummaryResult)
    assert (summary.replicates, summary.seed, summary.seeds, summary.versions) == (400, 1, {1: 400}, rows.versions)
    assert list(summary) == list(rows) == summary.keys()
    assert (len(summary), summary.pairs) == (6, (("x", "hits"),))
    assert "x" in summary
    assert "x*hits" not in summary
    assert isinstance(result_of(model, rows.parameters, 1, rows, rows.fingerprint), SimulationResult)


def test_the_table_is_that_of_the_rows(rows: SimulationResult, summary: SummaryResult) -> None:
    found, expected = (result.summary((0.0, 0.25, 1.0), confidence=0.9) for result in (summary, rows))
    assert found.table()[0] == expected.table()[0]
    assert list(found) == list(expected)
    for name in found:
        for statistic in ("count", "valid", "mean", "sd", "standard_error", "minimum", "maximum", "low", "high"):
            values = (getattr(s[name], statistic) for s in (found, expected))
            np.testing.assert_allclose(*values, rtol=1e-12, err_msg=f"{statistic} of {name}")
        for q in (0.0, 0.25, 1.0):
            low, high = (getattr(summary.quantile(name, q), bound) for bound in ("low", "high"))
            assert np.all((low <= expected[name].quantiles[q]) & (expected[name].quantiles[q] <= high))
            assert np.array_equal(summary.fan(name, [q])[q], found[name].quantiles[q])
    assert found["hits"].quantiles == expected["hits"].quantiles
    assert repr(summary).startswith("SummaryResult of test_summary_result.model: 400 replicates, seed 1\n")
    assert "won" in summary._repr_html_()


def test_rows_are_refused_with_what_to_do(summary: SummaryResult) -> None:
    with pytest.raises(NoRowsError, match=r"quantile\('x', 0.95\).*keep=\"columns\""):
        summary["x"]
    with pytest.raises(KeyError, match="did you mean 'hits'"):
        summary["hit"]
    for method in (summary.to_pandas, summary.to_xarray, summary.items, summary.values, lambda: summary.get("x")):
        with pytest.raises(NoRowsError, match="summary"):
            method()


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda s: s.quantile("y", 0.5), "output"),
        (lambda s: s.quantile("x", 1.5), "q"),
        (lambda s: s.quantile("x", True), "q"),
        (lambda s: s.fan("x", [2]), "quantiles"),
        (lambda s: s.histogram("path"), "output"),
        (lambda s: s.histogram("x", 1), "bins"),
        (lambda s: s.histogram("x", edges=[2, 1]), "edges"),
        (lambda s: s.histogram("x", edges=[1, 1]), "edges"),
        (lambda s: s.histogram("x", edges=["a", "b"]), "edges"),
        (lambda s: s.histogram("x", edges=[np.nan, 1.0]), "edges"),
        (lambda s: s.covariance("x", "won"), "pairs"),
        (lambda s: s.replay(400), "index"),
        (lambda s: s.replay(0, seed=5), "seed"),
        (lambda s: s.merge(1), "other"),
        (lambda s: s.merge(s), "other"),
        (lambda s: s.compare(s), "other"),
        (lambda s: s.compare(3), "other"),
        (lambda s: s.summary(confidence=1.0), "confidence"),
    ],
)
def test_an_error_names_the_field(summary: SummaryResult, call: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        call(summary)
    assert caught.value.field == field


def test_quantiles_and_histograms_of_rows_have_the_bins_of_a_summary(rows: Any, summary: SummaryResult) -> None:
    for name in ("x", "hits", "won", "path"):
        for q in (0.0, 0.3, 1.0):
            found, bounds = rows.quantile(name, q), summary.quantile(name, q)
            assert np.array_equal(found.value, np.nanquantile(rows[name].astype(float), q, axis=0))
            assert np.array_equal(found.low, found.high)
            assert np.all((bounds.low <= found.value) & (found.value <= bounds.high))
    for name in ("x", "hits", "won"):
        for options in ({}, {"bins": 7}, {"edges": [-0.25, 0.5, 3.0]}):
            found, estimate = (each.histogram(name, **options) for each in (rows, summary))
            assert found.edges.tolist() == estimate.edges.tolist()
            assert found.counts.tolist() == np.histogram(rows[name].astype(float), found.edges)[0].tolist()
            assert np.all((estimate.low <= found.low) & (found.high <= estimate.high))
            assert found.count == estimate.count == 400
    nothing = SimulationResult(model, rows.parameters, 1, {"x": np.full(3, np.nan)}, rows.fingerprint)
    assert len(nothing.histogram("x").counts) == 0
    assert np.isnan(nothing.quantile("x", 0.5).value)
    for call, field in (
        (lambda: rows.quantile("y", 0.5), "output"),
        (lambda: rows.quantile("x", 2), "q"),
        (lambda: rows.histogram("path"), "output"),
        (lambda: rows.histogram("x", 1), "bins"),
        (lambda: rows.histogram("x", edges=[2, 1]), "edges"),
        (lambda: bgsim.run(texts, Shift(), replicates=2).quantile("name", 0.5), "output"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            call()
        assert caught.value.field == field


def test_pairs_have_a_covariance(rows: SimulationResult, summary: SummaryResult) -> None:
    valid = ~np.isnan(rows["x"])
    x, hits = rows["x"][valid], rows["hits"][valid]
    assert summary.covariance("x", "hits") == summary.covariance("hits", "x")
    assert summary.covariance("x", "hits") == pytest.approx(np.cov(x, hits)[0, 1])
    assert summary.correlation("x", "hits") == pytest.approx(np.corrcoef(x, hits)[0, 1])
    with pytest.raises(InvalidInputError, match=r"pairs: x and hits.*pairs=\[\('x', 'won'\)\]"):
        summary.covariance("x", "won")


def test_a_merged_result_is_of_all_replicates() -> None:
    a, b = rows_of(1, 50), rows_of(2, 70)
    found = summary_of(a).merge(summary_of(b))
    assert (found.replicates, found.seed, found.seeds) == (120, None, {1: 50, 2: 70})
    whole = Tally("f8")
    whole.add(np.concatenate([a["x"], b["x"]]))
    assert found.tally("x") == whole
    assert found.covariance("x", "hits") == summary_of(b).merge(summary_of(a)).covariance("x", "hits")
    assert "seeds 1, 2" in repr(found)
    assert found.versions == ((0, 120, a.versions[0][2]),)
    assert found.replay(69, seed=2)[1] == b["hits"][69]
    with pytest.raises(InvalidInputError, match="one of the seeds of this result: 1, 2"):
        found.replay(0)
    for seed in range(3, 8):
        found = found.merge(summary_of(rows_of(seed, 5)))
    assert "145 replicates, 7 seeds" in repr(found)


def test_what_does_not_belong_together_is_not_merged() -> None:
    found = summary_of(rows_of(1, 5))
    with pytest.raises(InvalidInputError, match="Submit more replicates"):
        found.merge(summary_of(rows_of(1, 7)))
    with pytest.raises(InvalidInputError, match="the parameters shift"):
        found.merge(summary_of(rows_of(2, 5, shift=1.0)))
    with pytest.raises(InvalidInputError, match="its code or outputs"):
        found.merge(summary_of(rows_of(2, 5), pair=False))


def test_a_replicate_is_replayed(rows: SimulationResult, summary: SummaryResult) -> None:
    assert summary.replay(3)[1] == rows["hits"][3]
    changed = copy.copy(summary)
    changed.fingerprint = "another"
    with pytest.raises(SimulationChangedError, match="submit it again"):
        changed.replay(3)


def test_a_comparison_is_that_of_independent_rows(summary: SummaryResult) -> None:
    other = rows_of(2, 300, shift=0.5)
    found = summary.compare(summary_of(other), confidence=0.9)
    expected = rows_of().compare(other, confidence=0.9)
    assert found.parameters == expected.parameters == {"shift": (0.0, 0.5)}
    assert list(found.outputs) == list(expected.outputs)
    for name, difference in found.outputs.items():
        assert (difference.replicates, difference.paired) == (300, False)
        for bound in ("mean", "standard_error", "low", "high", "valid"):
            np.testing.assert_allclose(
                getattr(difference, bound), getattr(expected.outputs[name], bound), rtol=1e-9, atol=1e-12
            )


def test_a_summary_and_rows_are_compared_either_way_unless_they_share_random_numbers(summary: SummaryResult) -> None:
    other = rows_of(2, 300, shift=0.5)
    expected = rows_of().compare(other)
    for found in (summary.compare(other), rows_of().compare(summary_of(other))):
        assert list(found.outputs) == list(expected.outputs)
        for name in ("x", "path"):
            for bound in ("mean", "low", "high"):
                values = (getattr(each.outputs[name], bound) for each in (found, expected))
                np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-12)
    shared = rows_of(1, 300, shift=0.5)
    merged = summary_of(other).merge(summary_of(rows_of(1, 20, shift=0.5)))
    for a, b in ((summary, summary_of(shared)), (summary, shared), (shared, summary), (rows_of(), merged)):
        with pytest.raises(InvalidInputError, match=r"engine\.compare\(simulation, a, b, replicates") as caught:
            a.compare(b)
        assert caught.value.field == "other"
        assert "standard error" not in str(caught.value)  # no table of a result
    with pytest.raises(InvalidInputError, match="other must be a SummaryResult; got .*SimulationResult'>$"):
        summary.merge(other)  # type: ignore[arg-type] # the error is wanted


def test_infinities_have_a_summary_and_a_comparison() -> None:
    rows = rows_of(1, 5)
    both = []
    for seed in (1, 2):
        tally = Tally("f8")
        tally.add(np.array([np.inf, 1.0, np.nan]))
        columns = {"x": TallyColumn([Segment(0, 3, tally)])}
        both.append(SummaryResult(model, rows.parameters, seed, columns, rows.fingerprint))
    x = both[0].summary(confidence=0.9)["x"]
    assert (x.mean, x.maximum, x.valid) == (np.inf, np.inf, 2)
    assert np.isnan([x.sd, x.low, x.high]).all()
    assert np.isnan(both[0].compare(both[1]).outputs["x"].mean)
    both[0].plot("x")
    pyplot.close("all")


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
@pytest.mark.parametrize("infinities", [2, 7])
def test_a_quantile_among_infinities_is_infinite_as_in_rows(infinity: float, infinities: int) -> None:
    base = rows_of(1, 10)
    values = np.r_[np.arange(10.0 - infinities), [infinity] * infinities]
    rows = SimulationResult(model, base.parameters, 1, {"x": values}, base.fingerprint)
    tally = Tally("f8")
    tally.add(values)
    columns = {"x": TallyColumn([Segment(0, 10, tally)])}
    summary = SummaryResult(model, base.parameters, 1, columns, base.fingerprint)
    wanted = (0.0, 0.05, 0.15, 0.25, 0.5, 0.75, 0.85, 0.95, 1.0)
    expected = rows.summary(wanted)["x"].quantiles
    for q in wanted:
        found = summary.quantile("x", q)
        assert found.low <= expected[q] <= found.high
        assert found.value == pytest.approx(expected[q], rel=1 / 128)
        assert summary.fan("x", [q])[q] == summary.summary((q,))["x"].quantiles[q] == found.value
        assert rows.fan("x", [q])[q] == expected[q]


def test_a_summary_is_drawn_as_rows_are(rows: SimulationResult, summary: SummaryResult) -> None:
    drawn = [result.plot() for result in (summary, rows)]
    texts = [[(ax.get_xlabel(), ax.get_ylabel()) for ax in axes] for axes in drawn]
    assert texts[0] == texts[1]
    assert sum(bar.get_height() for bar in drawn[0][0].patches) == np.isfinite(rows["x"]).sum()
    assert sum(bar.get_height() for bar in drawn[0][1].patches) == 400
    pyplot.close("all")


def test_live_numbers_come_from_the_tallies(rows: SimulationResult, summary: SummaryResult) -> None:
    reader = Reader()
    for name in ("x", "path"):
        found, expected = (reader.estimate(result, name) for result in (summary, rows))
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
        np.testing.assert_allclose(found.standard_error, expected.standard_error, rtol=1e-6)
        assert np.array_equal(found.valid, expected.valid)
    found, expected = (reader.histogram(result, "hits", 16) for result in (summary, rows))
    assert (found.edges.tolist(), found.counts.tolist()) == (expected.edges.tolist(), expected.counts.tolist())
    with pytest.raises(InvalidInputError, match="output"):
        reader.estimate(summary, "y")


def test_a_summary_is_copied_and_pickled(summary: SummaryResult) -> None:
    for found in (copy.deepcopy(summary), pickle.loads(pickle.dumps(summary))):
        assert repr(found) == repr(summary)
        assert found.tally("path") == summary.tally("path")


def test_outputs_that_have_no_summary_are_refused_by_name() -> None:
    check_summarisable(model.outputs, {"shift": 1.0})
    with pytest.raises(InvalidInputError, match=r"'name'.*keep=\"columns\"") as caught:
        check_summarisable(texts.outputs, {})
    assert caught.value.field == "keep"


def test_a_description_lists_pairs() -> None:
    paired = bgsim.simulation(model.function, outputs={"x": "f8", "hits": "i8"}, pairs=[("x", "hits")], compile=False)
    assert "x*hits" in paired._repr_html_()
    assert "x*" not in model._repr_html_()
