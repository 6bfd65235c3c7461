"""`Precision`: what it takes, where it looks, what it finds there, and its text."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moments import moments_of

import bgsim
from bgsim.errors import InvalidInputError, OutputError
from bgsim.kernels.outputs import read_outputs
from bgsim.precision import Moments

OUTPUTS = read_outputs(
    "model", {"payoff": "f8", "hit": "?", "count": "i4", "path": ("f8", 3), "wave": "c16", "name": "U8"}
)


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({"output": ""}, "output", "output must be the name of an output, or several names, each once; got ''"),
        ({"output": []}, "output", "each once; got \\[\\]"),
        ({"output": ["a", "a"]}, "output", "each once"),
        ({"output": 3}, "output", "got 3"),
        ({"standard_error": None}, "standard_error", "exactly one of standard_error, relative, half_width; got none"),
        ({"relative": 0.1}, "relative", "got standard_error and relative"),
        ({"standard_error": 0}, "standard_error", "standard_error must be a finite number of more than 0; got 0"),
        ({"standard_error": math.inf}, "standard_error", "got inf"),
        ({"standard_error": math.nan}, "standard_error", "got nan"),
        ({"standard_error": None, "half_width": -0.1}, "half_width", "half_width must be a finite number"),
        (
            {"standard_error": None, "relative": 5},
            "relative",
            "relative must be a number between 0 and 1, such as 0.01",
        ),
        ({"standard_error": None, "relative": "1 %"}, "relative", "got '1 %'"),
        ({"confidence": 0.05}, "confidence", "confidence must be a number from 0.5 to 0.9999, such as 0.95; got 0.05"),
        ({"confidence": 1}, "confidence", "got 1"),
        ({"minimum": 1}, "minimum", "minimum must be an integer from 2 to"),
        ({"minimum": 2.5}, "minimum", "got 2.5"),
        ({"maximum": 4095}, "maximum", "maximum must be an integer of 4096 or more, the minimum; got 4095"),
        ({"maximum": math.inf}, "maximum", "got inf"),
        ({"rule": "studnet"}, "rule", "rule must be one of student, anytime; did you mean 'student'"),
        ({"bounds": (0, 1)}, "bounds", "bounds are for rule=\"anytime\"; got rule='student'"),
        ({"rule": "anytime", "bounds": (1, 0)}, "bounds", "bounds must be two finite numbers, the lower one first"),
        ({"rule": "anytime", "bounds": (0, math.inf)}, "bounds", "two finite numbers"),
        ({"rule": "anytime", "bounds": 1}, "bounds", "two finite numbers"),
        ({"rule": "anytime", "bounds": (-1.5e308, 1.5e308)}, "bounds", "two finite numbers"),
    ],
)
def test_bad_input_is_named(given: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        bgsim.Precision(**{"output": "payoff", "standard_error": 0.01} | given)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("output", "field", "message"),
    [
        ("payof", "output", "output must be an output of the simulation, one of payoff, .*; did you mean 'payoff'"),
        ("path", "output", r"one real number of at most 8 bytes a replicate; 'path' is a float64 array of shape \(3"),
        ("wave", "output", "'wave' is a complex128 scalar"),
        ("name", "output", "'name' is a <U8 scalar"),
        (("payoff", "name"), "output", "'name' is a <U8 scalar"),
    ],
)
def test_an_output_that_is_no_number_is_refused(output: Any, field: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        bgsim.Precision(output, standard_error=0.01).check(OUTPUTS)
    assert caught.value.field == field


def test_the_anytime_rule_needs_bounds_for_all_but_booleans() -> None:
    bgsim.Precision("hit", half_width=0.01, rule="anytime").check(OUTPUTS)
    bgsim.Precision(("count", "hit"), half_width=0.01, rule="anytime", bounds=(0, 9)).check(OUTPUTS)
    with pytest.raises(InvalidInputError, match="needs bounds for output 'payoff', which is no boolean"):
        bgsim.Precision(["hit", "payoff"], half_width=0.01, rule="anytime").check(OUTPUTS)


def test_it_looks_at_doubled_numbers_and_at_the_maximum() -> None:
    assert bgsim.Precision("x", relative=0.1, maximum=20_000).looks() == (4096, 8192, 16384, 20_000)
    assert bgsim.Precision("x", relative=0.1, minimum=100, maximum=400).looks() == (100, 200, 400)
    assert bgsim.Precision("x", relative=0.1, minimum=100, maximum=100).looks() == (100,)
    assert bgsim.Precision("x", relative=0.1, minimum=100, maximum=199).looks() == (100, 199)


@given(minimum=st.integers(2, 2**62), times=st.floats(1, 1e6))
def test_looks_rise_from_the_minimum_to_the_maximum(minimum: int, times: float) -> None:
    maximum = min(int(minimum * times), 2**63 - 1)
    looks = bgsim.Precision("x", relative=0.1, minimum=minimum, maximum=max(minimum, maximum)).looks()
    assert looks[0] == minimum
    assert looks[-1] == max(minimum, maximum)
    assert all(b == 2 * a for a, b in pairwise(looks[:-1]))
    assert all(a < b <= 2 * a for a, b in pairwise(looks))


def test_equal_rules_are_one() -> None:
    one = bgsim.Precision(["payoff"], standard_error=np.float32(0.5), minimum=np.int64(64), confidence=0.9)
    assert one == bgsim.Precision("payoff", standard_error=0.5, minimum=64.0, confidence=0.9)  # type: ignore[arg-type]
    assert len({one, replace(one), bgsim.Precision("payoff", standard_error=0.5)}) == 2
    assert repr(one) == "Precision('payoff', standard_error=0.5, confidence=0.9, minimum=64)"
    assert eval(repr(one), {"Precision": bgsim.Precision}) == one
    assert bgsim.Precision("µ", relative=0.1) == bgsim.Precision("μ", relative=0.1)  # U+00B5 and U+03BC


rules = st.builds(
    lambda output, kind, target, sizes, **more: bgsim.Precision(
        output, **{kind: target}, minimum=min(sizes), maximum=max(sizes), **more
    ),
    st.one_of(st.sampled_from(["a", "payoff"]), st.lists(st.sampled_from("abc"), min_size=1, unique=True)),
    st.sampled_from(["standard_error", "relative", "half_width"]),
    st.floats(1e-300, 0.999),
    st.tuples(st.integers(2, 2**62), st.integers(2, 2**62)),
    confidence=st.floats(0.5, 0.9999),
    rule=st.just("anytime"),
    bounds=st.one_of(st.none(), st.just((-1.5, 7))),
)


@given(rules)
def test_it_survives_json(rule: bgsim.Precision) -> None:
    text = rule.to_json()
    assert bgsim.Precision.from_json(text) == rule
    assert bgsim.Precision.from_json(text).to_json() == text


def test_its_text_has_all_settings() -> None:
    assert json.loads(bgsim.Precision("x", relative=0.1).to_json()) == {
        "output": "x",
        "relative": 0.1,
        "confidence": 0.95,
        "minimum": 4096,
        "maximum": 10_000_000,
        "rule": "student",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"output": "x"}',
        '{"relative": 0.1}',
        '{"output": "x", "relative": "much"}',
        '{"output": "x", "relative": NaN}',
        '{"output": "x", "relative": 0.1, "more": 1}',
        '{"output": {"x": 1}, "relative": 0.1}',
        '{"output": ["x", 1], "relative": 0.1}',
        '{"output": "x", "relative": 0.1, "rule": null}',
        '{"output": "x", "relative": 0.1, "rule": "anytime", "bounds": [0]}',
        '{"output": "x", "relative": 0.1, "maximum": 1e400}',
        "[" * 100_000,
        None,
        3,
    ],
)
def test_a_damaged_text_is_refused(text: Any) -> None:
    with pytest.raises(InvalidInputError):
        bgsim.Precision.from_json(text)


def judged(values: Any, **given: Any) -> Any:
    """Return what a rule finds of one output."""
    look = bgsim.Precision("x", **given).judge(len(values), {"x": moments_of(values)})
    assert look.replicates == len(values)
    assert look.reached == look.outputs["x"].reached
    return look.outputs["x"]


NORMALS = np.random.default_rng(1).normal(50.0, 3.0, 4096)


def test_each_kind_of_target_stops_at_its_own_number() -> None:
    error = float(NORMALS.std(ddof=1)) / 64
    found = judged(NORMALS, standard_error=error * 1.0001)
    assert (found.reached, found.standard_error) == (True, pytest.approx(error))
    assert not judged(NORMALS, standard_error=error * 0.9999).reached
    half = found.half_width
    assert (found.low, found.high) == (pytest.approx(found.mean - half), pytest.approx(found.mean + half))
    assert judged(NORMALS, half_width=half * 1.0001).reached
    assert not judged(NORMALS, half_width=half * 0.9999).reached
    part = half / (found.mean - half)  # of the end that is nearer to 0
    assert judged(NORMALS, relative=part * 1.0001).reached
    assert not judged(NORMALS, relative=part * 0.9999).reached
    assert judged(-NORMALS, relative=part * 1.0001).reached


def test_a_relative_error_is_that_to_the_farther_end() -> None:
    """So that it is at most that part of the true mean, also where the interval reaches further to one side."""
    hits = np.arange(4096) < 40
    found = judged(hits, relative=0.1)
    assert found.error == found.high - found.mean > 1.1 * (found.mean - found.low)
    part = found.error / (found.mean - found.error)
    assert judged(hits, relative=part * 1.0001).reached
    assert not judged(hits, relative=part * 0.9999).reached


def test_the_interval_is_wider_where_the_rule_may_choose() -> None:
    """The critical values are Pocock's for two looks (1977, table 1), and that of one look."""
    error = float(NORMALS.std(ddof=1)) / 64
    for confidence, two, one in ((0.9, 1.875, 1.645), (0.95, 2.178, 1.960), (0.99, 2.772, 2.576)):
        found = judged(NORMALS, relative=0.1, confidence=confidence)
        assert found.half_width / error == pytest.approx(two, abs=0.002)
        found = judged(NORMALS, relative=0.1, confidence=confidence, maximum=4096)
        assert found.half_width / error == pytest.approx(one, abs=0.002)


