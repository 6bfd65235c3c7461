"""What `Engine.compare` returns, as it is shown: with rows or a summary, and after a precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import bgsim
from bgsim.errors import ParameterError


@dataclass(frozen=True)
class Push:
    push: float = 0.0


@bgsim.simulation(outputs={"x": "f8", "y": "f8"}, compile=False)
def pushed(p: Push, rng: Any) -> Any:
    return rng.normal() * (1.0 + p.push), rng.normal() + p.push


def differences(keep: str, replicates: Any) -> Any:
    with bgsim.Engine(workers=1) as engine:
        return engine.compare(pushed, {"push": 0.5}, {"push": 0.0}, replicates=replicates, seed=2, keep=keep).result()


@bgsim.simulation(outputs={"x": "f8"}, compile=False)
def anything(p: Any, rng: Any) -> Any:
    return rng.normal()


def test_two_sets_with_other_names_have_no_differences() -> None:
    with bgsim.Engine(workers=1) as engine:
        with pytest.raises(ParameterError, match="same names; only one has 'k', 'm'"):
            engine.compare(anything, {"m": 1, "n": 2}, {"k": 2, "n": 2}, replicates=10)
        assert engine.compare(anything, {"m": 1}, {"m": 2}, replicates=10).result().replicates == 10


def test_differences_of_rows_are_shown_as_those_of_a_summary() -> None:
    summary, rows = (differences(keep, 100) for keep in ("summary", "columns"))
    assert repr(summary) == repr(rows)
    assert summary._repr_html_() == rows._repr_html_()
    title, changes, *_ = repr(rows).splitlines()
    assert title.endswith("pushed: 100 replicates, seed 2")
    assert changes == "push 0.5 instead of 0.0"


@pytest.mark.parametrize("keep", ["summary", "columns"])
def test_differences_say_that_the_precision_was_reached_and_have_the_interval_of_the_stop(keep: str) -> None:
    found = differences(keep, bgsim.Precision("x", half_width=0.3, confidence=0.9, minimum=64, maximum=128))
    assert repr(found).splitlines()[0].endswith("pushed: 64 replicates, seed 2, precision reached")
    compared, plain = found.comparison(confidence=0.9), found.summary(confidence=0.9)
    assert (compared.outputs["x"].low, compared.outputs["x"].high) == found.stopping.interval("x")
    assert compared.outputs["x"].low < plain["x"].low
    assert (compared.outputs["y"].low, compared.outputs["y"].high) == (plain["y"].low, plain["y"].high)
    other, plain = found.comparison(confidence=0.95), found.summary(confidence=0.95)
    assert (other.outputs["x"].low, other.outputs["x"].high) == (plain["x"].low, plain["x"].high)


def test_differences_say_that_the_maximum_came_first() -> None:
    found = differences("summary", bgsim.Precision("x", half_width=0.001, minimum=64, maximum=128))
    assert repr(found).splitlines()[0].endswith("pushed: 128 replicates, seed 2, precision not reached")
