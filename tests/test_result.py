"""Results: columns, summaries, replay, and how they show themselves."""

from __future__ import annotations

import math
import statistics
import sys
from typing import Any

import numpy as np
import pytest
from kernels import Walk, plain_walk, walk

import bgsim
from bgsim.analysis.summary import summarize
from bgsim.errors import InvalidInputError, MissingExtraError


@pytest.fixture(scope="module")
def result() -> Any:
    return bgsim.run(walk, Walk(steps=3), replicates=500, seed=4)


def test_it_is_a_mapping_of_read_only_columns(result: Any) -> None:
    assert list(result) == ["end", "path", "ups", "high"]
    assert result["path"].shape == (500, 3)
    assert (result.replicates, result.seed, result.simulation) == (500, 4, walk)
    with pytest.raises(ValueError, match="read-only"):
        result["end"][0] = 1.0
    with pytest.raises(KeyError, match="did you mean 'path'"):
        result["paht"]


def test_replay_gives_the_very_replicate(result: Any) -> None:
    for index in (0, 17, np.int64(499)):
        end, path, ups, high = result.replay(index)
        assert (end, ups, high) == tuple(result[name][index] for name in ("end", "ups", "high"))
        assert path.tobytes() == result["path"][index].tobytes()
    for bad in (-1, 500, 1.5, True):
        with pytest.raises(InvalidInputError, match="index must be an integer from 0 to 499"):
            result.replay(bad)


def test_the_summary_agrees_with_the_standard_library(result: Any) -> None:
    values = result["end"].tolist()
    s = result.summary()["end"]
    assert s.count == 500
    assert math.isclose(s.mean, statistics.fmean(values), rel_tol=1e-12)
    assert math.isclose(s.sd, statistics.stdev(values), rel_tol=1e-12)
    assert math.isclose(s.standard_error, statistics.stdev(values) / math.sqrt(500), rel_tol=1e-12)
    assert (s.minimum, s.maximum) == (min(values), max(values))
    assert math.isclose(s.quantiles[0.5], statistics.median(values), rel_tol=1e-12)
    assert result.summary()["high"].mean == sum(result["high"].tolist()) / 500
    assert result.summary()["path"].mean.shape == (3,)


def test_one_replicate_has_no_standard_error() -> None:
    s = summarize(np.array([2.0]))
    assert s.mean == 2.0
    assert math.isnan(s.sd)
    assert math.isnan(s.standard_error)


def test_it_shows_itself(result: Any) -> None:
    """Text in a terminal, a table in a notebook, nothing unescaped."""
    assert repr(result).startswith("SimulationResult of kernels.walk: 500 replicates, seed 4\n")
    assert "standard error" in repr(result)
    assert "path (3,)" in repr(result)
    odd = bgsim.run(plain_walk, Walk(label="<b>"), replicates=1)
    assert "<b>'" not in odd._repr_html_()
    assert odd._repr_html_().count("<tr>") == 5


def test_to_pandas_has_a_row_a_replicate(result: Any) -> None:
    frame = result.to_pandas()
    assert frame.shape == (500, 6)
    assert frame.index.name == "replicate"
    assert frame["path[2]"].to_numpy().tolist() == result["path"][:, 2].tolist()


def test_without_pandas_the_error_names_the_extra(result: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        result.to_pandas()