@pytest.mark.parametrize(("count", "quantile"), [(2, 12.706), (3, 4.303), (11, 2.228), (41, 2.021)])
def test_of_few_values_it_is_students_interval(count: int, quantile: float) -> None:
    found = judged(NORMALS[:count], relative=0.1, minimum=2, maximum=2)
    error = float(NORMALS[:count].std(ddof=1)) / math.sqrt(count)
    assert found.half_width == pytest.approx(quantile * error, rel=1e-3)


def test_a_sequence_is_narrow_where_a_run_may_stop() -> None:
    """At four times the minimum it is 3 standard errors to each side."""
    found = judged(np.arange(16384) % 2 == 0, half_width=0.1, rule="anytime")
    assert 2.9 < found.half_width / found.standard_error < 3.05


def test_the_intervals_of_several_outputs_hold_together() -> None:
    both = {name: moments_of(NORMALS) for name in "xyz"}
    of_three = bgsim.Precision(["x", "y", "z"], relative=0.1, confidence=0.97).judge(4096, both)
    alone = bgsim.Precision("x", relative=0.1, confidence=0.99).judge(4096, both)
    assert [*of_three.outputs] == ["x", "y", "z"]
    assert of_three.outputs["y"].error == pytest.approx(alone.outputs["x"].error, rel=1e-9)


def test_all_outputs_have_to_reach_the_target() -> None:
    rule = bgsim.Precision(["x", "y"], standard_error=0.05)
    found = rule.judge(4096, {"x": moments_of(NORMALS), "y": moments_of(2 * NORMALS)})
    assert ([o.reached for o in found.outputs.values()], found.reached) == ([True, False], False)


@pytest.mark.parametrize("kind", ["standard_error", "half_width"])
def test_a_boolean_without_a_success_is_not_known_exactly(kind: str) -> None:
    """Nothing was seen in 4,096 replicates: the proportion may be a thousandth, and may not be a hundredth."""
    never = np.zeros(4096, bool)
    for values in (never, ~never):
        assert not judged(values, **{kind: 1e-4}).reached
        assert judged(values, **{kind: 1e-3}).reached
    found = judged(never, relative=0.1)
    assert (found.low, found.reached) == (0.0, False)
    assert 0.0005 < found.high < 0.002


@pytest.mark.parametrize(
    ("values", "doubt"),
    [
        (np.zeros(4096), "all values are the same"),
        (np.full(4096, 7), "all values are the same"),
        (np.r_[np.zeros(4095), 1.0], "one replicate has 100% of the variance"),
        (np.r_[np.zeros(4091), np.ones(5)], "one replicate has 20% of the variance"),
        (np.full(4096, math.nan), "fewer than two values"),
        (np.r_[np.full(4095, math.nan), 1.0], "fewer than two values"),
        (np.r_[np.ones(4095), math.inf], "infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("kind", ["standard_error", "half_width", "relative"])
def test_it_does_not_stop_before_it_has_seen_something(values: Any, doubt: str, kind: str) -> None:
    found = judged(values, **{kind: 0.999})
    assert not found.reached
    assert doubt in found.doubt


def test_it_stops_once_many_replicates_have_the_variance() -> None:
    assert judged(np.r_[np.zeros(4084), np.ones(12)], standard_error=0.01).reached


def test_nan_is_left_out() -> None:
    values = np.where(np.arange(8192) % 2, np.repeat(NORMALS, 2), math.nan)
    assert judged(values, relative=0.1).error == judged(NORMALS, relative=0.1).error


def test_moments_are_those_of_a_tally() -> None:
    tally = SimpleNamespace(
        dtype=np.dtype("?"), count=8, valid=8, mean=np.float64(0.25), variance=0.2, minimum=False, maximum=True
    )
    found = Moments.of(tally)
    assert found == Moments(8, 8, 0.25, 0.2, 0.0, 1.0, is_boolean=True)
    assert found.successes == 2
    tally.dtype = np.dtype("f4")
    assert not Moments.of(tally).is_boolean


def test_successes_are_counted_though_the_mean_is_rounded() -> None:
    for hits in range(101):
        assert moments_of(np.arange(100) < hits).successes == hits


def test_extremes_that_are_not_known_raise_no_doubt() -> None:
    """Those of a live estimate; nor are they outside of bounds."""
    live = replace(moments_of(np.r_[np.zeros(4095), 1.0]), minimum=math.nan, maximum=math.nan)
    assert bgsim.Precision("x", standard_error=0.1).judge(4096, {"x": live}).reached
    assert bgsim.Precision("x", half_width=0.1, rule="anytime", bounds=(0, 1)).judge(4096, {"x": live}).reached


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e153, 1e200, 1e307])
def test_very_large_and_small_values_raise_no_error(scale: float) -> None:
    """A double has no room for their squares, so the rule goes on."""
    for kind in ("standard_error", "half_width", "relative"):
        found = judged(scale * NORMALS, **{kind: 1e-300 if kind != "relative" else 0.1})
        assert found.reached == (not found.doubt and found.error <= found.target)
        assert expected(scale * NORMALS, **{kind: 1e-300 if kind != "relative" else 0.1}) >= 4096


def test_a_mean_of_zero_has_no_relative_precision() -> None:
    assert not judged(np.tile([-1.0, 1.0], 2048), relative=0.999).reached
    assert judged(np.tile([-1.0, 1.0], 2048), half_width=0.999).reached


def test_a_value_outside_of_the_bounds_is_an_error_that_names_it() -> None:
    for value in (-0.5, 1.5):
        with pytest.raises(
            OutputError, match=f"output 'x' has the value {value}, which is outside of bounds="
        ) as caught:
            judged([0.5, value], rule="anytime", bounds=(0, 1), half_width=0.1)
        assert (caught.value.field, caught.value.value) == ("x", value)


def test_the_anytime_rule_stops_a_constant_by_its_bounds() -> None:
    found = judged(np.full(4096, 0.25), rule="anytime", bounds=(0, 1), half_width=0.01)
    assert (found.reached, found.doubt) == (True, "")
    assert not judged(np.full(4096, 0.25), rule="anytime", bounds=(0, 1), standard_error=0.01).reached


# ---- expected ----------------------------------------------------------------------------------------


def expected(values: Any, **given: Any) -> int:
    return bgsim.Precision("x", **given).expected_replicates(len(values), {"x": moments_of(values)})


def test_it_expects_four_times_as_many_for_half_the_error() -> None:
    error = float(NORMALS.std(ddof=1)) / 64
    assert expected(NORMALS, standard_error=error * 1.01) == 4096  # reached
    assert expected(NORMALS, standard_error=error * 0.99) == 8192
    assert expected(NORMALS, standard_error=error / 2 * 1.01) == 16384
    assert expected(NORMALS, standard_error=error / 2 * 0.99) == 32768
    assert expected(NORMALS, standard_error=error / 1e9) == 10_000_000
    half = judged(NORMALS, half_width=1.0).error
    assert expected(NORMALS, half_width=half / 2 * 1.01) == 16384


def test_between_looks_it_expects_the_next_one_at_least() -> None:
    assert expected(NORMALS[:3000], standard_error=1.0) == 4096
    assert expected(NORMALS, standard_error=1.0, minimum=3000) == 6000
    assert expected(np.tile(NORMALS, 2), standard_error=1.0, minimum=100, maximum=8000) == 8000


def test_it_expects_the_maximum_where_nothing_is_known() -> None:
    assert expected(np.zeros(10), standard_error=1.0) == 10_000_000
    assert expected([], half_width=1.0, maximum=5000) == 5000
    assert expected(np.zeros(0, bool), half_width=1.0, maximum=5000) == 5000
    assert expected(np.tile([-1.0, 1.0], 2048), relative=0.5) == 10_000_000


@given(rules.map(lambda rule: replace(rule, bounds=(0, 1))), st.lists(st.floats(0, 1), max_size=40))
def test_what_is_expected_is_a_look(rule: bgsim.Precision, values: list[float]) -> None:
    found = rule.expected_replicates(len(values), dict.fromkeys(rule.outputs, moments_of(values)))
    assert found in rule.looks()
    assert found >= min(len(values), rule.maximum)
